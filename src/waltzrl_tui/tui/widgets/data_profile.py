"""The profile of the open dataset: what is in it, counted in a thread."""

from __future__ import annotations

import asyncio
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from textual.app import App
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from waltzrl_tui.datasets.profile import Profile, profile
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.background import from_thread, in_thread, run_exclusive
from waltzrl_tui.tui.keys import press
from waltzrl_tui.tui.widgets.data_figures import bar, levels, short_count
from waltzrl_tui.tui.widgets.table_columns import fit
from waltzrl_tui.tui.widgets.table_pages import OpenDataset

if TYPE_CHECKING:
    from waltzrl_tui.plans.waste import PricedWaste
    from waltzrl_tui.tui.app import WaltzApp

AUTOMATIC: Final = 32 * 1024 * 1024
"""Bytes up to which a dataset is profiled without being asked: a second or two of one core."""

_REASONS: Final = {
    "exact": "exact duplicates",
    "near": "near duplicates",
    "contaminated": "in evaluation",
}
_KEPT: Final = 20
_PAUSE: Final = 0.3


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
        self._known: dict[tuple[Path, int, int], Profile] = {}
        self._profile: Profile | None = None
        self._said = ""
        self._priced: PricedWaste | None = None

    @property
    def running(self) -> bool:
        return any(worker.group == "profile" and worker.is_running for worker in self.workers)

    @property
    def profile(self) -> Profile | None:
        """The finished profile of the open dataset."""
        return self._profile

    @property
    def priced(self) -> PricedWaste | None:
        """What the waste of the open dataset would cost, once it is priced."""
        return self._priced

    def reprice(self) -> None:
        """Price the waste at the provider that is chosen now."""
        if self._profile is not None and any(self._profile.waste.values()):
            run_exclusive(self, "price-waste", partial(self._price, self._profile))

    async def _price(self, found: Profile) -> None:
        # Only who looks at a profile with waste in it needs prices.
        waste = await asyncio.to_thread(import_module, "waltzrl_tui.plans.waste")
        model = await asyncio.to_thread(import_module, "waltzrl_tui.plans.model")
        app = cast("WaltzApp", self.app)
        wish = model.Wish(provider=chosen_provider(app))
        try:
            priced = await waste.priced_waste(app.store, app.workspace, found, wish)
        except WaltzError:
            priced = None  # the Plan screen says what is wrong
        if found is self._profile:
            self._priced = priced
            self.refresh()

    def use(self, source: OpenDataset | None) -> None:
        """Show the profile of another dataset; a small one is counted at once."""
        self.workers.cancel_group(self, "profile")
        self._source = source
        self._profile = self._known.get(_key(source)) if source else None
        self._priced = None
        self.reprice()
        self._said = ""
        self._retitle()
        if source and self._profile is None:
            if source.size <= AUTOMATIC:
                self._start(source)
            else:
                self._said = f"press {press('profile', 'data')} to count"
        self.refresh()

    def toggle(self) -> None:
        """Count the open dataset, or stop counting it."""
        if self.running:
            self.workers.cancel_group(self, "profile")
            self._said = f"stopped; {press('profile', 'data')} counts again"
            self._retitle()
            self.refresh()
        elif self._source is not None:
            self._start(self._source)

    def _start(self, source: OpenDataset) -> None:
        self._said = ""
        run_exclusive(self, "profile", partial(self._count, source))
        self.refresh()

    async def _count(self, source: OpenDataset) -> None:
        # Rows and sample come first; who only passes through a file needs no profile of it.
        await asyncio.sleep(_PAUSE)
        key = _key(source)
        tell = from_thread(lambda rows: self._progress(source, rows))
        try:
            found = await in_thread(lambda stop: profile(source.path, on_progress=tell, stop=stop))
        except WaltzError as error:
            self._said = f"✗ {printable(error.message)}"
        else:
            while len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = self._profile = found
            self.reprice()
            self.post_message(self.Counted())
        self._retitle()
        self.refresh()

    def _progress(self, source: OpenDataset, rows: int) -> None:
        if source is self._source and self.running:
            total = source.index.rows
            self._said = f"counted {rows:,}"
            self.border_subtitle = f"{min(99, rows * 100 // total)}%" if total else ""
            self.refresh()

    def _retitle(self) -> None:
        self.border_subtitle = ""

    def render(self) -> Content:
        width = self.content_size.width
        found = self._profile
        if found is None:
            return Content.styled(self._said, "$faint")
        height = self.content_size.height
        lines = [_line("rows", f"{found.rows:,}", width)]
        bad = "$text-error" if found.bad_row_count else ""
        mark = "✗ " if found.bad_row_count else ""
        lines.append(_line(f"{mark}bad rows", f"{found.bad_row_count:,}", width, bad))
        lines += _waste(found, width, self._priced)
        lines.append(_line("different prompts", f"{found.prompts:,}", width))
        if found.replies:
            lines.append(_line("different replies", f"{found.replies:,}", width))
        tokens = _line(f"tokens {levels(found.histogram)}", f"≈ {short_count(found.tokens)}", width)
        lines.append(tokens)
        lines += _labels(found, width)
        return Content("\n").join(lines[: max(1, height)])


