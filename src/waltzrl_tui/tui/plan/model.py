"""The Plan screen without Textual: the dataset's workload, the catalogue, and the priced plans."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from waltzrl_tui.datasets.data_folder import first_files
from waltzrl_tui.datasets.sampling.sampling import GroupCache, SampleCounts, SampleRecipe
from waltzrl_tui.datasets.starter import STARTER
from waltzrl_tui.errors import WaltzError
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
from waltzrl_tui.tui.data.model import AUTOMATIC, SamplePlan
from waltzrl_tui.tui.shell.background import in_thread
from waltzrl_tui.workspace import Workspace

_KEPT: Final = 8
_ENOUGH: Final = 5_000
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Plan:
    """A row of the table with the run that it was priced for."""

    row: PlanRow
    workload: Workload
    settings: PlanSettings

    @property
    def rows(self) -> int:
        """Rows to train on and to validate with."""
        return self.workload.rows


class PlanModel:
    """What the Plan screen plans for, and the plans. `reprice` is quick and reads nothing.

    Attributes:
        sample: The sample to train on, from the Data screen or the first file.
        whole: The workload of all its rows, once measured.
        plans: The priced plans by row id, cheapest first; empty before the first `reprice`.
        pinned: The id and plan that others are compared with.
        highest_usd: The highest total of all plans.
        environment: What this machine and its accounts have, once read.
    """

    def __init__(self) -> None:
        self.sample: SamplePlan | None = None
        self.whole: Workload | None = None
        self.plans: dict[str, Plan] = {}
        self.pinned: tuple[str, Plan] | None = None
        self.highest_usd = 0.0
        self._total = 0
        self._stamp: tuple[int, int] | None = None
        self._measured: dict[int, Workload] = {}
        self._groups = GroupCache()
        self._catalogue: Catalogue | None = None
        self.environment: Environment | None = None
        self._counters: list[TokenCounter] | None = None

    @property
    def models(self) -> dict[Size, list[str]]:
        """The open-weight base models by size."""
        known = self._catalogue.base if self._catalogue else {}
        return {
            size: [name for name, model in known.items() if model.hub and model.size == size]
            for size in SIZES
        }

    def with_keys(self, names: Collection[str]) -> list[str]:
        """Those of these providers that have a key set."""
        if self._catalogue is None or self.environment is None:
            return []
        known, keys = self._catalogue.provider, self.environment.keys
        return [name for name in names if name in known and keys.intersection(known[name].keys)]

    @property
    def ready(self) -> bool:
        """Whether everything that prices need has been read."""
        return None not in (self.whole, self._catalogue, self.environment)

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
        catalogue, self.environment = await asyncio.gather(
            asyncio.to_thread(load_catalogue, workspace), read_environment(store, workspace)
        )
        if self._counters is None:
            self._counters = await asyncio.to_thread(_counters, catalogue, workspace)
        self._catalogue = catalogue

    async def take(self, sample: SamplePlan | None, workspace: Workspace) -> bool:
        """Plan for this sample from now on; without one, for the first file.

        Returns:
            Whether the sample changed, so that `measure` has to be called.

        Raises:
            DatasetError: There is no file and the bundled one cannot be copied.
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

    async def measure(self, on_progress: Callable[[int], None]) -> None:
        """Measure the workload of all rows. `on_progress` gets the rows read so far, in a thread.

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
            on_progress(rows)

        huge = self._stamp is not None and self._stamp[0] > AUTOMATIC
        # All rows of a huge file would not fit into memory; a part gives its averages.
        self.whole = await self._read(self.sample.recipe, _ENOUGH if huge else None, count)
        counts = self.sample.counts
        self._total = (counts.available if counts else read) if huge else 0

    async def refine(self, rows: int | None) -> bool:
        """Measure a sample of exactly `rows` rows, where that is quick.

        Until then, `workload` scales the workload of all rows, which is right on average.

        Returns:
            Whether it was measured.
        """
        if self.sample is None or rows is None or rows >= self.available:
            return False
        if rows in self._measured or (self._stamp and self._stamp[0] > AUTOMATIC):
            return False
        try:
            workload = await self._read(self.sample.recipe, rows, lambda _: None)
        except WaltzError:
            # Such as too few rows of a kind, which the launch reports.
            return False
        while len(self._measured) >= _KEPT:
            del self._measured[next(iter(self._measured))]
        self._measured[rows] = workload
        return True

    async def _read(
        self, recipe: SampleRecipe, rows: int | None, on_progress: Callable[[int], None]
    ) -> Workload:
        path, sample = Path(recipe.source), replace(recipe, n=rows)
        counters = self._counters or ()
        return await in_thread(
            lambda stop: measure_workload(
                path,
                sample,
                counters=counters,
                cache=self._groups,
                on_progress=on_progress,
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
        count = self.available if rows is None else min(rows, self.available)
        if count == self._basis:
            return self.whole
        return self._measured.get(count) or self.whole.scaled(count)

    def reprice(self, rows: int | None, settings: PlanSettings) -> Workload:
        """Price all plans for a sample of `rows` rows (None for all) into `plans`.

        Takes a few milliseconds, so it can run while the user types.

        Returns:
            The workload of the agents that are trained.

        Raises:
            RuntimeError: Not `ready`.
        """
        if self._catalogue is None or self.environment is None:
            raise RuntimeError("the price list is not read")
        workload = self.workload(rows)
        priced = price_plans(self._catalogue, workload, settings, self.environment)
        shown = workload.only(settings.roles)
        self.plans = {
            id: Plan(row, shown, settings) for id, row in zip(row_ids(priced), priced, strict=True)
        }
        self.highest_usd = max((row.total.high for row in priced if row.total), default=0.0)
        return shown

    @property
    def rows(self) -> list[PlanRow]:
        """The plans as the table lists them."""
        return [plan.row for plan in self.plans.values()]

    def pin(self, id: str) -> None:
        """Compare other plans with this one, as it is now."""
        self.pinned = (id, self.plans[id])

    def sample_of(self, rows: int | None, roles: tuple[Role, ...]) -> SamplePlan | None:
        """The sample with `rows` rows, for the train dialog."""
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
        recipe = replace(self.sample.recipe, n=rows)
        return SamplePlan(recipe=recipe, counts=counts, roles=roles)


def _counters(catalogue: Catalogue, workspace: Workspace) -> list[TokenCounter]:
    """The tokenizers of all sizes, so that changing the size needs no recount. Blocks."""
    counters: dict[str, TokenCounter] = {}
    for size in SIZES:
        for counter in counters_for(catalogue, workspace, PlanSettings(size=size)):
            counters.setdefault(counter.name, counter)
    return list(counters.values())


def _first_sample(folder: Path) -> SamplePlan:
    """All of the bundled dataset, or else of the first file."""
    paths = [file.path for file in first_files(folder) if file.readable]
    path = next((path for path in paths if path.name == STARTER), paths[0])
    return SamplePlan(recipe=SampleRecipe(str(path), seed=_SEED))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def row_ids(rows: Sequence[PlanRow]) -> list[str]:
    """Unique ids of the rows, stable when prices change their order and model."""
    ids: list[str] = []
    for row in rows:
        id = f"{row.provider} {row.title}"
        while id in ids:
            id += f" {row.model}"
        ids.append(id)
    return ids
