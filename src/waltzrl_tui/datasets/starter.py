"""The bundled dataset: what there is to train on before the user brings data of their own."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from waltzrl_tui.errors import DatasetError

STARTER = "starter.jsonl"


def copy_bundled(folder: Path, name: str = STARTER) -> Path:
    """Put the bundled file `name` into `folder`, unless one of that name is there already.

    Raises:
        DatasetError: The installation lacks it, or the folder cannot be written.
    """
    target = folder / name
    if target.exists():
        return target
    part = target.with_name(f".{name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        packed = files("waltzrl_tui") / "bundled" / name
        if packed.is_file():
            with as_file(packed) as source:
                shutil.copyfile(source, part)
        else:
            # A source checkout: the wheel packs the file from here.
            shutil.copyfile(Path(__file__).parents[3] / "data" / name, part)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DatasetError(
            f"The bundled dataset could not be put into {folder}: {error.strerror or error}.",
            hint="Copy a JSONL file of yours there.",
        ) from error
    return target
