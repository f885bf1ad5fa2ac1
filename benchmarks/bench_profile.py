"""CPU of profiling 200,000 rows beside pandas and datasketch doing the same, and of sampling them.

    python benchmarks/bench_profile.py [--large] [--rows N] [--only CONTESTANT]

The rows have words of natural frequencies; 5 % are exact duplicates, 10 % differ from another row
in a word or two, and 10 % share one of 20 replies. The peer reads them with pandas, counts
duplicates, estimates tokens with this program's own function, and looks for near duplicates with
MinHashLSH at the same threshold over the words of a text, which costs it a sixth of what the
shingles would that we compare. It judges no refusals, secrets or contamination. A bare loop that
finds no near duplicates either shows what reading and counting alone cost. Each contestant runs in
a process of its own, so that CPU seconds (of all its threads) and memory are its own.

`--large` takes 2,000,000 rows (1.1 GB), without pandas and datasketch, which need an hour for them.
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

ROWS, LARGE = 200_000, 2_000_000
THRESHOLD = 0.7


def generate(path: Path, rows: int) -> None:
    """Rows of the project's own shape, about 560 bytes each; the same ones every time."""
    chosen = random.Random(7)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    words = ["".join(chosen.choices(letters, k=chosen.randint(2, 9))) for _ in range(30_000)]
    common = [word for rank, word in enumerate(words) for _ in range(1 + 20_000 // (rank + 3))]

    def text(length: int) -> list[str]:
        return chosen.choices(common, k=max(4, length))

    canned = [" ".join(text(40)) for _ in range(20)]
    kept: list[dict[str, str]] = []
    with path.open("w", encoding="utf-8") as out:
        for number in range(rows):
            kind = chosen.random()
            if kept and kind < 0.15:
                row = dict(chosen.choice(kept))
                if kind >= 0.05:
                    for name in ("prompt", "reply"):
                        changed = row[name].split()
                        changed[chosen.randrange(len(changed))] = chosen.choice(words)
                        row[name] = " ".join(changed)
            else:
                row = {
                    "prompt": " ".join(text(int(chosen.gauss(18, 6)))),
                    "harm": chosen.choice(("harmful", "benign")),
                    "category": chosen.choice(("weapons", "privacy", "everyday", "fraud")),
                    "reply": " ".join(text(int(chosen.gauss(60, 20)))),
                }
                if kind > 0.9:
                    row["reply"] = chosen.choice(canned)
            if len(kept) < 5000 or number % 40 == 0:
                kept.append(row)
            out.write(json.dumps(row) + "\n")


def ours(path: Path) -> dict[str, Any]:
    from waltzrl_tui.datasets.profiling.profile import profile

    found = profile(path)
    return {
        "rows": found.rows,
        "exact": found.rows - found.pairs,
        "near prompts": found.prompts - found.near["prompts"],
        "near replies": found.replies - found.near["replies"],
        "tokens": found.tokens,
    }


def survey(path: Path) -> dict[str, Any]:
    from waltzrl_tui.datasets.reading.read import open_dataset
    from waltzrl_tui.datasets.sampling.sampling import GroupCache, SampleRecipe, counts, survey

    cache = GroupCache()

    def timed(recipe: SampleRecipe, seen: Any = None) -> tuple[Any, Any, float]:
        began = time.process_time()
        seen = seen or survey(open_dataset(path), recipe, cache=cache)
        return seen, counts(seen, recipe), round(time.process_time() - began, 4)

    recipe = SampleRecipe(str(path), n=1000, suites=("starter-eval",))
    seen, first, whole = timed(recipe)
    *_, typed = timed(SampleRecipe(str(path), n=2000, suites=("starter-eval",)), seen)
    *_, again = timed(SampleRecipe(str(path), n=1000, suites=("starter-eval",), balance=None))
    *_, plain = timed(SampleRecipe(str(path), n=1000, valid=0))
    return {
        "rows": first.available + sum(first.dropped.values()),
        "first s": whole,
        "another n s": typed,
        "another balance s": again,
        "no validation s": plain,
    }


def bare(path: Path) -> dict[str, Any]:
    """A loop with `json.loads`, exact duplicates by sets, and the same estimate of tokens."""
    from waltzrl_tui.tokenizers.estimate import estimate_tokens

    rows = tokens = 0
    pairs = set()
    with path.open("rb") as file:
        for line in file:
            row = json.loads(line)
            rows += 1
            key = " ".join(row["prompt"].casefold().split())
            pairs.add(hash((key, row["reply"])))
            tokens += estimate_tokens(row["prompt"]) + estimate_tokens(row["reply"])
    return {"rows": rows, "exact": rows - len(pairs), "tokens": tokens}


def peer(path: Path) -> dict[str, Any]:
    import pandas as pd
    from datasketch import MinHash, MinHashLSH

    from waltzrl_tui.tokenizers.estimate import estimate_tokens

    rows = pd.read_json(path, lines=True)
    rows["key"] = rows["prompt"].str.lower().str.split().str.join(" ")
    result = {"rows": len(rows), "exact": int(rows.duplicated(["key", "reply"]).sum())}
    for column, name in (("key", "prompts"), ("reply", "replies")):
        index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
        near = 0
        for number, text in enumerate(rows[column].unique()):
            signature = MinHash(num_perm=128)
            signature.update_batch([word.encode() for word in text.lower().split()])
            near += bool(index.query(signature))
            index.insert(number, signature)
        result[f"near {name}"] = near
    tokens = rows["prompt"].map(estimate_tokens) + rows["reply"].map(estimate_tokens)
    return {**result, "tokens": int(tokens.sum())}


CONTESTANTS = {
    "profile": ours,
    "survey": survey,
    "bare loop": bare,
    "pandas + datasketch": peer,
}


def contest(name: str, path: Path) -> dict[str, Any]:
    """Run one contestant in this process."""
    began = time.process_time()
    found = CONTESTANTS[name](path)
    scale = 1 if sys.platform == "darwin" else 1024
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6
    return {"cpu": time.process_time() - began, "mb": memory, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help=f"{LARGE:,} rows, no pandas")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--only", choices=CONTESTANTS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.path:
        print(json.dumps(contest(options.only, options.path)))
        return
    names = [options.only] if options.only else list(CONTESTANTS)
    count = options.rows or (LARGE if options.large else ROWS)
    if options.large or not all(map(importlib.util.find_spec, ("pandas", "datasketch"))):
        print("no pandas + datasketch: not installed, or the file is too large for them")
        names = [name for name in names if "+" not in name]
    cpu: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        generate(path, count)
        print(f"{count:,} rows, {path.stat().st_size / 1e6:.0f} MB")
        for name in names:
            command = [sys.executable, __file__, "--only", name, "--path", str(path)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            row = json.loads(output.splitlines()[-1])
            assert row.pop("rows") == count, row
            cpu[name] = row.pop("cpu")
            rest = ", ".join(f"{key} {value:,}" for key, value in row.items() if key != "mb")
            print(f"{name:>20}: CPU {cpu[name]:7.2f} s, {row['mb']:.0f} MB; {rest}")
    if {"profile", "bare loop"} <= cpu.keys():
        print(f"ratio: {cpu['profile'] / cpu['bare loop']:.1f} times the bare loop's CPU")
    if {"profile", "pandas + datasketch"} <= cpu.keys():
        share = cpu["profile"] / cpu["pandas + datasketch"]
        print(f"ratio: {share:.2f} of the peer's CPU, at most 0.33")


if __name__ == "__main__":
    main()
