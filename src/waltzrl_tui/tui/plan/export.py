"""Exporting the plans to a Markdown or CSV file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from waltzrl_tui.errors import UsageError
from waltzrl_tui.plans.model import PlanRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.export_to import ExportTo

if TYPE_CHECKING:
    from waltzrl_tui.tui.shell.app import WaltzApp

_TYPES: Final = {".md": "Markdown", ".csv": "CSV"}


async def ask_and_export(app: WaltzApp, source: Path, rows: Sequence[PlanRow]) -> None:
    """Ask for a file, and write the plans for the dataset `source` into it.

    Raises:
        UsageError: The file cannot be written.
    """
    export = await asyncio.to_thread(import_module, "waltzrl_tui.plans.export")
    target = app.workspace.home / f"plan-{source.stem}.md"
    path = await app.push_screen_wait(ExportTo("Export all plans", target, _TYPES))
    if path is None:
        return
    write = export.to_csv if path.suffix.lower() == ".csv" else export.to_markdown
    try:
        await asyncio.to_thread(path.write_text, write(rows), encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}.", hint="Choose another file."
        ) from error
    app.notify(f"Written to {one_line(str(path))}.", markup=False)
