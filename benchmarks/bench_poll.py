"""1,000 unfinished jobs at one provider: what watching them costs this process and the provider.

Two processes: the provider's service on loopback, and a supervisor with a probe of the event loop's
lag in it, next to an event loop that does nothing else. Prints lag, CPU and requests a second.

Run: python benchmarks/bench_poll.py [SECONDS]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

JOBS = 1000
PROBE_SECONDS = 0.02
SETTLE_SECONDS = 10.0


def serve() -> None:
    """The service: jobs that work for hours, until stdin closes."""
    from tests.support.emulators.acme import AcmeEmulator, AcmeJob

    with AcmeEmulator(speed=0.02) as there:
        for number in range(JOBS):
            job = AcmeJob(f"job-{number}", f"tag-{number}", "acme-7b", there.now() - 30, 10)
            there.jobs[job.id] = job
        print(json.dumps({"url": there.url, "key": there.key}), flush=True)
        while sys.stdin.readline():
            print(len(there.requests), flush=True)


async def fill(home: Path, url: str) -> None:
    from waltzrl_tui.records.intents import LaunchIntent
    from waltzrl_tui.store import NewJob, Store
    from waltzrl_tui.store.remote_rows import NewRemoteJob
    from waltzrl_tui.workspace import Workspace

    rows = []
    for number in range(JOBS):
        job = NewJob(
            f"j{number:03d}-conv",
            "train",
            "conversation",
            "acme-7b",
            provider="acme",
            state="running",
            provider_job_id=f"job-{number}",
        )
        rows.append((job, NewRemoteJob(job.id, "sft", {}, LaunchIntent(epochs=1), url)))
    async with await Store.open(Workspace.find(home)) as store:
        await store.remote.add(rows)


async def lags_of(seconds: float) -> tuple[list[float], float]:
    lags = []
    wall, cpu = time.monotonic(), time.process_time()
    while (before := time.monotonic()) < wall + seconds:
        await asyncio.sleep(PROBE_SECONDS)
        lags.append((time.monotonic() - before - PROBE_SECONDS) * 1000)
    return lags, (time.process_time() - cpu) / (time.monotonic() - wall)


async def watch(home: Path, key: str, seconds: float, count: subprocess.Popen[str]) -> str:
    from tests.support.acme import Acme
    from waltzrl_tui.providers.protocol import Provider, ProviderContext
    from waltzrl_tui.remote import supervise
    from waltzrl_tui.remote.provider_pool import Providers
    from waltzrl_tui.remote.supervise import Supervisor, supervised
    from waltzrl_tui.store import Store
    from waltzrl_tui.workspace import Workspace

    def opener(name: str, workspace: Workspace, url: str) -> Provider:
        provider: Provider = Acme(ProviderContext(lambda _: key, url, workspace.cache))
        return provider

    def requests() -> int:
        assert count.stdin and count.stdout
        count.stdin.write("\n")
        count.stdin.flush()
        return int(count.stdout.readline())

    supervise.provider_names = lambda: ["acme"]  # type: ignore[attr-defined]
    workspace = Workspace.find(home)
    bare, bare_cpu = await lags_of(min(5.0, seconds))
    async with await Store.open(workspace) as store:
        providers = Providers(workspace, opener=opener)
        async with supervised(Supervisor(store, workspace, providers)):
            await asyncio.sleep(SETTLE_SECONDS)
            before = requests()
            lags, cpu = await lags_of(seconds)
            asked = requests() - before
        await providers.close()
    return (
        f"watch {JOBS} remote jobs: lag p95 {p95(lags):.1f} ms (bare loop {p95(bare):.1f}, at most "
        f"50), {100 * cpu:.1f} % of a core (bare {100 * bare_cpu:.1f}, at most 10), "
        f"{asked / seconds:.1f} requests/s"
    )


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", nargs="?", type=float, default=20.0)
    parser.add_argument("--serve", action="store_true")
    args = parser.parse_args()
    if args.serve:
        serve()
        return 0
    command = [sys.executable, __file__, "--serve"]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as there,
    ):
        assert there.stdout and there.stdin
        told = json.loads(there.stdout.readline())
        asyncio.run(fill(Path(home), told["url"]))
        print(asyncio.run(watch(Path(home), told["key"], args.seconds, there)))
        there.stdin.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
