"""Bytes to the terminal and CPU seconds while nothing happens, next to an empty Textual app.

python benchmarks/bench_idle.py [--seconds 10] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench_start import EMPTY, NOTHING, OURS, READY
from terminal import Terminal, installed

SETTLING_SECONDS = 3.0


def measure(code: str, home: str, seconds: float, until: tuple[bytes, ...]) -> dict[str, float]:
    """Bytes written and CPU seconds used in `seconds` after everything has settled."""
    command = [sys.executable, "-c", code, home]
    environment = installed(str(Path(home) / "cache"))
    with Terminal(command, columns=120, rows=40, environment=environment) as terminal:
        terminal.read_until(*until)
        terminal.read_for(SETTLING_SECONDS)
        before = terminal.cpu_seconds()
        count = terminal.read_for(seconds)
        return {"bytes": count, "cpu_seconds": round(terminal.cpu_seconds() - before, 3)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        report = {
            "empty": measure(EMPTY, home, chosen.seconds, NOTHING),
            "data": measure(OURS, home, chosen.seconds, READY),
        }
    data = report["data"]
    # A clock tick is 10 ms; one look at the store a second may cost a few of them.
    good = data["bytes"] == 0 and data["cpu_seconds"] <= 0.01 * chosen.seconds
    if chosen.json:
        print(json.dumps(report | {"seconds": chosen.seconds, "within_budget": good}))
    else:
        for name, each in report.items():
            share = each["cpu_seconds"] / chosen.seconds
            used = f"{each['cpu_seconds']:.2f} CPU s ({share:.1%})"
            print(f"{name:<6} {each['bytes']:6.0f} bytes  {used}")
        print(f"budget 0 bytes, 1% CPU: {'kept' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
