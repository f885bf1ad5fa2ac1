"""Exporting the plans to a file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from waltzrl_tui.plans.model import PlanRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.export_to import ExportTo

if TYPE_CHECKING:
    from waltzrl_tui.tui.shell.app import WaltzApp

_ENDINGS: Final = {".md": "Markdown", ".csv": "CSV"}


async def ask_and_export(app: WaltzApp, source: Path, rows: Sequence[PlanRow]) -> None:
    """Ask for a file, and write the plans for the dataset `source` to it."""
    export = await asyncio.to_thread(import_module, "waltzrl_tui.plans.export")

    def write(path: Path) -> None:
        to_text = export.to_csv if path.suffix.lower() == ".csv" else export.to_markdown
        path.write_text(to_text(rows), encoding="utf-8", newline="")

    target = app.workspace.home / f"plan-{source.stem}.md"
    path = await app.push_screen_wait(ExportTo("Export all plans", target, _ENDINGS, write))
    if path is not None:
        app.notify(f"Written to {one_line(str(path))}.", markup=False)
