"""The Jobs screen: what runs, how its losses fall, and what to do when it has ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widget import Widget

from waltzrl_tui.jobs import control
from waltzrl_tui.jobs.launch import log_path
from waltzrl_tui.remote import control as remote_control
from waltzrl_tui.store import JobRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chart.loss_chart import LossChart
from waltzrl_tui.tui.chart.plot import SLOTS
from waltzrl_tui.tui.dialogs.ask_text import AskText
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.tui.jobs import words
from waltzrl_tui.tui.jobs.details import JobDetailsScreen, Row, detail_rows
from waltzrl_tui.tui.jobs.event_log import EventLog
from waltzrl_tui.tui.jobs.lines import columns, empty_chart, line, title
from waltzrl_tui.tui.jobs.log import JobLogScreen, ProviderLogScreen
from waltzrl_tui.tui.jobs.model import JobBoard, launch_of
from waltzrl_tui.tui.jobs.note import JobNote, note
from waltzrl_tui.tui.jobs.remote import RemoteJobs
from waltzrl_tui.tui.jobs.table import JobTable, Line
from waltzrl_tui.tui.shell.keys import EMPTY, bindings, press

# How often "20 s ago" is looked at while a job runs.
_TICK_SECONDS: Final = 5.0
_DEPENDING: Final = (
    *("cancel", "resume", "retry", "log"),
    *("overlay", "details", "log_scale", "smooth", "approve", "find_all"),
)


class JobsScreen(RemoteJobs):
    """All jobs; of the chosen ones the curves, of the one at the cursor what happened to it."""

    NAME = "jobs"
    CSS_PATH = "jobs.tcss"
    BINDINGS = bindings("jobs")
    AUTO_FOCUS = "JobTable"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-middle"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-middling"), (34, "-high")]

    def __init__(self) -> None:
        super().__init__()
        self._table = JobTable(columns([]), self._line, id="jobs").add_class("pane")
        self._note = JobNote(EMPTY["jobs.table"], id="job-note", markup=False)
        self._chart = LossChart(id="losses").add_class("pane")
        self._log = EventLog(id="events").add_class("pane")
        self._board = JobBoard()
        self._words = ""
        self._marked: list[str] = []
        self._slots: dict[str, int] = {}
        self._going: set[str] = set()
        self._can: tuple[object, ...] = ()
        self._details: JobDetailsScreen | None = None
        self._ticks: Timer | None = None
        self._later: Timer | None = None
        self._away = False

    def compose_body(self) -> ComposeResult:
        yield self._table
        yield self._note
        with Horizontal(id="job-panes"):
            yield self._chart
            yield self._log

    def on_mount(self) -> None:
        self._ticks = self.set_interval(_TICK_SECONDS, self._tick, pause=True)

    @property
    def _job(self) -> JobRow | None:
        """The job at the cursor."""
        return self._board.jobs.get(self._table.selected or "")

    async def refresh_from_store(self) -> None:
        store, board, table = self.waltz.store, self._board, self._table
        known, was_first = set(board.jobs), board.order[:1] == [table.selected]
        rest = await board.read_jobs(store, {*table.visible_ids, *self._slots})
        if rest and not self._later:
            self._later = self.set_timer(rest, self._read_rest)
        table.set_columns(columns(board.jobs.values()))
        table.show(self._found())
        new = known and not known.issuperset(board.order[:1])
        if new and (was_first or self._away):
            # What was launched just now is what one came to see.
            table.select(board.order[0])
        self._away = False
        job = self._job
        charted = self._chart_slots(job)
        await board.read_figures(store, dict.fromkeys([*table.visible_ids, *charted]))
        await board.read_remote(store, dict.fromkeys([*table.visible_ids, *charted]))
        await board.read_losses(store, charted)
        happened = await board.read_events(store, job.id) if job else []
        details = await self._detail_rows(job) if job and self._details else []
        if not self._table.is_attached:
            return  # the app was left meanwhile
        self._paint()
        if job and job is self._job:
            self._log.show(job.id, happened)
            _entitle(self._log, f"events · {job.id} · {len(happened)}")
        if job and self._details and self._details.job_id == job.id:
            await self._details.show(details)
        self._tell_of_pairs()

    def _paint(self) -> None:
        """Show what the board knows. What has not changed is not painted again."""
        board, job = self._board, self._job
        states = board.states()
        self.set_class(not board.jobs, "-empty")
        found = f" · “{one_line(self._words, 30)}”" if self._words else ""
        _entitle(self._table, title(states) + found)
        charted = [board.jobs[id] for id in self._chart_slots(job)]
        self._table.update()
        if job is not None:
            figures, pair = board.figures(job.id), board.pair(job.id)
            self._note.show(note(job, figures, pair, words.here()))
        curves = [board.curve(each.id, self._slots[each.id]) for each in charted]
        measured = [curve for curve in curves if curve.train or curve.valid]
        chart = self._chart
        chart.show(measured, empty_chart(job, charted))
        ways = " · logarithmic" * chart.logarithmic + " · smoothed" * chart.smoothed
        _entitle(chart, f"loss by step{ways}")
        can = tuple(self.check_action(name, ()) for name in _DEPENDING)
        if can != self._can:
            self._can = can
            self.refresh_bindings()
        if self._ticks is not None:
            (self._ticks.resume if states["running"] else self._ticks.pause)()

    def _line(self, id: str) -> Line:
        board = self._board
        marked = id in self._marked
        return line(
            board.jobs[id],
            board.figures(id),
            self._slots.get(id),
            marked,
            words.here(),
            board.remote.get(id),
        )

    def _found(self) -> list[str]:
        """The jobs that have all the words that are looked for."""
        wanted = self._words.lower().split()
        if not wanted:
            return self._board.order
        return [id for id in self._board.order if _has(self._board.jobs[id], wanted)]

    def _chart_slots(self, job: JobRow | None) -> list[str]:
        """The jobs in the chart, by slot: those marked, and what the cursor is on."""
        wanted = [*self._marked, *(self._board.trainings(job.id) if job else ())]
        wanted = list(dict.fromkeys(wanted))[:SLOTS]
        self._slots = {id: slot for id, slot in self._slots.items() if id in wanted}
        for id in wanted:
            free = (slot for slot in range(SLOTS) if slot not in self._slots.values())
            self._slots.setdefault(id, next(free, 0))
        return sorted(wanted, key=self._slots.__getitem__)

    async def _detail_rows(self, job: JobRow) -> list[Row]:
        store = self.waltz.store
        sample = await store.samples.get(job.sample_id) if job.sample_id is not None else None
        happened = await self._board.read_events(store, job.id)
        figures, remote = self._board.figures(job.id), self._board.remote.get(job.id)
        return detail_rows(job, figures, sample, happened, words.here(), remote)

    def _tell_of_pairs(self) -> None:
        """A launch that has ended since it was last looked at may have made a pair."""
        jobs = self._board.jobs.values()
        before, self._going = self._going, {launch_of(job.id) for job in jobs if not job.ended}
        for launch in sorted(before - self._going):
            first = next(job.id for job in jobs if launch_of(job.id) == launch)
            if pair := self._board.pair(first):
                chat = press("show('chat')", "jobs")
                self.notify(f"✓ pair {pair.name} is ready — {chat} chat", markup=False)

    def _read_rest(self) -> None:
        self._later = None
        self.read_store()

    def _tick(self) -> None:
        if self.is_current:
            self._table.update()

    @on(events.ScreenSuspend)
    def _left(self) -> None:
        self._away = True

    @on(JobTable.Selected)
    def _selected(self) -> None:
        self._paint()
        self.read_store()

    @on(JobTable.Scrolled)
    def _scrolled(self) -> None:
        self.read_store()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can be done with the job at the cursor is offered."""
        if action not in _DEPENDING:
            return True
        job = self._job
        if action == "find_all":
            return bool(self._words)
        if job is None:
            return False
        stopped = job.state in ("failed", "cancelled")
        here = job.provider == "embedded"
        again = stopped and (here or not job.provider_job_id)
        return {
            "approve": job.state == "draft" and not here,
            "cancel": not job.ended and not job.cancel_requested,
            "resume": again,
            "retry": job.state == "succeeded" if here else job.ended and not again,
            "overlay": bool(self._board.trainings(job.id)),
        }.get(action, True)

    def action_overlay(self) -> None:
        if self._job is None:
            return
        chosen = self._board.trainings(self._job.id)
        if set(chosen) <= set(self._marked):
            self._marked = [id for id in self._marked if id not in chosen]
        elif len({*self._marked, *chosen}) <= SLOTS:
            self._marked = list(dict.fromkeys([*self._marked, *chosen]))
        else:
            overlay = press("overlay", "jobs")
            self.notify(f"{SLOTS} curves at most; {overlay} on one of them takes it away.")
        self._paint()

    def action_log_scale(self) -> None:
        chart = self._chart
        chart.logarithmic = not chart.logarithmic
        self._paint()

    def action_smooth(self) -> None:
        chart = self._chart
        chart.smoothed = not chart.smoothed
        self._paint()

    def action_log(self) -> None:
        if self._job and self._job.provider != "embedded":
            self.app.push_screen(ProviderLogScreen(self.waltz.store, self._job.id))
        elif self._job:
            path = log_path(self.waltz.workspace, self._job.id)
            self.app.push_screen(JobLogScreen(self._job.id, path))

    @on(JobTable.Opened)
    def action_details(self) -> None:
        if self._job:
            self.start(self._open_details(self._job), group="job-details", exclusive=True)

    async def _open_details(self, job: JobRow) -> None:
        self._details = JobDetailsScreen(job.id, await self._detail_rows(job))
        self.app.push_screen(self._details, self._details_closed)

    def _details_closed(self, _: None) -> None:
        self._details = None

    def action_cancel(self) -> None:
        job = self._job
        if job is None or job.ended:
            return
        others = [each for each in self._board.launch(job.id) if not each.ended]
        answers = [("y", f"cancel {job.id}")]
        if len(others) > 1:
            answers.append(("a", f"cancel all {len(others)} of {launch_of(job.id)}"))
        # What depends on others goes first, or it would fail for want of them.
        chosen = {"y": [job.id], "a": [each.id for each in reversed(others)]}
        text = f"It keeps what it has; {press('resume', 'jobs')} goes on with it later."

        def answered(key: str | None) -> None:
            if key:
                self.start(self._cancel(chosen[key]), group="job-control")

        self.app.push_screen(ConfirmScreen(f"Cancel {job.id}?", text, answers), answered)

    async def _cancel(self, ids: Iterable[str]) -> None:
        for id in ids:
            await control.cancel(self.waltz.store, self.waltz.workspace, id)
        self.read_store()

    def action_resume(self) -> None:
        if self._job:
            self.start(self._resume(self._job.id), group="job-control")

    async def _resume(self, id: str) -> None:
        job = await self.waltz.store.jobs.get(id)
        if job.provider == "embedded":
            resumed = await control.resume(self.waltz.store, self.waltz.workspace, id)
        else:
            remote = await self.waltz.remote()
            resumed = [await remote_control.resume(self.waltz.store, id)]
            remote.start()
        self._say_started(resumed, "goes on", "go on")

    def action_find(self) -> None:
        hint = "Words of id, role, provider, model, state, agent or error. Empty shows all."
        self.app.push_screen(AskText("Find jobs", hint, self._words), self._find)

    def _find(self, text: str | None) -> None:
        if text is not None:
            self._words = text
            self.read_store()
            self.refresh_bindings()

    def action_find_all(self) -> None:
        self._find("")

    def action_retry(self) -> None:
        if self._job and self._job.provider != "embedded":
            self._ask_retry(self._job)
        elif self._job:
            self.start(self._retry(self._job.id), group="job-control")

    async def _retry(self, id: str) -> None:
        job = await control.retry(self.waltz.store, self.waltz.workspace, id)
        self._say_started([job], f"does again what {id} did", "")
        await self.refresh_from_store()
        self._table.select(job.id)

    async def _show_job(self, id: str) -> None:
        await self.refresh_from_store()
        self._table.select(id)

    def _say_started(self, jobs: Sequence[JobRow], one: str, several: str) -> None:
        names = ", ".join(job.id for job in jobs)
        self.notify(f"{names} {one if len(jobs) == 1 else several}.", markup=False)
        self.read_store()


def _has(job: JobRow, wanted: Sequence[str]) -> bool:
    parts = (job.id, job.role, job.provider, job.model, job.state, job.agent, job.error)
    text = " ".join((*parts, job.provider_job_id)).lower()
    return all(word in text for word in wanted)


def _entitle(pane: Widget, title: str) -> None:
    # A pane whose title is set is painted as a whole, the same title or not.
    if pane.border_title != title:
        pane.border_title = title
