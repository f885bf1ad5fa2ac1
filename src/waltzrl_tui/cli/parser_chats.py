"""The arguments of the commands about chats that were held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waltzrl_tui.cli.parser_base import command, group
from waltzrl_tui.cli.parser_values import count

if TYPE_CHECKING:
    from waltzrl_tui.cli.parser_base import Commands


def add_chats(commands: Commands) -> None:
    """`chats list|search|export|votes`."""
    chats = group(commands, "chats", "chats that were held, and votes on pairs side by side")
    listed = command(chats, "list", "chats:list_chats", "the latest chats")
    listed.add_argument("-n", type=count, default=50, metavar="N", help="how many (50)")
    search = command(chats, "search", "chats:search", "turns in which all of some words stand")
    search.add_argument("words", nargs="+", metavar="WORD")
    search.add_argument("-n", type=count, default=50, metavar="N", help="how many (50)")
    export = command(chats, "export", "chats:export", "a whole chat as Markdown or JSONL")
    export.add_argument("chat", type=count, metavar="NUMBER")
    export.add_argument(
        "--out", metavar="FILE", help="ending in .md or .jsonl; printed as Markdown without"
    )
    command(chats, "votes", "chats:votes", "who won of the pairs that answered side by side")
