"""What this machine and its accounts have: keys by name, GPUs, measured speed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.util import find_spec
from statistics import median
from typing import Final

from waltzrl_tui.keys import find_key
from waltzrl_tui.plans.catalogue import load_catalogue
from waltzrl_tui.plans.model import Environment, Gpu, Probe
from waltzrl_tui.store import Store
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import Workspace

_SMI_SECONDS: Final = 5.0
_JOBS_SEEN: Final = 6
_ALSO: Final = frozenset({"HUGGING_FACE_HUB_TOKEN"})


async def read_environment(store: Store | None, workspace: Workspace) -> Environment:
    """Look around once. Without a store no speed is known.

    Args:
        workspace: Its `plans.toml` may name providers and their keys; no value of a key is kept.

    Raises:
        PlanError: `plans.toml` has a mistake.
    """
    gpus, keys = await asyncio.gather(
        asyncio.to_thread(find_gpus), asyncio.to_thread(_keys_set, workspace)
    )
    return Environment(
        keys=keys,
        gpus=gpus,
        unsloth=find_spec("unsloth") is not None,
        embedded_tokens_per_second=await _measured(store) if store else None,
        probes=await _probes(store) if store else {},
        today=datetime.now(UTC).date(),
    )


def find_gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that `nvidia-smi` lists; none when there is no driver or it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        done = subprocess.run(
            [
                program,
                "--query-gpu=name,memory.total,memory.free",
                "--format=csv,noheader,nounits",
            ],
            capture_output=True,
            timeout=_SMI_SECONDS,
            check=True,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(_gpus(done.stdout.splitlines()))


def _gpus(lines: Iterable[str]) -> Iterable[Gpu]:
    for line in lines:
        name, _, rest = line.partition(",")
        try:
            total, free = (float(part) * 1.048576e-3 for part in rest.split(","))
        except ValueError:
            continue  # a driver that is broken says so in this place
        yield Gpu(one_line(name, 60), round(total, 1), round(free, 1))


def _keys_set(workspace: Workspace) -> frozenset[str]:
    catalogue = load_catalogue(workspace)
    names = {key for provider in catalogue.provider.values() for key in provider.keys}
    found = {name for name in names | _ALSO if find_key(name)}
    if "HUGGING_FACE_HUB_TOKEN" in found or _hub_login():
        found.add("HF_TOKEN")
    return frozenset(found)


def _hub_login() -> bool:
    """Whether the hub's own login has left a token (the file is not read)."""
    from pathlib import Path

    base = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface"
    )
    path = Path(os.environ.get("HF_TOKEN_PATH") or Path(base) / "token").expanduser()
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


async def _probes(store: Store) -> dict[str, Probe]:
    """What providers last said of this account."""
    return {
        name: Probe(row.may_tune, row.words, row.at, row.key_ok)
        for name, row in (await store.remote.probes()).items()
    }


async def _measured(store: Store) -> float | None:
    """The median speed of the newest trainings of the embedded engine's own model here."""
    from waltzrl_tui.local.weights import DEFAULT_MODEL

    speeds = []
    for job in await store.jobs.list(ended=True, limit=100):
        if job.kind != "train" or job.provider != "embedded" or job.state != "succeeded":
            continue
        if job.model != DEFAULT_MODEL or not job.started_at or not job.ended_at:
            continue
        metrics = await store.jobs.metrics(job.id)
        rates = [speed for row in metrics if (speed := row.get("tokens_per_second"))]
        if rates:
            speeds.append(median(rates))
        if len(speeds) >= _JOBS_SEEN:
            break
    return median(speeds) if speeds else None
