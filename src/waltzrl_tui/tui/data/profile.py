"""The profile of the open dataset: what is in it, counted in a thread."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.worker import Worker, WorkerError

from waltzrl_tui.datasets.label_values import LabelValue, shown_values
from waltzrl_tui.datasets.profiling.profile import Profile, profile
from waltzrl_tui.datasets.reading.rows import Mapping
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.data.figures import bar, levels
from waltzrl_tui.tui.data.model import AUTOMATIC
from waltzrl_tui.tui.data.waste import chosen_settings, named_line, waste_lines
from waltzrl_tui.tui.shell.background import from_thread, in_thread, run_exclusive
from waltzrl_tui.tui.shell.keys import press
from waltzrl_tui.tui.tables.columns import fit
from waltzrl_tui.tui.tables.pages import OpenDataset
from waltzrl_tui.words import percent, short_count

if TYPE_CHECKING:
    from waltzrl_tui.plans.waste import PricedWaste
    from waltzrl_tui.tui.shell.app import WaltzApp

_KEPT: Final = 20
_VALUES: Final = 3
_PAUSE: Final = 0.3
_Key = tuple[Path, int, int, Mapping]


class ProfilePane(Widget):
    """Rows, bad rows, duplicates, tokens and labels; `toggle` starts or stops the count."""

    ALLOW_SELECT = False
    BORDER_TITLE = "Profile"
    DEFAULT_CSS = "ProfilePane { height: 1fr; min-height: 4; }"

    class Counted(Message):
        """A profile is finished."""

    def __init__(self) -> None:
        super().__init__(id="profile", classes="pane")
        self._source: OpenDataset | None = None
        self._known: dict[_Key, Profile] = {}
        self._profile: Profile | None = None
        self._status = ""
        self._priced: PricedWaste | None = None
        self._pricing: Worker[None] | None = None

    @property
    def running(self) -> bool:
        return any(worker.group == "profile" and worker.is_running for worker in self.workers)

    @property
    def profile(self) -> Profile | None:
        """The finished profile of the open dataset."""
        return self._profile

    async def priced(self) -> PricedWaste | None:
        """What the waste of the open dataset would cost, once that is known."""
        if self._pricing is not None:
            with suppress(WorkerError):
                await self._pricing.wait()
        return self._priced

    def reprice(self) -> None:
        """Price the waste for the run and at the provider that are chosen now."""
        counted = self._profile
        if counted is not None and any(waste.rows for waste in counted.waste.values()):
            self._pricing = run_exclusive(self, "price-waste", partial(self._price, counted))

    async def _price(self, counted: Profile) -> None:
        # Only who looks at a profile with waste in it needs prices.
        waste = await asyncio.to_thread(import_module, "waltzrl_tui.plans.waste")
        model = await asyncio.to_thread(import_module, "waltzrl_tui.plans.model")
        app = cast("WaltzApp", self.app)
        settings = chosen_settings(app) or model.PlanSettings()
        try:
            priced = await waste.price_waste(app.store, app.workspace, counted, settings)
        except WaltzError:
            priced = None  # The Plan screen says what is wrong.
        if counted is self._profile:
            self._priced = priced
            self.refresh()

    def use(self, source: OpenDataset | None) -> None:
        """Show the profile of another dataset; a small one is counted at once."""
        self.workers.cancel_group(self, "profile")
        self._source = source
        self._profile = self._known.get(_key(source)) if source else None
        self._priced = self._pricing = None
        self.reprice()
        self._status = ""
        self._retitle()
        if source and self._profile is None:
            if source.size <= AUTOMATIC:
                self._start(source)
            else:
                self._status = f"press {press('profile', 'data')} to count"
        self.refresh()

    def toggle(self) -> None:
        """Count the open dataset, or stop counting it."""
        if self.running:
            self.workers.cancel_group(self, "profile")
            self._status = f"stopped; {press('profile', 'data')} counts again"
            self._retitle()
            self.refresh()
        elif self._source is not None:
            self._start(self._source)

    def _start(self, source: OpenDataset) -> None:
        self._status = ""
        run_exclusive(self, "profile", partial(self._count, source))
        self.refresh()

    async def _count(self, source: OpenDataset) -> None:
        # Rows and sample come first; who only passes through a file needs no profile of it.
        await asyncio.sleep(_PAUSE)
        key = _key(source)
        on_progress = from_thread(lambda rows: self._progress(source, rows))
        try:
            counted = await in_thread(
                lambda stop: profile(source.path, on_progress=on_progress, stop=stop)
            )
        except WaltzError as error:
            self._status = f"✗ {printable(error.message)}"
        else:
            while len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = self._profile = counted
            self.reprice()
            self.post_message(self.Counted())
        self._retitle()
        self.refresh()

    def _progress(self, source: OpenDataset, rows: int) -> None:
        if source is self._source and self.running:
            total = source.index.rows
            self._status = f"counted {rows:,}"
            self.border_subtitle = percent(min(0.99, rows / total)) if total else ""
            self.refresh()

    def _retitle(self) -> None:
        self.border_subtitle = ""

    def render(self) -> Content:
        counted = self._profile
        if counted is None:
            return Content.styled(self._status, "$faint")
        size = self.content_size
        lines = profile_lines(counted, size.width, self._priced)
        if len(lines) > size.height:
            more = Content.styled(f"{press('profile', 'data')} shows all of it", "$faint")
            lines = [*lines[: max(0, size.height - 1)], more]
        return Content("\n").join(lines)


def profile_lines(figures: Profile, width: int, priced: PricedWaste | None) -> list[Content]:
    """The figures of a profile for a narrow pane, the most important first."""
    lines = [named_line(("rows",), f"{figures.rows:,}", width)]
    if figures.bad_row_count:
        bad = f"{figures.bad_row_count:,} left out"
        lines.append(named_line(("✗ bad rows", "✗ bad"), bad, width, "$text-error"))
    else:
        lines.append(named_line(("bad rows",), "0", width))
    lines += waste_lines(figures, width, priced)
    if figures.refusals.rows:
        names = ("refusing replies", "refusals")
        lines.append(named_line(names, percent(figures.refusals.share), width))
    for values in figures.label_values.values():
        lines += _values(values, width)
    if figures.contradicting.prompts:
        names = ("✗ prompts with both labels", "✗ both labels")
        prompts = f"{figures.contradicting.prompts:,}"
        lines.append(named_line(names, prompts, width, "$text-warning"))
    if figures.personal.rows:
        rows = f"{figures.personal.rows:,}"
        lines.append(named_line(("✗ personal data",), rows, width, "$text-warning"))
    lines.append(named_line(("different prompts",), f"{figures.prompts:,}", width))
    if figures.replies:
        lines.append(named_line(("different replies",), f"{figures.replies:,}", width))
    return [*lines, *_tokens(figures, width), *_labels(figures, width)]


def _key(source: OpenDataset) -> _Key:
    try:
        return source.path, source.size, source.path.stat().st_mtime_ns, source.mapping
    except OSError:
        return source.path, source.size, 0, source.mapping


def _tokens(profile: Profile, width: int) -> list[Content]:
    """The tokens of the rows, and of prompts and replies alone, over the same buckets."""
    sides = [(name, side) for name, side in profile.sides.items() if side.total]
    figures = [("tokens", profile.tokens, profile.histogram)]
    if len(sides) > 1:
        figures += [(name, side.total, side.histogram) for name, side in sides]
    over = [sum(counts) for counts in zip(*(each[2] for each in figures), strict=True)]
    label = max(len(name) for name, _, _ in figures)
    return [
        named_line(
            (f"{name:<{label}} {levels(counts, over=over)}",), f"≈ {short_count(total)}", width
        )
        for name, total, counts in figures
    ]


def _values(values: list[LabelValue], width: int) -> list[Content]:
    """What the values of a label were read as, where they are not written so."""
    return [
        named_line(
            (one.words if one.meaning else f"✗ {one.words}",),
            f"{one.rows:,}",
            width,
            "" if one.meaning else "$text-warning",
        )
        for one in shown_values([each for each in values if not each.plain], _VALUES)
    ]


def _labels(figures: Profile, width: int) -> list[Content]:
    lines = []
    top = max(figures.labels["harm"].values(), default=0)
    for name, count in figures.labels["harm"].items():
        lines.append(share_line(name or "no harm label", count, top, width, harm_style(name)))
    categories = {name: count for name, count in figures.labels["category"].items() if name}
    top = max(categories.values(), default=0)
    for name, count in categories.items():
        lines.append(share_line(one_line(name, 60), count, top, width, "$primary"))
    return lines


def harm_style(name: str) -> str:
    """The colour of a label of harm."""
    return {"harmful": "$unsafe", "benign": "$safe"}.get(name, "$faint")


def share_line(name: str, count: int, top: int, width: int, style: str, label: int = 20) -> Content:
    """A name of at most `label` cells, a bar that is whole at `top` rows, and the rows."""
    value = f"{count:,}"
    label = max(7, min(label, width - len(value) - 8))
    room = max(1, width - label - len(value) - 2)
    drawn = bar(count / top if top else 0, room)
    return Content.assemble(
        (f"{fit(name, label)} ", "$text-muted"), (drawn.ljust(room), style), f" {value}"
    )
