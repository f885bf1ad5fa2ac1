"""What the Plan screen prices: the dataset's workload, the catalogue, what this machine has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Final

from textual.app import App
from textual.css.query import NoMatches

from waltzrl_tui.datasets.data_folder import first_files
from waltzrl_tui.datasets.sampling.sampling import GroupCache, SampleCounts, SampleRecipe
from waltzrl_tui.datasets.starter import STARTER
from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.plans.catalogue import load_catalogue
from waltzrl_tui.plans.environment import read_environment
from waltzrl_tui.plans.model import SIZES, Environment, PlanRow, PlanSettings, Size, Workload
from waltzrl_tui.plans.price import price_plans
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.plans.tokenizers import counters_for
from waltzrl_tui.plans.workload import measure_workload
from waltzrl_tui.records.roles import Role
from waltzrl_tui.store import Store
from waltzrl_tui.tokenizers.counting import TokenCounter
from waltzrl_tui.tui.data.sample import AUTOMATIC, SamplePane, SamplePlan
from waltzrl_tui.tui.shell.background import in_thread
from waltzrl_tui.workspace import Workspace

_KEPT: Final = 8
_ENOUGH: Final = 5_000
_SEED: Final = 7


class PlanBoard:
    """Reads all of it beside the event loop; `price` is quick and reads nothing.

    Attributes:
        sample: The sample that is planned for, as the Data screen or the first file gives it.
        whole: The workload of all its rows, once it is measured.
    """

    def __init__(self) -> None:
        self.sample: SamplePlan | None = None
        self.whole: Workload | None = None
        self._total = 0
        self._stamp: tuple[int, int] | None = None
        self._measured: dict[int, Workload] = {}
        self._groups = GroupCache()
        self._catalogue: Catalogue | None = None
        self._environment: Environment | None = None
        self._counters: list[TokenCounter] | None = None

    @property
    def environment(self) -> Environment | None:
        return self._environment

    @property
    def models(self) -> dict[Size, list[str]]:
        """The base models by size that anybody can have the weights of."""
        known = self._catalogue.base if self._catalogue else {}
        return {
            size: [name for name, model in known.items() if model.hub and model.size == size]
            for size in SIZES
        }

    def with_keys(self, names: Collection[str]) -> list[str]:
        """Those of these providers of which a key is set."""
        if self._catalogue is None or self._environment is None:
            return []
        known, keys = self._catalogue.provider, self._environment.keys
        return [name for name in names if name in known and keys.intersection(known[name].keys)]

    @property
    def ready(self) -> bool:
        """Whether all is read that prices need."""
        return None not in (self.whole, self._catalogue, self._environment)

    @property
    def path(self) -> Path | None:
        """The dataset's file."""
        return Path(self.sample.recipe.source) if self.sample else None

    @property
    def available(self) -> int:
        """Usable rows of the dataset."""
        return max(self._total, self._basis)

    @property
    def _basis(self) -> int:
        """Rows of the sample that `whole` was measured on."""
        return self.whole.rows if self.whole else 0

    async def read_environment(self, store: Store, workspace: Workspace) -> None:
        """Read the price list, and what this machine and its accounts have.

        Raises:
            WaltzError: The user's own price list has a mistake.
        """
        catalogue, self._environment = await asyncio.gather(
            asyncio.to_thread(load_catalogue, workspace), read_environment(store, workspace)
        )
        if self._counters is None:
            self._counters = await asyncio.to_thread(_counters, catalogue, workspace)
        self._catalogue = catalogue

    async def take(self, sample: SamplePlan | None, workspace: Workspace) -> bool:
        """Plan for this sample from now on, without one for the first file there is.

        Returns:
            Whether it is another one than before, so that `measure` has to be called.

        Raises:
            DatasetError: There is no file and none can be put there.
        """
        if sample is None or not sample.recipe.source:
            sample = await asyncio.to_thread(_first_sample, workspace.data)
        stamp = await asyncio.to_thread(_stamp, Path(sample.recipe.source))
        same = self.sample is not None and self.sample.recipe == sample.recipe
        if same and stamp == self._stamp and self.whole is not None:
            return False
        if not same or stamp != self._stamp:
            self._measured.clear()
            self.whole = None
        self.sample, self._stamp = sample, stamp
        return True

    async def measure(self, tell: Callable[[int], None]) -> None:
        """Measure the workload of all rows. `tell` hears, in a thread, how many rows were read.

        Raises:
            DatasetError: The dataset cannot be read or trained on.
            UsageError: The sample's `where` cannot be understood.
        """
        if self.sample is None:
            return
        read = 0

        def count(rows: int) -> None:
            nonlocal read
            read = max(read, rows)
            tell(rows)

        huge = self._stamp is not None and self._stamp[0] > AUTOMATIC
        # All rows of a huge file would not fit into memory; so many tell its averages.
        self.whole = await self._read(self.sample.recipe, _ENOUGH if huge else None, count)
        counts = self.sample.counts
        self._total = (counts.available if counts else read) if huge else 0

    async def refine(self, rows: int | None) -> bool:
        """Measure a sample of just so many rows, where that is quick; whether it was done.

        What `workload` makes of the whole dataset until then is right on average.
        """
        if self.sample is None or rows is None or rows >= self.available:
            return False
        if rows in self._measured or (self._stamp and self._stamp[0] > AUTOMATIC):
            return False
        try:
            found = await self._read(self.sample.recipe, rows, lambda _: None)
        except WaltzError:
            # Too few rows of a kind, say; that is told when it is launched.
            return False
        while len(self._measured) >= _KEPT:
            del self._measured[next(iter(self._measured))]
        self._measured[rows] = found
        return True

    async def _read(
        self, recipe: SampleRecipe, rows: int | None, tell: Callable[[int], None]
    ) -> Workload:
        path, wanted = Path(recipe.source), replace(recipe, n=rows)
        counters = self._counters or ()
        return await in_thread(
            lambda stop: measure_workload(
                path,
                wanted,
                counters=counters,
                cache=self._groups,
                on_progress=tell,
                stop=stop,
            )
        )

    def workload(self, rows: int | None) -> Workload:
        """The workload of a sample of `rows` rows, None for all.

        Raises:
            RuntimeError: Nothing is measured yet.
        """
        if self.whole is None:
            raise RuntimeError("the dataset is not measured")
        wanted = self.available if rows is None else min(rows, self.available)
        if wanted == self._basis:
            return self.whole
        if wanted in self._measured:
            return self._measured[wanted]
        return self.whole.scaled(wanted)

    def price(self, rows: int | None, settings: PlanSettings) -> list[PlanRow]:
        """All plans for it, those with a price first, the cheapest on top.

        Raises:
            RuntimeError: Something that it needs is not read yet.
        """
        if self._catalogue is None or self._environment is None:
            raise RuntimeError("the price list is not read")
        return price_plans(self._catalogue, self.workload(rows), settings, self._environment)

    def sample_of(self, rows: int | None, roles: tuple[Role, ...]) -> SamplePlan | None:
        """What the train dialog is to ask about: the same sample with so many rows."""
        if self.sample is None or self.whole is None:
            return None
        first = next(iter(self.workload(rows).only(roles).roles.values()), None)
        if first is None:
            return None
        counts = SampleCounts(
            train=first.rows,
            valid=first.valid_rows,
            available=self.available,
            dropped={},
            strata={},
        )
        return SamplePlan(replace(self.sample.recipe, n=rows), counts, roles)


def sample_on_data(app: App[None]) -> SamplePlan | None:
    """What is chosen on the Data screen, None when that has not been looked at."""
    try:
        below, *_ = app.get_screen_stack("data")
        return below.query_one(SamplePane).plan()
    except (KeyError, ValueError, NoMatches, UsageError):
        return None


def _counters(catalogue: Catalogue, workspace: Workspace) -> list[TokenCounter]:
    """The tokenizers of all sizes, so that another size needs no other count. Blocks."""
    found: dict[str, TokenCounter] = {}
    for size in SIZES:
        for counter in counters_for(catalogue, workspace, PlanSettings(size=size)):
            found.setdefault(counter.name, counter)
    return list(found.values())


def _first_sample(folder: Path) -> SamplePlan:
    """All of the bundled dataset, or of the first file where the user has brought others."""
    paths = [file.path for file in first_files(folder) if file.readable]
    path = next((path for path in paths if path.name == STARTER), paths[0])
    return SamplePlan(SampleRecipe(str(path), seed=_SEED), None)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
