"""`pairs`: pairs of agents listed, added and removed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import table
from waltzrl_tui.cli.options import NameOptions, Options
from waltzrl_tui.cli.parser import subcommand, subcommands
from waltzrl_tui.cli.parser_values import zero_or_more
from waltzrl_tui.store import PairRow


@dataclass(frozen=True, kw_only=True)
class AddOptions(Options):
    """The options of `pairs add`."""

    name: str
    conversation: str
    feedback: str
    rounds: int


def build(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the group."""
    pairs = subcommands(parser)
    subcommand(pairs, "list", "all pairs", Options, list_pairs)
    add = subcommand(pairs, "add", "make a pair of two agents", AddOptions, add_pair)
    add.add_argument("name", metavar="NAME")
    add.add_argument("--conversation", required=True, metavar="AGENT", help="who answers")
    add.add_argument("--feedback", default="", metavar="AGENT", help="default: no feedback")
    add.add_argument(
        "--rounds", type=zero_or_more, default=1, metavar="T", help="revisions at most (1)"
    )
    remove = subcommand(pairs, "remove", "remove a pair; its agents stay", NameOptions, remove_pair)
    remove.add_argument("name", metavar="NAME")


async def list_pairs(context: Context, options: Options) -> int:
    """`pairs list`."""
    from waltzrl_tui.local.live import ensure_base

    async with context.store() as store:
        await ensure_base(store)
        pairs = await store.agents.pairs()
    context.out.result({"pairs": [asdict(pair) for pair in pairs]}, _pairs_table(pairs))
    return 0


async def add_pair(context: Context, options: AddOptions) -> int:
    """`pairs add NAME --conversation AGENT [--feedback AGENT] [--rounds T]`."""
    from waltzrl_tui.local.live import ensure_base

    async with context.store() as store:
        await ensure_base(store)
        pair = await store.agents.add_pair(
            options.name,
            conversation=options.conversation,
            feedback=options.feedback,
            rounds=options.rounds,
        )
    context.out.result(
        {"pairs": [asdict(pair)]},
        f"Created pair {pair.name}. Try: waltzrl-tui chat --pair {pair.name}",
    )
    return 0


async def remove_pair(context: Context, options: NameOptions) -> int:
    """`pairs remove NAME`."""
    async with context.store() as store:
        await store.agents.remove_pair(options.name)
    name = options.name
    context.out.result({"removed": name}, f"Removed pair {name}; its agents stay.")
    return 0


def _pairs_table(pairs: Sequence[PairRow]) -> str:
    return table(
        ("pair", "conversation", "feedback", "rounds", "created (UTC)"),
        [
            (
                pair.name,
                pair.conversation,
                pair.feedback or "–",
                str(pair.rounds),
                pair.created_at[:16].replace("T", " "),
            )
            for pair in pairs
        ],
        right={3},
    )
