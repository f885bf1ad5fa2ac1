"""The dialog before training: the data, the steps, the cost and the time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from waltzrl_tui.datasets.sampling.sampling import SampleCounts, SampleRecipe
from waltzrl_tui.records.roles import ROLES, Role
from waltzrl_tui.text import one_line
from waltzrl_tui.training.time_estimate import TimeEstimate, estimate
from waltzrl_tui.tui.data.model import SamplePlan
from waltzrl_tui.tui.shell.bars import click
from waltzrl_tui.waltz.prompts import agents_named
from waltzrl_tui.words import duration, money, percent, plural

if TYPE_CHECKING:
    from waltzrl_tui.training.launch import Stage1
    from waltzrl_tui.tui.shell.app import WaltzApp

Speed = Literal["full", "quick"]


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to train; `counts` is None when not known."""

    speed: Speed
    recipe: SampleRecipe
    counts: SampleCounts | None
    estimate: TimeEstimate | None

    @property
    def rows(self) -> int | None:
        """Rows it trains on, None when not known."""
        if self.counts is None:
            return None
        known = self.counts.train + self.counts.valid
        return known if self.recipe.n is None else min(known, self.recipe.n)


async def ask_and_launch(app: WaltzApp, plan: SamplePlan) -> bool:
    """Ask, and launch the jobs after a yes. Returns whether they were launched.

    Raises:
        WaltzError: The sample cannot be drawn, or the engine cannot train here.
    """
    # A slow import, not needed earlier.
    stage1 = await asyncio.to_thread(import_module, "waltzrl_tui.training.launch")
    full: Stage1 = stage1.Stage1(plan.recipe, roles=plan.roles)
    most = stage1.Stage1(plan.recipe, quick=True).settings.rows
    limit = plan.recipe.n
    fewer = replace(plan.recipe, n=most if limit is None else min(most, limit))
    quick: Stage1 = stage1.Stage1(fewer, roles=plan.roles, quick=True)
    rows = plan.counts.train + plan.counts.valid if plan.counts else 0
    offer = Offer(
        speed="full",
        recipe=plan.recipe,
        counts=plan.counts,
        estimate=await estimate(app.store, full, rows),
    )
    shorter = await estimate(app.store, quick, min(rows, fewer.n or rows))
    answer = await app.push_screen_wait(
        TrainDialog(
            offer,
            replace(offer, speed="quick", recipe=fewer, estimate=shorter),
            model=stage1.DEFAULT_MODEL,
            roles=plan.roles,
        )
    )
    if answer is None:
        return False
    app.notify("Drawing the sample and starting the workers…", timeout=3, markup=False)
    jobs = await stage1.launch(app.store, app.workspace, quick if answer == "quick" else full)
    names = ", ".join(job.id for job in jobs)
    app.notify(f"Started {names}.", title="Training", markup=False)
    return True


class TrainDialog(ModalScreen[Speed | None]):
    """Asks whether to train; returns the speed, or None."""

    BINDINGS = [
        Binding("enter,t", "answer('full')", "train"),
        Binding("k", "answer('quick')", "quick"),
        Binding("escape,q,n", "answer('')", "cancel"),
    ]

    def __init__(
        self, full: Offer, quick: Offer, *, model: str, roles: tuple[Role, ...] = ROLES
    ) -> None:
        super().__init__()
        self._full, self._quick, self._model, self._roles = full, quick, model, roles

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as box:
            box.border_title = f"Train {agents_named(self._roles)} on this machine"
            box.border_subtitle = "esc cancel"
            yield Static(self._facts())
            choices = Static(self._choices())
            choices.auto_links = False
            yield choices

    def action_answer(self, speed: str) -> None:
        self.dismiss("full" if speed == "full" else "quick" if speed == "quick" else None)

    def _facts(self) -> Content:
        recipe = self._full.recipe
        lines = [
            _fact("dataset", one_line(Path(recipe.source).name, 60)),
            _fact("sample", _sample(self._full)),
            _fact("", _drawn(recipe)),
            _fact("base", one_line(self._model, 60)),
            Content(""),
            *(
                _fact("" if number > 1 else "runs", f"{number}  {step}")
                for number, step in enumerate(self._steps(), 1)
            ),
            _fact("", "They continue when this app or the connection is closed."),
            Content(""),
            _fact("cost", Content.styled(money(0), "bold $text-success")),
            _fact("time", _time(self._full, self._quick)),
        ]
        return Content("\n").join(lines)

    def _steps(self) -> Iterator[str]:
        yield "sample the base model's own replies to the prompts"
        if "conversation" in self._roles:
            yield "conversation agent: LoRA on prompts and replies"
        if "feedback" in self._roles:
            yield "feedback agent: LoRA on verdicts over those replies"

    def _choices(self) -> Content:
        choices = _choice("enter", "train", self._full), _choice("k", "quick try", self._quick)
        return Content("\n").join([Content(""), *choices])


def _fact(name: str, text: str | Content) -> Content:
    return Content.assemble((f"{name:<9}", "$faint"), text)


def _sample(offer: Offer) -> str:
    if offer.counts is None:
        size = "all rows" if offer.recipe.n is None else f"up to {plural(offer.recipe.n, 'row')}"
        return f"{size}, {percent(offer.recipe.valid)} of them for validation (not counted yet)"
    return f"{plural(offer.counts.train, 'row')} to train on, {offer.counts.valid:,} for validation"


def _drawn(recipe: SampleRecipe) -> str:
    duplicates = "no duplicates" if recipe.dedupe == "exact" else "duplicates kept"
    balance = f"balanced by {recipe.balance}" if recipe.balance else "not balanced"
    return f"seed {recipe.seed} · {duplicates} · {balance}"


def _time(*offers: Offer) -> str:
    known = [offer.estimate for offer in offers if offer.estimate]
    if not known:
        return "not measured yet on this machine"
    jobs = " and ".join(dict.fromkeys(estimate.after for estimate in known))
    return f"estimated from job {jobs}"


def _choice(key: str, label: str, offer: Offer) -> Content:
    facts = [plural(offer.rows, "row")] if offer.rows else []
    if offer.speed == "quick":
        facts.append("less training")
    if offer.estimate:
        facts.append(f"~{duration(offer.estimate.seconds, rough=True)}")
    bright = offer.speed == "full"
    line = Content.assemble(
        (f" {key:^5} ", "bold $background on $accent" if bright else "bold $accent on $panel"),
        (f" {label:<10}", "bold $foreground" if bright else "$foreground"),
        (f" {' · '.join(facts)}", "$text-muted"),
    )
    return line.stylize(click(f"screen.answer({offer.speed!r})"))
