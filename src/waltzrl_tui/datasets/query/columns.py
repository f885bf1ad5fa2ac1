"""The columns that an expression may name, and their values in the rows of a block.

The project's columns `prompt`, `reply`, `harm`, `category` and `line` come from `parse.RowReader`;
`tokens` is the estimate of `tokenizers.estimate`. Every field of the file follows under its own
name, and `row` is the whole line as JSON.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AbcMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from waltzrl_tui.datasets.reading.parse import BadLine, parse_object
from waltzrl_tui.datasets.reading.read import DatasetFile
from waltzrl_tui.datasets.reading.rows import Mapping

ColumnKind = Literal["text", "number", "flag"]

_LOOKED_AT: Final = 1000
_LOOKED_AT_BYTES: Final = 64 * 1024
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.A)
_OURS: Final = ("_line", "_value")
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class QueryColumn:
    """A name that an expression may use.

    Attributes:
        name: Its name in the file or the project, without quotes.
        kind: The type of its values.
        field: Whether it is a field of the file, not one of the project's columns.
    """

    name: str
    kind: ColumnKind
    field: bool = False

    @property
    def spelling(self) -> str:
        """Its name as an expression spells it, inside quotes or without them."""
        return self.name.replace('"', '""')

    @property
    def quoted(self) -> str:
        """Its name in an expression, quoted where needed."""
        plain = self.name.isascii() and self.name.isidentifier() and self.name.islower()
        return self.name if plain else quote_name(self.name)

    def sql(self, value: str) -> str:
        """Its value, as SQL over `value`, the value as it is passed to DuckDB."""
        if self.name == "row" and not self.field:
            return f"{value}::JSON"
        if self.field and self.kind != "text":
            # A later line may have another type there.
            return f"TRY_CAST({value} AS {'DOUBLE' if self.kind == 'number' else 'BOOLEAN'})"
        return value

    @property
    def input_type(self) -> str:
        """The type of the value as it is passed to DuckDB."""
        return "VARCHAR" if self.field or self.kind == "text" else "BIGINT"


def query_columns(path: Path, mapping: Mapping) -> tuple[QueryColumn, ...]:
    """The columns of the file at `path`; its fields are those of the first 1,000 lines.

    Raises:
        DatasetError: The file cannot be read.
    """
    with DatasetFile.of(path).index() as index:
        head = index.page(0, _LOOKED_AT, limit=_LOOKED_AT_BYTES)
    objects = []
    for raw in head:
        try:
            objects.append(parse_object(raw))
        except BadLine:
            continue
    return columns_of(objects, mapping)


def columns_of(
    objects: Sequence[AbcMapping[str, Any]], mapping: Mapping
) -> tuple[QueryColumn, ...]:
    """The columns of a file whose first lines are `objects`.

    Includes the fields that the mapping names even if those lines lack them.
    """
    ours = [
        QueryColumn("prompt", "text"),
        QueryColumn("reply", "text"),
        QueryColumn("harm", "text"),
        QueryColumn("category", "text"),
        QueryColumn("line", "number"),
    ]
    taken = {*(column.name for column in ours), *_OURS}
    fields: list[QueryColumn] = []
    named = (name for line in objects for name in line)
    for name in dict.fromkeys((*named, *sorted(mapping.fields))):
        # SQL ignores the case of names.
        if not name or not name.isprintable() or name.casefold() in taken:
            continue
        taken.add(name.casefold())
        kind = _kind(line.get(name) for line in objects)
        fields.append(QueryColumn(name, kind, field=True))
    more = [QueryColumn("tokens", "number"), QueryColumn("row", "text")]
    return (*ours, *(column for column in more if column.name not in taken), *fields)


def field_text(value: object) -> str | None:
    """A field's value as it is passed to DuckDB: text as it is, anything else as JSON."""
    if value is None:
        return None
    text = value if isinstance(value, str) else _dump(value)
    return text if text.isascii() else whole(text)


def row_text(line: str, fields: dict[str, Any]) -> str:
    """A line as JSON that DuckDB accepts, which half of a surrogate pair is not."""
    return whole(_dump(fields)) if "\\ud" in line.casefold() else line


def whole(text: str) -> str:
    """`text` with a question mark for half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _kind(values: Iterable[object]) -> ColumnKind:
    """The type of most values; files without types write numbers and flags as text."""
    kinds = Counter(_kind_of(value) for value in values if value not in (None, ""))
    most: ColumnKind
    for most in ("number", "flag"):
        if kinds[most] * 2 > kinds.total():
            return most
    return "text"


def _kind_of(value: object) -> ColumnKind:
    if isinstance(value, bool) or value in ("true", "false", "True", "False"):
        return "flag"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return "number"
    return "text"
