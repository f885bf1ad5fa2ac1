"""`chats`: saved chats listed, searched and exported, and votes on pairs side by side."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import table
from waltzrl_tui.cli.options import Options
from waltzrl_tui.cli.parser import subcommand, subcommands
from waltzrl_tui.cli.parser_values import count
from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.evaluation.paired import Paired
from waltzrl_tui.text import one_line
from waltzrl_tui.words import percent, plural
from waltzrl_tui.workspace import private_write

if TYPE_CHECKING:
    from waltzrl_tui.chat.duels import PairComparison


@dataclass(frozen=True, kw_only=True)
class ListOptions(Options):
    """The options of `chats list`."""

    n: int


@dataclass(frozen=True, kw_only=True)
class SearchOptions(ListOptions):
    """The options of `chats search`."""

    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """The options of `chats export`."""

    chat: int
    out: str | None


def build(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the group."""
    chats = subcommands(parser)
    listed = subcommand(chats, "list", "the latest chats", ListOptions, list_chats)
    listed.add_argument("-n", type=count, default=50, metavar="N", help="how many (50)")
    searched = subcommand(chats, "search", "turns that contain all words", SearchOptions, search)
    searched.add_argument("words", nargs="+", metavar="WORD")
    searched.add_argument("-n", type=count, default=50, metavar="N", help="how many (50)")
    exported = subcommand(
        chats, "export", "a whole chat as Markdown or JSONL", ExportOptions, export
    )
    exported.add_argument("chat", type=count, metavar="NUMBER")
    exported.add_argument(
        "--out", metavar="FILE", help="a .md or .jsonl file (default: Markdown on stdout)"
    )
    subcommand(chats, "votes", "win rates of pairs compared side by side", Options, votes)


async def list_chats(context: Context, options: ListOptions) -> int:
    """`chats list`."""
    async with context.store() as store:
        rows = await store.transcripts.list(options.n)
    shown = [[str(row.id), row.updated_at, str(row.turns), row.pair, row.title] for row in rows]
    text = table(("chat", "last used", "turns", "pair", "first prompt"), shown, right=(0, 2))
    context.out.result({"chats": [asdict(row) for row in rows]}, text if rows else "No chat yet.")
    return 0


async def search(context: Context, options: SearchOptions) -> int:
    """`chats search WORD …`."""
    async with context.store() as store:
        hits = await store.transcripts.search(" ".join(options.words), options.n)
    documents = [{**asdict(hit.transcript), "turn": hit.turn, "text": hit.text} for hit in hits]
    shown = [[str(hit.transcript.id), hit.transcript.pair, hit.text] for hit in hits]
    text = table(("chat", "pair", "text"), shown, right=(0,)) if hits else "No chat contains them."
    context.out.result({"hits": documents}, text)
    return 0


async def export(context: Context, options: ExportOptions) -> int:
    """`chats export NUMBER [--out FILE]`."""
    from waltzrl_tui.chat.conversation import Conversation
    from waltzrl_tui.chat.export import to_jsonl, to_markdown

    out = None if options.out is None else Path(options.out).expanduser()
    if out is not None and out.suffix not in (".md", ".jsonl"):
        raise UsageError(
            f"{one_line(out.name, 80)} is neither Markdown nor JSONL.",
            hint="Choose a name ending in .md or .jsonl.",
        )
    async with context.store() as store:
        chat = await Conversation.reopen(store, options.chat)
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
    document = {"chat": asdict(chat.row), "turns": len(turns), "path": str(out)}
    context.out.result(document, f"Wrote {plural(len(turns), 'turn')} to {out}.")
    return 0


async def votes(context: Context, options: Options) -> int:
    """`chats votes`."""
    from waltzrl_tui.chat.duels import compare_pairs

    async with context.store() as store:
        rows = compare_pairs(await store.duels.list())
    text = "\n\n".join(_lines(row) for row in rows)
    document = {"standings": [row.to_json() for row in rows]}
    context.out.result(document, text or "No comparison yet: compare two pairs in the app's chat.")
    return 0


def _lines(row: PairComparison) -> str:
    rate = row.win_rate
    lines = [
        f"{row.first} vs {row.second}: {plural(row.duels, 'prompt')}, {plural(row.votes, 'vote')}",
        f"  wins {row.first_wins} to {row.second_wins}, {plural(row.ties, 'tie')}, "
        f"{row.both_bad} both bad",
    ]
    if rate.value is not None:
        lines.append(
            f"  {row.first} won {percent(rate.value)} of {rate.n} (95 %: "
            f"{percent(rate.low)} to {percent(rate.high)}; sign test p {row.p:.3g})"
        )
    for name, by_whom in row.by_flag:
        lines += [_flag(name, by, paired) for by, paired in by_whom.items()]
    return "\n".join(lines)


def _flag(name: str, by: str, paired: Paired) -> str:
    return (
        f"  {name} {paired.first.hits} vs {paired.second.hits} of {paired.n} "
        f"(McNemar p {paired.p:.3g}; by {by})"
    )
