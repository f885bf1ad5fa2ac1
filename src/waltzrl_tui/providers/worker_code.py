"""The code of our training worker in one file, to be sent to where it runs."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

_PARTS: Final = (
    "datasets",
    "endpoints",
    "local",
    "records",
    "store",
    "tokenizers",
    "training_data",
    "waltz",
)
_ROOT: Final = Path(__file__).resolve().parent.parent
_ALSO: Final = ("providers/__init__.py", "providers/worker_rows.py")
_TIME: Final = (2020, 1, 1, 0, 0, 0)

REQUIREMENTS: Final = (
    "torch>=2.8",
    "transformers>=5.10,<6",
    "peft>=0.20,<1",
    "safetensors>=0.6",
    "tokenizers>=0.22",
    "numpy>=2",
    "gguf>=0.17,<1",
    "huggingface_hub>=2.3,<3",
    "pydantic>=2.11,<3",
    "aiosqlite>=0.21,<1",
    "psutil>=7,<8",
)
"""What the worker imports, word by word as `pyproject.toml` has it."""


@cache
def worker_code() -> tuple[str, bytes]:
    """A name that carries the content's hash, and a zip file that Python imports from.

    The same code always gives the same bytes. Reads files, so not on the event loop.
    """
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _modules():
            info = zipfile.ZipInfo(f"waltzrl_tui/{path.relative_to(_ROOT).as_posix()}", _TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o600 << 16
            archive.writestr(info, path.read_bytes())
    content = whole.getvalue()
    return f"worker-{hashlib.sha256(content).hexdigest()[:16]}.zip", content


def _modules() -> Iterator[Path]:
    paths = [path for path in _ROOT.glob("*.py") if path.name != "__main__.py"]
    for part in _PARTS:
        paths += _ROOT.joinpath(part).rglob("*.py")
    paths += [_ROOT / name for name in _ALSO]
    yield from sorted(paths)
