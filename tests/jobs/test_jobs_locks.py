"""Locks and slots: held by processes, and gone with them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import waltzrl_tui
from waltzrl_tui.errors import StoreError
from waltzrl_tui.jobs.locks import held, hold, try_hold
from waltzrl_tui.jobs.training_slots import slot_count, slots_dir, try_take_slot

_HOLDER = """
import sys, time
from pathlib import Path
from waltzrl_tui.jobs.locks import try_hold
lock = try_hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def another_process_holds(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(waltzrl_tui.__file__).parents[1])},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_one_holds_and_the_others_do_not(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    assert not held(path)
    with hold(path):
        assert held(path)
        assert try_hold(path, timeout=0) is None
    assert not held(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_process_holds(path) as process:
        assert held(path)
        process.kill()
        process.wait()
        assert not held(path)
        lock = try_hold(path, timeout=0)
        assert lock is not None
        lock.release()


def test_hold_waits_its_turn(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", []

    def second() -> None:
        with hold(path):
            order.append("second")

    with hold(path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_looking_at_a_lock_does_not_keep_anybody_from_taking_it(tmp_path: Path) -> None:
    path, stop = tmp_path / "lock", threading.Event()
    path.touch()

    def look() -> None:
        while not stop.is_set():
            held(path)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(50):
            lock = try_hold(path)
            assert lock is not None
            lock.release()
    finally:
        stop.set()
        for looker in lookers:
            looker.join()


def test_a_forked_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from waltzrl_tui.jobs.locks import try_hold\n"
        "lock = try_hold(Path(sys.argv[1]))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    time.sleep(30)\n"
        "    os._exit(0)\n"
        "print(child, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(waltzrl_tui.__file__).parents[1])},
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.wait()
    try:
        deadline = time.monotonic() + 5
        while held(path) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not held(path)
    finally:
        os.kill(child, 9)
        process.stdout.close()


def test_a_lock_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file.lock"):
        try_hold(tmp_path / "file" / "lock")


@given(
    cores=st.integers(1, 256),
    memory=st.integers(0, 1 << 42),
    need=st.integers(0, 1 << 38),
)
def test_slots_fit_the_machine(cores: int, memory: int, need: int) -> None:
    count = slot_count(cores, memory, need)
    assert count >= 1
    if count > 1:
        assert cores >= 4
        assert count * 2 <= cores
        assert count * need <= memory


@pytest.mark.parametrize(
    ("cores", "memory", "need", "count"),
    [
        (1, 100, 1, 1),
        (3, 100, 1, 1),
        (4, 100, 1, 2),
        (9, 100, 1, 4),
        (64, 100, 30, 3),
        (64, 9, 10, 1),
    ],
)
def test_how_many_slots(cores: int, memory: int, need: int, count: int) -> None:
    assert slot_count(cores, memory, need) == count


def test_no_more_than_the_slots_there_are(tmp_path: Path) -> None:
    first, second = try_take_slot(tmp_path, 2), try_take_slot(tmp_path, 2)
    assert first is not None and second is not None
    assert try_take_slot(tmp_path, 2) is None
    first.release()
    with another_process_holds(tmp_path / "slot-0") as process:
        assert try_take_slot(tmp_path, 2) is None
        process.kill()
        process.wait()
        third = try_take_slot(tmp_path, 2)
        assert third is not None
        third.release()
    second.release()


def test_slots_are_shared_by_the_machine_and_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WALTZRL_SLOTS", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = slots_dir()
    assert folder == tmp_path / f"waltzrl-slots-{os.getuid()}"
    folder.chmod(0o777)
    assert stat.S_IMODE(slots_dir().stat().st_mode) == 0o700
    monkeypatch.setenv("WALTZRL_SLOTS", str(tmp_path / "mine"))
    assert slots_dir() == tmp_path / "mine"


def test_somebody_elses_folder_is_not_used_for_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WALTZRL_SLOTS", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"waltzrl-slots-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"not a folder of this user.*WALTZRL_SLOTS"):
        slots_dir()
