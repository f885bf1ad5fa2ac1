"""The arguments of the commands about agents, pairs, chats and evaluations."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from waltzrl_tui.cli.parser_base import ROLES, command, group
from waltzrl_tui.cli.parser_values import count, zero_or_more

if TYPE_CHECKING:
    from waltzrl_tui.cli.parser_base import Commands


def add_agents(commands: Commands) -> None:
    """`agents`, `pairs`, `chat` and `evaluate`."""
    _agents(commands)
    _pairs(commands)
    _chat(commands)
    _evaluate(commands)


def _agents(commands: Commands) -> None:
    agents = group(commands, "agents", "models in a role")
    command(agents, "list", "agents:list_agents", "all agents")
    add = command(agents, "add", "agents:add_agent", "name an endpoint or an adapter as an agent")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", choices=ROLES, required=True)
    add.add_argument("--url", default="", help="an OpenAI-compatible server, up to /v1")
    add.add_argument(
        "--model", default="", metavar="M", help="its model there, or the base of the adapter"
    )
    add.add_argument("--adapter", default="", metavar="DIR", help="an adapter of this engine")
    add.add_argument(
        "--key-env", default="", metavar="VAR", help="the NAME of the variable with its key"
    )
    add.add_argument("--prompt", default="", metavar="VERSION", help="system prompt, by version")
    remove = command(agents, "remove", "agents:remove_agent", "forget an agent; its files stay")
    remove.add_argument("name", metavar="NAME")


def _pairs(commands: Commands) -> None:
    pairs = group(commands, "pairs", "a conversation agent with a feedback agent")
    command(pairs, "list", "agents:list_pairs", "all pairs")
    add = command(pairs, "add", "agents:add_pair", "make a pair of two agents")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--conversation", required=True, metavar="AGENT")
    add.add_argument("--feedback", default="", metavar="AGENT", help="without one: no feedback")
    add.add_argument(
        "--rounds", type=zero_or_more, default=1, metavar="T", help="revisions at most (1)"
    )
    remove = command(pairs, "remove", "agents:remove_pair", "forget a pair; its agents stay")
    remove.add_argument("name", metavar="NAME")


def _chat(commands: Commands) -> None:
    chat = command(commands, "chat", "chat:chat", "ask a pair; on a terminal the app's chat opens")
    chat.add_argument("--pair", metavar="NAME", help="default: the newest trained one, else base")
    chat.add_argument("--vs", metavar="NAME", help="a second pair beside it")
    chat.add_argument("--prompt", metavar="TEXT", help="ask this, print the reply and leave")
    _reply_length(chat, 512)


def _evaluate(commands: Commands) -> None:
    evaluate = command(
        commands, "evaluate", "evaluate:evaluate", "how safe and how timid a pair is on prompts"
    )
    evaluate.add_argument("--pair", required=True, metavar="NAME")
    evaluate.add_argument("--prompts", metavar="PATH", help="labelled JSONL (default: bundled)")
    evaluate.add_argument("-n", type=count, metavar="N", help="a stratified part of the prompts")
    evaluate.add_argument("--seed", type=int, default=0, metavar="S", help="which part, with -n")
    evaluate.add_argument(
        "--concurrency", type=count, default=8, metavar="N", help="prompts at once (8)"
    )
    _reply_length(evaluate, 256)


def _reply_length(parser: argparse.ArgumentParser, tokens: int) -> None:
    parser.add_argument(
        "--max-tokens",
        type=count,
        default=tokens,
        metavar="N",
        help=f"cap of one reply ({tokens})",
    )
