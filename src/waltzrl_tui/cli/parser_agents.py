"""The arguments of the commands about agents, pairs and chats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waltzrl_tui.cli.parser_base import ROLES, caps, command, group
from waltzrl_tui.cli.parser_values import above_zero, count, port, usd, zero_or_more
from waltzrl_tui.endpoints.presets import PRESETS

if TYPE_CHECKING:
    from waltzrl_tui.cli.parser_base import Commands


def add_agents(commands: Commands) -> None:
    """`agents`, `pairs` and `chat`."""
    _agents(commands)
    _pairs(commands)
    _chat(commands)
    _serve(commands)


def _agents(commands: Commands) -> None:
    agents = group(commands, "agents", "models in a role")
    command(agents, "list", "agents:list_agents", "all agents")
    add = command(agents, "add", "agents:add_agent", "name an endpoint or an adapter as an agent")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", choices=ROLES, required=True)
    add.add_argument(
        "--at",
        default="",
        metavar="WHERE",
        help=f"where it answers: {', '.join(PRESETS)}, or the address of an OpenAI-compatible "
        "server, up to /v1",
    )
    add.add_argument("--url", default="", help="the same, an address only")
    add.add_argument(
        "--model", default="", metavar="M", help="its model there, or the base of the adapter"
    )
    add.add_argument("--adapter", default="", metavar="DIR", help="an adapter of this engine")
    add.add_argument(
        "--key-env",
        default="",
        metavar="VAR",
        help="the NAME of the variable with its key (default: that of the place)",
    )
    add.add_argument("--prompt", default="", metavar="VERSION", help="system prompt, by version")
    add.add_argument(
        "--price",
        nargs=2,
        type=usd,
        metavar=("IN", "OUT"),
        help="USD per 1M tokens read and written (default: as its server's list of models tells)",
    )
    approve = command(
        agents,
        "approve",
        "agents:approve_agent",
        "let a key go to a server; needed once for each that you have not named yourself",
    )
    approve.add_argument("name", nargs="?", default="", metavar="NAME", help="an agent")
    approve.add_argument("--key-env", default="", metavar="VAR", help="the NAME of its variable")
    approve.add_argument("--provider", default="", metavar="P", help="a provider, all its keys")
    approve.add_argument("--at", default="", metavar="URL", help="where they may go")
    price = command(
        agents, "price", "prices:price_agent", "what an agent's tokens cost; kept for all uses"
    )
    price.add_argument("name", metavar="NAME")
    price.add_argument(
        "usd_in",
        nargs="?",
        type=usd,
        metavar="IN",
        help="USD per 1M tokens read; without prices its server is asked for them",
    )
    price.add_argument(
        "usd_out", nargs="?", type=usd, metavar="OUT", help="USD per 1M tokens written"
    )
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
    chat.add_argument(
        "--feedback",
        choices=("applied", "shown", "off"),
        default="applied",
        help="what is done with verdicts: replies are revised by them (default), they are only "
        "shown, or nobody judges",
    )
    chat.add_argument(
        "--watch",
        type=zero_or_more,
        default=0,
        metavar="N",
        help="judge the growing reply every N tokens, and stop an unsafe one (0: whole replies)",
    )
    chat.add_argument("--yes", action="store_true", help="yes to what the reply costs")
    caps(chat, 512)


def _serve(commands: Commands) -> None:
    serve = command(commands, "serve", "serve:serve", "pairs behind an OpenAI-compatible endpoint")
    serve.add_argument(
        "--pair",
        action="append",
        required=True,
        metavar="NAME",
        help="clients name it as the model; may be given more than once",
    )
    serve.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="another than loopback needs --key-env"
    )
    serve.add_argument(
        "--port", type=port, default=8088, metavar="N", help="0: one that is free (8088)"
    )
    serve.add_argument(
        "--key-env",
        default="",
        metavar="VAR",
        help="the NAME of the variable with the key that clients must send",
    )
    serve.add_argument(
        "--drafts", action="store_true", help="streams tell of drafts and verdicts as they come"
    )
    serve.add_argument(
        "--concurrency",
        type=count,
        default=32,
        metavar="N",
        help="requests that are answered at once; more wait (32)",
    )
    serve.add_argument(
        "--budget",
        type=above_zero,
        metavar="USD",
        help="when the answers have cost that much, further requests are refused",
    )
    serve.add_argument("--yes", action="store_true", help="yes to what requests cost")
    caps(serve, 512)
