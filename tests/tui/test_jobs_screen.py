from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.geometry import Region
from textual.pilot import Pilot

from waltzrl_tui.jobs import control
from waltzrl_tui.jobs.launch import log_path
from waltzrl_tui.records.metrics import Metric, measured
from waltzrl_tui.store import NewJob, Store, now
from waltzrl_tui.tui.chart.loss_chart import LossChart
from waltzrl_tui.tui.jobs.details import JobDetailsScreen
from waltzrl_tui.tui.jobs.screen import JobsScreen
from waltzrl_tui.tui.shell.app import WaltzApp
from waltzrl_tui.tui.tables.keyed_table import KeyedTable
from waltzrl_tui.workspace import Workspace

PREP, CONV, FEED = "k3f-prep", "k3f-conv", "k3f-feed"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture
async def outside(workspace: Workspace) -> AsyncIterator[Store]:
    """The store as another process has it open."""
    async with await Store.open(workspace) as opened:
        yield opened


@pytest.fixture(autouse=True)
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs for which a worker was started. No test starts one, and none is missed."""
    ids: list[str] = []

    async def launch(_: Workspace, job_id: str) -> None:
        ids.append(job_id)

    async def reconcile(*_: Any) -> list[str]:
        return []

    monkeypatch.setattr(control, "launch", launch)
    monkeypatch.setattr(control, "reconcile", reconcile)
    return ids


def launch_of(prefix: str, state: Any = "queued", name: str = "starter") -> list[NewJob]:
    """The three jobs of a launch, whose agents make the pair `name`."""
    agents = {role: f"{name}-{role}" for role in ("conversation", "feedback")}
    prep = NewJob(f"{prefix}-prep", "rollouts", "both", "base", state=state)
    trainings = [
        NewJob(
            f"{prefix}-{short}",
            "train",
            role,  # type: ignore[arg-type]
            "base",
            state=state,
            reason=f"waits for {prep.id}" if state == "queued" else "",
            depends_on=(prep.id,),
            params={"settings": {"rank": 16}, "agent": agents[role], "pair": {"name": name}},
        )
        for short, role in (("conv", "conversation"), ("feed", "feedback"))
    ]
    return [prep, *trainings]


def metric(step: int, loss: float | None, valid: float | None = None) -> Metric:
    values = {"learning_rate": 5e-4, "tokens_per_second": 151.0, "tokens": step * 512}
    values |= {"epoch": 0.5, "memory_bytes": 3 << 30, "eta_seconds": 100.0}
    return Metric(step, values | measured({"loss": loss, "valid_loss": valid}), now())


async def train(store: Store, job: str, steps: int, total: int = 60) -> None:
    await store.jobs.move(job, "running", reason="training", total_steps=total)
    async with store.transaction():
        for step in range(1, steps + 1):
            valid = 2 - step / 50 if step % 10 == 0 else None
            await store.jobs.metric(job, metric(step, 2 - step / 40, valid))


async def succeed(store: Store, job: str, role: Any) -> None:
    name = f"starter-{role}"
    await store.agents.add(name, role=role, base="base", job_id=job)
    await store.jobs.move(job, "succeeded", reason="", agent=name)


class Jobs:
    """The app with its Jobs screen, as a user sees and presses it."""

    def __init__(self, app: WaltzApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def screen(self) -> JobsScreen:
        return next(each for each in self.app.screen_stack if isinstance(each, JobsScreen))

    @property
    def table(self) -> KeyedTable:
        return self.screen.query_one(KeyedTable)

    @property
    def text(self) -> str:
        """All that is on the screen."""
        strips = self.app.screen._compositor.render_strips(self.app.screen.size)
        return "\n".join(strip.text.rstrip() for strip in strips)

    def row(self, job: str) -> list[str]:
        """The words of a job's line in the table."""
        lines = (self.table.render_line(y).text for y in range(self.table.size.height))
        return next(line.split() for line in lines if job in line.split()[:3])

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, seen: Callable[[], Any]) -> None:
        """Wait for what a commit leads to."""
        for _ in range(200):
            with contextlib.suppress(StopIteration):
                if seen():
                    return
            await self.pilot.pause(0.05)
        raise AssertionError(f"not seen in time:\n{self.text}")

    async def shows(self, *texts: str) -> None:
        await self.until(lambda: all(text in self.text for text in texts))


