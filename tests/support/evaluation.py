"""What the tests of evaluations share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers.scripted import ChatServer
from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.evaluation.run import RunOutcome, carry_out
from waltzrl_tui.evaluation.service import begin, load_results, make_spec
from waltzrl_tui.evaluation.subjects import Subject
from waltzrl_tui.evaluation.suites import load_suite
from waltzrl_tui.local.live import Engines
from waltzrl_tui.store import Store
from waltzrl_tui.store.evaluation_runs import RunRow
from waltzrl_tui.workspace import Workspace


@dataclass
class Lab:
    """A store whose agents are models of the scripted server, and a suite of labelled prompts."""

    workspace: Workspace
    store: Store
    engines: Engines
    server: ChatServer
    suite: Path

    def write_suite(self, rows: list[tuple[str, str, str]]) -> None:
        lines = [json.dumps({"prompt": p, "harm": h, "category": c}) for p, h, c in rows]
        self.suite.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    async def agent(self, name: str, role: str = "conversation") -> str:
        await self.store.agents.add(
            name,
            role=role,  # type: ignore[arg-type]
            kind="openai",
            base=name,
            url=self.server.url,
            prompt=f"{role}/full-1",
        )
        return name

    async def run(
        self,
        subjects: list[Subject],
        *,
        judges: tuple[str, ...] = (),
        at_once: int | None = None,
        fresh: bool = False,
    ) -> RunRow:
        spec = await make_spec(
            self.store,
            [load_suite(str(self.suite))],
            subjects,
            judges,
            at_once=at_once,
            fresh=fresh,
        )
        return await begin(self.store, spec)

    async def carry(self, run: RunRow) -> tuple[RunOutcome, RunResults]:
        outcome = await carry_out(self.store, run, self.engines)
        return outcome, await load_results(self.store, await self.store.runs.get(run.id))
