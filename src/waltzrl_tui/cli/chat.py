"""`chat`: one prompt to a pair. On a terminal without a prompt the app's chat opens instead."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from waltzrl_tui.chat.bill import billed_pairs
from waltzrl_tui.chat.conversation import with_feedback
from waltzrl_tui.cli.agree import agree, agree_to_keys
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import duration
from waltzrl_tui.cli.output import Output
from waltzrl_tui.errors import EndpointError, UsageError, WaltzError
from waltzrl_tui.local.live import BASE_PAIR, ensure_base
from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.store import Store
from waltzrl_tui.waltz.events import (
    Event,
    ReplyEnded,
    ReplyRestarted,
    ReplyStarted,
    ReplyText,
    VerdictEnded,
    WaltzEnded,
    ending_words,
    standing_round,
)
from waltzrl_tui.waltz.waltz import LivePair, waltz


async def chat(context: Context) -> int:
    """`chat [--pair NAME] [--vs NAME] --prompt TEXT`; without --prompt stdin is the prompt."""
    prompt = context.args.prompt
    if prompt is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("There is no prompt.", hint="Give --prompt TEXT.")
        prompt = await asyncio.to_thread(sys.stdin.read)
    # Bytes of the command line that are not UTF-8 come as halves of surrogate pairs.
    prompt = prompt.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if not prompt.strip():
        raise UsageError("The prompt is empty.", hint="Give --prompt TEXT.")
    async with context.store() as store, context.engines() as engines:
        names = [await chosen_pair(store, context.args.pair)]
        if context.args.vs is not None:
            names.append(await chosen_pair(store, context.args.vs))
        whole = await billed_pairs(store, dict.fromkeys(names))
        await agree_to_keys(context, store, [agent for each in whole for agent in each.agents])
        told = [
            words
            for each in await billed_pairs(
                store, dict.fromkeys(names), feedback=context.args.feedback
            )
            if each.by_request
            for words in each.words(context.args.max_tokens, context.args.verdict_tokens)
        ]
        if told:
            await agree(context, " ".join(told))
        # Looked up before any is asked: a wrong name must not cost the time of a reply.
        pairs = [await engines.pair(store, name) for name in names]
        engines.share(len(pairs) * (2 if context.args.watch else 1))
        answers = await _ask_all(pairs, prompt, context)
    document = answers[0] if len(answers) == 1 else {**answers[0], "vs": answers[1]}
    replies = [each["final"] or each.get("error", "(no reply)") for each in answers]
    headed = [
        f"── {each['pair']} ──\n{reply}" for each, reply in zip(answers, replies, strict=True)
    ]
    text = answers[0]["final"] if len(answers) == 1 else "\n\n".join(headed)
    context.out.result(document, text)
    return 1 if any("error" in each or not each["final"] for each in answers) else 0


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


async def _ask_all(pairs: list[LivePair], prompt: str, context: Context) -> list[dict[str, Any]]:
    """The answers of one pair, or of two at once; of two, one that fails leaves the other be."""
    if len(pairs) == 1:
        return [await _ask(pairs[0], prompt, context)]
    asked = [_ask(live, prompt, context) for live in pairs]
    answers: list[dict[str, Any]] = []
    failures: list[WaltzError] = []
    for live, ended in zip(
        pairs, await asyncio.gather(*asked, return_exceptions=True), strict=True
    ):
        if isinstance(ended, WaltzError):
            failures.append(ended)
            answers.append({"pair": live.name, "rounds": [], "final": "", "error": str(ended)})
            context.out.say(f"{live.name}: {ended}")
        elif isinstance(ended, BaseException):
            raise ended
        else:
            answers.append(ended)
    if len(failures) == len(pairs):
        raise failures[0]
    return answers


async def _ask(live: LivePair, prompt: str, context: Context) -> dict[str, Any]:
    """What `chat` prints of one pair: its rounds and the reply that stands.

    Of a pair that fails after it has written something, that with the `error`.

    Raises:
        EndpointError: It failed before that.
    """
    context.out.say(f"asking the pair {live.name}")
    history = [{"role": "user", "content": prompt}]
    args = context.args
    asked = with_feedback(live, args.feedback)
    events = waltz(
        asked,
        history,
        max_tokens=args.max_tokens,
        verdict_tokens=args.verdict_tokens,
        watch_tokens=args.watch,
    )
    written: list[tuple[str, Verdict | None]] = []
    try:
        ended = await _followed(events, written, context.out)
    except EndpointError as error:
        if not any(reply.strip() for reply, _ in written):
            raise
        context.out.say(f"{live.name}: {error}")
        number = standing_round(written)
        final = "" if number is None else written[number][0].strip()
        partial = [
            {"reply": reply, "verdict": verdict and verdict.model_dump()}
            for reply, verdict in written
        ]
        return {"pair": live.name, "rounds": partial, "final": final, "error": str(error)}
    if ended.withheld:
        context.out.say("no reply stands: the draft was found unsafe, and its revision is empty")
    return {
        "pair": live.name,
        "rounds": [each.to_json() for each in ended.rounds],
        "final": ended.final,
        "outcome": ended.outcome,
        "withheld": ended.withheld,
        "seconds": round(ended.seconds, 3),
    }


async def _followed(
    events: AsyncGenerator[Event, None], written: list[tuple[str, Verdict | None]], out: Output
) -> WaltzEnded:
    """Say what happens, and note in `written` what has come of each reply and its verdict."""
    async with aclosing(events) as stream:
        async for event in stream:
            if isinstance(event, ReplyStarted):
                written.append(("", None))
            elif isinstance(event, ReplyText):
                written[-1] = written[-1][0] + event.text, None
            elif isinstance(event, ReplyRestarted):
                written[-1] = "", None
            elif isinstance(event, ReplyEnded):
                reply = event.reply
                written[-1] = reply, None
                if words := ending_words(reply, event.origin):
                    verb = "was" if reply else "is"
                    out.say(f"reply {event.round + 1} {verb} {words}")
            elif isinstance(event, VerdictEnded):
                written[-1] = written[-1][0], event.verdict
                _tell(event, written[-1][0], out)
            elif isinstance(event, WaltzEnded):
                ended = event
    return ended


def _tell(judged: VerdictEnded, reply: str, out: Output) -> None:
    out.say(f"draft {judged.round + 1}: {_words(judged, reply)} ({duration(judged.seconds)})")


def _words(judged: VerdictEnded, reply: str) -> str:
    verdict = judged.verdict
    if verdict is None:
        return f"no verdict: {judged.error}"
    if verdict.flags:
        return f"{' and '.join(verdict.labels)}: {verdict.feedback}"
    return "fine" if reply else "no flag, but there is no reply to judge"
