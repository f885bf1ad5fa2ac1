"""JSON columns: documents as text, and rows told apart from what is not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast


def dump(document: Mapping[str, Any]) -> str:
    return json.dumps(dict(document), separators=(",", ":"))


def load(text: str) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(text))


def storable(text: str) -> str:
    """`text` with lone surrogates, which no UTF-8 file can hold, replaced by "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")
