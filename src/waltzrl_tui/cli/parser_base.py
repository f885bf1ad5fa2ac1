"""What all of the command line's parsers share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from waltzrl_tui.cli.parser_values import count
from waltzrl_tui.errors import UsageError
from waltzrl_tui.tokenizers.estimate import VERDICT_TOKENS

if TYPE_CHECKING:
    # argparse has no public name for it.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

ROLES = ("conversation", "feedback")


class Parser(argparse.ArgumentParser):
    """Reports wrong usage like every other error: one message and what to do."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", hint=f"See: {self.prog} --help")


def everywhere() -> argparse.ArgumentParser:
    """The options that stand before or after any command."""
    # Without defaults: a subcommand's would overwrite what stood before it.
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "--home", metavar="DIR", help="the workspace (default: $WALTZRL_HOME, else this folder)"
    )
    common.add_argument(
        "--json", action="store_true", help="print one JSON document on stdout and nothing else"
    )
    return common


def command(commands: Commands, name: str, function: str, help: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        parents=[everywhere()],
        allow_abbrev=False,
    )
    if function:
        parser.set_defaults(command=function)
    return parser


def caps(parser: argparse.ArgumentParser | argparse._ArgumentGroup, reply: int) -> None:
    """`--max-tokens` and `--verdict-tokens`, which are the same wherever a pair is asked."""
    parser.add_argument(
        "--max-tokens",
        type=count,
        default=reply,
        metavar="N",
        help=f"cap of one reply, in tokens, thinking included ({reply})",
    )
    parser.add_argument(
        "--verdict-tokens",
        type=count,
        default=VERDICT_TOKENS,
        metavar="N",
        help=f"cap of one verdict, in tokens, thinking included ({VERDICT_TOKENS})",
    )


def group(commands: Commands, name: str, help: str) -> Commands:
    made = command(commands, name, "", help)
    return made.add_subparsers(metavar="COMMAND", title="commands", required=True)
