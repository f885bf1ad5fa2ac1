"""What this machine and the user's accounts offer: keys by name, GPUs, measured speed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Final

from waltzrl_tui.keys import find_key
from waltzrl_tui.plans.catalogue import load_catalogue
from waltzrl_tui.plans.model import Environment, Gpu, Probe
from waltzrl_tui.records.providers import EMBEDDED
from waltzrl_tui.store import Store
from waltzrl_tui.text import one_line
from waltzrl_tui.tokenizers.counting import hub_home
from waltzrl_tui.workspace import Workspace

_SMI_SECONDS: Final = 5.0
_MEASURED_JOBS: Final = 6
_OTHER_KEYS: Final = frozenset({"HUGGING_FACE_HUB_TOKEN"})


async def read_environment(store: Store | None, workspace: Workspace) -> Environment:
    """Read the environment once.

    Args:
        store: None where there is none yet: no speed is known then.
        workspace: Its `plans.toml` may name providers and their keys. Only the names of keys are
            kept, never their values.

    Raises:
        PlanError: `plans.toml` is invalid.
    """
    gpus, keys = await asyncio.gather(
        asyncio.to_thread(find_gpus), asyncio.to_thread(_keys_set, workspace)
    )
    return Environment(
        keys=keys,
        gpus=gpus,
        unsloth=find_spec("unsloth") is not None,
        embedded_tokens_per_second=await _measured_speed(store) if store else None,
        probes=await _probes(store) if store else {},
        today=datetime.now(UTC).date(),
    )


def find_gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that `nvidia-smi` lists; none without a driver, or if it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = ["--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        process = subprocess.run(
            [program, *query],
            capture_output=True,
            timeout=_SMI_SECONDS,
            check=True,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(_parse_gpus(process.stdout.splitlines()))


def _parse_gpus(lines: Iterable[str]) -> Iterable[Gpu]:
    for line in lines:
        name, _, rest = line.partition(",")
        try:
            total, free = (float(part) * 1.048576e-3 for part in rest.split(","))
        except ValueError:
            continue  # A broken driver prints its error here.
        yield Gpu(one_line(name, 60), round(total, 1), round(free, 1))


def _keys_set(workspace: Workspace) -> frozenset[str]:
    catalogue = load_catalogue(workspace)
    names = {key for provider in catalogue.provider.values() for key in provider.keys}
    present = {name for name in names | _OTHER_KEYS if find_key(name)}
    if "HUGGING_FACE_HUB_TOKEN" in present or _hub_login():
        present.add("HF_TOKEN")
    return frozenset(present)


def _hub_login() -> bool:
    """Whether the hub's own login has stored a token (the file is not read)."""
    path = Path(os.environ.get("HF_TOKEN_PATH") or hub_home() / "token").expanduser()
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


async def _probes(store: Store) -> dict[str, Probe]:
    """The providers' last answers about this account."""
    return {
        name: Probe(row.may_tune, row.words, row.at, row.key_ok)
        for name, row in (await store.remote.probes()).items()
    }


async def _measured_speed(store: Store) -> float | None:
    """Median tokens/s of the newest trainings of the embedded engine's own model here."""
    from waltzrl_tui.local.weights import DEFAULT_MODEL

    speeds = []
    for job in await store.jobs.list(ended=True, limit=100):
        if job.kind != "train" or job.provider != EMBEDDED or job.state != "succeeded":
            continue
        if job.model != DEFAULT_MODEL or not job.started_at or not job.ended_at:
            continue
        metrics = await store.jobs.metrics(job.id)
        rates = [speed for row in metrics if (speed := row.get("tokens_per_second"))]
        if rates:
            speeds.append(median(rates))
        if len(speeds) >= _MEASURED_JOBS:
            break
    return median(speeds) if speeds else None
