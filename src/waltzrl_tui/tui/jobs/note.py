"""The job at the cursor in a sentence, and the key worth pressing now."""

from __future__ import annotations

from datetime import datetime

from textual.content import Content
from textual.widgets import Static

from waltzrl_tui.store import JobRow, PairRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.jobs.lines import facts
from waltzrl_tui.tui.jobs.model import Figures
from waltzrl_tui.tui.shell.keys import press

_ERROR_LIMIT = 600
_ACTIVITIES = {
    "conversation": "trains the conversation agent",
    "feedback": "trains the feedback agent",
    "both": "trains both agents",
}


class JobNote(Static):
    """Two or three lines that are painted only when they change."""

    def show(self, note: Content) -> None:
        if note != self.content:
            # Its height is fixed, so the screen need not be laid out again.
            self.update(note, layout=False)


def note(job: JobRow, figures: Figures, pair: PairRow | None, now: datetime) -> Content:
    """A headline about a job, and the particulars below it."""
    if job.state == "failed":
        body = one_line(job.error, _ERROR_LIMIT) or "No reason was reported; see its log."
        return _lines(f"✗ {job.id} failed", "$text-error", body, _next_step(job))
    if job.state == "cancelled":
        return _lines(
            f"⊗ {job.id} was cancelled", "$text-muted", facts(job, figures, now), _next_step(job)
        )
    if job.state == "succeeded":
        return _succeeded(job, figures, pair, now)
    body = facts(job, figures, now)
    if job.cancel_requested:
        return _lines(f"◐ {job.id} is stopping", "$text-warning", body)
    reason = one_line(job.reason)
    if job.state == "running":
        activity = "writes the training files" if job.kind == "rollouts" else _ACTIVITIES[job.role]
        detail = f": {reason}" if reason and reason != "training" else ""
        return _lines(f"● {job.id} {activity}{detail}", "$text-primary", body)
    return _lines(f"◌ {job.id} {reason or f'is {job.state}'}", "$text-warning", body)


def _succeeded(job: JobRow, figures: Figures, pair: PairRow | None, now: datetime) -> Content:
    if pair is not None:
        agents = " + ".join(one_line(name) for name in (pair.conversation, pair.feedback) if name)
        return _lines(
            f"✓ pair {one_line(pair.name)} is ready",
            "bold $text-success",
            agents,
            (press("show('chat')", "jobs"), "chat"),
        )
    result = f"agent {one_line(job.agent)} is" if job.agent else "the training files are"
    return _lines(f"✓ {result} ready", "$text-success", facts(job, figures, now))


def _next_step(job: JobRow) -> tuple[str, str] | None:
    if not job.embedded:
        if job.provider_job_id:
            return press("retry", "jobs"), "run it again as a new job"
        return press("resume", "jobs"), "launch it again"
    where = f"from step {job.step}" if job.step else "from the start"
    return press("resume", "jobs"), f"resume it {where}"


def _lines(head: str, style: str, body: str, key: tuple[str, str] | None = None) -> Content:
    parts: list[Content | tuple[str, str]] = [(head, style)]
    if key is not None:
        parts += [(" — ", "$faint"), (key[0], "bold $accent"), (f" {key[1]}", "$text")]
    return Content.assemble(*parts, "\n", (body, "$text-muted"))
