from __future__ import annotations

import asyncio
from pathlib import Path

from waltzrl_tui.local.adapter_batches import Waves


async def test_one_adapter_runs_at_a_time_and_everybody_gets_a_turn() -> None:
    waves = Waves()
    running: list[str] = []
    together = 0

    async def work(number: int) -> None:
        nonlocal together
        for turn in range(6):
            name = "ab"[(number + turn) % 2]
            async with waves.of(Path(name)):
                running.append(name)
                assert set(running) == {name}
                together = max(together, len(running))
                await asyncio.sleep(0.001 * (number + 1))
                running.remove(name)

    async with asyncio.timeout(20):
        await asyncio.gather(*(work(number) for number in range(8)))
    assert together > 1


async def test_a_cancelled_stream_leaves_its_wave() -> None:
    waves = Waves()

    async def stuck() -> None:
        async with waves.of(None):
            await asyncio.sleep(60)

    task = asyncio.create_task(stuck())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(5), waves.of(Path("other")):
        pass
