"""What children get of the environment, and what they run: no keys, none of the user's files."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import waltzrl_tui
from waltzrl_tui.errors import EngineError
from waltzrl_tui.jobs.children import child_environment, keys_of
from waltzrl_tui.jobs.launch import launch, worker_alive
from waltzrl_tui.keys import KNOWN, find_key
from waltzrl_tui.local.serving import LlamaServer
from waltzrl_tui.store import NewJob, Store
from waltzrl_tui.workspace import Workspace

JOB = "b7k-conv"
NEW = NewJob(JOB, "train", "conversation", "base", state="queued", total_steps=9)
KEYS = {*KNOWN, "HUGGING_FACE_HUB_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "SOME_VENDOR_API_KEY"}

Probe = Callable[[str], Path]


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Makes a module that writes the environment to a file, which is returned."""

    def make(name: str) -> Path:
        modules, seen = tmp_path / "modules", tmp_path / "seen.json"
        modules.mkdir()
        code = f"import json, os\nopen({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))\n"
        (modules / f"{name}.py").write_text(code)
        source = Path(waltzrl_tui.__file__).parents[1]
        # An empty entry means the current folder.
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(modules), str(source)]))
        return seen

    return make


@pytest.fixture
async def keyed(store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """All variables with keys here: known ones, one of an agent, one that was read."""
    await store.agents.add(
        "judge", role="feedback", kind="openai", base="m", url="http://x/v1", key_env="MINE"
    )
    names = {*KEYS, "MINE", "THEIRS"}
    for name in names:
        monkeypatch.setenv(name, "secret-value")
    find_key("THEIRS")
    return names


async def test_a_worker_gets_no_keys(
    store: Store,
    workspace: Workspace,
    keyed: set[str],
    probe: Probe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("waltzrl_tui.jobs.launch._WORKER", "probing")
    seen = probe("probing")
    await store.jobs.add_all([NEW])
    await launch(workspace, JOB)
    async with asyncio.timeout(20):
        while worker_alive(workspace, JOB):
            await asyncio.sleep(0.02)
    environment = json.loads(seen.read_text())
    assert not keyed & environment.keys()
    assert environment["PATH"] == os.environ["PATH"]


async def test_the_engine_gets_no_keys_and_runs_no_file_of_the_folder(
    store: Store,
    workspace: Workspace,
    keyed: set[str],
    probe: Probe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("xllamacpp")
    folder = tmp_path / "downloaded"
    folder.mkdir()
    (folder / "xllamacpp.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    monkeypatch.chdir(folder)
    # The engine's module says what it sees, and is no engine.
    seen = probe("xllamacpp")
    with pytest.raises(EngineError):
        await LlamaServer(tmp_path / "none.gguf", []).start()
    assert not (folder / "ran").exists()
    assert not keyed & json.loads(seen.read_text()).keys()


async def test_an_evaluation_keeps_the_keys_of_its_agents(
    store: Store, workspace: Workspace, keyed: set[str]
) -> None:
    agents = [await store.agents.get("judge")]
    environment = child_environment(workspace, keys_of(agents))
    assert keyed & environment.keys() == {"MINE"}
    aws = await store.agents.add(
        "nova", role="feedback", kind="bedrock", base="amazon.nova", url="bedrock:"
    )
    environment = child_environment(workspace, keys_of([aws]))
    assert keyed & environment.keys() == {name for name in keyed if name.startswith("AWS_")}
