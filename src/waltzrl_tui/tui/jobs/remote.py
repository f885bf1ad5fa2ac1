"""What the Jobs screen does with jobs at providers: agree, adopt, retry, deployments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from waltzrl_tui.errors import UsageError
from waltzrl_tui.records.roles import Role
from waltzrl_tui.remote import control as remote_control
from waltzrl_tui.store import JobRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.ask_text import AskText
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.tui.shell.screen import WaltzScreen


class RemoteJobs(WaltzScreen):
    """Actions on the job at the cursor when it is not the embedded engine's."""

    if TYPE_CHECKING:  # what the screen itself has

        @property
        def _job(self) -> JobRow | None: ...

        def _say_started(self, jobs: Sequence[JobRow], one: str, several: str) -> None: ...

        async def _show_job(self, id: str) -> None: ...

    def action_approve(self) -> None:
        if self._job:
            self.start(self._approve(self._job), group="job-control")

    async def _approve(self, job: JobRow) -> None:
        remote = await self.waltz.remote()
        await remote_control.approve(self.waltz.store, job.id)
        remote.start()
        self._say_started([job], "goes on at that price", "")

    def action_deployments(self) -> None:
        from waltzrl_tui.tui.jobs.deployments import DeploymentsScreen

        self.app.push_screen(DeploymentsScreen(self.waltz))

    def action_adopt(self) -> None:
        hint = (
            "PROVIDER ID ROLE [NAME]: together ft-1a2b conversation\n"
            "ID is the provider's own; ROLE says what its result is to be."
        )
        self.app.push_screen(AskText("Adopt a job that was started elsewhere", hint), self._adopted)

    def _adopted(self, text: str | None) -> None:
        if text:
            self.start(self._adopt(text), group="job-control")

    async def _adopt(self, text: str) -> None:
        parts = text.split()
        if len(parts) not in (3, 4) or parts[2] not in ("conversation", "feedback"):
            raise UsageError(
                "That names no job.", hint="Give provider, id, and conversation or feedback."
            )
        from waltzrl_tui.remote.adopt import adopt

        remote = await self.waltz.remote()
        role: Role = "conversation" if parts[2] == "conversation" else "feedback"
        job = await adopt(
            self.waltz.store, remote.providers, parts[0], parts[1], role, name="".join(parts[3:])
        )
        remote.start()
        self._say_started([job], "is watched from now on", "")

    def _ask_retry(self, job: JobRow) -> None:
        def answered(key: str | None) -> None:
            if key:
                self.start(self._retry_remote(job.id), group="job-control")

        text = f"A new job at {one_line(job.provider)}, for about ${job.estimate_usd:.2f}."
        answers = [("y", "train once more")]
        self.app.push_screen(ConfirmScreen(f"Retry {job.id}?", text, answers), answered)

    async def _retry_remote(self, id: str) -> None:
        remote = await self.waltz.remote()
        job = await remote_control.retry(self.waltz.store, id)
        remote.start()
        self._say_started([job], f"does again what {id} did", "")
        await self._show_job(job.id)
