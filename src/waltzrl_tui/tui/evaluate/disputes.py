"""The replies on which the judges differ, each settled by one key."""

from __future__ import annotations

from typing import Final

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from waltzrl_tui.evaluation.item_view import label_words
from waltzrl_tui.evaluation.results import Dispute, RunResults
from waltzrl_tui.store import Store
from waltzrl_tui.store.evaluation_runs import HandLabel
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.dialogs.dialog import Dialog
from waltzrl_tui.tui.evaluate.items import opinion_words
from waltzrl_tui.tui.evaluate.lines import agreement_lines
from waltzrl_tui.tui.shell.bars import click

_LABELS: Final = {
    "u": HandLabel(harmful=True, refusal=False),
    "r": HandLabel(harmful=False, refusal=True),
    "f": HandLabel(harmful=False, refusal=False),
}
_LONGEST: Final = 20_000


class DisputesScreen(Dialog[None]):
    """One disputed reply at a time: unsafe, refusal or fine, and on to the next."""

    CSS_PATH = "evaluate.tcss"
    BINDINGS = [
        Binding("escape,q,d", "leave", "close"),
        Binding("u", "label('u')", "unsafe"),
        Binding("r", "label('r')", "refusal"),
        Binding("f", "label('f')", "fine"),
        Binding("c", "label('')", "clear"),
        Binding("right,down,n", "step(1)", "next"),
        Binding("left,up,p", "step(-1)", "previous"),
        Binding("space", "page", "read on"),
    ]

    def __init__(self, store: Store, results: RunResults) -> None:
        super().__init__()
        self._store = store
        self._results = results
        # The order is fixed while it is open, or the next one would jump away.
        self._disputes = results.disputes()
        self._at = 0

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog eval-reader") as box:
            keys = (("u", "unsafe"), ("r", "refusal"), ("f", "fine"), ("", "c clear"))
            box.border_subtitle = Content("   ").join(
                [
                    Content(f"{key} {what}".strip()).stylize(click(f"screen.label({key!r})"))
                    for key, what in keys
                ]
                + [Content("← → other"), Content("esc close").stylize(click("screen.leave"))]
            )
            with VerticalScroll(id="eval-dispute"):
                yield Static(id="eval-text", markup=False)

    def on_mount(self) -> None:
        self.query_one("#eval-dispute", VerticalScroll).focus()
        self._show()

    def action_step(self, by: int) -> None:
        if self._disputes:
            self._at = (self._at + by) % len(self._disputes)
            self._show()

    def action_page(self) -> None:
        self.query_one("#eval-dispute", VerticalScroll).scroll_page_down(animate=False)

    async def action_label(self, key: str) -> None:
        if not self._disputes:
            return
        label = _LABELS.get(key)
        await self._store.runs.label(self._disputes[self._at].key, label)
        self._results.settle(await self._store.runs.labels())
        if label is not None:
            self._next_open()
        self._show()

    def _next_open(self) -> None:
        """Go to the next one that is not settled; stay if all are."""
        count = len(self._disputes)
        for by in range(1, count + 1):
            at = (self._at + by) % count
            if self._disputes[at].key not in self._results.hand:
                self._at = at
                return

    def _show(self) -> None:
        results, disputes = self._results, self._disputes
        dialog = self.query_one(".dialog", Vertical)
        settled = sum(each.key in results.hand for each in disputes)
        dialog.border_title = Content(
            f"Disputed replies · {self._at + 1 if disputes else 0} of {len(disputes)} · "
            f"{settled} settled"
        )
        self.query_one("#eval-text", Static).update(
            self._text(disputes[self._at])
            if disputes
            else Content("The judges agree on every reply, and every opinion was readable.")
        )
        self.query_one("#eval-dispute", VerticalScroll).scroll_home(animate=False)

    def _text(self, dispute: Dispute) -> Content:
        item = dispute.item
        label = self._results.hand.get(dispute.key)
        status = Content.styled("not settled", "$text-warning")
        if label is not None:
            words = f"settled by hand: {label_words(label)}"
            status = Content.styled(words, "bold $text-success")
        lines = [
            Content.assemble((f"{item.harm} · {one_line(item.category, 40)}  ", "$faint"), status)
        ]
        for judge in self._results.spec.judges:
            opinion = item.opinion(judge, dispute.stage, {})
            lines.append(
                Content.assemble(
                    (f"{one_line(judge, 24):<24}  ", "$faint"), *opinion_words(opinion)
                )
            )
        lines += [
            Content.styled("prompt", "bold $accent"),
            Content(printable(item.prompt[:_LONGEST])),
            Content.styled("reply", "bold $primary"),
            Content(printable(dispute.reply[:_LONGEST]) or "(empty)"),
            Content(""),
            *agreement_lines(self._results, self.app.size.width * 96 // 100 - 6),
        ]
        return Content("\n").join(lines)
