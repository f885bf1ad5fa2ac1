"""Everything about one job: settings, sample, figures, and what to do about its error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Grid, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from waltzrl_tui import words
from waltzrl_tui.records.metrics import METRICS
from waltzrl_tui.store import EventRow, JobRow, SampleRow
from waltzrl_tui.store.remote_rows import RemoteJobRow
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.dialogs.dialog import Dialog
from waltzrl_tui.tui.jobs import lines
from waltzrl_tui.tui.jobs.model import Figures
from waltzrl_tui.tui.shell.keys import press

DetailRow = tuple[str, str, str]
"""A label, its value, and the style of the value ("" for the usual one)."""

_EVENTS = 12


class JobDetailsScreen(Dialog[None]):
    """Labels on the left, values on the right; changes are shown while it is open."""

    BINDINGS = [Binding("escape,enter,q", "leave", "close")]
    CSS_PATH = "jobs.tcss"

    def __init__(self, job_id: str, rows: Sequence[DetailRow]) -> None:
        super().__init__()
        self.job_id = job_id
        self._rows = list(rows)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as box:
            box.border_title = Content(f"job {self.job_id}")
            box.border_subtitle = "esc close"
            with Grid():
                for label, value, style in self._rows:
                    yield Static(label, classes="label", markup=False)
                    yield Static(Content.styled(value, style))

    async def show(self, rows: Sequence[DetailRow]) -> None:
        """Show these rows instead; only values that differ are painted again."""
        before, self._rows = self._rows, list(rows)
        if [row[0] for row in before] != [row[0] for row in rows]:
            await self.recompose()
            return
        values = list(self.query("Grid > Static").results(Static))[1::2]
        for static, old, (_, value, style) in zip(values, before, rows, strict=True):
            if old[1:] != (value, style):
                static.update(Content.styled(value, style))


def detail_rows(
    job: JobRow,
    figures: Figures,
    sample: SampleRow | None,
    events: Sequence[EventRow],
    now: datetime,
    remote: RemoteJobRow | None = None,
) -> list[DetailRow]:
    """The rows of the dialog; those without a value are left out."""
    rows: list[DetailRow] = [("state", lines.state(job)[0], "bold")]
    if job.error:
        rows.append(("error", printable(job.error), "$text-error"))
    if advice := _advice(job):
        rows.append(("what next", advice, "$text-accent"))
    agents = "both agents" if job.role == "both" else f"{job.role} agent"
    kind = "samples replies of the base" if job.kind == "rollouts" else f"training · {agents}"
    rows += [
        ("kind", kind, ""),
        ("where", f"{job.provider} · {one_line(job.model)}", ""),
        ("doing", one_line(job.reason), ""),
        ("step", _step(job), ""),
        ("measured", _measurements(job, figures), ""),
        ("times", _times(job, now), ""),
        ("needs", ", ".join(job.depends_on), ""),
        ("sample", _sample(sample), ""),
        *(_remote(job, remote) if remote else []),
        *_params(job.params),
        ("agent", one_line(job.agent), ""),
        ("result" if remote else "adapter", one_line(job.result_model, 400), ""),
        ("events", _events(events, now), "$text-muted"),
    ]
    return [row for row in rows if row[1]]


def _remote(job: JobRow, remote: RemoteJobRow) -> list[DetailRow]:
    """What only jobs at providers have: their id and state there, costs, and what was sent."""
    costs = [f"estimated {words.money(job.estimate_usd)}"]
    if remote.vendor_usd is not None:
        costs.append(f"provider's estimate {words.money(remote.vendor_usd)}")
    if job.cost_usd or job.ended:
        costs.append(f"billed {words.money(job.cost_usd)}")
    trained = "" if remote.tokens is None else f"{words.tokens(remote.tokens)} trained"
    status = filter(None, [job.provider_state, remote.vendor_says, trained])
    return [
        ("its id", one_line(job.provider_job_id, 120), ""),
        ("status", one_line(" · ".join(status), 300), ""),
        ("cost", " · ".join(costs), ""),
        ("sent", printable(json.dumps(remote.payload, ensure_ascii=False, indent=1)), "$text-muted")
        if remote.payload
        else ("sent", "", ""),
    ]


def _advice(job: JobRow) -> str:
    if job.embedded and job.state in ("failed", "cancelled"):
        how = f"resumes it from step {job.step}" if job.step else "starts it again"
        return f"{press('resume', 'jobs')} {how}; {press('log', 'jobs')} shows its log."
    if job.state == "draft" and not job.embedded:
        return f"{press('approve', 'jobs')} accepts the price; {press('cancel', 'jobs')} cancels."
    if job.ended and job.state != "succeeded" and not job.provider_job_id:
        return f"{press('resume', 'jobs')} relaunches it after the cause is fixed."
    return ""


def _step(job: JobRow) -> str:
    left = f" · {words.duration(job.eta_seconds, rough=True)} left" if job.eta_seconds else ""
    return lines.step(job).replace(words.NONE, "") + left


def _measurements(job: JobRow, figures: Figures) -> str:
    """The latest value of every series that the job's kind declares."""
    parts = [
        f"{series.label} {series.text(value)}"
        for series in METRICS.get(job.kind, ())
        if series.name != "eta_seconds" and (value := figures.get(series.name)) is not None
    ]
    return " · ".join(parts)


def _times(job: JobRow, now: datetime) -> str:
    parts = [f"created {words.clock(job.created_at, now)}"]
    if job.started_at:
        parts.append(f"started {words.clock(job.started_at, now)}")
    if job.ended_at:
        parts.append(f"ended {words.clock(job.ended_at, now)}")
    if (took := lines.run_seconds(job)) is not None:
        parts.append(f"took {words.duration(took)}")
    return " · ".join(parts)


def _sample(sample: SampleRow | None) -> str:
    if sample is None:
        return ""
    names = ("seed", "dedupe", "balance", "valid")
    recipe = [f"{name} {sample.recipe[name]}" for name in names if sample.recipe.get(name)]
    parts = [Path(sample.source).name, words.plural(sample.rows, "row"), *recipe, f"#{sample.id}"]
    return one_line(" · ".join(parts))


def _params(params: Mapping[str, Any]) -> list[DetailRow]:
    """The parameters: one row for each group, then one for those outside groups."""
    rows: list[DetailRow] = []
    single = []
    for name, value in params.items():
        if name == "version":
            continue
        if isinstance(value, Mapping):
            inner = ", ".join(f"{key} {one_line(str(each))}" for key, each in value.items())
            rows.append((one_line(name, 10), printable(inner), ""))
        elif value not in ("", None):
            single.append(f"{name}: {one_line(str(value), 400)}")
    return [*rows, ("params", printable("\n".join(single)), "")]


def _events(events: Sequence[EventRow], now: datetime) -> str:
    return "\n".join(
        f"{words.clock(event.at, now)}  {one_line(event.text, 400)}" for event in events[-_EVENTS:]
    )