@contextlib.asynccontextmanager
async def opened(workspace: Workspace, size: tuple[int, int] = (140, 40)) -> AsyncIterator[Jobs]:
    app = WaltzApp(workspace, screen="jobs")
    async with app.run_test(size=size, notifications=True) as pilot:
        jobs = Jobs(app, pilot)
        await jobs.until(lambda: isinstance(app.screen, JobsScreen))
        await pilot.pause()
        yield jobs


async def test_without_jobs_it_says_what_to_press(workspace: Workspace) -> None:
    async with opened(workspace, (60, 15)) as jobs:
        await jobs.shows("No jobs yet", "Press 1, then t")
        await jobs.press("c", "r", "l", "enter", "space", "g")
        assert jobs.app.screen is jobs.screen


async def test_what_another_process_commits_is_shown(workspace: Workspace, outside: Store) -> None:
    await outside.jobs.add_all(launch_of("k3f"))
    async with opened(workspace) as jobs:
        await jobs.shows("3 waiting", "begins once it trains (waits for k3f-prep)")
        assert jobs.row(CONV)[-5:] == ["–", "$0", "waits", "for", "k3f-prep"]
        await train(outside, CONV, 34)
        await outside.jobs.event(CONV, "checkpoint 30 saved")
        await jobs.until(lambda: "34/60" in jobs.row(CONV))
        # loss, validation, tokens a second, time left
        words = jobs.row(CONV)
        assert words[words.index("34/60") + 1 :][:4] == ["1.150", "1.400", "151", "2m"]
        assert "●" in words and "running" in words
        await jobs.press("down")
        await jobs.shows("k3f-conv 1.150", "◆ valid 1.400", "checkpoint 30 saved")
        await outside.jobs.metric(CONV, metric(35, None))
        await jobs.until(lambda: "35/60" in jobs.row(CONV))
        # A loss that was not a number is a gap in the curve, not a zero.
        await jobs.shows("×")


