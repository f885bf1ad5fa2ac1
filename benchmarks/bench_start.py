"""CPU seconds and memory from nothing to a usable Data screen, next to an empty Textual app.

Both run in a pseudo-terminal of 120×40, several times in turn; the median counts. Usable means
that the rows of the bundled dataset stand there, the sample is counted and the key that trains
is offered. Walls are printed only to give an idea; CPU seconds are what is compared. The budget
is 0.9 CPU s where the empty app takes 0.36; a busy machine charges more for both, and there it is
as many times what the empty app takes.

    python benchmarks/bench_start.py [--times 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from terminal import Terminal, installed

MOST_CPU, MOST_MB = 0.9, 75
EMPTY_CPU = 0.36
FORBIDDEN = ("torch", "transformers", "numpy", "openai", "httpx", "duckdb")

EMPTY = """
from textual.app import App
from textual.widgets import Footer, Header, Label
class Empty(App):
    BINDINGS = [("q", "quit", "quit")]
    def compose(self):
        yield Header()
        yield Label("nothing here")
        yield Footer()
Empty().run()
"""
OURS = """
import sys
from waltzrl_tui.cli import main
sys.exit(main(["--home", sys.argv[1]]))
"""
IMPORTED = """
import asyncio, sys
from waltzrl_tui.tui.shell.app import WaltzApp
from waltzrl_tui.workspace import Workspace
async def main():
    async with WaltzApp(Workspace.find(sys.argv[1])).run_test() as pilot:
        await pilot.pause(2)
asyncio.run(main())
print(*sorted(sys.modules))
"""


NOTHING = (b"nothing here", b"quit")
READY = (b"train both", b"disinformat", b"valid")


def measure(
    code: str, home: str, cache: str, until: tuple[bytes, ...]
) -> tuple[float, float, float]:
    """CPU seconds, MB of memory and wall seconds until all of `until` has been written."""
    command = [sys.executable, "-c", code, home]
    with Terminal(command, columns=120, rows=40, environment=installed(cache)) as terminal:
        seconds = terminal.read_until(*until)
        return terminal.cpu_seconds(), terminal.memory_bytes() / 1e6, seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    runs: dict[str, list[tuple[float, float, float]]] = {"empty": [], "data": [], "first": []}
    with tempfile.TemporaryDirectory() as folder:
        shared, cache = str(Path(folder) / "home"), str(Path(folder) / "cache")
        measure(EMPTY, "", cache, NOTHING)
        measure(OURS, shared, cache, READY)
        for number in range(chosen.times):
            runs["empty"].append(measure(EMPTY, "", cache, NOTHING))
            runs["data"].append(measure(OURS, shared, cache, READY))
            fresh = str(Path(folder) / f"fresh-{number}")
            runs["first"].append(measure(OURS, fresh, cache, READY))
        modules = subprocess.run(
            [sys.executable, "-c", IMPORTED, shared], capture_output=True, text=True, check=True
        ).stdout.split()
    heavy = [name for name in FORBIDDEN if name in modules]
    report: dict[str, Any] = {
        name: {
            "cpu_seconds": round(statistics.median(run[0] for run in found), 3),
            "megabytes": round(statistics.median(run[1] for run in found), 1),
            "wall_seconds": round(statistics.median(run[2] for run in found), 2),
        }
        for name, found in runs.items()
    }
    report["modules"] = {"count": len(modules), "heavy": heavy}
    data, empty = report["data"], report["empty"]
    allowed = MOST_CPU * max(1.0, empty["cpu_seconds"] / EMPTY_CPU)
    good = data["cpu_seconds"] <= allowed and data["megabytes"] <= MOST_MB and not heavy
    if chosen.json:
        print(json.dumps(report | {"within_budget": good}))
    else:
        for name in ("empty", "data", "first"):
            each = report[name]
            print(
                f"{name:<6} {each['cpu_seconds']:6.2f} CPU s  {each['megabytes']:6.1f} MB"
                f"  ({each['wall_seconds']:.2f} s of wall)"
            )
        print(f"data / empty: {data['cpu_seconds'] / empty['cpu_seconds']:.2f} of the CPU time")
        print(f"{len(modules)} modules; heavy ones: {', '.join(heavy) or 'none'}")
        print(f"budget {allowed:.2f} CPU s, {MOST_MB} MB: {'kept' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
