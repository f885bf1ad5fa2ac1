"""Open the app on twelve jobs at a provider's emulator that runs sixty times as fast.

    python docs/demo_jobs.py        (make demo-jobs)

Nothing leaves this machine and nothing costs anything: the emulator is the tests' own, the client
is the vendor's SDK. The workspace is a temporary one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

JOBS = 6
SPEED = 60.0


async def launch_all(home: Path, url: str) -> None:
    """Six launches of both agents, as `train --provider together` makes them."""
    from waltzrl_tui.datasets.sampling.sampling import SampleRecipe
    from waltzrl_tui.datasets.starter import STARTER, bundled
    from waltzrl_tui.plans.model import PlanSettings
    from waltzrl_tui.remote.launch import RemoteLaunch, launch, quote
    from waltzrl_tui.remote.provider_pool import Providers
    from waltzrl_tui.store import Store
    from waltzrl_tui.workspace import Workspace

    workspace = Workspace(home)
    workspace.use()
    wanted = RemoteLaunch(
        SampleRecipe(str(bundled(STARTER)), n=60), "together", PlanSettings(epochs=2), url=url
    )
    providers = Providers(workspace)
    async with await Store.open(workspace) as store:
        for number in range(JOBS):
            recipe = replace(wanted.recipe, seed=number)
            one = replace(wanted, recipe=recipe, name=f"demo-{number + 1}")
            await launch(store, workspace, await quote(store, workspace, providers, one))
    await providers.close()


def main() -> None:
    from tests.support.emulators.together import TogetherEmulator
    from waltzrl_tui.tui.shell.app import WaltzApp
    from waltzrl_tui.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder, TogetherEmulator(speed=SPEED) as there:
        there.limit, there.step_seconds = 8, 60.0
        os.environ |= {"TOGETHER_API_KEY": there.key, "TOGETHER_PROJECT_ID": "proj-1"}
        os.environ["TOGETHER_BASE_URL"] = there.url
        os.environ.setdefault("WALTZRL_CACHE", str(ROOT / "state" / "cache"))
        asyncio.run(launch_all(Path(folder), there.url))
        WaltzApp(Workspace(Path(folder)), screen="jobs").run()


if __name__ == "__main__":
    main()
