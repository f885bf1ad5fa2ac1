"""What a launch of ours adds to the provider's own calls: from the yes to the last job created.

Together's emulator on loopback, through its SDK, both agents of the bundled dataset. Every call of
the provider is timed; what is left of the wall time when no call is under way is ours: files,
hashes, the store, and waiting for our own supervisor. The client and the SDK are imported before.

Run: python benchmarks/bench_launch.py [RUNS]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

LIMIT_MS = 300.0
CALLS = ("upload", "estimate", "find", "create", "probe")


class Timed:
    """A provider whose calls are noted: when each began and ended."""

    def __init__(self, provider: Any, spans: list[tuple[float, float]]) -> None:
        self._provider, self._spans = provider, spans

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._provider, name)
        if name not in CALLS:
            return value

        async def call(*args: Any, **options: Any) -> Any:
            begin = time.monotonic()
            try:
                return await value(*args, **options)
            finally:
                self._spans.append((begin, time.monotonic()))

        return call


def covered(spans: list[tuple[float, float]]) -> float:
    """Seconds in which at least one call was under way."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


async def once(url: str) -> tuple[float, float]:
    """Seconds of a launch, and how many of them belong to the provider's calls."""
    from waltzrl_tui.datasets.sampling.sampling import SampleRecipe
    from waltzrl_tui.datasets.starter import STARTER, bundled
    from waltzrl_tui.plans.model import PlanSettings
    from waltzrl_tui.providers.registry import open_provider
    from waltzrl_tui.remote.launch import RemoteLaunch, launch, quote
    from waltzrl_tui.remote.provider_pool import Providers
    from waltzrl_tui.remote.supervise import Supervisor, supervised
    from waltzrl_tui.store import Store
    from waltzrl_tui.workspace import Workspace

    spans: list[tuple[float, float]] = []

    def opener(name: str, workspace: Workspace, url: str) -> Any:
        return Timed(open_provider(name, workspace, url=url), spans)

    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        workspace.use()
        async with await Store.open(workspace) as store:
            providers = Providers(workspace, opener=opener)
            async with supervised(Supervisor(store, workspace, providers)):
                plan = RemoteLaunch(
                    SampleRecipe(str(bundled(STARTER))), "together", PlanSettings(epochs=2), url=url
                )
                quoted = await quote(store, workspace, providers, plan)
                spans.clear()
                begin = time.monotonic()
                jobs = await launch(store, workspace, quoted)
                ids = [job.id for job in jobs]
                while not all(job.provider_job_id for job in await store.jobs.some(ids)):
                    await asyncio.sleep(0.005)
                end = time.monotonic()
            await providers.close()
    return end - begin, covered([span for span in spans if span[0] < end])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=int, nargs="?", default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from tests.support.emulators.together import TogetherEmulator
    from waltzrl_tui.approvals import approve

    with TogetherEmulator(speed=600.0) as there, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TOGETHER_API_KEY": there.key, "TOGETHER_BASE_URL": there.url}
        os.environ["TOGETHER_PROJECT_ID"] = "proj-1"
        os.environ["WALTZRL_APPROVALS"] = str(Path(folder) / "approvals.json")
        approve("together", there.url)
        asyncio.run(once(there.url))  # imports
        runs = [asyncio.run(once(there.url)) for _ in range(args.runs)]
    whole = statistics.median(wall for wall, _ in runs)
    ours = [(wall - theirs) * 1000 for wall, theirs in runs]
    found = statistics.median(ours)
    if args.json:
        print(json.dumps({"ours_ms": found, "all_ms": ours, "wall_s": whole}))
        return
    print(f"launch of both agents  {whole * 1000:.0f} ms from the yes to the last create")
    print(f"of it ours             {found:.0f} ms, {min(ours):.0f} to {max(ours):.0f}")
    print(f"limit {LIMIT_MS:.0f} ms: {'kept' if found <= LIMIT_MS else 'missed'}")


if __name__ == "__main__":
    main()
