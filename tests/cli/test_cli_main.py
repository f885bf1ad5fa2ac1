"""The command line as a program: how it ends, and what goes where."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli, environment
from waltzrl_tui.cli import main
from waltzrl_tui.cli.jobs import ListOptions
from waltzrl_tui.cli.parser import parse
from waltzrl_tui.errors import UsageError
from waltzrl_tui.store import NewJob, Store


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["jobs", "list", "--json"], 0),
        (["chat", "--pair", "nope", "--prompt", "hi"], 1),
        (["data", "profile", "no-such-file.jsonl"], 1),
        ([], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_command_ends_by_itself(shared_home: Path, arguments: list[str], code: int) -> None:
    # An open store leaves a thread behind; a process that forgot it would not end.
    ended = subprocess.run(
        [sys.executable, "-m", "waltzrl_tui", *arguments],
        env=environment(shared_home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    if code:
        assert ended.stdout == ""
        assert ended.stderr.startswith("waltzrl-tui: ")
        assert len(ended.stderr.splitlines()) <= 3
    else:
        assert ended.stderr == ""


async def _waiting_job(store: Store) -> None:
    await store.jobs.add_all([NewJob("abc-conv", "train", "conversation", "m", state="draft")])
    await store.jobs.event("abc-conv", "waits for a yes")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_cleanly(cli: Cli, number: signal.Signals, code: int) -> None:
    cli.store(_waiting_job)
    process = cli.start("jobs", "watch", "abc", "--json")
    assert process.stderr is not None
    try:
        assert "waits for a yes" in process.stderr.readline()
        wal = cli.home / "state" / "waltzrl.db-wal"
        assert wal.exists()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    # The last connection that is closed takes the write-ahead log with it.
    assert not wal.exists()
    with sqlite3.connect(cli.home / "state" / "waltzrl.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_reader_that_goes_away_is_no_error(cli: Cli, dataset: Path) -> None:
    process = cli.start("data", "profile", dataset, "--json")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert err == ""


def test_a_result_that_cannot_be_written_is_a_failure(cli: Cli, dataset: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "waltzrl_tui", "data", "profile", str(dataset)],
            env=environment(cli.home),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 1
    assert "No space left" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_bug_is_one_line_and_a_log(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("\x1b[31mred")

    monkeypatch.setattr("waltzrl_tui.cli.jobs.jobs_table", broken)
    cli.store(_waiting_job)
    ended = cli("jobs", "list")
    log = cli.home / "state" / "logs" / "waltzrl.log"
    assert ended.code == 1
    assert ended.out == ""
    assert "\x1b" not in ended.err
    assert "Traceback" not in ended.err
    assert str(log) in ended.err
    assert "Traceback" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "--home", "HOME", "jobs", "list"],
        ["jobs", "list", "--json", "--home", "HOME"],
        ["--home", "elsewhere", "jobs", "--json", "list", "--home", "HOME"],
    ],
)
def test_common_options_stand_anywhere(arguments: list[str]) -> None:
    invocation = parse(arguments)
    assert (invocation.json, invocation.home) == (True, "HOME")
    assert invocation.options == ListOptions(limit=500)


@pytest.mark.parametrize("later", ["waltz", "stage2"])
def test_there_is_no_command_that_does_nothing(later: str) -> None:
    with pytest.raises(UsageError, match="invalid choice"):
        parse(later.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "sample", "x", "--out", "y", "-n", "0"],
        ["data", "sample", "x", "--out", "y", "--valid", "nan"],
        ["train", "x", "--epochs", "inf"],
        ["train", "x", "--provider", "elsewhere"],
        ["jobs"],
        ["jobs", "list", "--limit", "1e3"],
        ["--screen", "jobs", "jobs", "list"],
        ["--json"],
    ],
)
def test_wrong_usage_is_two(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "--help" in printed.err or "--screen" in printed.err


def test_help_and_lists_import_nothing_heavy(shared_home: Path) -> None:
    program = (
        "import sys; from waltzrl_tui.cli import main; main(['jobs', 'list']);"
        "print([n for n in ('torch', 'openai', 'textual', 'pydantic', 'numpy')"
        " if n in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(shared_home),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout.splitlines()[-1] == "[]"
