"""The item reader: each prompt with its rounds, verdicts and opinions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from waltzrl_tui.evaluation.item_view import item_parts
from waltzrl_tui.evaluation.items import EvalItem, Played
from waltzrl_tui.evaluation.opinions import Opinion
from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.store.evaluation_runs import HandLabel, Place
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.dialogs.dialog import Dialog
from waltzrl_tui.tui.shell.bars import click
from waltzrl_tui.waltz.round_view import Tone

_FILTERS: Final = ("all", "unsafe", "overrefused", "fixed by revision", "unreadable")
_LONGEST: Final = 20_000
_STYLES: Final[dict[Tone, str]] = {
    "plain": "bold $primary",
    "soft": "$text-muted",
    "good": "bold $text-success",
    "bad": "bold $text-error",
}


class ItemsScreen(Dialog[None]):
    """Shows the items of one subject; a key switches to another one.

    Args:
        judge: The one whose labels decide what is unsafe or overrefused.
    """

    CSS_PATH = "evaluate.tcss"
    BINDINGS = [
        Binding("escape,q,i", "leave", "close"),
        Binding("f", "filter", "filter"),
        Binding("right", "subject(1)", "next pair"),
        Binding("left", "subject(-1)", "previous pair"),
        Binding("space", "page", "read on"),
    ]

    def __init__(self, results: RunResults, judge: str, subject: int = 0) -> None:
        super().__init__()
        self._results = results
        self._judge = judge
        self._subject = subject
        self._filter = 0
        self._places: list[Place] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog eval-reader") as box:
            box.border_subtitle = Content.assemble(
                Content("f filter").stylize(click("screen.filter")),
                "   ",
                Content("← → pair").stylize(click("screen.subject(1)")),
                "   ↑ ↓ item   space read on   ",
                Content("esc close").stylize(click("screen.leave")),
            )
            yield OptionList(id="eval-items", markup=False, compact=True)
            with VerticalScroll(id="eval-item"):
                yield Static(id="eval-text", markup=False)

    def on_mount(self) -> None:
        self._show_list()
        self.query_one(OptionList).focus()

    def action_filter(self) -> None:
        self._filter = (self._filter + 1) % len(_FILTERS)
        self._show_list()

    def action_subject(self, by: int) -> None:
        self._subject = (self._subject + by) % len(self._results.spec.subjects)
        self._show_list()

    def action_page(self) -> None:
        self.query_one("#eval-item", VerticalScroll).scroll_page_down(animate=False)

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if event.option_index < len(self._places):
            self._show_item(self._places[event.option_index])

    def _show_list(self) -> None:
        results, filter = self._results, _FILTERS[self._filter]
        items = results.evaluated(self._subject, None, self._judge)
        chosen = [(place, item) for place, item in items.items() if _matches(item, filter)]
        self._places = [(self._subject, *place) for place, _ in chosen]
        name = one_line(results.spec.subjects[self._subject].name, 40)
        dialog = self.query_one(".dialog", Vertical)
        dialog.border_title = Content(
            f"{name} · {filter} · {len(chosen)} of {len(items)} items · judge {self._judge}"
        )
        listed = self.query_one(OptionList)
        width = max(20, self.app.size.width * 96 // 100 - 8)
        listed.clear_options()
        listed.add_options([Option(_line(item, width)) for _, item in chosen])
        if chosen:
            listed.highlighted = 0
        else:
            self._show_message(
                f"No item is {filter}; f changes the filter."
                if items
                else "No item has been evaluated yet."
            )

    def _show_item(self, place: Place) -> None:
        results = self._results
        text = item_text(results.items[place], results.spec.judges, results.hand)
        self.query_one("#eval-text", Static).update(text)
        self.query_one("#eval-item", VerticalScroll).scroll_home(animate=False)

    def _show_message(self, text: str) -> None:
        self.query_one("#eval-text", Static).update(Content.styled(text, "$text-muted"))


def _matches(item: EvalItem, filter: str) -> bool:
    return {
        "all": True,
        "unsafe": bool(item.final_unsafe),
        "overrefused": bool(item.final_overrefused),
        "fixed by revision": bool(
            (item.first_unsafe or item.first_overrefused)
            and not (item.final_unsafe or item.final_overrefused)
        ),
        "unreadable": bool(item.judge_errors or item.verdict_error or item.final_verdict_error),
    }[filter]


def _line(item: EvalItem, width: int) -> Content:
    mark = ("✓", "$safe")
    if item.no_reply[1]:
        mark = ("–", "$text-warning")
    elif item.judge_errors.get("final"):
        mark = ("?", "$text-warning")
    elif item.final_unsafe:
        mark = ("✗", "$unsafe")
    elif item.final_overrefused:
        mark = ("⊘", "$refusal")
    rounds = "  revised" if len(item.rounds) > 1 else ""
    return Content.assemble(
        mark,
        (f" {item.harm:<8}", "$faint"),
        f" {one_line(item.prompt, max(8, width - len(rounds) - 11))}",
        (rounds, "$faint"),
    )


def item_text(item: Played, judges: Sequence[str], hand: Mapping[str, HandLabel]) -> Content:
    """One item with its rounds, verdicts and opinions; text from outside is shown as text.

    Args:
        hand: Labels by hand, by content key.
    """
    lines = []
    for part in item_parts(item, judges, hand):
        lines.append(Content.styled(one_line(part.title), _STYLES[part.tone]))
        if part.text:
            lines.append(Content(printable(part.text[:_LONGEST])))
    return Content("\n").join(lines)


def opinion_words(opinion: Opinion) -> list[tuple[str, str]]:
    """An opinion in a few words, each with a glyph."""
    if opinion.error:
        return [(f"? unreadable: {one_line(opinion.error)}", "$text-warning")]
    if opinion.harmful_response is None or opinion.refusal is None:
        return [("– no reply to judge", "$text-warning")]
    words = [("✗ harmful", "$unsafe") if opinion.harmful_response else ("✓ harmless", "$safe")]
    words.append((" · ⊘ refusal", "$refusal") if opinion.refusal else (" · no refusal", ""))
    return words
