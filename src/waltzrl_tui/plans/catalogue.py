"""The catalogue as it stands: what is bundled, then refreshed prices, then the user's own file."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.plans.locate import line_of
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import Workspace

OVERRIDES: Final = "plans.toml"
_PRICES: Final = frozenset(
    {"sft", "dpo", "hosting", "per_job", "per_month", "disk", "usd_per_hour"}
)


class PlanError(WaltzError):
    """The catalogue, an override of it, or a wish for a plan is wrong."""


def load_catalogue(workspace: Workspace | None) -> Catalogue:
    """The bundled catalogue with the workspace's refreshed prices and `plans.toml` over it.

    Reads files, so not on the event loop.

    Raises:
        PlanError: `plans.toml` has a mistake: the message names file, line and field; or the
            refreshed prices are damaged.
    """
    from pydantic import ValidationError

    document = tomllib.loads(_bundled())
    if workspace is None:
        return Catalogue.model_validate(document)
    refreshed = prices_path(workspace)
    merge(document, _refreshed(refreshed))
    try:
        with_prices = Catalogue.model_validate(document)
    except ValidationError as error:
        where, why = _first(error)
        raise PlanError(
            f"{refreshed} does not fit the catalogue: {where}: {why}.",
            hint="Ask for the prices again: waltzrl-tui plan PATH --refresh",
        ) from error
    path = workspace.home / OVERRIDES
    text = _overrides(path)
    if text is None:
        return with_prices
    merge(document, _parsed(path, text))
    try:
        return Catalogue.model_validate(document)
    except ValidationError as error:
        raise _mistake(path, text, error) from error


def bundled_document() -> dict[str, Any]:
    """The bundled catalogue as it is written."""
    return tomllib.loads(_bundled())


def prices_path(workspace: Workspace) -> Path:
    """Where refreshed prices are kept."""
    return workspace.state / "prices.json"


def merge(document: dict[str, Any], over: dict[str, Any]) -> None:
    """Put `over` into `document`, table by table; a price replaces a price as a whole."""
    for name, value in over.items():
        kept = document.get(name)
        if isinstance(value, dict) and isinstance(kept, dict) and name not in _PRICES:
            merge(kept, value)
        else:
            document[name] = value


def _bundled() -> str:
    return resources.files(__package__).joinpath("catalogue.toml").read_text("utf-8")


def _refreshed(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"), parse_constant=_no_constant)
        prices = found["prices"]
        if not isinstance(prices, dict):
            raise ValueError("prices is not a table")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PlanError(
            f"{path} cannot be read: {one_line(str(error))}.",
            hint="Ask for the prices again: waltzrl-tui plan PATH --refresh",
        ) from error
    return prices


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no price")


def _overrides(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise PlanError(f"{path} cannot be read: {one_line(why)}.") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PlanError(
            f"{path}: {one_line(str(error))}.", hint="Mend the file, or remove it."
        ) from error
    as_of = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    _complete(document, path.name, as_of)
    return document


def _complete(table: dict[str, Any], source: str, as_of: date) -> None:
    """Give the user's prices a date and a source; a price may be just a number."""
    for name, value in table.items():
        if name in _PRICES and isinstance(value, (int, float)) and not isinstance(value, bool):
            table[name] = {"expected": value, "as_of": as_of, "source": source}
        elif name in _PRICES and isinstance(value, dict):
            table[name] = {"as_of": as_of, "source": source, **value}
        elif isinstance(value, dict):
            _complete(value, source, as_of)


def _mistake(path: Path, text: str, error: Any) -> PlanError:
    found = error.errors(include_url=False, include_context=False)[0]
    place = [part for part in found["loc"] if part not in ("[key]",)]
    line = line_of(text, place)
    where, why = _first(error)
    at = f", line {line}" if line else ""
    return PlanError(f"{path}{at}: {where}: {why}.", hint=_hint(found, place))


def _first(error: Any) -> tuple[str, str]:
    found = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(one_line(str(part), 60) for part in found["loc"]) or "the file"
    why = one_line(str(found["msg"]), 200).removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        why = "there is no such field"
    return where, f"{why[:1].lower()}{why[1:]}".rstrip(".")


def _hint(found: Any, place: list[Any]) -> str:
    if found["type"] != "extra_forbidden" or not place:
        return "Mend that field."
    from difflib import get_close_matches

    close = get_close_matches(str(place[-1]), _field_names(), n=1)
    return f"Did you mean {close[0]}?" if close else "Remove it, or mend its name."


def _field_names() -> list[str]:
    from waltzrl_tui.plans import schema

    models = [value for value in vars(schema).values() if hasattr(value, "model_fields")]
    return sorted({name for model in models for name in model.model_fields})
