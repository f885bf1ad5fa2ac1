"""The bundled datasets, for training before users bring their own data."""

from __future__ import annotations

import shutil
from pathlib import Path

import waltzrl_tui
from waltzrl_tui.errors import DatasetError

STARTER = "starter.jsonl"
STARTER_EVAL = "starter-eval.jsonl"


def bundled(name: str) -> Path:
    """A dataset that comes with the program.

    Raises:
        DatasetError: The installation does not have it.
    """
    package = Path(waltzrl_tui.__file__).parent
    # A wheel carries the files; in a checkout they are in its own data folder.
    for path in (package / "bundled" / name, package.parents[1] / "data" / name):
        if path.is_file():
            return path
    raise DatasetError(
        f"The bundled {name} is missing from this installation.",
        hint="Install waltzrl-tui again, or name a file of your own.",
    )


def copy_bundled(folder: Path) -> Path:
    """Copy the bundled dataset to `folder`, unless a file of its name exists.

    Raises:
        DatasetError: The installation lacks it, or the folder cannot be written.
    """
    target = folder / STARTER
    if target.exists():
        return target
    part = target.with_name(f".{STARTER}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundled(STARTER), part)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DatasetError(
            f"The bundled dataset could not be copied to {folder}: {error.strerror or error}.",
            hint="Copy a JSONL file of your own there.",
        ) from error
    return target
