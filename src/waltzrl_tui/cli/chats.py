"""`chats list|search|export|votes`."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

from waltzrl_tui.chat.conversation import Conversation
from waltzrl_tui.chat.duels import PairComparison, compare_pairs
from waltzrl_tui.chat.export import to_jsonl, to_markdown
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import table
from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.evaluation.paired import Paired
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import private_write


async def list_chats(context: Context) -> int:
    """`chats list`."""
    async with context.store() as store:
        rows = await store.transcripts.list(context.args.n)
    shown = [[str(row.id), row.updated_at, str(row.turns), row.pair, row.title] for row in rows]
    text = table(("chat", "last used", "turns", "pair", "began with"), shown, right=(0, 2))
    context.out.result({"chats": [asdict(row) for row in rows]}, text if rows else "No chat yet.")
    return 0


async def search(context: Context) -> int:
    """`chats search WORD …`."""
    async with context.store() as store:
        hits = await store.transcripts.search(" ".join(context.args.words), context.args.n)
    found = [{**asdict(hit.transcript), "turn": hit.turn, "text": hit.text} for hit in hits]
    shown = [[str(hit.transcript.id), hit.transcript.pair, hit.text] for hit in hits]
    text = table(("chat", "pair", "said"), shown, right=(0,)) if hits else "No chat holds them."
    context.out.result({"hits": found}, text)
    return 0


async def export(context: Context) -> int:
    """`chats export NUMBER [--out FILE]`."""
    out = None if context.args.out is None else Path(context.args.out).expanduser()
    if out is not None and out.suffix not in (".md", ".jsonl"):
        raise UsageError(
            f"{one_line(out.name, 80)} is neither Markdown nor JSONL.",
            hint="Choose a name ending in .md or .jsonl.",
        )
    async with context.store() as store:
        chat = await Conversation.reopen(store, context.args.chat)
        turns = [turn async for page in chat.pages() for turn in page]
    assert chat.row is not None
    make = to_jsonl if out is not None and out.suffix == ".jsonl" else to_markdown
    text = make(chat.row, turns)
    if out is None:
        context.out.result({"chat": asdict(chat.row), "markdown": text}, text)
        return 0
    try:
        await asyncio.to_thread(private_write, out, text)
    except OSError as error:
        raise WaltzError(
            f"{one_line(str(out))} cannot be written: {error.strerror or error}.",
            hint="Choose another file, or check the space and the permissions there.",
        ) from error
    told: dict[str, Any] = {"chat": asdict(chat.row), "turns": len(turns), "path": str(out)}
    context.out.result(told, f"{len(turns)} turns are in {out}.")
    return 0


async def votes(context: Context) -> int:
    """`chats votes`."""
    async with context.store() as store:
        found = compare_pairs(await store.duels.list())
    text = "\n\n".join(_lines(each) for each in found)
    document = {"standings": [each.to_json() for each in found]}
    context.out.result(document, text or "No two pairs have met yet: see the screen Chat.")
    return 0


def _lines(told: PairComparison) -> str:
    rate = told.win_rate
    lines = [
        f"{told.first} against {told.second}: {told.duels} prompts, {told.votes} votes",
        f"  wins {told.first_wins} to {told.second_wins}, {told.ties} ties, "
        f"{told.both_bad} both bad",
    ]
    if rate.value is not None:
        lines.append(
            f"  {told.first} won {rate.value:.0%} of {rate.n} (95 %: {rate.low:.0%} to "
            f"{rate.high:.0%}; sign test p {told.p:.3g})"
        )
    for name, by_whom in told.by_flag:
        lines += [_flag(name, by, paired) for by, paired in by_whom.items()]
    return "\n".join(lines)


def _flag(name: str, by: str, paired: Paired) -> str:
    return (
        f"  {name} {paired.first.hits} against {paired.second.hits} of {paired.n} "
        f"(McNemar p {paired.p:.3g}; by {by})"
    )
