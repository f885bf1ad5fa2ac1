"""The dialog that corrects a turn or its verdict and saves it as a training row."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static, TextArea

from waltzrl_tui.chat.training_rows import append_row, conversation_row, feedback_row
from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.records.labels import Harm
from waltzrl_tui.records.messages import Message
from waltzrl_tui.records.verdict import FLAGS, TEXTS, Verdict
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.dialogs.dialog import Dialog
from waltzrl_tui.tui.dialogs.fields import Choice

_KINDS: Final = ("conversation", "feedback")
_LABELS: Final[dict[str, Harm]] = {"no label": "", "benign": "benign", "harmful": "harmful"}
_YES: Final = ("no", "yes")


@dataclass(frozen=True, slots=True)
class EditResult:
    """What was saved.

    Attributes:
        round: The round that was corrected, with what changed in it ({} for nothing).
        path, line: The file of the training row, and its line.
    """

    round: int
    change: dict[str, Any]
    path: Path
    line: int


class EditTurn(Dialog[EditResult]):
    """Returns what was saved, or None.

    Args:
        turn: The turn to correct: its final reply; for a verdict, the draft it judges.
        before: The turns before it, which a conversation row begins with.
        folder: The folder of the dataset, if its name has none.
        harm: The prompt's label, if it has one.
    """

    BINDINGS = [
        Binding("escape", "leave", "cancel"),
        Binding("ctrl+s", "save", "save", priority=True),
        Binding("ctrl+t", "turn", "other agent", priority=True),
    ]

    def __init__(
        self, turn: Turn, before: list[Message], folder: Path, name: str, harm: Harm = ""
    ) -> None:
        super().__init__()
        self._turn = turn
        self._before = before
        self._folder = folder
        self._file = name
        self._harm = harm
        judged = [n for n, state in enumerate(turn.rounds) if state.verdict is not None]
        replied = [n for n, state in enumerate(turn.rounds) if state.reply]
        self._rounds = {
            "conversation": replied[-1] if replied else 0,
            # The first verdict is the one that decided.
            "feedback": judged[0] if judged else replied[0] if replied else 0,
        }

    @property
    def _kind(self) -> str:
        return self.query_one("#edit-kind", Choice).value

    @property
    def _round(self) -> int:
        return self._rounds[self._kind]

    def compose(self) -> ComposeResult:
        verdict = self._verdict
        with VerticalScroll(classes="dialog chat-edit") as box:
            box.border_title = "Training row"
            box.border_subtitle = "ctrl+s save · ctrl+t other agent · tab next field · esc cancel"
            yield Choice("for the", _KINDS, id="edit-kind", label_width=12)
            yield Choice("prompt is", tuple(_LABELS), id="edit-harm", label_width=12)
            yield _text("prompt", self._turn.prompt, "edit-prompt")
            yield _text("reply", self._reply("conversation"), "edit-reply")
            with Vertical(id="edit-verdict"):
                for name, flag in FLAGS.items():
                    yield Choice(flag.label, _YES, id=f"edit-{name}", label_width=12)
                for name in TEXTS:
                    yield _text(name, getattr(verdict, name), f"edit-{name}")
            field = Input(self._file, id="edit-file", compact=True, max_length=400)
            field.cursor_blink = False
            field.border_title = "into"
            yield field
            yield Static(id="edit-status")

    def on_mount(self) -> None:
        verdict = self._verdict
        label = next(word for word, harm in _LABELS.items() if harm == self._harm)
        self.query_one("#edit-harm", Choice).value = label
        for name in FLAGS:
            self.query_one(f"#edit-{name}", Choice).value = _YES[name in verdict.flags]
        self._fit()
        self.query_one("#edit-reply", TextArea).focus()

    @on(Choice.Changed)
    def _kind_changed(self, event: Choice.Changed) -> None:
        if event.choice.id == "edit-kind":
            self._fit()

    def _fit(self) -> None:
        feedback = self._kind == "feedback"
        self.query_one("#edit-verdict").display = feedback
        self.query_one("#edit-reply", TextArea).text = printable(self._reply(self._kind))
        lesson = (
            "The feedback agent will learn this verdict."
            if feedback
            else "The conversation agent will learn this reply."
        )
        self._show_status(lesson, "$text-muted")

    def action_turn(self) -> None:
        self.query_one("#edit-kind", Choice).action_turn(1)

    async def action_save(self) -> None:
        try:
            row, change = self._row()
            path = Path(self.query_one("#edit-file", Input).value.strip()).expanduser()
            target = path if path.is_absolute() else self._folder / path
            line = await asyncio.to_thread(append_row, target, row)
        except WaltzError as error:
            self._show_status(f"✗ {error.message} {error.hint}", "$text-error")
            return
        self.dismiss(EditResult(self._round, change, target, line))

    def _row(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The training row, and what changed in the round."""
        prompt = self._field("edit-prompt", self._turn.prompt)
        shown = self._reply(self._kind)
        reply = self._field("edit-reply", shown)
        harm = _LABELS[self.query_one("#edit-harm", Choice).value]
        change: dict[str, Any] = {} if reply == shown else {"text": reply}
        if self._kind == "conversation":
            return conversation_row(prompt, reply, harm=harm, history=self._before), change
        old = self._verdict
        flags = {name: self.query_one(f"#edit-{name}", Choice).value == "yes" for name in FLAGS}
        texts = {name: self._field(f"edit-{name}", getattr(old, name)) for name in TEXTS}
        verdict = Verdict.model_validate(flags | texts)
        if verdict != self._stored_verdict:
            change["verdict"] = verdict.model_dump()
        return feedback_row(prompt, reply, verdict, harm=harm), change

    def _field(self, id: str, original: str) -> str:
        """The text of a field; the original where the printable form of it was not changed."""
        text = self.query_one(f"#{id}", TextArea).text
        return original if text == printable(original) else text

    def _reply(self, kind: str) -> str:
        number = self._rounds[kind]
        return self._turn.rounds[number].reply if number < len(self._turn.rounds) else ""

    @property
    def _stored_verdict(self) -> Verdict | None:
        number = self._rounds["feedback"]
        return self._turn.rounds[number].verdict if number < len(self._turn.rounds) else None

    @property
    def _verdict(self) -> Verdict:
        return self._stored_verdict or Verdict.of()

    def _show_status(self, text: str, style: str) -> None:
        status = self.query_one("#edit-status", Static)
        status.update(Content.styled(printable(text), style))
        status.scroll_visible(animate=False)


def _text(label: str, text: str, id: str) -> TextArea:
    area = TextArea(printable(text), id=id, compact=True, show_line_numbers=False)
    area.cursor_blink = False
    area.border_title = one_line(label)
    return area
