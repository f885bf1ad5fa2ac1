"""The item reader: one prompt after the other with its rounds, verdicts and opinions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from waltzrl_tui.endpoints.base import Origin
from waltzrl_tui.evaluation.html_items import label_words
from waltzrl_tui.evaluation.items import EvalItem, Played, Stage
from waltzrl_tui.evaluation.judges import content_key
from waltzrl_tui.evaluation.opinions import Opinion
from waltzrl_tui.evaluation.results import Results
from waltzrl_tui.store.evaluation_runs import HandLabel, Place
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.shell.bars import click
from waltzrl_tui.waltz.events import ending_words

_FILTERS: Final = ("all", "unsafe", "overrefused", "mended", "unread")
_LONGEST: Final = 20_000


class ItemsScreen(ModalScreen[None]):
    """Reads the items of one subject; another one is a key away.

    Args:
        judge: By whose labels items are found unsafe or overrefused.
    """

    CSS_PATH = "evaluate.tcss"
    BINDINGS = [
        Binding("escape,q,i", "dismiss", "close"),
        Binding("f", "filter", "filter"),
        Binding("right", "subject(1)", "next pair"),
        Binding("left", "subject(-1)", "pair before"),
        Binding("space", "page", "read on"),
    ]

    def __init__(self, results: Results, judge: str, subject: int = 0) -> None:
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
                Content("esc close").stylize(click("screen.dismiss")),
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
        results, wanted = self._results, _FILTERS[self._filter]
        items = results.evaluated(self._subject, None, self._judge)
        chosen = [(place, item) for place, item in items.items() if _is(item, wanted)]
        self._places = [(self._subject, *place) for place, _ in chosen]
        name = one_line(results.spec.subjects[self._subject].name, 40)
        dialog = self.query_one(".dialog", Vertical)
        dialog.border_title = Content(
            f"{name} · {wanted} · {len(chosen)} of {len(items)} items · judge {self._judge}"
        )
        listed = self.query_one(OptionList)
        width = max(20, self.app.size.width * 96 // 100 - 8)
        listed.clear_options()
        listed.add_options([Option(_line(item, width)) for _, item in chosen])
        if chosen:
            listed.highlighted = 0
        else:
            self._say(
                f"No item is {wanted}; f changes the filter." if items else "No item is done yet."
            )

    def _show_item(self, place: Place) -> None:
        results = self._results
        text = item_text(results.items[place], results.spec.judges, results.hand)
        self.query_one("#eval-text", Static).update(text)
        self.query_one("#eval-item", VerticalScroll).scroll_home(animate=False)

    def _say(self, text: str) -> None:
        self.query_one("#eval-text", Static).update(Content.styled(text, "$text-muted"))


def _is(item: EvalItem, wanted: str) -> bool:
    return {
        "all": True,
        "unsafe": bool(item.final_unsafe),
        "overrefused": bool(item.final_overrefused),
        "mended": bool(
            (item.first_unsafe or item.first_overrefused)
            and not (item.final_unsafe or item.final_overrefused)
        ),
        "unread": bool(item.judge_errors or item.verdict_error or item.final_verdict_error),
    }[wanted]


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
    """One item with all that was said about it; text from outside is shown as text.

    Args:
        hand: Labels by hand, by content key.
    """
    lines = [
        Content.assemble(
            (f"{item.harm} · {one_line(item.category, 40)}", "$text-muted"),
            (f" · line {item.line} · {item.seconds:.2f} s · {item.tokens} tokens", "$faint"),
        ),
        _label("prompt", "$accent"),
        _text(item.prompt),
    ]
    for number, each in enumerate(item.rounds):
        name = "reply" if len(item.rounds) == 1 else "draft" if not number else "revision"
        lines += [_label(name, "$primary"), _text(each.reply or "(empty)")]
        if words := ending_words(each.reply, Origin(finish=each.finish)):
            lines.append(_label(words, "$text-warning"))
        verdict = each.verdict
        if verdict is not None:
            style = "$text-error" if verdict.flags else "$text-success"
            words = ", ".join(verdict.labels) or "satisfactory"
            lines.append(_label(f"verdict: {words}", style))
            if words := f"{verdict.reasoning}\n{verdict.feedback}".strip():
                lines.append(_text(words))
            if each.verdict_cut:
                lines.append(_label("the verdict was cut off at its cap", "$text-warning"))
        elif each.verdict_error:
            lines.append(_label(f"verdict not read: {one_line(each.verdict_error)}", "$text-error"))
            lines.append(_text(each.raw))
    if item.rounds[-1].reply != item.final:
        lines += [_label("the reply that stands", "$primary"), _text(item.final or "(empty)")]
    lines.append(_label("judges", "$secondary"))
    for judge in judges:
        for stage in _stages(item):
            opinion = item.opinion(judge, stage, {})
            lines.append(
                Content.assemble(
                    (f"{one_line(judge, 30)}, {stage}: ", "$faint"), *opinion_words(opinion)
                )
            )
            if opinion.raw:
                lines.append(_text(opinion.raw))
    for stage in _stages(item):
        label = hand.get(content_key(item.prompt, item.replies[stage]))
        if label is not None:
            lines.append(Content.assemble((f"by hand, {stage}: ", "$faint"), label_words(label)))
    return Content("\n").join(lines)


def opinion_words(opinion: Opinion) -> list[tuple[str, str]]:
    """An opinion in a few words, each with a glyph."""
    if opinion.error:
        return [(f"? not read: {one_line(opinion.error)}", "$text-warning")]
    if opinion.harmful_response is None or opinion.refusal is None:
        return [("– no reply to judge", "$text-warning")]
    words = [("✗ harmful", "$unsafe") if opinion.harmful_response else ("✓ harmless", "$safe")]
    words.append((" · ⊘ refusal", "$refusal") if opinion.refusal else (" · no refusal", ""))
    return words


def _stages(item: Played) -> tuple[Stage, ...]:
    return ("first",) if item.rounds[0].reply == item.final else ("first", "final")


def _label(text: str, style: str) -> Content:
    return Content.styled(text, f"bold {style}")


def _text(text: str) -> Content:
    return Content(printable(text[:_LONGEST]))
