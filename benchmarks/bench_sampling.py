"""Tokens/s of embedded sampling beside transformers.generate: one stream, and many at once.

    python benchmarks/bench_sampling.py [--tokens 48]

llama.cpp decodes 16 streams at a time where nobody watches them; generate gets all 16 as
one padded batch. Both sample greedily from the same base with the same prompts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
ROOT = Path(__file__).resolve().parent.parent


def _weights() -> Any:
    from waltzrl_tui.local.weights import find_weights
    from waltzrl_tui.workspace import Workspace

    return find_weights(Workspace.find(ROOT))


def _chats(count: int) -> list[list[dict[str, str]]]:
    from waltzrl_tui.waltz.prompts import DEFAULT_CONVERSATION, conversation_messages

    topics = "rivers glass maps bread moss tides kites ink wool bells salt clocks bees fog jade oak"
    return [
        conversation_messages(
            DEFAULT_CONVERSATION, [{"role": "user", "content": f"Tell me about {topic}."}]
        )
        for topic in topics.split()[:count]
    ]


async def ours(count: int, tokens: int) -> float:
    from waltzrl_tui.local.serving import EmbeddedEndpoint, Servers

    # As a chat and as rollouts are sampled: token by token, and in whole replies.
    servers = Servers(streaming=count == 1)
    endpoint = EmbeddedEndpoint(servers, _weights().gguf, None)

    async def one(chat: list[dict[str, str]], limit: int) -> int:
        made = 0
        async for delta in endpoint.stream(chat, max_tokens=limit):
            made = delta.tokens or made
        return made

    try:
        await one(_chats(1)[0], 2)
        began = time.perf_counter()
        made = await asyncio.gather(*(one(chat, tokens) for chat in _chats(count)))
        return sum(made) / (time.perf_counter() - began)
    finally:
        await servers.close()


def peer(count: int, tokens: int) -> float:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from waltzrl_tui.local.work import training_threads

    torch.set_num_threads(training_threads())
    source = _weights().source
    tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    batch = tokenizer.apply_chat_template(
        _chats(count), add_generation_prompt=True, padding=True, return_tensors="pt",
        return_dict=True,
    )  # fmt: skip
    with torch.inference_mode():
        model.generate(**batch, max_new_tokens=2, do_sample=False)
        began = time.perf_counter()
        out = model.generate(**batch, max_new_tokens=tokens, do_sample=False)
        seconds = time.perf_counter() - began
    new = out[:, batch["input_ids"].shape[1] :]
    return int((new != tokenizer.pad_token_id).sum()) / seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=48)
    args = parser.parse_args()
    for count, wanted in ((1, 5.0), (16, 1.5)):
        mine = asyncio.run(ours(count, args.tokens))
        theirs = peer(count, args.tokens)
        print(
            f"sampling, {count} at once: ours {mine:.0f} tok/s, transformers.generate "
            f"{theirs:.0f} tok/s; ratio {mine / theirs:.1f}, at least {wanted}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
