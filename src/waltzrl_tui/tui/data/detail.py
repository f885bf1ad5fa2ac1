"""The full row under the cursor."""

from __future__ import annotations

import json
from typing import Final

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from waltzrl_tui.datasets.reading.rows import BadRow, Row
from waltzrl_tui.datasets.refusals import is_refusal
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tokenizers.estimate import estimate_tokens
from waltzrl_tui.tui.shell.keys import EMPTY
from waltzrl_tui.words import plural

_LABEL: Final = 10
_SHOWN: Final = 20_000


class Fields(Widget):
    """Names and texts, the texts wrapped beside their names (under them where it is narrow)."""

    DEFAULT_CSS = "Fields { height: auto; min-height: 100%; width: 1fr; padding-right: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._fields: list[tuple[str, str, str]] = []
        self._wrapped: tuple[int, list[Content]] = (0, [])

    def show(self, fields: list[tuple[str, str, str]]) -> None:
        """Show (name, text, style of the text) each."""
        self._fields = fields
        self._wrapped = (0, [])
        # Most rows fit: then the screen need not be laid out anew for each step of the cursor.
        room = self.size
        fits = len(self._lines(room.width)) <= room.height
        same = fits and isinstance(self.parent, Widget) and room.height <= self.parent.size.height
        self.refresh(layout=not same)

    def render(self) -> Content:
        return Content("\n").join(self._lines(self.content_size.width))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines(width))

    def _lines(self, width: int) -> list[Content]:
        if self._wrapped[0] != width:
            self._wrapped = (width, self._wrap(width))
        return self._wrapped[1]

    def _wrap(self, width: int) -> list[Content]:
        wrapped: list[Content] = []
        named = any(name for name, _, _ in self._fields)
        beside = width >= 48 and named
        for name, text, style in self._fields:
            body = Content.styled(text, style) if style else Content(text)
            lines = body.wrap(max(8, width - _LABEL if beside else width))
            if beside:
                label = Content.styled(f"{name:<{_LABEL - 1}} ", "$faint")
                wrapped.append(label + lines[0] if lines else label)
                wrapped += [Content(" " * _LABEL) + line for line in lines[1:]]
            else:
                wrapped += [Content.styled(name, "$faint")] if name else []
                wrapped += lines
        return wrapped


class RowDetail(VerticalScroll):
    """One row of the dataset, or why the line under the cursor is not one."""

    def __init__(self) -> None:
        super().__init__(id="detail", classes="pane")
        self._fields = Fields()

    def compose(self) -> ComposeResult:
        yield self._fields

    def clear(self) -> None:
        self.border_title = "Row"
        self.border_subtitle = ""
        self._fields.show([("", EMPTY["data.rows"], "$faint")])

    def show(self, number: int, row: Row | BadRow | None, raw: bytes) -> None:
        """Show line `number` (from 0): its row, None when it is blank, and its bytes."""
        self.scroll_home(animate=False)
        title = f"Row {number + 1:,}"
        self.border_subtitle = ""
        if row is None:
            self.border_title = title
            self._fields.show([("", "This line is blank and is skipped.", "$faint")])
        elif isinstance(row, BadRow):
            self.border_title = Content.assemble(title, (" · ✗ bad", "$text-error"))
            text = _cut(printable(raw[:_SHOWN].decode("utf-8", "replace")), len(raw))
            self._fields.show(
                [("reason", printable(row.reason), "$text-error"), ("line", text, "$text-muted")]
            )
        else:
            self.border_title = _title(title, row)
            tokens = estimate_tokens(row.prompt) + estimate_tokens(row.reply)
            self.border_subtitle = f"≈ {plural(tokens, 'token')}"
            self._fields.show(_fields(row))


def _title(title: str, row: Row) -> Content:
    parts: list[Content | str | tuple[str, str]] = [title]
    if row.harm:
        style = "$unsafe" if row.harm == "harmful" else "$safe"
        parts += [" · ", (row.harm, style)]
    if row.category:
        parts += [" · ", one_line(row.category, 60)]
    return Content.assemble(*parts)


def _fields(row: Row) -> list[tuple[str, str, str]]:
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
