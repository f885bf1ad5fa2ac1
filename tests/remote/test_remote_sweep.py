"""The app is killed at every step of a launch: afterwards there is one job for each intent."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.emulators.acme import AcmeEmulator

_ROOT = Path(__file__).parents[2]
_CHILD = "tests.support.processes.sweep_child"
_KILLS = int(os.environ.get("WALTZRL_SWEEP", "60"))
_MOST_TURNS = 4000


class _Sweeper:
    def __init__(self, there: AcmeEmulator) -> None:
        self._there = there
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-m", _CHILD], cwd=_ROOT, stdin=pipe, stdout=pipe, text=True
        )

    def run(self, home: Path, kill: int | None) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        home.mkdir(parents=True, exist_ok=True)
        wish = {"home": str(home), "url": self._there.url, "key": self._there.key, "kill": kill}
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))


def _turns(sweeper: _Sweeper, tmp_path: Path) -> int:
    """About how many turns of the event loop a whole launch takes."""
    low, high = 1, _MOST_TURNS
    while low < high:
        middle = (low + high) // 2
        if sweeper.run(tmp_path / f"probe-{middle}", middle)["killed"]:
            low = middle + 1
        else:
            high = middle
    return low


def test_killed_at_any_moment_each_intent_makes_one_job(tmp_path: Path, acme: AcmeEmulator) -> None:
    acme.limit = 10**6
    sweeper = _Sweeper(acme)
    turns = _turns(sweeper, tmp_path)
    kills = 0
    seen: Counter[str] = Counter()
    for number in range(_KILLS):
        home = tmp_path / f"k{number}"
        # All turns if there are fewer than kills, else spread over them; some fall after the end.
        moment = 1 + number * max(1, turns) // _KILLS if turns > _KILLS else 1 + number % turns
        kills += sweeper.run(home, moment)["killed"]
        made_before = sum(job.name.endswith(f"-{home.name}") for job in acme.jobs.values())
        ended = sweeper.run(home, None)
        assert ended == {"killed": False, "status": 0}, (number, moment)
        with closing(sqlite3.connect(home / "state" / "waltzrl.db")) as connection:
            rows = connection.execute("SELECT id, state, error FROM jobs").fetchall()
        names = Counter(
            job.name for job in acme.jobs.values() if job.name.endswith(f"-{home.name}")
        )
        assert names == {f"abc-conv-{home.name}": 1, f"abc-feed-{home.name}": 1}, (
            number,
            moment,
            rows,
        )
        with closing(sqlite3.connect(home / "state" / "waltzrl.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            known = dict(connection.execute("SELECT tag, provider_job_id FROM jobs"))
        ids = {job.name: job.id for job in acme.jobs.values() if job.name in names}
        assert known == ids
        seen[f"{made_before} made before the kill"] += 1
    assert sweeper.process.stdin
    sweeper.process.stdin.close()
    sweeper.process.wait(10)
    # How many turns a launch takes differs from run to run, so some moments lie behind its end.
    assert kills >= _KILLS * 0.75
    # The kills fell before, between and after the two jobs were made.
    assert len(seen) == 3, seen
    print(f"{kills} kills over {turns} turns: {dict(seen)}")
