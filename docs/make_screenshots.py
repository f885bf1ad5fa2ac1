"""Make the README's screenshots with the app itself, over a workspace that has a trained pair.

    python docs/make_screenshots.py [--home DIR] [--size 80x24]

Runs the app without a terminal, presses keys as a user would, and saves what it draws. With a size
the pictures of Data and Plan are made in that size and named after it.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from waltzrl_tui.tui.app import WaltzApp
from waltzrl_tui.workspace import Workspace

FOLDER = Path(__file__).resolve().parent / "screenshots"
SIZE = (120, 34)


async def _shoot(home: str | None, size: tuple[int, int] | None) -> None:
    FOLDER.mkdir(exist_ok=True)
    app = WaltzApp(Workspace.find(home))
    after = f"-{size[0]}x{size[1]}" if size else ""
    async with app.run_test(size=size or SIZE) as pilot:
        await pilot.pause(3.0)
        _save(app, f"data{after}")
        await pilot.press("2")
        await pilot.pause(4.0)
        _save(app, f"plan{after}")
        if size:
            return
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
    parser.add_argument("--size", type=_size, metavar="COLUMNSxROWS")
    args = parser.parse_args()
    asyncio.run(_shoot(args.home, args.size))


def _size(text: str) -> tuple[int, int]:
    columns, _, rows = text.partition("x")
    return int(columns), int(rows)


if __name__ == "__main__":
    main()
