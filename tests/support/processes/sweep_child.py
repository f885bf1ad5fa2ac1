"""Launches jobs at a service in forked children that kill themselves at a given moment.

A fork costs a tenth of a fresh interpreter. Reads lines of JSON from stdin, `{"home", "url", "key",
"kill"}`, and answers each with the exit status of the child. `kill` is the number of the event
loop's turn before which the child ends by SIGKILL, or null.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.support.acme import Acme
from waltzrl_tui.providers.protocol import Provider, ProviderContext
from waltzrl_tui.records.intents import IntentFile, LaunchIntent
from waltzrl_tui.remote import submit, supervise
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.remote.submit import BEFORE_CREATE
from waltzrl_tui.remote.supervise import Supervisor, supervised
from waltzrl_tui.store import NewJob, Store
from waltzrl_tui.store.remote_rows import NewRemoteJob
from waltzrl_tui.workspace import Workspace

IDS = ("abc-conv", "abc-feed")
_SETTLE_SECONDS = 0.2


class MortalLoop(asyncio.SelectorEventLoop):
    """An event loop that ends its process before a given turn."""

    def __init__(self, turns: int | None) -> None:
        super().__init__()
        self._turns = turns

    def _run_once(self) -> None:
        if self._turns is not None:
            self._turns -= 1
            if self._turns < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        super()._run_once()  # type: ignore[misc]


async def launch(home: str, url: str, key: str) -> None:
    """Write the intents if they are not there, and see both jobs to their provider."""
    workspace = Workspace(Path(home))

    def opener(name: str, workspace: Workspace, url: str) -> Provider:
        return Acme(ProviderContext(lambda _: key, url, workspace.cache))

    providers = Providers(workspace, opener=opener)
    async with await Store.open(workspace) as store:
        if not await store.jobs.some(IDS):
            await store.remote.add([_intent(workspace, id, url) for id in IDS])
        supervisor = Supervisor(store, workspace, providers, settle_seconds=_SETTLE_SECONDS)
        async with supervised(supervisor):
            while any(job.state in BEFORE_CREATE for job in await store.jobs.some(IDS)):
                await asyncio.sleep(0.01)
        await providers.close()


def _intent(workspace: Workspace, id: str, url: str) -> tuple[NewJob, NewRemoteJob]:
    path = workspace.home / "train.jsonl"
    path.write_text('{"messages": []}\n', "utf-8")
    file = IntentFile(path=str(path), sha256="0" * 64, bytes=17, rows=1, tokens=1)
    role: Any = "feedback" if id.endswith("feed") else "conversation"
    job = NewJob(
        id, "train", role, "acme-7b", tag=f"{id}-{workspace.home.name}", provider="acme",
        state="approved",
    )  # fmt: skip
    return job, NewRemoteJob(id, "sft", {"train": file}, LaunchIntent(epochs=1), url)


def _child(wish: dict[str, Any]) -> None:
    loop = MortalLoop(wish["kill"])
    asyncio.set_event_loop(loop)
    loop.run_until_complete(launch(wish["home"], wish["url"], wish["key"]))


def main() -> None:
    supervise.provider_names = lambda: ["acme"]
    submit._WAIT_SECONDS = 0.1  # type: ignore[misc]
    supervise._TAKE_OVER_SECONDS = 0.05  # type: ignore[misc]
    for line in sys.stdin:
        wish = json.loads(line)
        process = os.fork()
        if process == 0:
            try:
                _child(wish)
                os._exit(0)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
        status = os.waitpid(process, 0)[1]
        print(json.dumps({"killed": os.WIFSIGNALED(status), "status": status}), flush=True)


if __name__ == "__main__":
    main()
