"""The form that draws a sample, with the size of the sample as it is typed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Label, Static

from waltzrl_tui.datasets.query.query import matching_lines
from waltzrl_tui.datasets.reading.read import iter_rows
from waltzrl_tui.datasets.reading.rows import BadRow, Row
from waltzrl_tui.datasets.reply_labels import names_safety
from waltzrl_tui.datasets.sampling.recipe import Dedupe, SampleRecipe
from waltzrl_tui.datasets.sampling.sampling import GroupCache, SampleCounts, Survey, counts, survey
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.records.roles import ROLES, Role
from waltzrl_tui.text import printable
from waltzrl_tui.tui.data.figures import sample_size
from waltzrl_tui.tui.data.model import AUTOMATIC, SamplePlan
from waltzrl_tui.tui.dialogs.fields import Choice, NumberField
from waltzrl_tui.tui.shell.background import from_thread, in_thread, run_exclusive
from waltzrl_tui.tui.shell.bars import click
from waltzrl_tui.tui.shell.keys import press
from waltzrl_tui.tui.tables.pages import OpenDataset


def _button(action: str, label: str) -> Content:
    cap = (f" {press(action, 'data')} ", "bold reverse")
    return Content.assemble(cap, f" {label} ").stylize(click(f"screen.{action}"))


_BUTTON: Final = _button("train", "train both agents here")
_ONE: Final = _button("train_one", "train conversation agent")
_MAP: Final = _button("mapping", "correct the fields")
_MANY: Final = 1000
_PAUSE: Final = 0.25


class SamplePane(Vertical):
    """Rows, seed, duplicates, balance and validation share of the sample."""

    BORDER_TITLE = "Sample"

    class Counted(Message):
        """The size of the sample is known, or is no longer."""

    def __init__(self) -> None:
        super().__init__(id="sample", classes="pane")
        self._source: OpenDataset | None = None
        self._surveys: dict[tuple[object, ...], Survey] = {}
        self._groups = GroupCache()
        self._counts: SampleCounts | None = None
        self._rows = NumberField("", id="sample-rows", digits=7, placeholder="all", whole=True)
        self._dedupe = Choice("dedupe", ("exact", "near", "off"), id="sample-dedupe")
        self._balance = Choice("balance", ("harm", "category", "none"), id="sample-balance")
        self._valid = NumberField("10", id="sample-valid", digits=2, whole=True)
        self._seed = NumberField("7", id="sample-seed", digits=5, whole=True)
        self._where = Input(
            placeholder="all rows", id="sample-where", compact=True, max_length=1000
        )
        self._where.cursor_blink = False
        self._status = Static(id="sample-status")
        self._button = Static(id="sample-train")
        self._button.auto_links = False

    def compose(self) -> ComposeResult:
        with Horizontal(classes="fields"):
            yield Label("rows")
            yield self._rows
        yield self._dedupe
        yield self._balance
        with Horizontal(classes="fields"):
            yield Label("valid %")
            yield self._valid
            yield Label("seed", classes="second")
            yield self._seed
        with Horizontal(classes="fields"):
            yield Label("where")
            yield self._where
        yield self._status
        yield self._button

    @property
    def trainable(self) -> bool:
        """Whether an agent can be trained on the sample, as far as is known."""
        if self._source is None or self._missing():
            return False
        return self._counts is None or self._counts.train > 0

    @property
    def roles(self) -> tuple[Role, ...]:
        """The agents that the open dataset can train: a feedback agent needs labels."""
        mapping = self._source.mapping if self._source else None
        return ROLES if mapping is None or mapping.harm else ("conversation",)

    def _missing(self) -> str:
        """What the open dataset lacks for training any agent, in words."""
        mapping = self._source.mapping if self._source else None
        if mapping is None or mapping.reply:
            return ""
        labelled = mapping.text("harm") or names_safety(mapping.reply_label)
        missing = [] if labelled else ["labels"]
        missing += [] if mapping.reply else ["replies"]
        return f"✗ no {' or '.join(missing)}" if missing else ""

    def plan(self) -> SamplePlan:
        """The recipe in the form.

        Raises:
            UsageError: A field holds a value that cannot be.
        """
        return SamplePlan(recipe=self._recipe(), counts=self._counts, roles=self.roles)

    def use(self, source: OpenDataset | None) -> None:
        """Sample another dataset; the size of a small one is counted at once."""
        self._source = source
        self._surveys.clear()
        self._counts = None
        self.workers.cancel_group(self, "sample")
        if source is None:
            self._say("")
            return
        mapping = source.mapping
        words = [name for name in ("harm", "category") if mapping.text(name)]
        self._balance.set_words([*words, "none"])
        if missing := self._missing():
            self._say(missing, "$text-warning")
        elif source.size <= AUTOMATIC:
            self.count_soon(wait=0)
        else:
            self._say("not counted yet", "$faint")

    def suggest(self, rows: int) -> None:
        """Suggest a size for a file of `rows` rows: all of a small one."""
        if not self._rows.value and rows > _MANY:
            with self._rows.prevent(Input.Changed):
                self._rows.value = str(_MANY)
            if self._source is not None and self._source.size <= AUTOMATIC:
                self.count_soon()

    def count_soon(self, *, wait: float = _PAUSE) -> None:
        """Count the sample when nothing was typed for `wait` seconds."""
        if self._source is not None and not self._missing():
            count = partial(self._count, self._source, wait)
            run_exclusive(self, "sample", count)

    @on(Input.Changed)
    @on(Choice.Changed)
    def _changed(self, event: Input.Changed | Choice.Changed) -> None:
        event.stop()
        self._counts = None
        self.count_soon()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()

    def on_descendant_focus(self) -> None:
        if self._source is not None and self._counts is None and not self._counting():
            self.count_soon()

    def _counting(self) -> bool:
        return any(worker.group == "sample" and worker.is_running for worker in self.workers)

    def _recipe(self) -> SampleRecipe:
        balance = self._balance.value
        return SampleRecipe(
            source=str(self._source.path) if self._source else "",
            n=self._rows.integer,
            seed=self._seed.integer or 0,
            dedupe=cast("Dedupe", self._dedupe.value),
            balance=None if balance == "none" else balance,
            valid=(self._valid.integer or 0) / 100,
            where=self._where.value.strip(),
        )

    async def _count(self, source: OpenDataset, wait: float) -> None:
        await asyncio.sleep(wait)
        try:
            recipe = self._recipe()
        except WaltzError:
            self._say("✗ rows ≥ 1, valid ≤ 50", "$text-error")
            return
        try:
            scan = self._surveys.get(recipe.survey_key)
            if scan is None:
                on_progress = from_thread(lambda rows: self._say(f"reading… {rows:,}", "$faint"))
                scan = await in_thread(
                    lambda stop: _surveyed(source, recipe, self._groups, on_progress, stop)
                )
                # Two are enough to go back and forth between two choices.
                while len(self._surveys) >= 2:
                    del self._surveys[next(iter(self._surveys))]
                self._surveys[recipe.survey_key] = scan
            known = scan
            size = await in_thread(lambda _: counts(known, recipe))
        except WaltzError as error:
            self._say(f"✗ {error.message}", "$text-error")
            return
        self._counts = size
        if size.train:
            self._show(sample_size(size.train, size.valid))
        else:
            self._say("✗ no usable row", "$text-error")

    def _say(self, text: str, style: str = "") -> None:
        self._show(Content.styled(printable(text), style))

    def _show(self, text: Content) -> None:
        # Both lines keep their place, so nothing has to be laid out anew.
        self._status.update(text, layout=False)
        button = _MAP if self._missing() else Content("")
        if self.trainable:
            button = _BUTTON if len(self.roles) > 1 else _ONE
        self._button.update(button, layout=False)
        self.post_message(self.Counted())


def _surveyed(
    source: OpenDataset,
    recipe: SampleRecipe,
    cache: GroupCache,
    on_progress: Callable[[int], None],
    stop: Callable[[], bool],
) -> Survey:
    lines = None
    if recipe.where:
        matches = matching_lines(source.path, source.mapping, recipe.where, stop=stop)
        lines = frozenset(line + 1 for line in matches)
    return survey(_until(source, on_progress, stop), recipe, lines=lines, cache=cache, stop=stop)


def _until(
    source: OpenDataset, on_progress: Callable[[int], None], stop: Callable[[], bool]
) -> Iterator[Row | BadRow]:
    for number, row in enumerate(iter_rows(source.path, source.mapping)):
        if number % 1000 == 999:
            on_progress(number + 1)
            if stop():
                return
        yield row
