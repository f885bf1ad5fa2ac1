"""What stands on the screen of an app under test, and waiting for it."""

from __future__ import annotations

from collections.abc import Callable

from textual.pilot import Pilot


def screen_text(pilot: Pilot[None]) -> str:
    """The lines of the screen as a user sees them, without colours."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def until(pilot: Pilot[None], what: Callable[[], bool], seconds: float = 15) -> None:
    """Wait until `what()`; the screen is told when it does not come."""
    for _ in range(int(seconds / 0.02)):
        if what():
            await pilot.pause()
            return
        await pilot.pause(0.02)
    raise AssertionError(f"not within {seconds} s; on the screen:\n{screen_text(pilot)}")


async def shows(pilot: Pilot[None], *texts: str) -> None:
    """Wait until all of `texts` stand on the screen."""
    await until(pilot, lambda: all(text in screen_text(pilot) for text in texts))
