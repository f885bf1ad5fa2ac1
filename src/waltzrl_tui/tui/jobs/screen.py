"""The Jobs screen: what runs, how its losses fall, and what to do when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widget import Widget

from waltzrl_tui.jobs.launch import log_path
from waltzrl_tui.store import JobRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chart.loss_chart import LossChart
from waltzrl_tui.tui.chart.plot import HOLLOW, MARKERS, SLOTS
from waltzrl_tui.tui.dialogs.ask_text import AskText
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.tui.jobs import lines
from waltzrl_tui.tui.jobs.actions import JobActions
from waltzrl_tui.tui.jobs.columns import JobCells, table_cells, table_columns
from waltzrl_tui.tui.jobs.details import DetailRow, JobDetailsScreen, detail_rows
from waltzrl_tui.tui.jobs.event_log import EventLog
from waltzrl_tui.tui.jobs.log import JobLogScreen, ProviderLogScreen
from waltzrl_tui.tui.jobs.model import JobsModel
from waltzrl_tui.tui.jobs.note import JobNote, note
from waltzrl_tui.tui.shell.keys import EMPTY, bindings, press
from waltzrl_tui.tui.shell.screen import WaltzScreen
from waltzrl_tui.tui.tables.keyed_table import KeyedTable, TableRow
from waltzrl_tui.words import money

# How often "20 s ago" is updated while a job runs.
_TICK_SECONDS: Final = 5.0
_DEPENDING: Final = frozenset(
    {
        "approve",
        "cancel",
        "details",
        "find_all",
        "log",
        "log_scale",
        "overlay",
        "resume",
        "retry",
        "smooth",
    }
)
"""The actions that depend on the job at the cursor."""


class JobsScreen(WaltzScreen):
    """All jobs; curves of the chosen ones; the events of the one at the cursor."""

    NAME = "jobs"
    CSS_PATH = "jobs.tcss"
    BINDINGS = bindings("jobs")
    AUTO_FOCUS = "KeyedTable"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-middle"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-middling"), (34, "-high")]

    def __init__(self) -> None:
        super().__init__()
        self._model = JobsModel()
        self._actions = JobActions(self.waltz.store, self.waltz.workspace, self.waltz.remote)
        self._table = KeyedTable(table_columns([]), self._row, id="jobs").add_class("pane")
        self._note = JobNote(EMPTY["jobs.table"], id="job-note", markup=False)
        self._chart = LossChart(id="losses").add_class("pane")
        self._log = EventLog(id="events").add_class("pane")
        self._allowed: set[str] = set()
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
        self._model.selected = self._table.selected
        return self._model.job

    # What is read and drawn

    async def refresh_from_store(self) -> None:
        store, model, table = self.waltz.store, self._model, self._table
        readings = model.readings
        known, was_first = set(readings.jobs), readings.order[:1] == [table.selected]
        wait = await readings.read_jobs(store, {*table.visible_ids, *model.slots})
        if wait and not self._later:
            self._later = self.set_timer(wait, self._read_rest)
        table.set_columns(table_columns(readings.jobs.values()))
        table.show(model.matches)
        new = known and not known.issuperset(readings.order[:1])
        if new and (was_first or self._away):
            # The user came here to see what was just launched.
            table.select(readings.order[0])
        self._away = False
        job = self._job
        await model.read_details(store, table.visible_ids)
        job_events = await readings.read_events(store, job.id) if job else []
        details = await self._detail_rows(job) if job and self._details else []
        if not table.is_attached:
            return  # the app was left meanwhile
        self._draw()
        if job and job is self._job:
            self._log.show(job.id, job_events)
            _entitle(self._log, f"events · {job.id} · {len(job_events)}")
        if job and self._details and self._details.job_id == job.id:
            await self._details.show(details)
        for pair in model.new_pairs():
            chat = press("show('chat')", "jobs")
            self.notify(f"✓ pair {pair.name} is ready — {chat} chat", markup=False)

    def _draw(self) -> None:
        """Draw what the model holds. What has not changed is not painted again."""
        model, readings, job = self._model, self._model.readings, self._job
        states = readings.states()
        self.set_class(not readings.jobs, "-empty")
        _entitle(self._table, lines.table_title(states, model.query))
        charted = [readings.jobs[id] for id in model.charted]
        self._table.update()
        if job is not None:
            figures, pair = readings.figures(job.id), readings.pair(job.id)
            self._note.show(note(job, figures, pair, lines.current_time()))
        chart = self._chart
        chart.show(model.curves(), lines.empty_chart(job, charted))
        title = ["loss by step"]
        if chart.logarithmic:
            title.append("logarithmic")
        if chart.smoothed:
            title.append("smoothed")
        _entitle(chart, " · ".join(title))
        allowed = {name for name in _DEPENDING if model.allows(name)}
        if allowed != self._allowed:
            self._allowed = allowed
            self.refresh_bindings()
        if self._ticks is not None:
            if states["running"]:
                self._ticks.resume()
            else:
                self._ticks.pause()

    def _row(self, id: str) -> TableRow:
        model, readings = self._model, self._model.readings
        cells = JobCells(
            readings.jobs[id], readings.figures(id), readings.remote.get(id), lines.current_time()
        )
        slot = model.slots.get(id)
        if slot is None:
            return TableRow(table_cells(cells))
        markers = MARKERS if id in model.pinned else HOLLOW
        return TableRow(table_cells(cells), (markers[slot], f"run-{slot}"))

    async def _detail_rows(self, job: JobRow) -> list[DetailRow]:
        store, readings = self.waltz.store, self._model.readings
        return detail_rows(
            job,
            readings.figures(job.id),
            await store.samples.get(job.sample_id) if job.sample_id is not None else None,
            await readings.read_events(store, job.id),
            lines.current_time(),
            readings.remote.get(job.id),
        )

    def _read_rest(self) -> None:
        self._later = None
        self.read_store()

    def _tick(self) -> None:
        if self.is_current:
            self._table.update()

    @on(events.ScreenSuspend)
    def _left(self) -> None:
        self._away = True

    @on(KeyedTable.Moved)
    def _moved(self) -> None:
        self._draw()
        self.read_store()

    @on(KeyedTable.Scrolled)
    def _scrolled(self) -> None:
        self.read_store()

    # What the keys do

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can be done with the job at the cursor is offered."""
        self._model.selected = self._table.selected
        return action not in _DEPENDING or self._model.allows(action)

    def action_overlay(self) -> None:
        if self._job and not self._model.toggle_pinned():
            overlay = press("overlay", "jobs")
            self.notify(f"The chart holds {SLOTS} curves; {overlay} on one of them removes it.")
        self._draw()

    def action_log_scale(self) -> None:
        self._chart.logarithmic = not self._chart.logarithmic
        self._draw()

    def action_smooth(self) -> None:
        self._chart.smoothed = not self._chart.smoothed
        self._draw()

    def action_log(self) -> None:
        if self._job and not self._job.embedded:
            self.app.push_screen(ProviderLogScreen(self.waltz.store, self._job.id))
        elif self._job:
            path = log_path(self.waltz.workspace, self._job.id)
            self.app.push_screen(JobLogScreen(self._job.id, path))

    @on(KeyedTable.Chosen)
    def action_details(self) -> None:
        if self._job:
            self.start(self._open_details(self._job), group="job-details", exclusive=True)

    async def _open_details(self, job: JobRow) -> None:
        self._details = JobDetailsScreen(job.id, await self._detail_rows(job))
        self.app.push_screen(self._details, self._details_closed)

    def _details_closed(self, _: None) -> None:
        self._details = None

    def action_find(self) -> None:
        hint = "Words in id, role, provider, model, state, agent or error. Empty shows all."
        self.app.push_screen(AskText("Find jobs", hint, self._model.query), self._find)

    def _find(self, text: str | None) -> None:
        if text is not None:
            self._model.query = text
            self.read_store()
            self.refresh_bindings()

    def action_find_all(self) -> None:
        self._find("")

    def action_deployments(self) -> None:
        from waltzrl_tui.tui.jobs.deployments import DeploymentsScreen

        self.app.push_screen(DeploymentsScreen(self.waltz))

    def action_cancel(self) -> None:
        job = self._job
        if job is None or job.ended:
            return
        others = [each for each in self._model.readings.launch(job.id) if not each.ended]
        answers = [("y", f"cancel {job.id}")]
        if len(others) > 1:
            answers.append(("a", f"cancel all {len(others)} of {job.launch}"))
        # What depends on others goes first, or it would fail when they are gone.
        ids = {"y": [job.id], "a": [each.id for each in reversed(others)]}
        text = f"What it has is kept; {press('resume', 'jobs')} resumes it later."

        async def cancel(key: str) -> None:
            await self._actions.cancel(ids[key])
            self.read_store()

        self._confirm(f"Cancel {job.id}?", text, answers, cancel)

    def action_resume(self) -> None:
        if self._job:
            self.start(self._resume(self._job.id), group="job-control")

    async def _resume(self, id: str) -> None:
        resumed = await self._actions.resume(id)
        self.notify(f"Resumed {', '.join(job.id for job in resumed)}.", markup=False)
        self.read_store()

    def action_retry(self) -> None:
        job = self._job
        if job is None:
            return
        if job.embedded:
            self.start(self._retry(job), group="job-control")
            return
        where, price = one_line(job.provider), money(job.estimate_usd)

        async def retry(key: str) -> None:
            await self._retry(job)

        text = f"A new job at {where}, for about {price}."
        self._confirm(f"Run {job.id} again?", text, [("y", "run again")], retry)

    async def _retry(self, job: JobRow) -> None:
        new = await self._actions.retry(job)
        self.notify(f"{new.id} runs {job.id} again.", markup=False)
        await self.refresh_from_store()
        self._table.select(new.id)

    def action_approve(self) -> None:
        if self._job:
            self.start(self._approve(self._job.id), group="job-control")

    async def _approve(self, id: str) -> None:
        await self._actions.approve(id)
        self.notify(f"{id} continues at that price.", markup=False)
        self.read_store()

    def action_adopt(self) -> None:
        hint = (
            "PROVIDER ID ROLE [NAME]: together ft-1a2b conversation\n"
            "ID is the provider's own; ROLE is the agent that the job trains."
        )

        def adopt(text: str | None) -> None:
            if text:
                self.start(self._adopt(text), group="job-control")

        self.app.push_screen(AskText("Adopt a job that was started elsewhere", hint), adopt)

    async def _adopt(self, text: str) -> None:
        job = await self._actions.adopt(text)
        self.notify(f"{job.id} is watched from now on.", markup=False)
        self.read_store()

    def _confirm(
        self,
        title: str,
        text: str,
        answers: list[tuple[str, str]],
        work: Callable[[str], Coroutine[Any, Any, None]],
    ) -> None:
        """Ask, and run `work` with the key of the answer unless it is no."""

        def run(key: str | None) -> None:
            if key:
                self.start(work(key), group="job-control")

        self.app.push_screen(ConfirmScreen(title, text, answers), run)


def _entitle(pane: Widget, title: str) -> None:
    # A pane whose title is set is painted as a whole, the same title or not.
    if pane.border_title != title:
        pane.border_title = title
