"""`doctor`: what this machine, this terminal and this workspace have."""

from __future__ import annotations

import asyncio
import locale
import os
import platform
import shutil
import sys
from importlib.util import find_spec
from typing import Any

import psutil

from waltzrl_tui import __version__
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.doctor_store import check_store
from waltzrl_tui.cli.layout import fields, size
from waltzrl_tui.errors import EngineError
from waltzrl_tui.local.extra import missing
from waltzrl_tui.local.weights import DEFAULT_MODEL, is_whole, wheel_file
from waltzrl_tui.workspace import Workspace

_KEYS = (
    "ANTHROPIC_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "FIREWORKS_API_KEY",
    "HF_TOKEN",
    "LAMBDA_API_KEY",
    "MISTRAL_API_KEY",
    "OPENAI_API_KEY",
    "RUNPOD_API_KEY",
    "TINKER_API_KEY",
    "TOGETHER_API_KEY",
    "VAST_API_KEY",
)


async def doctor(context: Context) -> int:
    """`doctor`: 0 unless something is damaged."""
    context.out.status.set("looking")
    store = await check_store(context.workspace)
    weights = await asyncio.to_thread(_weights, context.workspace)
    absent = missing()
    document: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": _machine(),
        "terminal": _terminal(),
        "local": {"installed": not absent, "missing": absent},
        "weights": weights,
        "gpu": await asyncio.to_thread(_gpu),
        "workspace": str(context.workspace.home),
        "store": {name: store[name] for name in ("path", "exists", "version", "integrity")},
        "keys": _keys(store["key_envs"]),
        "stale_jobs": store["stale_jobs"],
    }
    problems = _problems(document, [store["error"], weights["error"]])
    document["problems"] = problems
    context.out.result(document, _text(document))
    return 1 if store["error"] or weights["damaged"] else 0


def _machine() -> dict[str, Any]:
    memory = psutil.virtual_memory()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": psutil.cpu_count(logical=False),
        "threads": usable,
        "memory_bytes": memory.total,
        "memory_free_bytes": memory.available,
    }


def _terminal() -> dict[str, Any]:
    columns, rows = shutil.get_terminal_size()
    return {
        "terminal": sys.stdout.isatty(),
        "columns": columns,
        "rows": rows,
        "colours": _colours(),
        "unicode": "utf" in (sys.stdout.encoding or locale.getpreferredencoding()).lower(),
        "ssh": bool(os.environ.get("SSH_CONNECTION")),
    }


def _colours() -> str:
    term = os.environ.get("TERM", "")
    if os.environ.get("NO_COLOR") or term in ("", "dumb"):
        return "none"
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "16.7 million"
    return "256" if "256" in term else "16"


def _weights(workspace: Workspace) -> dict[str, Any]:
    """Where the embedded weights are. Nothing is converted here, which would take seconds."""
    cached = workspace.cache / "models" / DEFAULT_MODEL
    document: dict[str, Any] = {
        "model": DEFAULT_MODEL,
        "converted": str(cached) if is_whole(cached) else None,
        "wheel": None,
        "hash_ok": None,
        "damaged": False,
        "error": "",
    }
    try:
        document |= {"wheel": str(wheel_file()), "hash_ok": True}
    except EngineError as error:
        damaged = "damaged" in error.message
        document |= {"hash_ok": False if damaged else None, "damaged": damaged}
        if damaged or document["converted"] is None:
            document["error"] = str(error)
    return document


def _gpu() -> dict[str, Any]:
    document: dict[str, Any] = {"checked": False, "devices": [], "error": ""}
    if find_spec("torch") is None:
        return document
    try:
        import torch

        document["checked"] = True
        for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
            found = torch.cuda.get_device_properties(number)
            document["devices"].append({"name": found.name, "memory_bytes": found.total_memory})
    except (ImportError, OSError, RuntimeError) as error:
        # A torch that does not fit this machine's driver says so in many ways.
        document["error"] = f"{type(error).__name__}: {error}"
    return document


def _keys(wanted: list[str]) -> dict[str, dict[str, bool]]:
    """Which keys are set, by the variable's name; never a value."""
    names = sorted({*_KEYS, *wanted})
    return {name: {"set": bool(os.environ.get(name)), "needed": name in wanted} for name in names}


def _problems(document: dict[str, Any], errors: list[str]) -> list[str]:
    found = [error for error in errors if error]
    if absent := document["local"]["missing"]:
        found.append(
            f"The embedded engine is not installed ({', '.join(absent)} missing): "
            "pip install 'waltzrl-tui[local]'"
        )
    if document["gpu"]["error"]:
        found.append(f"torch cannot look for a GPU: {document['gpu']['error']}")
    found += [
        f"{name} is needed by an agent and not set."
        for name, key in document["keys"].items()
        if key["needed"] and not key["set"]
    ]
    found += [
        f"The worker of the job {job} is gone: waltzrl-tui jobs resume {job}"
        for job in document["stale_jobs"]
    ]
    return found


def _text(document: dict[str, Any]) -> str:
    machine, terminal, store = document["machine"], document["terminal"], document["store"]
    weights, gpu = document["weights"], document["gpu"]
    places = [weights["converted"] and "converted", weights["wheel"] and "wheel, hash ok"]
    devices = [f"{each['name']}, {size(each['memory_bytes'])}" for each in gpu["devices"]]
    keys = [name for name, key in document["keys"].items() if key["set"]]
    shown = fields(
        [
            ("waltzrl-tui", document["version"]),
            ("python", f"{document['python']}, {document['platform']}"),
            (
                "machine",
                f"{machine['cores']} cores, {size(machine['memory_bytes'])} memory, "
                f"{size(machine['memory_free_bytes'])} of it free",
            ),
            (
                "terminal",
                f"{terminal['columns']}×{terminal['rows']}, {terminal['colours']} colours, "
                f"{'Unicode' if terminal['unicode'] else 'no Unicode'}"
                if terminal["terminal"]
                else "none: the output goes to a file or a pipe",
            ),
            ("[local] extra", "installed" if document["local"]["installed"] else "missing"),
            ("weights", f"{weights['model']}: {' and '.join(filter(None, places)) or 'missing'}"),
            (
                "GPU",
                ", ".join(devices) or ("none" if gpu["checked"] else "not checked (no torch)"),
            ),
            ("workspace", document["workspace"]),
            (
                "store",
                f"version {store['version']}, integrity {store['integrity']}"
                if store["version"] is not None
                else ("unreadable" if store["exists"] else "none yet"),
            ),
            ("keys", ", ".join(f"{name} set: yes" for name in keys) or "none set"),
            ("stale jobs", ", ".join(document["stale_jobs"]) or "none"),
        ]
    )
    problems = [f"! {problem}" for problem in document["problems"]]
    return "\n".join([shown, "", *(problems or ["Nothing stands in the way."])])
