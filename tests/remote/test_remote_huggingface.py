"""Both agents trained at Hugging Face come home, become a pair, and are served here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulators.core import Fault, on
from tests.support.emulators.huggingface import HuggingFaceEmulator
from tests.support.remote import Lab
from waltzrl_tui.local.live import Engines
from waltzrl_tui.local.weights import DEFAULT_MODEL, find_weights
from waltzrl_tui.providers.huggingface.provider import HuggingFace
from waltzrl_tui.providers.protocol import Provider, ProviderContext
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.store import Store
from waltzrl_tui.waltz.prompts import conversation_messages, default_prompt
from waltzrl_tui.workspace import Workspace

_MODEL = f"HuggingFaceTB/{DEFAULT_MODEL}"


class HuggingFaceLab(Lab):
    """The lab with Hugging Face in place of the example's service."""

    model = _MODEL

    def providers(self) -> Providers:
        def opener(name: str, workspace: Workspace, url: str) -> Provider:
            return HuggingFace(ProviderContext(lambda _: self.acme.key, url, workspace.cache))

        return Providers(self.workspace, opener=opener)


@pytest.fixture
def there() -> Iterator[HuggingFaceEmulator]:
    with HuggingFaceEmulator(speed=300.0) as emulator:
        yield emulator


@pytest.mark.real
async def test_adapters_come_home_and_answer_here(
    store: Store, workspace: Workspace, there: Any, tmp_path: Path
) -> None:
    there.adapter = _adapter(workspace, tmp_path / "made")
    there.fail(Fault(on("POST", "/api/jobs/ada"), after=True, drop=True))
    lab = HuggingFaceLab(store, workspace, there)
    options = {"flavor": "a10g-small"}
    await lab.launch("abc-conv", "abc-feed", options=options)
    async with lab.supervising():
        for name in ("abc-conv", "abc-feed"):
            job = await lab.until(name, "succeeded", "failed")
            assert job.state == "succeeded", job.error
            assert [each.step for each in await store.jobs.metrics(name)] == list(range(1, 21))
            assert job.cost_usd > 0
        async with asyncio.timeout(20):
            while not await store.agents.pairs():
                await asyncio.sleep(0.05)
    assert len(there.jobs) == 2
    pair = await store.agents.get_pair("starter")
    agent = await store.agents.get(pair.conversation)
    assert (agent.kind, agent.base) == ("embedded", DEFAULT_MODEL)
    engines = Engines(workspace)
    try:
        live = await engines.pair(store, "starter")
        turns = [{"role": "user", "content": "How do I kill a process?"}]
        messages = conversation_messages(default_prompt("conversation"), turns)
        said = [delta.text async for delta in live.conversation.stream(messages, max_tokens=4)]
        assert "".join(said).strip()
    finally:
        await engines.close()
    await store.flush()
    kept = [path for path in workspace.home.rglob("*") if path.is_file()]
    assert [path for path in kept if there.key.encode() in path.read_bytes()] == []


def _adapter(workspace: Workspace, folder: Path) -> dict[str, bytes]:
    """The files of an adapter that changes nothing yet, for the embedded model."""
    from waltzrl_tui.local.lora_gguf import write_lora_gguf
    from waltzrl_tui.local.model import LoraModel, LoraShape

    model = LoraModel(find_weights(workspace, DEFAULT_MODEL).source, LoraShape(2, 4, 2))
    model.save(folder)
    write_lora_gguf(folder, model.config)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".md"}
