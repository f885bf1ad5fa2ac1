"""Make the README's screenshots with the app itself, over a workspace that has a trained pair.

    python docs/make_screenshots.py [--home DIR]

Runs the app without a terminal, presses keys as a user would, and saves what it draws.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from waltzrl_tui.tui.app import WaltzApp
from waltzrl_tui.workspace import Workspace

FOLDER = Path(__file__).resolve().parent / "screenshots"
SIZE = (120, 34)


async def _shoot(home: str | None) -> None:
    FOLDER.mkdir(exist_ok=True)
    app = WaltzApp(Workspace.find(home))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(3.0)
        _save(app, "data")
        await pilot.press("2")
        await pilot.pause(4.0)
        _save(app, "plan")
        await pilot.press("escape", "3")
        await pilot.pause(3.0)
        await pilot.press("down")
        await pilot.pause(0.5)
        _save(app, "jobs")


def _save(app: WaltzApp, name: str) -> None:
    app.save_screenshot(f"{name}.svg", path=str(FOLDER))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home")
    asyncio.run(_shoot(parser.parse_args().home))


if __name__ == "__main__":
    main()
