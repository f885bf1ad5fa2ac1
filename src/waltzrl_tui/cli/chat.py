"""`chat`: one prompt to a pair. On a terminal without a prompt the app's chat opens instead."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import Any

from waltzrl_tui.agents.events import Round, VerdictEnded, WaltzEnded
from waltzrl_tui.agents.waltz import LivePair, waltz
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import duration
from waltzrl_tui.cli.output import Output
from waltzrl_tui.errors import UsageError
from waltzrl_tui.local.live import BASE_PAIR, ensure_base
from waltzrl_tui.store import Store


async def chat(context: Context) -> int:
    """`chat [--pair NAME] --prompt TEXT`; without --prompt stdin is the prompt."""
    prompt = context.args.prompt
    if prompt is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("There is no prompt.", hint="Give --prompt TEXT.")
        prompt = await asyncio.to_thread(sys.stdin.read)
    if not prompt.strip():
        raise UsageError("The prompt is empty.", hint="Give --prompt TEXT.")
    async with context.store() as store, context.engines() as engines:
        name = await chosen_pair(store, context.args.pair)
        context.out.say(f"asking the pair {name}")
        live = await engines.pair(store, name)
        ended = await _ask(live, prompt, context)
    document = {
        "pair": name,
        "rounds": [each.to_json() for each in ended.rounds],
        "final": ended.final,
        "seconds": round(ended.seconds, 3),
    }
    context.out.result(document, ended.final)
    return 0


async def chosen_pair(store: Store, name: str | None) -> str:
    """The pair of that name; without one the newest that is not the base, else the base.

    Raises:
        NotFoundError: There is no pair of that name.
    """
    await ensure_base(store)
    if name is not None:
        return (await store.agents.get_pair(name)).name
    trained = [pair.name for pair in await store.agents.pairs() if pair.name != BASE_PAIR]
    return trained[-1] if trained else BASE_PAIR


async def _ask(live: LivePair, prompt: str, context: Context) -> WaltzEnded:
    history = [{"role": "user", "content": prompt}]
    # Set when the first token comes: until then the engine starts and reads the prompt.
    context.out.status.set("waiting for the reply")
    events = waltz(live, history, max_tokens=context.args.max_tokens)
    async with aclosing(events) as stream:
        async for event in stream:
            if isinstance(event, VerdictEnded):
                _tell(event, context.out)
            elif isinstance(event, WaltzEnded):
                ended = event
    return ended


def _tell(judged: VerdictEnded, out: Output) -> None:
    out.say(f"draft {judged.round + 1}: {_words(judged)} ({duration(judged.seconds)})")


def _words(judged: VerdictEnded) -> str:
    verdict = judged.verdict
    if verdict is None:
        return f"no verdict: {judged.error}"
    flags: list[Any] = [
        word
        for word, up in (("unsafe", verdict.unsafe), ("overrefuses", verdict.overrefuse))
        if up
    ]
    return f"{' and '.join(flags)}: {verdict.feedback}" if flags else "fine"


def last_round(rounds: tuple[Round, ...]) -> Round:
    return rounds[-1]
