"""A key is nowhere after a whole run: store, logs, exports, screens, arguments of processes."""

from __future__ import annotations

import asyncio
import html
import json
import logging
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from textual.pilot import Pilot

from tests.support.emulators.core import Answer, Fault, Request
from tests.support.emulators.together import TogetherEmulator, TogetherJob
from tests.support.screens import screen_text, shows
from waltzrl_tui.cli.log import LogFile
from waltzrl_tui.keys import PIECE, Keys, masked
from waltzrl_tui.providers.errors import AuthError
from waltzrl_tui.providers.together import provider as module
from waltzrl_tui.records.intents import IntentFile, LaunchIntent
from waltzrl_tui.remote import supervise
from waltzrl_tui.remote.deploy import Deployments
from waltzrl_tui.remote.probe import probe
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.remote.results import AgentMaker
from waltzrl_tui.remote.supervise import Supervisor, supervised
from waltzrl_tui.store import NewJob, Store
from waltzrl_tui.store.remote_rows import NewRemoteJob
from waltzrl_tui.tui.shell.app import WaltzApp
from waltzrl_tui.workspace import Workspace

_VERDICT = json.dumps(
    {"reasoning": "harmless", "unsafe": False, "overrefuse": False, "feedback": ""}
)


class _Together(TogetherEmulator):
    """Together with chat, and with a key that no pattern tells from a hash.

    `leaks`: it says the key back wherever it says anything.
    """

    def __init__(self) -> None:
        super().__init__(speed=240.0)
        self.key = secrets.token_hex(32)
        self.leaks = False

    def respond(self, request: Request) -> Answer:
        if request.path == "/v1/chat/completions":
            asked = json.dumps(request.json["messages"])
            return _streamed(_VERDICT if "overrefuse" in asked else "Here is how.")
        return super().respond(request)

    def _events(self, job: TogetherJob) -> list[dict[str, Any]]:
        said = super()._events(job)
        if self.leaks:
            for event in said:
                event["message"] += f" (called with {self.key})"
        return said

    def refusal(self) -> Answer:
        """As providers word it, with the whole key and with a piece of it."""
        words = (
            f"Incorrect API key provided: {self.key}. It begins with {self.key[:12]}... and is "
            f"not one of yours; we saw 'Authorization: Bearer {self.key}'."
        )
        return Answer(401, {"error": {"message": words, "type": "invalid_request_error"}})


def _streamed(text: str) -> Answer:
    def chunk(**more: Any) -> str:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return f"data: {json.dumps(head | more)}\n\n"

    delta = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    body = chunk(choices=[delta]) + chunk(choices=[], usage=usage) + "data: [DONE]\n\n"
    return Answer(raw=body.encode(), headers={"Content-Type": "text/event-stream"})


def _pieces(key: str) -> set[str]:
    """Every piece of the key of so many characters, beyond what masking shows of it."""
    shown = len(masked(key)) - 1
    return {key[at : at + PIECE] for at in range(len(key) - PIECE + 1)} | {key[shown:]}


def _leaks(text: str, key: str) -> list[str]:
    return [piece for piece in _pieces(key) if piece in text]


def _kept(workspace: Workspace, key: str) -> list[Path]:
    """The files of the workspace that tell of the key."""
    return [
        path
        for path in workspace.home.rglob("*")
        if path.is_file() and _leaks(path.read_bytes().decode("latin-1"), key)
    ]


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Together]:
    monkeypatch.setattr(module.Together, "check_seconds", 0.02)
    monkeypatch.setattr(supervise, "provider_names", lambda: ["together"])
    with _Together() as emulator:
        monkeypatch.setenv("TOGETHER_API_KEY", emulator.key)
        monkeypatch.setenv("TOGETHER_BASE_URL", emulator.url)
        monkeypatch.setenv("TOGETHER_PROJECT_ID", "proj-1")
        monkeypatch.setenv("WALTZRL_CACHE", "")
        yield emulator


@pytest.fixture
def dataset(workspace: Workspace) -> Path:
    rows = [
        {
            "prompt": f"question {number} of its own kind",
            "harm": ("harmful", "benign")[number % 2],
            "reply": ("I can't help with that.", "Answer")[number % 2] + f" {number}",
        }
        for number in range(40)
    ]
    path = workspace.data / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


