"""The full row under the cursor."""

from __future__ import annotations

import json
from functools import partial
from typing import Final

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from waltzrl_tui.datasets.reading.rows import BadRow, Row
from waltzrl_tui.datasets.refusals import is_refusal
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tokenizers.estimate import estimate_tokens
from waltzrl_tui.tui.plan.sheet import Sheet
from waltzrl_tui.tui.shell.keys import EMPTY
from waltzrl_tui.words import plural

_LABEL: Final = 10
_SHOWN: Final = 20_000


_Field = tuple[str, str, str]
"""A name, a text, and the style of the text."""


class RowDetail(VerticalScroll):
    """One row of the dataset, or why the line under the cursor is not one."""

    def __init__(self) -> None:
        super().__init__(id="detail", classes="pane")
        self._sheet = Sheet()

    def compose(self) -> ComposeResult:
        yield self._sheet

    def clear(self) -> None:
        self.border_title = "Row"
        self.border_subtitle = ""
        self._show([("", EMPTY["data.rows"], "$faint")])

    def show(self, number: int, row: Row | BadRow | None, raw: bytes) -> None:
        """Show line `number` (from 0): its row, None when it is blank, and its bytes."""
        self.scroll_home(animate=False)
        title = f"Row {number + 1:,}"
        self.border_subtitle = ""
        if row is None:
            self.border_title = title
            self._show([("", "This line is blank and is skipped.", "$faint")])
        elif isinstance(row, BadRow):
            self.border_title = Content.assemble(title, (" · ✗ bad", "$text-error"))
            text = _cut(printable(raw[:_SHOWN].decode("utf-8", "replace")), len(raw))
            self._show(
                [("reason", printable(row.reason), "$text-error"), ("line", text, "$text-muted")]
            )
        else:
            self.border_title = _title(title, row)
            tokens = estimate_tokens(row.prompt) + estimate_tokens(row.reply)
            self.border_subtitle = f"≈ {plural(tokens, 'token')}"
            self._show(_fields(row))

    def _show(self, fields: list[_Field]) -> None:
        self._sheet.show(partial(_wrapped, fields))


def _wrapped(fields: list[_Field], width: int) -> list[Content]:
    """The texts beside their names, or under them where it is narrow."""
    lines: list[Content] = []
    beside = width >= 48 and any(name for name, _, _ in fields)
    for name, text, style in fields:
        body = Content.styled(text, style) if style else Content(text)
        wrapped = body.wrap(max(8, width - _LABEL if beside else width))
        if beside:
            label = Content.styled(f"{name:<{_LABEL - 1}} ", "$faint")
            lines.append(label + wrapped[0] if wrapped else label)
            lines += [Content(" " * _LABEL) + line for line in wrapped[1:]]
        else:
            lines += [Content.styled(name, "$faint")] if name else []
            lines += wrapped
    return lines


def _title(title: str, row: Row) -> Content:
    parts: list[Content | str | tuple[str, str]] = [title]
    if row.harm:
        style = "$unsafe" if row.harm == "harmful" else "$safe"
        parts += [" · ", (row.harm, style)]
    if row.category:
        parts += [" · ", one_line(row.category, 60)]
    return Content.assemble(*parts)


def _fields(row: Row) -> list[_Field]:
    fields = [("prompt", _text(row.prompt), "")]
    if history := row.history:
        turns = [f"{turn['role']}: {turn['content']}" for turn in history]
        fields.insert(0, ("before", _text("\n".join(turns)), "$text-muted"))
    if row.reply:
        refuses = is_refusal(row.reply)
        fields.append(("reply", _text(row.reply), ""))
        summary = "⊘ refuses" if refuses else "✓ answers"
        summary += f" · labelled {row.reply_label}" if row.reply_label else ""
        fields.append(("", summary, "$faint"))
    for name, value in row.extra.items():
        if value in (None, "") or (history and name in ("history", "system")):
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        fields.append((one_line(name, _LABEL - 1), _text(text), "$text-muted"))
    return fields


def _text(text: str) -> str:
    return _cut(printable(text[:_SHOWN]), len(text))


def _cut(shown: str, length: int) -> str:
    return shown if length <= _SHOWN else f"{shown}…\n({length - _SHOWN:,} more not shown)"
