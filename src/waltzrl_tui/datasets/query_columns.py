"""The columns that an expression may name, as SQL over the JSON of one line.

The five columns of the project (`prompt`, `reply`, `harm`, `category`, `line`) are what
`parse.parse_row` makes of the line; `tokens` is the estimate of `waltzrl_tui.tokens`; every field
of the file follows by its own name, and `row` is the whole line as JSON.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AbcMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from waltzrl_tui.datasets.parse import BadLine, parse_object
from waltzrl_tui.datasets.read import open_index
from waltzrl_tui.datasets.rows import Mapping

Kind = Literal["text", "number", "flag"]

_LOOKED_AT: Final = 1000
_LOOKED_AT_BYTES: Final = 64 * 1024
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.A)
_OURS: Final = ("_first", "_place", "_text", "_who", "_said")
_BLANK: Final = "' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13)"


@dataclass(frozen=True, slots=True)
class QueryColumn:
    """A name that an expression may use.

    Attributes:
        name: As the file or the project has it, without quotes.
        kind: What it is compared with.
        sql: Its value, from what `staged` selects.
        field: Whether it is a field of the file, and not one of the project's columns.
    """

    name: str
    kind: Kind
    sql: str
    field: bool = False

    @property
    def quoted(self) -> str:
        """How it is written in an expression."""
        plain = self.name.isascii() and self.name.isidentifier() and self.name.islower()
        return self.name if plain else quote_name(self.name)


def query_columns(path: Path, mapping: Mapping) -> tuple[QueryColumn, ...]:
    """The columns of the JSONL file at `path`; its fields are those of the first 1,000 lines.

    Raises:
        DatasetError: The file cannot be read.
    """
    with open_index(path) as index:
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
    """The columns of a file whose first lines are `objects`."""
    prompt, reply = _prompt_and_reply(mapping)
    found = [
        QueryColumn("prompt", "text", prompt),
        QueryColumn("reply", "text", reply),
        QueryColumn("harm", "text", "harm"),
        QueryColumn("category", "text", _label(mapping.category)),
        QueryColumn("line", "number", "_first + _place + 1"),
    ]
    taken = {*(column.name for column in found), *_OURS}
    fields: list[QueryColumn] = []
    for name in dict.fromkeys(name for line in objects for name in line):
        # Names are the same to SQL whatever their case.
        if not name or not name.isprintable() or name.casefold() in taken:
            continue
        taken.add(name.casefold())
        kind = _kind(line.get(name) for line in objects)
        fields.append(QueryColumn(name, kind, _field(name, kind), field=True))
    more = [
        # Over the columns above, not over the line.
        QueryColumn("tokens", "number", f"{_tokens('prompt')} + {_tokens('reply')}"),
        QueryColumn("row", "text", "_text::JSON"),
    ]
    return (*found, *(column for column in more if column.name not in taken), *fields)


def staged(mapping: Mapping) -> str:
    """SQL that selects `_place` and `_text` from `lines`, with what the columns are made of."""
    if mapping.shape != "messages":
        return "SELECT *, NULL AS _who, NULL AS _said FROM lines"
    at = _pointer(mapping.prompt)
    turns = (
        f"CASE WHEN json_type(_text, {at}) = 'ARRAY'"
        f" THEN CAST(json_extract(_text, {at}) AS JSON[]) END"
    )
    role = _either("turn", "role", "from")
    return (
        f"SELECT *, list_transform({turns}, lambda turn: CASE"
        f" WHEN {role} IN ('assistant', 'gpt', 'model') THEN 'a'"
        f" WHEN {role} IN ('user', 'human') THEN 'u'"
        f" WHEN {role} IN ('system', 'developer', 'tool', 'function') THEN 's'"
        " ELSE 'x' END) AS _who,"
        f" list_transform({turns}, lambda turn: {_either('turn', 'content', 'value')}) AS _said"
        " FROM lines"
    )


def constant(name: str) -> str:
    """The value that a mapping gives to all rows, where it names one ("=harmful")."""
    return name[1:] if name.startswith("=") else ""


def usable(mapping: Mapping) -> str:
    """SQL over the columns: whether the line gives a row."""
    return "prompt IS NOT NULL AND reply IS NOT NULL" if mapping.reply else "prompt IS NOT NULL"


def raw_harm(mapping: Mapping) -> str:
    """SQL for the JSON text of the value that tells harm; "" when no field does."""
    if not mapping.harm or constant(mapping.harm):
        return ""
    return f"json_extract(_text, {_pointer(mapping.harm)})::VARCHAR"


def _tokens(value: str) -> str:
    """`waltzrl_tui.tokens.estimate_tokens` as SQL over the text `value`."""
    marks = f"translate({value}, '{string.ascii_letters} ', '')"
    other = (
        f"CASE WHEN strlen({value}) = length({value}) THEN 0"
        f" ELSE strlen(regexp_replace({marks}, '[\\x00-\\x7f]+', '', 'g')) END"
    )
    words = (
        f"1 + strlen({value}) - strlen(replace({value}, ' ', ''))"
        f" - (strlen({value}) - strlen(replace({value}, '  ', ''))) // 2"
    )
    return (
        f"(CASE WHEN {value} = '' THEN 0 ELSE {words} + strlen({marks}) - ({other})"
        f" + ({other}) * 9 // 20 + strlen({value}) // 50 END)"
    )


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _kind(values: Iterable[object]) -> Kind:
    """What most of the values are; files without types write numbers and truth as text."""
    kinds = Counter(_kind_of(value) for value in values if value not in (None, ""))
    most: Kind
    for most in ("number", "flag"):
        if kinds[most] * 2 > kinds.total():
            return most
    return "text"


def _kind_of(value: object) -> Kind:
    if isinstance(value, bool) or value in ("true", "false", "True", "False"):
        return "flag"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return "number"
    return "text"


def _field(name: str, kind: Kind) -> str:
    value = f"json_extract_string(_text, {_pointer(name)})"
    if kind == "text":
        return value
    # A later line may hold something else there.
    return f"TRY_CAST({value} AS {'DOUBLE' if kind == 'number' else 'BOOLEAN'})"


def _pointer(name: str) -> str:
    """The JSON pointer of a field; unlike a path it has no characters with a meaning of theirs."""
    return quote_text("/" + name.replace("~", "~0").replace("/", "~1"))


def _filled(value: str) -> str:
    return f"CASE WHEN trim({value}, {_BLANK}) <> '' THEN {value} END"


def _text(name: str, of: str = "_text") -> str:
    """The text in a field; NULL when it is no text."""
    at = _pointer(name)
    return f"CASE WHEN json_type({of}, {at}) = 'VARCHAR' THEN json_extract_string({of}, {at}) END"


def _either(of: str, name: str, other: str) -> str:
    return f"coalesce({_text(name, of)}, {_text(other, of)})"


def _label(name: str) -> str:
    if not name or constant(name):
        return quote_text(constant(name))
    return f"coalesce(json_extract_string(_text, {_pointer(name)}), '')"


def _prompt_and_reply(mapping: Mapping) -> tuple[str, str]:
    if mapping.shape == "unknown":
        return "NULL::VARCHAR", "NULL::VARCHAR"
    if mapping.shape == "messages":
        return _chat(mapping)
    prompt = f"coalesce({', '.join(_filled(_text(name)) for name in mapping.prompts)})"
    if mapping.context:
        context = f"coalesce({_filled(_text(mapping.context))}, '')"
        between = f"CASE WHEN {context} = '' THEN '' ELSE chr(10) || chr(10) END"
        prompt = f"({prompt}) || ({between}) || {context}"
    return prompt, _filled(_text(mapping.reply)) if mapping.reply else "''"


def _chat(mapping: Mapping) -> tuple[str, str]:
    """The last question of a chat and its answer, as `parse` takes them."""
    said = "list_filter(_said, lambda one: one IS NOT NULL)"
    fine = f"NOT list_contains(_who, 'x') AND len(_said) = len({said})"
    if mapping.reply:
        # Turns after the last one of the assistant are passed over.
        last = "(len(_who) - nullif(list_position(list_reverse(_who), 'a'), 0) + 1)"
    else:
        last = "(len(_who) + 1)"
    prompt = f"CASE WHEN {fine} AND _who[{last} - 1] = 'u' THEN {_filled(f'_said[{last} - 1]')} END"
    return prompt, _filled(f"_said[{last}]") if mapping.reply else "''"