class _Commands:
    """Runs commands as processes of their own, and reads the arguments of all that they start."""

    def __init__(self, workspace: Workspace) -> None:
        self._home = workspace.home
        self.said: list[str] = []
        self.arguments: set[str] = set()

    def __call__(self, *words: str) -> str:
        argv = [sys.executable, "-m", "waltzrl_tui", "--home", str(self._home), *words]
        process = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(process.pid, ended))
        watcher.start()
        out, err = process.communicate(timeout=180)
        ended.set()
        watcher.join(10)
        self.said += [out, err]
        assert process.returncode == 0, err
        return out

    def _watch(self, pid: int, ended: threading.Event) -> None:
        while True:
            try:
                process = psutil.Process(pid)
                for each in (process, *process.children(recursive=True)):
                    self.arguments.add(" ".join(each.cmdline()))
            except psutil.Error:
                pass
            if ended.wait(0.05):
                return


async def test_after_a_whole_run_the_key_is_nowhere(
    workspace: Workspace, there: _Together, dataset: Path
) -> None:
    commands = _Commands(workspace)

    def run() -> None:
        commands("doctor")
        commands(
            "train", str(dataset), "--provider", "together", "--name", "mine", "--yes", "--wait"
        )
        ids = [job["id"] for job in json.loads(commands("jobs", "list", "--json"))["jobs"]]
        commands("jobs", "show", *ids)
        commands("jobs", "show", *ids, "--json")
        commands("jobs", "logs", ids[0])
        for role in ("conversation", "feedback"):
            commands("deployments", "up", f"mine-{role}", "--yes")
        for deployment in there.deployments.values():
            deployment.word = "READY"
        commands("deployments", "list")
        said = json.loads(commands("chat", "--yes", "--pair", "mine", "--prompt", "How?", "--json"))
        assert said["final"] == "Here is how."
        commands("agents", "list", "--json")
        for kind in ("csv", "markdown"):
            out = workspace.home / f"plans.{kind}"
            commands("plan", str(dataset), f"--{kind}", str(out))
            assert "Together" in out.read_text("utf-8") or "together" in out.read_text("utf-8")

    await asyncio.to_thread(run)
    assert len(there.jobs) == 2
    assert there.keys == {f"Bearer {there.key}"}  # it was used, so it could have been kept
    shown = await _screens(workspace, there.key)
    assert len(shown) >= 9
    for name, picture in shown.items():
        assert _leaks(picture, there.key) == [], name
    assert _leaks("\n".join(commands.said), there.key) == []
    # What is looked for would be found.
    assert _leaks(shown["jobs"], "together") and _kept(workspace, "mine-conversation")
    assert any("train" in each for each in commands.arguments)
    assert _leaks("\n".join(commands.arguments), there.key) == []
    assert _kept(workspace, there.key) == []


async def _screens(workspace: Workspace, key: str) -> dict[str, str]:
    """Every screen and dialog of the run as an SVG's text, and what the terminal shows."""
    shown: dict[str, str] = {}

    def keep(pilot: Pilot[None], name: str) -> None:
        picture = pilot.app.export_screenshot()
        assert "<svg" in picture
        (workspace.home / f"{name}.svg").write_text(picture, "utf-8")
        text = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", picture))
        shown[name] = picture + html.unescape(text).replace("\xa0", " ") + screen_text(pilot)

    app = WaltzApp(workspace, screen="data")
    async with app.run_test(size=(160, 50)) as pilot:
        await shows(pilot, "mine.jsonl")
        keep(pilot, "data")
        await pilot.press("2")
        await shows(pilot, "Together")
        keep(pilot, "plan")
        await pilot.press("d")
        await pilot.pause(0.3)
        keep(pilot, "sum")
        await pilot.press("3")
        await shows(pilot, "succeeded")
        keep(pilot, "jobs")
        for name, keys, close in (
            ("details", "enter", "escape"),
            ("log", "l", "escape"),
            ("deployments", "u", "escape"),
            ("help", "question_mark", "escape"),
        ):
            await pilot.press(keys)
            await pilot.pause(0.5)
            keep(pilot, name)
            await pilot.press(close)
            await pilot.pause(0.1)
        await pilot.press("4")
        await pilot.pause(1.0)
        keep(pilot, "chat")
        # The log that is not yet in the store's own file is read too, while the app is open.
        assert _kept(workspace, key) == []
        assert (workspace.state / "waltzrl.db-wal").exists()
    return shown


