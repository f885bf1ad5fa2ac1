"""The catalogue: the bundled one, overridden by refreshed prices, then by the user's file."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.plans.locate import line_of
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.records.providers import PROVIDERS
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import Workspace

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

OVERRIDES: Final = "plans.toml"
_REFRESH: Final = "Refresh the prices: waltzrl-tui plan PATH --refresh"
_PRICES: Final = frozenset(
    {"sft", "dpo", "hosting", "per_job", "per_month", "disk", "usd_per_hour"}
)


class PlanError(WaltzError):
    """The catalogue, or an override of it, is invalid."""


def load_catalogue(workspace: Workspace | None) -> Catalogue:
    """The bundled catalogue, overridden by the workspace's refreshed prices and `plans.toml`.

    Reads files, so not on the event loop.

    Raises:
        PlanError: `plans.toml` is invalid (the message names file, line and field), or the
            refreshed prices are damaged.
    """
    from pydantic import ValidationError

    document = bundled_document()
    if workspace is None:
        return Catalogue.model_validate(document)
    refreshed = prices_path(workspace)
    merge(document, _read_refreshed(refreshed))
    try:
        with_prices = Catalogue.model_validate(document)
    except ValidationError as error:
        field, problem = _first_problem(error)
        raise PlanError(
            f"{refreshed} does not match the catalogue: {field}: {problem}.",
            hint=_REFRESH,
        ) from error
    path = workspace.home / OVERRIDES
    text = _read_overrides(path)
    if text is None:
        return with_prices
    merge(document, _parse_overrides(path, text))
    try:
        return Catalogue.model_validate(document)
    except ValidationError as error:
        raise _override_error(path, text, error) from error


def bundled_document() -> dict[str, Any]:
    """The bundled catalogue with the facts of its providers, not validated."""
    path = resources.files(__package__).joinpath("catalogue.toml")
    document = tomllib.loads(path.read_text("utf-8"))
    for name, entry in document["provider"].items():
        merge(entry, _facts(name))
    return document


def prices_path(workspace: Workspace) -> Path:
    """The file of refreshed prices."""
    return workspace.state / "prices.json"


def merge(document: dict[str, Any], over: dict[str, Any]) -> None:
    """Override `document` by `over`, table by table; a price is replaced as a whole."""
    for name, value in over.items():
        table = document.get(name)
        if isinstance(value, dict) and isinstance(table, dict) and name not in _PRICES:
            merge(table, value)
        else:
            document[name] = value


def _facts(name: str) -> dict[str, Any]:
    """The fields of a provider's entry that the table of providers has."""
    facts = PROVIDERS[name]
    limits = {"max_suffix": facts.tag_length, "concurrent_jobs": facts.concurrent_jobs}
    return {
        "title": facts.title,
        "keys": facts.keys,
        "methods": facts.methods,
        "limits": {field: limit for field, limit in limits.items() if limit is not None},
    }


def _read_refreshed(path: Path) -> dict[str, Any]:
    try:
        prices = json.loads(path.read_text("utf-8"), parse_constant=_reject_constant)["prices"]
        if not isinstance(prices, dict):
            raise ValueError("prices is not a table")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PlanError(
            f"{path} cannot be read: {one_line(str(error))}.",
            hint=_REFRESH,
        ) from error
    return prices


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not a price")


def _read_overrides(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise PlanError(f"{path} cannot be read: {one_line(problem)}.") from error


def _parse_overrides(path: Path, text: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PlanError(
            f"{path}: {one_line(str(error))}.", hint="Correct the file, or remove it."
        ) from error
    as_of = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    _complete_prices(document, path.name, as_of)
    return document


def _complete_prices(table: dict[str, Any], source: str, as_of: date) -> None:
    """Add date and source to the user's prices, which may be plain numbers."""
    for name, value in table.items():
        if name in _PRICES and isinstance(value, (int, float)) and not isinstance(value, bool):
            table[name] = {"expected": value, "as_of": as_of, "source": source}
        elif name in _PRICES and isinstance(value, dict):
            table[name] = {"as_of": as_of, "source": source, **value}
        elif isinstance(value, dict):
            _complete_prices(value, source, as_of)


def _override_error(path: Path, text: str, error: ValidationError) -> PlanError:
    details = _details(error)
    place = [part for part in details["loc"] if part != "[key]"]
    line = line_of(text, place)
    field, problem = _first_problem(error)
    at = f", line {line}" if line else ""
    unknown = details["type"] == "extra_forbidden"
    hint = _similar_field(str(place[-1])) if unknown and place else "Correct that field."
    return PlanError(f"{path}{at}: {field}: {problem}.", hint=hint)


def _first_problem(error: ValidationError) -> tuple[str, str]:
    """The first invalid field, and what is wrong with it."""
    details = _details(error)
    field = ".".join(one_line(str(part), 60) for part in details["loc"]) or "the file"
    if details["type"] == "extra_forbidden":
        return field, "there is no such field"
    problem = one_line(details["msg"], 200).removeprefix("Value error, ")
    return field, f"{problem[:1].lower()}{problem[1:]}".rstrip(".")


def _details(error: ValidationError) -> ErrorDetails:
    return error.errors(include_url=False, include_context=False)[0]


def _similar_field(name: str) -> str:
    from difflib import get_close_matches

    from waltzrl_tui.plans import schema

    models = [value for value in vars(schema).values() if hasattr(value, "model_fields")]
    fields = sorted({field for model in models for field in model.model_fields})
    close = get_close_matches(name, fields, n=1)
    return f"Did you mean {close[0]}?" if close else "Remove it, or correct its name."
