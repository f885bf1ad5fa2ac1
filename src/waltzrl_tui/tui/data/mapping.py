"""The dialog that shows which field of a file is what, and lets the user correct it."""

from __future__ import annotations

from collections.abc import Mapping as AbcMapping
from collections.abc import Sequence
from typing import Any, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from waltzrl_tui.datasets.reading.mappings import correct_mapping, label_values
from waltzrl_tui.datasets.reading.parse import parse_row
from waltzrl_tui.datasets.reading.rows import FIELD_PARTS, BadRow, Mapping, Row
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.dialogs.fields import Choice
from waltzrl_tui.tui.tables.columns import fit

_NONE: Final = "–"
_CONSTANTS: Final = {"harm": ("=harmful", "=benign")}
_CONSTANT_LABELS: Final = {"=harmful": "all harmful", "=benign": "all benign"}
_LABEL: Final = 12
_BY_NAME: Final = "as its values say"
_VALUES: Final = 20
_SHOWN: Final = 3


class MappingDialog(ModalScreen[Mapping | None]):
    """Asks which field is the prompt, the reply and so on; the answer is the new mapping.

    Args:
        mapping: As it is now. `guessed`: as it would be without the user.
        lines: The first lines of the file, of which three rows are shown as they would be read.
        objects: The same, parsed, those that can be.
    """

    BINDINGS = [
        Binding("ctrl+s", "save", "keep"),
        Binding("g", "guess", "guess"),
        Binding("down", "app.focus_next", "next", show=False),
        Binding("up", "app.focus_previous", "previous", show=False),
        Binding("enter", "save", "keep", priority=True),
        Binding("escape,q", "dismiss", "cancel"),
    ]
    DEFAULT_CSS = """
    MappingDialog #mapping-rows { margin-top: 1; }
    """

    def __init__(
        self,
        name: str,
        mapping: Mapping,
        guessed: Mapping,
        lines: Sequence[bytes],
        objects: Sequence[AbcMapping[str, Any]],
    ) -> None:
        super().__init__()
        self._file, self._guessed = name, guessed
        self._lines, self._objects = lines, objects
        self._mapping: Mapping | None = mapping
        self._fields: dict[str, Choice] = {}
        self._values: dict[str, dict[str, str]] = {}
        fields = list(dict.fromkeys(key for record in objects for key in record))
        for part in FIELD_PARTS:
            self._values[part] = _words(part, fields, mapping, guessed)
        self._values["harmful"] = self._harmful_words(mapping)
        for part, values in self._values.items():
            name = part.replace("_", " ")
            field = Choice(name, tuple(values), id=f"map-{part}", label_width=_LABEL)
            field.set_reactive(Choice.value, _word(values, mapping.text(part)))
            self._fields[part] = field
        self._rows = Static(id="mapping-rows", markup=False)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as box:
            box.border_title = Content(f"Fields of {one_line(self._file, 40)}")
            box.border_subtitle = "enter keep · g guess · esc cancel"
            yield from self._fields.values()
            yield self._rows

    def on_mount(self) -> None:
        self._fields["prompt"].focus()
        self.call_after_refresh(self._preview)  # When its width is known.

    @on(Choice.Changed)
    def _changed(self, event: Choice.Changed) -> None:
        event.stop()
        if event.choice is self._fields["harm"]:
            # What was said of another field's values would turn this one's labels round.
            harm = Mapping.from_text("prompts", {"harm": self._values["harm"][event.value]})
            self._values["harmful"] = self._harmful_words(harm)
            self._fields["harmful"].set_words(tuple(self._values["harmful"]))
            self._fields["harmful"].value = next(iter(self._values["harmful"]))
        self._preview()

    def action_guess(self) -> None:
        for part, field in self._fields.items():
            field.value = _word(self._values[part], self._guessed.text(part))

    def action_save(self) -> None:
        if self._mapping is not None:
            self.dismiss(self._mapping)

    def _harmful_words(self, mapping: Mapping) -> dict[str, str]:
        """Which value of the harm field means harmful, by what is shown for it."""
        values = [mapping.text("harmful"), *label_values(mapping, self._objects)[:_VALUES]]
        return {_BY_NAME: ""} | {one_line(value, 40): value for value in values if value}

    def _preview(self) -> None:
        chosen = {part: self._values[part][field.value] for part, field in self._fields.items()}
        try:
            self._mapping = correct_mapping(self._guessed, chosen, self._objects)
        except WaltzError as error:
            self._mapping = None
            self._rows.update(Content.styled(f"✗ {printable(str(error))}", "$text-error"))
            return
        rows = [parse_row(number + 1, raw, self._mapping) for number, raw in enumerate(self._lines)]
        good = sum(isinstance(row, Row) for row in rows)
        style = "$text-success" if good == len(rows) else "$text-warning"
        mark = "✓" if good == len(rows) else "✗"
        head = Content.styled(f"{mark} {good:,} of the first {len(rows):,} lines are rows", style)
        width = max(30, self._rows.size.width)
        self._rows.update(Content("\n").join([head, *_shown(rows, width)]))


def _words(part: str, fields: Sequence[str], mapping: Mapping, guessed: Mapping) -> dict[str, str]:
    """What a part can be, by what is shown for it."""
    values = [] if part == "prompt" else [""]
    # Such as two fields of which the first that is filled counts.
    values += [each.text(part) for each in (mapping, guessed)]
    values += [*fields, *_CONSTANTS.get(part, ())]
    return {_CONSTANT_LABELS.get(value) or one_line(value, 40) or _NONE: value for value in values}


def _word(words: dict[str, str], value: str) -> str:
    return next((word for word, known in words.items() if known == value), next(iter(words)))


def _shown(rows: Sequence[Row | BadRow], width: int) -> list[Content]:
    """Three rows, good ones before bad ones, a line for each part."""
    lines: list[Content] = []
    for row in sorted(rows, key=lambda row: isinstance(row, BadRow))[:_SHOWN]:
        lines.append(Content.styled(f"row {row.line:,}", "$faint"))
        if isinstance(row, BadRow):
            text = fit(f"  ✗ {one_line(row.reason, 200)}", width).rstrip()
            lines.append(Content.styled(text, "$text-error"))
            continue
        harm = row.harm or (f"{one_line(row.label, 40)} is not understood" if row.label else _NONE)
        labels = [harm, one_line(row.category, 40), row.reply_label and f"{row.reply_label} reply"]
        for name, text in (
            ("prompt", row.prompt),
            ("reply", row.reply or _NONE),
            ("labels", " · ".join(word for word in labels if word)),
        ):
            line = fit(one_line(text, 200), max(1, width - 10)).rstrip()
            lines.append(Content.assemble((f"  {name:<8}", "$text-muted"), line))
    return lines