def chosen_provider(app: App[Any]) -> str:
    """The provider at the cursor of the Plan screen, when it costs something; else ""."""
    try:
        screen = app.get_screen_stack("plan")[0]
    except (KeyError, IndexError):
        return ""
    return str(getattr(screen, "paid_provider", ""))


def usd(amount: float) -> str:
    """`$0.04`, and `<$0.01` for what is less."""
    return f"${amount:,.2f}" if amount >= 0.005 or amount == 0 else "<$0.01"


def _key(source: OpenDataset) -> tuple[Path, int, int]:
    try:
        return source.path, source.size, source.path.stat().st_mtime_ns
    except OSError:
        return source.path, source.size, 0


def _line(name: str, value: str, width: int, style: str = "") -> Content:
    label = fit(name, max(1, width - len(value) - 1))
    return Content.assemble((f"{label} ", style or "$text-muted"), (value, style))


def _waste(found: Profile, width: int, priced: PricedWaste | None) -> list[Content]:
    """What is paid for without being learnt from, in rows, tokens and dollars."""
    lines = []
    for reason, name in _REASONS.items():
        waste = found.waste.get(reason)
        if waste is None or not waste.rows:
            continue
        cost = f" = {usd(priced.usd[reason])}" if priced and reason in priced.usd else ""
        lines.append(_line(name, f"{waste.rows:,}{cost}", width, "$text-warning"))
    if lines:
        tokens = sum(found.waste[reason].tokens for reason in _REASONS if reason in found.waste)
        lines.insert(0, _line("wasted", f"≈ {short_count(tokens)} tokens", width, "$text-warning"))
    if lines and priced:
        at = f"at {one_line(priced.title, 20)}, {priced.epochs:g} epochs"
        lines.append(_line("", at, width, "$faint"))
    if found.refusals.rows and found.refusals.refused:
        lines.append(_line("replies that refuse", f"{found.refusals.share:.0%}", width))
    if found.personal.rows:
        lines.append(_line("✗ personal data", f"{found.personal.rows:,}", width, "$text-warning"))
    return lines


def _labels(found: Profile, width: int) -> list[Content]:
    lines = []
    top = max(found.labels["harm"].values(), default=0)
    for name, count in found.labels["harm"].items():
        style = {"harmful": "$unsafe", "benign": "$safe"}.get(name, "$faint")
        lines.append(_share(name or "no harm label", count, top, width, style))
    categories = {name: count for name, count in found.labels["category"].items() if name}
    top = max(categories.values(), default=0)
    for name, count in categories.items():
        lines.append(_share(one_line(name, 60), count, top, width, "$primary"))
    return lines


def _share(name: str, count: int, top: int, width: int, style: str) -> Content:
    value = f"{count:,}"
    label = min(14, max(7, width // 2))
    room = max(1, width - label - len(value) - 2)
    drawn = bar(count / top if top else 0, room)
    return Content.assemble(
        (f"{fit(name, label)} ", "$text-muted"), (drawn.ljust(room), style), f" {value}"
    )