async def test_only_the_line_of_the_job_that_changed_is_painted(
    workspace: Workspace, outside: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = [job for n in range(330) for job in launch_of(f"a{n}", "succeeded", f"x{n}")]
    await outside.jobs.add_all([*several, *launch_of("k3f")])
    await train(outside, CONV, 3)
    async with opened(workspace) as jobs:
        await jobs.until(lambda: "3/60" in jobs.row(CONV))
        await jobs.pilot.pause(0.3)
        painted: list[Region] = []
        whole = KeyedTable.refresh

        def refresh(table: KeyedTable, *regions: Region, **more: bool) -> KeyedTable:
            painted.extend(regions or [table.region])
            return whole(table, *regions, **more)

        monkeypatch.setattr(KeyedTable, "refresh", refresh)
        await outside.jobs.metric(CONV, metric(4, 1.0))
        await jobs.until(lambda: "4/60" in jobs.row(CONV))
        await outside.jobs.metric(CONV, metric(5, 1.0))
        await jobs.until(lambda: "5/60" in jobs.row(CONV))
        await jobs.until(lambda: len(painted) >= 2)
        assert {region.height for region in painted} == {1}


async def test_a_failed_job_shows_its_error_and_goes_on_with_r(
    workspace: Workspace, outside: Store, launched: list[str]
) -> None:
    await outside.jobs.add_all(launch_of("k3f"))
    await outside.jobs.move(PREP, "succeeded")
    await train(outside, CONV, 34)
    await outside.jobs.move(CONV, "failed", error="[red]No space\x1b[2J left[/red] on the disk.")
    await outside.jobs.event(CONV, "No space left on the disk.", "error")
    async with opened(workspace) as jobs:
        await jobs.press("down")
        await jobs.shows(
            "✗ k3f-conv failed — r resume it from step 34",
            "[red]No space␛[2J left[/red] on the disk.",
            "✗ No space left on the disk.",
        )
        await jobs.press("r")
        await jobs.until(lambda: launched == [CONV])
        await jobs.until(lambda: "waiting" in jobs.row(CONV))
        await jobs.shows("Resumed k3f-conv.", "resumed from step 34")


@pytest.mark.parametrize(
    ("key", "cancelled"), [("escape", []), ("y", [CONV]), ("a", [PREP, CONV, FEED])]
)
async def test_cancelling_asks_first(
    workspace: Workspace, outside: Store, key: str, cancelled: list[str]
) -> None:
    await outside.jobs.add_all(launch_of("k3f"))
    async with opened(workspace) as jobs:
        await jobs.press("down", "c")
        await jobs.shows("Cancel k3f-conv?", "y   cancel k3f-conv", "a   cancel all 3 of k3f")
        await jobs.press(key)
        if cancelled:
            await jobs.until(lambda: "cancelled" in jobs.row(CONV))
            await jobs.shows("r resume it from the start")
        states = {job.id: job.state for job in await outside.jobs.list()}
    # None fails for want of another one.
    expected = {id: "cancelled" if id in cancelled else "queued" for id in (PREP, CONV, FEED)}
    assert states == expected


async def test_two_agents_make_a_pair_that_can_be_chatted_with(
    workspace: Workspace, outside: Store
) -> None:
    await outside.jobs.add_all(launch_of("k3f"))
    await outside.jobs.move(PREP, "succeeded")
    async with opened(workspace) as jobs:
        await jobs.press("down")
        await succeed(outside, CONV, "conversation")
        await jobs.shows("✓ agent starter-conversation is ready")
        assert "✓ pair" not in jobs.text
        await succeed(outside, FEED, "feedback")
        await outside.agents.add_pair(
            "starter", conversation="starter-conversation", feedback="starter-feedback"
        )
        await jobs.shows("✓ pair starter is ready — 4 chat")
        for key in ("up", "down", "down"):
            await jobs.press(key)
            await jobs.shows("✓ pair starter is ready — 4 chat")


async def test_curves_are_laid_over_one_another_and_changed(
    workspace: Workspace, outside: Store
) -> None:
    await outside.jobs.add_all([*launch_of("a2b"), *launch_of("k3f")])
    for job in (CONV, "a2b-feed"):
        await train(outside, job, 20)
    async with opened(workspace) as jobs:
        await jobs.press("down", "space", "end")
        await jobs.shows("k3f-conv 1.500  ◆", "a2b-feed 1.500  ▲")
        assert jobs.row(CONV)[0] == "◆" and jobs.row("a2b-feed")[:2] == ["▸△", "a2b-feed"]
        await jobs.press("home", "down", "space", "end")
        await jobs.until(lambda: "k3f-conv 1.500  ◆" not in jobs.text)
        await jobs.press("g", "s")
        await jobs.shows("loss by step · logarithmic · smoothed")
        chart = jobs.screen.query_one(LossChart)
        assert chart.logarithmic and chart.smoothed


async def test_a_resumed_job_draws_its_repeated_steps_anew(
    workspace: Workspace, outside: Store
) -> None:
    await outside.jobs.add_all(launch_of("k3f"))
    await train(outside, CONV, 10)
    async with opened(workspace) as jobs:
        await jobs.press("down")
        await jobs.shows("k3f-conv 1.750")
        for step in (8, 9):
            await outside.jobs.metric(CONV, metric(step, 9.0))
        await jobs.until(lambda: "9.000" in jobs.row(CONV))
        # Its tenth step is of the time before, and is not shown until it is there again.
        await jobs.shows("k3f-conv 9.000")
        await outside.jobs.metric(CONV, metric(10, 1.25))
        await jobs.shows("k3f-conv 1.250")


async def test_the_log_is_followed_and_harmless(workspace: Workspace, outside: Store) -> None:
    await outside.jobs.add_all(launch_of("k3f"))
    log = log_path(workspace, PREP)
    async with opened(workspace) as jobs:
        await jobs.press("l")
        await jobs.shows("log of k3f-prep", "has not written anything")
        log.parent.mkdir(parents=True)
        log.write_bytes(b"10 %\r90 %\rall done\n\x1b]0;title\x07 [bold]x\xff\n")
        await jobs.shows("all done", "␛]0;title␇ [bold]x�")
        assert "90 %" not in jobs.text
        with log.open("ab") as file:
            file.write(b"one more line\n")
        await jobs.shows("one more line")
        await jobs.press("escape")
        assert jobs.app.screen is jobs.screen


async def test_details_tell_all_and_keep_up(workspace: Workspace, outside: Store) -> None:
    sample = await outside.samples.add(
        source=workspace.data / "starter.jsonl",
        source_sha256="0" * 64,
        recipe={"seed": 7, "balance": "harm"},
        sha256="1" * 64,
        rows=240,
    )
    await outside.jobs.add_all(launch_of("k3f"))
    await outside.jobs.update(CONV, sample_id=sample.id)
    await train(outside, CONV, 20)
    async with opened(workspace) as jobs:
        await jobs.press("down", "enter")
        await jobs.until(lambda: isinstance(jobs.app.screen, JobDetailsScreen))
        await jobs.shows("starter.jsonl · 240 rows · seed 7 · balance harm", "rank 16", "20/60")
        await outside.jobs.metric(CONV, metric(21, 1.0))
        await jobs.shows("21/60")
        await outside.jobs.move(CONV, "failed", error="It broke.")
        await jobs.shows("It broke.", "r resumes it from step 21; l shows its log.")


async def test_a_succeeded_job_is_done_again_as_a_new_one(
    workspace: Workspace, outside: Store, launched: list[str]
) -> None:
    await outside.jobs.add_all(launch_of("k3f", "succeeded"))
    async with opened(workspace) as jobs:
        await jobs.press("down", "r")
        await jobs.until(lambda: launched)
        await jobs.until(lambda: jobs.table.selected == launched[0])
        assert jobs.row(launched[0])[:3] == ["▸◇", launched[0], "conversation"]
        assert [job.id for job in await outside.jobs.list(ended=False)] == launched


async def test_the_cursor_stays_on_its_job_when_others_are_launched(
    workspace: Workspace, outside: Store
) -> None:
    await outside.jobs.add_all(launch_of("k3f", "succeeded"))
    async with opened(workspace) as jobs:
        await jobs.press("down")
        await outside.jobs.add_all(launch_of("z9z"))
        await jobs.until(lambda: jobs.row("z9z-prep"))
        assert jobs.table.selected == CONV
        # At the top one sees what comes, as after a launch from another screen.
        await jobs.press("home")
        await outside.jobs.add_all(launch_of("y8y"))
        await jobs.until(lambda: jobs.table.selected == "y8y-prep")


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
async def test_every_size_shows_the_jobs_and_their_curve(
    workspace: Workspace, outside: Store, size: tuple[int, int]
) -> None:
    await outside.jobs.add_all(launch_of("k3f"))
    await train(outside, CONV, 34)
    async with opened(workspace, size) as jobs:
        await jobs.press("down")
        await jobs.shows("k3f-conv", "● running", "34/60", "1.150", "loss by step", "◆ valid 1.400")
        assert ("checkpoint" in jobs.text or "events" in jobs.text) == (size[0] >= 80)
        bar = jobs.text.splitlines()[-1]
        assert "c cancel" in bar and "? help" in bar and "r resume" not in bar


async def test_many_unfinished_jobs_are_all_seen_in_the_end(
    workspace: Workspace, outside: Store
) -> None:
    """Those off the screen are read less often, and are not forgotten."""
    several = [
        NewJob(f"b{n:03d}-conv", "train", "conversation", "base", provider="hosted", state="queued")
        for n in range(200)
    ]
    await outside.jobs.add_all(several)
    async with opened(workspace) as jobs:
        await jobs.shows("200 waiting")
        await outside.jobs.metric("b199-conv", metric(1, 1.0))
        await jobs.until(lambda: "1.000" in jobs.row("b199-conv"))
        await outside.jobs.move("b000-conv", "running")
        await jobs.shows("1 running · 199 waiting")
        await outside.jobs.move("b000-conv", "failed", error="x")
        await jobs.shows("Jobs · 199 waiting")
