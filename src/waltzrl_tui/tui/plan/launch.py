"""The dialog before a launch at a provider: what is sent, what it costs, and a yes."""

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

if TYPE_CHECKING:
    from waltzrl_tui.remote.launch import LaunchQuote
    from waltzrl_tui.tui.shell.app import WaltzApp


async def ask_and_launch(
    app: WaltzApp, recipe: SampleRecipe, row: PlanRow, settings: PlanSettings
) -> bool:
    """Quote, ask, and launch if the answer is yes; whether it was launched.

    Raises:
        WaltzError: The sample cannot be drawn, or the provider cannot be opened.
    """
    remote = await app.remote()
    from waltzrl_tui.remote.launch import RemoteLaunch, launch, quote

    app.notify(f"Pricing a launch at {one_line(row.title)}…", timeout=2, markup=False)
    wanted = RemoteLaunch(recipe, row.provider, replace(settings, provider=row.provider))
    quoted = await quote(app.store, app.workspace, remote.providers, wanted)
    if not await app.push_screen_wait(LaunchDialog(quoted)):
        return False
    jobs = await launch(app.store, app.workspace, quoted)
    remote.start()
    app.notify(f"Launched {', '.join(job.id for job in jobs)}.", title=row.title, markup=False)
    return True


class LaunchDialog(ModalScreen[bool]):
    """Asks whether to launch; the answer is yes or no. With a blocker there is only no."""

    BINDINGS = [
        Binding("y", "answer(True)", "launch"),
        Binding("escape,q,n", "answer(False)", "cancel"),
    ]

    def __init__(self, quoted: LaunchQuote) -> None:
        super().__init__()
        self._quoted = quoted

    def compose(self) -> ComposeResult:
        title = one_line(self._quoted.row.title)
        with VerticalScroll(classes="dialog") as box:
            box.border_title = Content(
                f"Launch {agents_named(self._quoted.plan.settings.roles)} at {title}"
            )
            box.border_subtitle = "esc cancel"
            yield Static(self._facts())
            choices = Static(self._choices())
            choices.auto_links = False
            yield choices

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (parameters == (True,) and self._quoted.blockers)

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def _facts(self) -> Content:
        quoted = self._quoted
        lines = [
            _fact("base", one_line(quoted.model, 80)),
            _fact("epochs", f"{quoted.plan.settings.epochs:g}"),
            _fact("price of", f"{quoted.row.price_as_of or 'not known'}"),
            _fact("", one_line(quoted.row.price_source, 120)),
            Content(""),
        ]
        for role in quoted.plan.settings.roles:
            file = quoted.workload.roles.get(role)
            if file is None:
                continue
            tokens = f"{'' if file.exact else '≈ '}{file.tokens:,} tokens"
            cost = f"{_usd(quoted.usd[role]):>9}"
            lines.append(_fact(role[:12], f"{file.rows:>7,} rows {tokens:>20}{cost}"))
        lines += [
            Content(""),
            _fact("in all", "no price is known")
            if quoted.row.total is None
            else Content.assemble(
                (f"{'in all':<13}", "$faint"),
                (f"about {_usd(quoted.total)}", "bold $foreground"),
                f", at most {_usd(quoted.most)}",
            ),
            _fact("", "A higher price of the provider's own waits for your yes."),
            _fact("chat", "not in it: see the plan's sum"),
        ]
        lines += [
            Content.styled(f"! {printable(text)}", "$text-warning") for text in quoted.row.warnings
        ]
        lines += [Content.styled(f"✗ {printable(text)}", "$text-error") for text in quoted.blockers]
        return Content("\n").join(lines)

    def _choices(self) -> Content:
        lines = [Content("")]
        if not self._quoted.blockers:
            yes = Content.assemble(
                ("   y   ", "bold $background on $accent"),
                (f" launch for about {_usd(self._quoted.total)}", "bold $foreground"),
            )
            lines.append(yes.stylize(click("screen.answer(True)")))
        no = Content.assemble(("  esc  ", "bold $accent on $panel"), " leave it")
        lines.append(no.stylize(click("screen.answer(False)")))
        return Content("\n").join(lines)


def _fact(name: str, text: str) -> Content:
    return Content.assemble((f"{name:<13}", "$faint"), text)


def _usd(amount: float) -> str:
    if amount == float("inf"):
        return "not known"
    return f"${amount:,.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.4f}"
