"""An emulator's exchanges held against the vendor's own OpenAPI document, where that is at hand."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import yaml
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from werkzeug.datastructures import Headers, ImmutableMultiDict

from tests.support.emulators.core import Answer, Request, _bytes

_SPECS = Path(__file__).resolve().parents[4] / "shared" / "specs"


class _Asked:
    """A request as openapi-core wants it."""

    def __init__(self, request: Request, path: str) -> None:
        self.host_url = "http://emulator"
        self.path = path
        self.full_url_pattern = self.host_url + path
        self.method = request.method.lower()
        told = request.headers.get("content-type", "application/json")
        # A form is only read with its boundary.
        self.content_type = told if told.startswith("multipart/") else told.partition(";")[0]
        self.body = request.body or None
        pairs = [(name, value) for name, values in request.query.items() for value in values]
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(pairs), header=Headers(request.headers)
        )


class _Answered:
    """An answer as openapi-core wants it."""

    def __init__(self, answer: Answer) -> None:
        self.status_code = answer.status
        self.headers = Headers({"Content-Type": "application/json"} | answer.headers)
        self.content_type = "application/json"
        self.data = _bytes(answer)


class Spec:
    """One document. `beyond`: patterns of "METHOD path" that only the vendor's SDK knows."""

    def __init__(self, document: dict[str, Any], beyond: tuple[str, ...] = ()) -> None:
        servers = document.get("servers") or [{"url": "/"}]
        prefix = re.sub(r"https?://[^/]+", "", str(servers[0]["url"])).rstrip("/")
        # Some documents have their prefix in the server's address, some in each path, some in both.
        inside = all(path.startswith(f"{prefix}/") for path in document["paths"])
        self._prefix = "" if inside else prefix
        # The first that matches counts: `jobs/{id}:cancel` is looked at before `jobs/{id}`.
        paths = {
            path: {name: each for name, each in item.items() if name != "servers"}
            for path, item in sorted(document["paths"].items(), key=lambda pair: ":" not in pair[0])
        }
        document = {**document, "servers": [{"url": "/"}], "paths": paths}
        self._beyond = [re.compile(pattern) for pattern in beyond]
        # Not every vendor's document is a valid one in all its corners.
        self._api = OpenAPI.from_dict(document, config=Config(spec_validator_cls=None))

    def violations(self, request: Request, answer: Answer) -> list[str]:
        """What of the exchange the document does not allow; refusals are not looked at."""
        name = f"{request.method} {request.path}"
        if answer.status >= 400 or any(each.fullmatch(name) for each in self._beyond):
            return []
        asked = _Asked(request, request.path.removeprefix(self._prefix))
        found = []
        for part, check in (
            ("request", lambda: self._api.validate_request(asked)),
            ("answer", lambda: self._api.validate_response(asked, _Answered(answer))),
        ):
            try:
                check()
            except OpenAPIError as error:
                causes = [
                    str(each.message) for each in getattr(error.__cause__, "schema_errors", [])
                ]
                if causes and part == "request" and asked.content_type.startswith("multipart/"):
                    continue  # a form's values come as bytes: only that it is declared is held
                found.append(f"{name}: {part}: {'; '.join(causes) or error.__cause__ or error}")
            except Exception as error:
                # What the checker itself stumbles over must not look like a dead service.
                found.append(f"{name}: {part}: not checked: {type(error).__name__}: {error}")
        return found


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads `1e-08` as the number that it is in YAML 1.2 and JSON."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _mend(node: Any) -> Any:
    """Exclusive bounds of OpenAPI 3.0 (true) as those of 3.1 (numbers): a vendor mixes them."""
    if isinstance(node, list):
        return [_mend(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {name: _mend(each) for name, each in node.items()}
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if node.get(exclusive) is True:
            node[exclusive] = node.pop(bound)
    return node


@functools.cache
def load_spec(name: str, beyond: tuple[str, ...] = ()) -> Spec | None:
    """The document of that name, or None where ../shared/specs is not at hand."""
    path = _SPECS / name
    if not path.is_file():
        return None
    document = yaml.load(path.read_text("utf-8"), _Loader)
    return Spec(_mend(document) if document["openapi"].startswith("3.1") else document, beyond)
