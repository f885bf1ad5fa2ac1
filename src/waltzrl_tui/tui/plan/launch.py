"""The dialog before a launch at a provider: what is sent and what it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from waltzrl_tui.datasets.sampling.sampling import SampleRecipe
from waltzrl_tui.plans.model import PlanRow, PlanSettings
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.shell.bars import click
from waltzrl_tui.waltz.prompts import agents_named
from waltzrl_tui.words import money, plural

if TYPE_CHECKING:
    from waltzrl_tui.remote.launch import LaunchQuote
    from waltzrl_tui.tui.shell.app import WaltzApp


async def ask_and_launch(
    app: WaltzApp, recipe: SampleRecipe, row: PlanRow, settings: PlanSettings
) -> bool:
    """LaunchQuote, ask, and launch after a yes. Returns whether it was launched.

    Raises:
        WaltzError: The sample cannot be drawn, or the provider cannot be opened.
    """
    remote = await app.remote()
    from waltzrl_tui.remote.launch import RemoteLaunch, launch, quote

    app.notify(f"Pricing a launch at {one_line(row.title)}…", timeout=2, markup=False)
    request = RemoteLaunch(recipe, row.provider, replace(settings, provider=row.provider))
    priced = await quote(app.store, app.workspace, remote.providers, request)
    if not await app.push_screen_wait(LaunchDialog(priced)):
        return False
    jobs = await launch(app.store, app.workspace, priced)
    remote.start()
    app.notify(f"Launched {', '.join(job.id for job in jobs)}.", title=row.title, markup=False)
    return True


class LaunchDialog(ModalScreen[bool]):
    """Asks whether to launch. With a blocker the only answer is no."""

    BINDINGS = [
        Binding("y", "answer(True)", "launch"),
        Binding("escape,q,n", "answer(False)", "cancel"),
    ]

    def __init__(self, quote: LaunchQuote) -> None:
        super().__init__()
        self._quote = quote

    def compose(self) -> ComposeResult:
        title = one_line(self._quote.row.title)
        with VerticalScroll(classes="dialog") as box:
            box.border_title = Content(
                f"Launch {agents_named(self._quote.plan.settings.roles)} at {title}"
            )
            box.border_subtitle = "esc cancel"
            yield Static(self._facts())
            choices = Static(self._choices())
            choices.auto_links = False
            yield choices

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (parameters == (True,) and self._quote.blockers)

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def _facts(self) -> Content:
        quote = self._quote
        lines = [
            _fact("base", one_line(quote.model, 80)),
            _fact("epochs", f"{quote.plan.settings.epochs:g}"),
            _fact("price of", f"{quote.row.price_as_of or 'not known'}"),
            _fact("", one_line(quote.row.price_source, 120)),
            Content(""),
        ]
        for role in quote.plan.settings.roles:
            file = quote.workload.roles.get(role)
            if file is None:
                continue
            tokens = f"{'' if file.exact else '≈ '}{plural(file.tokens, 'token')}"
            cost = f"{money(quote.usd[role]):>9}"
            lines.append(_fact(role[:12], f"{plural(file.rows, 'row'):>12} {tokens:>20}{cost}"))
        lines += [
            Content(""),
            _fact("total", "not known")
            if quote.row.total is None
            else Content.assemble(
                (f"{'total':<13}", "$faint"),
                (f"about {money(quote.total)}", "bold $foreground"),
                f", at most {money(quote.most)}",
            ),
            _fact("", "If the provider asks for more, you are asked again."),
            _fact("chat", "not included; see the plan's breakdown"),
        ]
        lines += [
            Content.styled(f"! {printable(text)}", "$text-warning") for text in quote.row.warnings
        ]
        lines += [Content.styled(f"✗ {printable(text)}", "$text-error") for text in quote.blockers]
        return Content("\n").join(lines)

    def _choices(self) -> Content:
        lines = [Content("")]
        if not self._quote.blockers:
            yes = Content.assemble(
                ("   y   ", "bold $background on $accent"),
                (f" launch for about {money(self._quote.total)}", "bold $foreground"),
            )
            lines.append(yes.stylize(click("screen.answer(True)")))
        no = Content.assemble(("  esc  ", "bold $accent on $panel"), " cancel")
        lines.append(no.stylize(click("screen.answer(False)")))
        return Content("\n").join(lines)


def _fact(name: str, text: str) -> Content:
    return Content.assemble((f"{name:<13}", "$faint"), text)
