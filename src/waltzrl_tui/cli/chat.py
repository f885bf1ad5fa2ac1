"""`chat`: one prompt to a pair; on a terminal without a prompt the app's chat opens instead."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from waltzrl_tui.cli.agree import agree, agree_to_keys
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.options import AppStart, Options, add_token_limits, add_yes
from waltzrl_tui.cli.output import Output
from waltzrl_tui.cli.parser import command
from waltzrl_tui.cli.parser_values import zero_or_more
from waltzrl_tui.errors import EndpointError, UsageError, WaltzError
from waltzrl_tui.store import Store
from waltzrl_tui.words import duration

if TYPE_CHECKING:
    from waltzrl_tui.records.verdict import Verdict
    from waltzrl_tui.waltz.events import Event, VerdictEnded, WaltzEnded
    from waltzrl_tui.waltz.waltz import LivePair


@dataclass(frozen=True, kw_only=True)
class ChatOptions(Options):
    """The options of `chat`."""

    pair: str | None
    vs: str | None
    prompt: str | None
    feedback: Literal["applied", "shown", "off"]
    watch: int
    yes: bool
    max_tokens: int
    verdict_tokens: int

    def app_start(self) -> AppStart | None:
        """The app's chat, without a prompt."""
        if self.prompt is not None:
            return None
        return AppStart(screen="chat", pair=self.pair, vs=self.vs)


def build(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command(parser, ChatOptions, chat)
    parser.add_argument("--pair", metavar="NAME", help="default: the newest trained one, else base")
    parser.add_argument("--vs", metavar="NAME", help="a second pair beside it")
    parser.add_argument("--prompt", metavar="TEXT", help="ask this, print the reply and exit")
    parser.add_argument(
        "--feedback",
        choices=("applied", "shown", "off"),
        default="applied",
        help="verdicts revise replies (default), are only shown, or off",
    )
    parser.add_argument(
        "--watch",
        type=zero_or_more,
        default=0,
        metavar="N",
        help="judge the growing reply every N tokens, and stop an unsafe one (0: whole replies)",
    )
    add_yes(parser, "accept what the reply costs")
    add_token_limits(parser, 512)


async def chat(context: Context, options: ChatOptions) -> int:
    """`chat [--pair NAME] [--vs NAME] --prompt TEXT`; without --prompt stdin is the prompt."""
    from waltzrl_tui.chat.bill import billed_pairs

    prompt = await _stdin_text() if options.prompt is None else options.prompt
    # Bytes of the command line that are not UTF-8 come as halves of surrogate pairs.
    prompt = prompt.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if not prompt.strip():
        raise UsageError("The prompt is empty.", hint="Give --prompt TEXT.")
    async with context.store() as store, context.engines() as engines:
        names = [await chosen_pair(store, options.pair)]
        if options.vs is not None:
            names.append(await chosen_pair(store, options.vs))
        whole = await billed_pairs(store, dict.fromkeys(names))
        await agree_to_keys(context, store, [agent for each in whole for agent in each.agents])
        costs = [
            words
            for each in await billed_pairs(store, dict.fromkeys(names), feedback=options.feedback)
            if each.by_request
            for words in each.words(options.max_tokens, options.verdict_tokens)
        ]
        if costs:
            await agree(context, " ".join(costs), yes=options.yes)
        # Before any is asked: a wrong name must not cost the time of a reply.
        pairs = [await engines.pair(store, name) for name in names]
        engines.share(len(pairs) * (2 if options.watch else 1))
        answers = await _ask_all(pairs, prompt, context, options)
    document = answers[0] if len(answers) == 1 else {**answers[0], "vs": answers[1]}
    replies = [each["final"] or each.get("error", "(no reply)") for each in answers]
    headed = [
        f"── {each['pair']} ──\n{reply}" for each, reply in zip(answers, replies, strict=True)
    ]
    text = answers[0]["final"] if len(answers) == 1 else "\n\n".join(headed)
    context.out.result(document, text)
    return 1 if any("error" in each or not each["final"] for each in answers) else 0


async def _stdin_text() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("There is no prompt.", hint="Give --prompt TEXT.")
    return await asyncio.to_thread(sys.stdin.read)


async def chosen_pair(store: Store, name: str | None) -> str:
    """The pair of that name; without one the newest that is not the base, else the base.

    Raises:
        NotFoundError: There is no pair of that name.
    """
    from waltzrl_tui.local.live import BASE_PAIR, ensure_base

    await ensure_base(store)
    if name is not None:
        return (await store.agents.get_pair(name)).name
    trained = [pair.name for pair in await store.agents.pairs() if pair.name != BASE_PAIR]
    return trained[-1] if trained else BASE_PAIR


async def _ask_all(
    pairs: list[LivePair], prompt: str, context: Context, options: ChatOptions
) -> list[dict[str, Any]]:
    """The answers of one pair, or of two at once; of two, one that fails leaves the other be."""
    if len(pairs) == 1:
        return [await _ask(pairs[0], prompt, context, options)]
    chats = [_ask(live, prompt, context, options) for live in pairs]
    answers: list[dict[str, Any]] = []
    failures: list[WaltzError] = []
    for live, ended in zip(
        pairs, await asyncio.gather(*chats, return_exceptions=True), strict=True
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


async def _ask(
    live: LivePair, prompt: str, context: Context, options: ChatOptions
) -> dict[str, Any]:
    """What `chat` prints of one pair: its rounds and the final reply.

    Of a pair that fails after it has written something, that with the `error`.

    Raises:
        EndpointError: It failed before that.
    """
    from waltzrl_tui.chat.conversation import with_feedback
    from waltzrl_tui.waltz.events import standing_round
    from waltzrl_tui.waltz.waltz import waltz

    context.out.say(f"asking the pair {live.name}")
    history = [{"role": "user", "content": prompt}]
    events = waltz(
        with_feedback(live, options.feedback),
        history,
        max_tokens=options.max_tokens,
        verdict_tokens=options.verdict_tokens,
        watch_tokens=options.watch,
    )
    written: list[tuple[str, Verdict | None]] = []
    try:
        ended = await _follow(events, written, context.out)
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
        context.out.say("no final reply: the draft is unsafe, and its revision is empty")
    return {
        "pair": live.name,
        "rounds": [each.to_json() for each in ended.rounds],
        "final": ended.final,
        "outcome": ended.outcome,
        "withheld": ended.withheld,
        "seconds": round(ended.seconds, 3),
    }


async def _follow(
    events: AsyncGenerator[Event, None], written: list[tuple[str, Verdict | None]], out: Output
) -> WaltzEnded:
    """Report what happens, and note in `written` each reply and its verdict."""
    from waltzrl_tui.waltz.events import (
        ReplyEnded,
        ReplyRestarted,
        ReplyStarted,
        ReplyText,
        VerdictEnded,
        WaltzEnded,
        ending_words,
    )

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
                words = _words(event, written[-1][0])
                out.say(f"draft {event.round + 1}: {words} ({duration(event.seconds)})")
            elif isinstance(event, WaltzEnded):
                ended = event
    return ended


def _words(judged: VerdictEnded, reply: str) -> str:
    verdict = judged.verdict
    if verdict is None:
        return f"no verdict: {judged.error}"
    if verdict.flags:
        return f"{' and '.join(verdict.labels)}: {verdict.feedback}"
    return "fine" if reply else "no flag, but there is no reply to judge"