# A provider that says the key back --------------------------------------------------------------


def test_whole_keys_and_pieces_are_taken_out_and_nothing_else() -> None:
    keys = Keys()
    keys.add("0123456789abcdef")
    keys.add("short")
    assert keys.masked("Bearer 0123456789abcdef.") == "Bearer …."
    assert keys.masked("it begins 01234567… or ends 89abcdef!") == "it begins …… or ends …!"
    assert keys.masked("'01234567'/'short'/0123456") == "'…'/'short'/0123456"
    assert keys.masked("ft-0123456 and 1234 5678") == "ft-0123456 and 1234 5678"


async def test_a_key_that_is_said_back_is_masked_before_it_is_kept_or_shown(
    store: Store,
    workspace: Workspace,
    there: _Together,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from waltzrl_tui.remote import poll

    monkeypatch.setattr(poll, "_REVOKED", 0.2)
    handler = LogFile(workspace)
    logging.getLogger().addHandler(handler)
    there.leaks = True
    providers = Providers(workspace)
    rows = []
    for name, state, id in (("abc-conv", "queued", "ft-1"), ("abd-conv", "approved", "")):
        tag = f"{name}-1a2b"
        wish = {"model": "Qwen/Qwen3-8B", "training_file": "f", "suffix": tag}
        if id:
            there.jobs[id] = TogetherJob(id, wish, there.now(), word="running")
        made = NewJob(
            name, "train", "conversation", "Qwen/Qwen3-8B", tag=tag, provider="together",
            state=state, provider_job_id=id,  # type: ignore[arg-type]
        )  # fmt: skip
        file = IntentFile(path="-", sha256="0" * 64, bytes=1, rows=1, tokens=1, id="f")
        rows.append((made, NewRemoteJob(name, "sft", {"train": file}, LaunchIntent(epochs=1))))
    try:
        await store.remote.add(rows[:1])
        results = AgentMaker(store, workspace, providers)
        async with supervised(Supervisor(store, workspace, providers, after=results)):
            # In the provider's own log of a job.
            await _until_event(store, "abc-conv", "(called with …)")
            there.fail(Fault(lambda _: True, there.refusal(), times=10**6))
            # When it is asked about a job.
            async with asyncio.timeout(20):
                while "not seen" not in (job := await store.jobs.get("abc-conv")).reason:
                    await asyncio.sleep(0.05)
            assert "Incorrect API key provided: …" in job.reason
            # At a launch.
            await store.remote.add(rows[1:])
            async with asyncio.timeout(20):
                while (job := await store.jobs.get("abd-conv")).state != "failed":
                    await asyncio.sleep(0.05)
            assert "Incorrect API key provided: …" in job.error
            assert "TOGETHER_API_KEY" in job.error
        # When it is probed, and when a model is brought up.
        (probed,) = await probe(store, providers, ["together"])
        assert probed.key_ok is False
        assert "Incorrect API key provided: …" in probed.words
        await store.agents.add(
            "tuned", role="conversation", kind="hosted", base="acct/m", url="provider:together"
        )
        with pytest.raises(AuthError) as caught:
            await Deployments(store, providers).bring_up(await store.agents.get("tuned"))
        assert _leaks(_chain(caught.value), there.key) == []
        logging.getLogger().exception("what a traceback tells", exc_info=caught.value)
        # Our log holds tracebacks of what providers raise unforeseen.
        assert "what a traceback tells" in workspace.log_path.read_text("utf-8")
    finally:
        logging.getLogger().removeHandler(handler)
        await providers.close()
    assert _leaks(caplog.text, there.key) == []
    assert _kept(workspace, there.key) == []


async def _until_event(store: Store, job_id: str, text: str) -> None:
    async with asyncio.timeout(20):
        while not any(text in event.text for event in await store.jobs.events(job_id, limit=-1)):
            await asyncio.sleep(0.05)


def _chain(error: BaseException | None) -> str:
    said = []
    while error is not None:
        said.append(f"{error} {error!r} {vars(error)}")
        error = error.__cause__ or error.__context__
    return "\n".join(said)
