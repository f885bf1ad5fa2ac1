"""Opening a dataset of 200,000 rows (116 MB): the line index beside reading it all.

Each contestant runs in a process of its own, alternating, so that its memory and CPU seconds are
its own; the best of the rounds counts, since other work on the machine only ever adds. The peers
are a plain loop with `json.loads` into a list and, when it is installed, VisiData's JSONL loader
without its screen.

    python benchmarks/bench_open.py [--rows N] [--rounds N]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROWS = 200_000
PAGE = 50


def generate(path: Path, rows: int) -> None:
    """Rows of the project's own shape, 580 bytes each on average; the same ones every time."""
    chosen = random.Random(7)
    words = [
        "".join(chosen.choices("abcdefghijklmnopqrstuvwxyz", k=chosen.randint(2, 9)))
        for _ in range(2000)
    ]
    with path.open("w", encoding="utf-8") as out:
        for number in range(rows):
            row = {
                "prompt": f"{number} " + " ".join(chosen.choices(words, k=20)),
                "harm": chosen.choice(("harmful", "benign")),
                "category": chosen.choice(("weapons", "privacy", "everyday", "sounds-alike")),
                "reply": " ".join(chosen.choices(words, k=58)),
            }
            out.write(json.dumps(row) + "\n")


def ours(path: Path) -> tuple[float, int]:
    from waltzrl_tui.datasets.index import LineIndex

    began = time.perf_counter()
    index = LineIndex(path)
    index.start()
    first = [json.loads(line) for line in index.page(0, PAGE)]
    seconds = time.perf_counter() - began
    assert len(first) == PAGE
    index.wait()
    last = json.loads(index.page(index.rows - 1, 1)[0])
    assert last["prompt"].startswith(f"{index.rows - 1} ")
    return seconds, index.rows


def plain(path: Path) -> tuple[float, int]:
    began = time.perf_counter()
    seconds = 0.0
    rows = []
    with path.open("rb") as file:
        for line in file:
            rows.append(json.loads(line))
            if len(rows) == PAGE:
                seconds = time.perf_counter() - began
    return seconds, len(rows)


def visidata(path: Path) -> tuple[float, int]:
    import visidata as vd

    began = time.perf_counter()
    sheet = vd.vd.openSource(str(path))
    sheet.ensureLoaded()
    seconds = 0.0
    while not seconds or vd.vd.unfinishedThreads:
        if not seconds and len(sheet.rows) >= PAGE:
            seconds = time.perf_counter() - began
        time.sleep(0.001)
    return seconds, len(sheet.rows)


CONTESTANTS = {"index": ours, "json.loads": plain, "visidata": visidata}


def contest(name: str, path: Path) -> dict[str, Any]:
    """Run one contestant in this process: seconds, CPU seconds, and MB added to its memory."""
    contestant = CONTESTANTS[name]
    if name == "visidata":
        importlib.import_module("visidata")
    elif name == "index":
        importlib.import_module("waltzrl_tui.datasets.index")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = time.process_time(), time.perf_counter()
    first, rows = contestant(path)
    scale = 1 if sys.platform == "darwin" else 1024
    return {
        "first": first,
        "all": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * scale / 1e6,
        "rows": rows,
    }


def best(name: str, path: Path, rounds: list[dict[str, Any]]) -> None:
    output = subprocess.run(
        [sys.executable, __file__, "--contestant", name, "--path", str(path)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rounds.append(json.loads(output.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(contest(options.contestant, options.path)))
        return
    names = [name for name in CONTESTANTS if name != "visidata"]
    if importlib.util.find_spec("visidata"):
        names.append("visidata")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        generate(path, options.rows)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                best(name, path, results[name])
        print(
            f"{options.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB, best of {options.rounds}"
        )
    figures = {
        name: {key: min(run[key] for run in runs) for key in runs[0]}
        for name, runs in results.items()
    }
    for name, row in figures.items():
        assert row["rows"] == options.rows, (name, row)
        print(
            f"{name:>11}: first page {row['first'] * 1000:7.2f} ms, all rows {row['all']:6.3f} s, "
            f"CPU {row['cpu']:6.3f} s, memory +{row['mb']:.1f} MB"
        )
    mine = figures["index"]
    ratios = [
        f"{peer['all'] / mine['all']:.0f}x wall, {peer['cpu'] / mine['cpu']:.0f}x CPU vs {name}"
        for name, peer in figures.items()
        if name != "index"
    ]
    print("ratio: all rows usable " + "; ".join(ratios))


if __name__ == "__main__":
    main()
