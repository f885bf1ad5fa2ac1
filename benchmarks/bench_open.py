"""Opening a dataset of 200,000 rows (116 MB) and asking it questions, beside bare loops over it.

Each contestant runs in a process of its own, alternating, so that its memory and CPU seconds are
its own; the best of the rounds counts, since other work on the machine only ever adds. The peers
of opening are a plain loop with `json.loads` into a list and, when it is installed, VisiData's
JSONL loader without its screen. The peers of the questions are the same loop with the question as
Python, which accepts lines that two programs would read differently and tells no reason for others.

    python benchmarks/bench_open.py [--large] [--rows N] [--rounds N]

`--large` takes 2,000,000 rows (1.2 GB), once, without VisiData, which needs minutes for them.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROWS, LARGE = 200_000, 2_000_000
PAGE = 50
WORD = "zqk"


def generate(path: Path, rows: int) -> None:
    """Rows of the project's own shape, 580 bytes each on average; the same ones every time."""
    chosen = random.Random(7)
    words = [
        "".join(chosen.choices("abcdefghijklmnopqrstuvwxyz", k=chosen.randint(2, 9)))
        for _ in range(2000)
    ]
    # Put together from phrases, two million rows take no minutes.
    phrases = [" ".join(chosen.choices(words, k=10)) for _ in range(20_000)]
    with path.open("w", encoding="utf-8") as out:
        for number in range(rows):
            row = {
                "prompt": " ".join((str(number), *chosen.choices(phrases, k=2))),
                "harm": chosen.choice(("harmful", "benign")),
                "category": chosen.choice(("weapons", "privacy", "everyday", "sounds-alike")),
                "reply": " ".join(chosen.choices(phrases, k=6)),
            }
            out.write(json.dumps(row) + "\n")


def index(path: Path) -> tuple[float, int]:
    from waltzrl_tui.datasets.reading.line_index import LineIndex

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
    for row in _loop(path):
        rows.append(row)
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


def search(path: Path) -> tuple[float, int]:
    from waltzrl_tui.datasets.query.search import search

    lines = array("Q")
    return _first(lines, lambda tell: search(path, _mapping(), WORD, lines, on_progress=tell))


def plain_search(path: Path) -> tuple[float, int]:
    texts = (f"{row['prompt']}\n{row['reply']}" for row in _loop(path))
    return 0.0, sum(WORD in text.casefold() for text in texts)


def where(path: Path) -> tuple[float, int]:
    from waltzrl_tui.datasets.query.query import matching_lines

    condition = "harm = 'benign' and length(reply) > 350"
    lines = array("Q")
    return _first(
        lines,
        lambda tell: matching_lines(path, _mapping(), condition, lines=lines, on_progress=tell),
    )


def plain_where(path: Path) -> tuple[float, int]:
    return 0.0, sum(row["harm"] == "benign" and len(row["reply"]) > 350 for row in _loop(path))


def sort(path: Path) -> tuple[float, int]:
    from waltzrl_tui.datasets.query.query import column_values

    values = column_values(path, _mapping(), "length(prompt)")
    assert values is not None
    order = values.order()
    values.close()
    return 0.0, len(order)


def plain_sort(path: Path) -> tuple[float, int]:
    sizes = [len(row["prompt"]) for row in _loop(path)]
    return 0.0, len(sorted(range(len(sizes)), key=sizes.__getitem__))


def histogram(path: Path) -> tuple[float, int]:
    from waltzrl_tui.datasets.query.query import column_values

    values = column_values(path, _mapping(), "category")
    assert values is not None
    bars = values.histogram().bars
    values.close()
    return 0.0, sum(bar.rows for bar in bars)


def plain_histogram(path: Path) -> tuple[float, int]:
    return 0.0, Counter(row["category"] for row in _loop(path)).total()


def _loop(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _mapping() -> Any:
    from waltzrl_tui.datasets.reading.rows import Mapping

    return Mapping(
        shape="rows", prompts=("prompt",), reply="reply", harm="harm", category="category"
    )


def _first(found: array[int], ask: Callable[[Callable[[int], None]], Any]) -> tuple[float, int]:
    """Seconds until something was found, and how much in the end."""
    began = time.perf_counter()
    seconds: list[float] = []

    def tell(_: int) -> None:
        if found and not seconds:
            seconds.append(time.perf_counter() - began)

    ask(tell)
    return (seconds or [time.perf_counter() - began])[0], len(found)


CONTESTS: dict[str, dict[str, Callable[[Path], tuple[float, int]]]] = {
    "open": {"index": index, "json.loads": plain, "visidata": visidata},
    "search": {"search": search, "plain search": plain_search},
    "where": {"where": where, "plain where": plain_where},
    "sort": {"sort": sort, "plain sort": plain_sort},
    "histogram": {"histogram": histogram, "plain histogram": plain_histogram},
}
CONTESTANTS = {name: run for each in CONTESTS.values() for name, run in each.items()}
# The app has them at hand when it opens or asks.
IMPORTED = {
    "visidata": ("visidata",),
    "index": ("waltzrl_tui.datasets.reading.line_index",),
    "search": ("waltzrl_tui.datasets.query.search",),
    **dict.fromkeys(("where", "sort", "histogram"), ("waltzrl_tui.datasets.query.query", "duckdb")),
}


def contest(name: str, path: Path) -> dict[str, Any]:
    """Run one contestant in this process: seconds, CPU seconds, and MB added to its memory."""
    for module in IMPORTED.get(name, ()):
        importlib.import_module(module)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = time.process_time(), time.perf_counter()
    first, rows = CONTESTANTS[name](path)
    scale = 1 if sys.platform == "darwin" else 1024
    return {
        "first": first,
        "all": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * scale / 1e6,
        "rows": rows,
    }


def run(name: str, path: Path) -> dict[str, Any]:
    """One run of a contestant in a process of its own."""
    command = [sys.executable, __file__, "--contestant", name, "--path", str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def compare(title: str, names: list[str], path: Path, rounds: int) -> None:
    """Run the contestants of one contest in turn, and print them and their ratios."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            runs[name].append(run(name, path))
    best = {
        name: {key: min(one[key] for one in each) for key in each[0]} for name, each in runs.items()
    }
    assert len({row["rows"] for row in best.values()}) == 1, best
    for name, row in best.items():
        first = f"first {row['first'] * 1000:7.2f} ms, " if row["first"] else ""
        print(
            f"{name:>16}: {first}all {row['all']:7.3f} s, CPU {row['cpu']:7.3f} s, "
            f"memory +{row['mb']:.1f} MB, {row['rows']:,} rows"
        )
    mine, *peers = best.values()
    ratios = [
        f"{peer['all'] / mine['all']:.2f}x wall, {peer['cpu'] / mine['cpu']:.2f}x CPU vs {name}"
        for name, peer in zip(names[1:], peers, strict=True)
    ]
    print(f"ratio: {title} {'; '.join(ratios)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help=f"{LARGE:,} rows, one round")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", choices=CONTESTS)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(contest(options.contestant, options.path)))
        return
    rows = options.rows or (LARGE if options.large else ROWS)
    rounds = options.rounds or (1 if options.large else 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        generate(path, rows)
        print(f"{rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB, best of {rounds}")
        for title, contestants in CONTESTS.items():
            names = list(contestants)
            if "visidata" in names and (options.large or not importlib.util.find_spec("visidata")):
                names.remove("visidata")
            if options.only in (None, title):
                compare(title, names, path, rounds)


if __name__ == "__main__":
    main()
