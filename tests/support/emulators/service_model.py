"""An emulator's exchanges held against AWS's own model of a service, which botocore carries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape

from tests.support.emulators.core import Answer, Request, _bytes

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "timestamp": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
}


class JsonService:
    """A service that speaks rest-json. `signing`: its name in signatures; others are let be."""

    def __init__(self, name: str, signing: str) -> None:
        self._signing = f"/{signing}/aws4_request"
        model = ServiceModel(Loader().load_service_model(name, "service-2"), name)
        self._operations = [model.operation_model(each) for each in model.operation_names]

    def violations(self, request: Request, answer: Answer) -> list[str]:
        """What of the exchange the model does not allow; refusals are not looked at."""
        if answer.status >= 400 or self._signing not in request.headers.get("authorization", ""):
            return []
        name = f"{request.method} {request.path}"
        for operation in self._operations:
            if (places := _places(operation, request)) is not None:
                where = f"{operation.name} of {name}"
                found = [*_asked(operation, request, places), *_answered(operation, answer)]
                return [f"{where}: {each}" for each in found]
        return [f"{name} is no operation"]


def _places(operation: OperationModel, request: Request) -> dict[str, str] | None:
    if operation.http["method"] != request.method:
        return None
    path = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(operation.http["requestUri"]))
    found = re.fullmatch(path, request.path)
    return None if found is None else {n: unquote(v) for n, v in found.groupdict().items()}


def _asked(operation: OperationModel, request: Request, places: dict[str, str]) -> Iterator[str]:
    members = dict(operation.input_shape.members) if operation.input_shape else {}
    required = set(operation.input_shape.required_members) if operation.input_shape else set()
    body = dict(request.json or {})
    query = {name: values[0] for name, values in request.query.items()}
    for name, shape in members.items():
        place = shape.serialization.get("location", "body")
        known = {"uri": places, "querystring": query}.get(place, body)
        value = known.pop(shape.serialization.get("name", name), None)
        if value is None:
            if name in required:
                yield f"{name} is required"
        elif place == "body" or shape.type_name == "string":
            yield from _wrong(shape, value, name)
    yield from (f"{name} is not known" for name in (*body, *query, *places))


def _answered(operation: OperationModel, answer: Answer) -> Iterator[str]:
    status = operation.http.get("responseCode", 200)
    if answer.status != status:
        yield f"answers {answer.status}, not {status}"
    if operation.output_shape and _bytes(answer):
        yield from _wrong(operation.output_shape, answer.document, "answer")


def _wrong(shape: Shape, value: Any, where: str) -> Iterator[str]:
    kind = shape.type_name
    if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{where} is no {kind}: {value!r}"
        return
    size = value if kind in ("integer", "long", "float", "double") else None
    size = len(value) if kind in ("string", "list") else size
    limits = shape.metadata
    if size is not None and not limits.get("min", size) <= size <= limits.get("max", size):
        yield f"{where} is out of its limits: {value!r}"
    if kind == "string":
        if "pattern" in limits and not re.fullmatch(limits["pattern"], value, re.ASCII):
            yield f"{where} is not of its pattern: {value!r}"
        if "enum" in limits and value not in limits["enum"]:
            yield f"{where} is none of {limits['enum']}: {value!r}"
    elif kind == "list":
        for index, each in enumerate(value):
            yield from _wrong(shape.member, each, f"{where}[{index}]")
    elif kind == "map":
        for name, each in value.items():
            yield from _wrong(shape.value, each, f"{where}.{name}")
    elif kind == "structure":
        for name in shape.required_members:
            if name not in value:
                yield f"{where}.{name} is required"
        for name, each in value.items():
            if name not in shape.members:
                yield f"{where}.{name} is not known"
            else:
                yield from _wrong(shape.members[name], each, f"{where}.{name}")
