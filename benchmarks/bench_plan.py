"""CPU seconds of `plan` from a cold start, and milliseconds of pricing all providers anew.

    python benchmarks/bench_plan.py [--runs 5]

The bare interpreter's own start is measured beside it in the same run. Must reach: 1.5 CPU s for
the bundled dataset, 5 ms for all rows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PLAN = "import sys; from waltzrl_tui.cli import main; sys.exit(main(sys.argv[1:]))"


def cpu_seconds(code: str, *arguments: str) -> float:
    """User and system time of one child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def pricing(repeats: int) -> list[float]:
    """Milliseconds of CPU of pricing all rows, each time for another number of rows."""
    from waltzrl_tui.plans.load import measure_load

    from waltzrl_tui.datasets.sampling.sampling import SampleRecipe
    from waltzrl_tui.plans.catalogue import load_catalogue
    from waltzrl_tui.plans.model import Surroundings, Wish
    from waltzrl_tui.plans.price import price

    path = ROOT / "data" / "starter.jsonl"
    catalogue = load_catalogue(None)
    load = measure_load(path, SampleRecipe(str(path)))
    around = Surroundings(frozenset(), (), False, 200.0, {}, date(2026, 11, 22))
    found = []
    for number in range(repeats):
        scaled = load.scaled(100 + number)
        began = time.process_time()
        price(catalogue, scaled, Wish(epochs=1 + number % 7), around)
        found.append(1000 * (time.process_time() - began))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    with tempfile.TemporaryDirectory() as home:
        starts = [cpu_seconds(PLAN, "--home", home, "plan") for _ in range(args.runs)]
    bare = median(cpu_seconds("pass") for _ in range(args.runs))
    prices = pricing(40 * args.runs)
    cold, all_rows = median(starts), median(prices)
    if args.json:
        print(json.dumps({"cold_cpu_s": cold, "bare_python_cpu_s": bare, "price_ms": all_rows}))
        return
    print(f"plan, cold start      {cold:.2f} CPU s (of it bare Python {bare:.2f}; limit 1.50)")
    slow = sorted(prices)[int(len(prices) * 0.95)]
    print(f"price(), all rows     {all_rows:.2f} ms, p95 {slow:.2f} ms (limit 5.00)")


if __name__ == "__main__":
    main()
