"""The parser of the command line. Only the modules of the commands in use are imported."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeVar

from waltzrl_tui import __version__
from waltzrl_tui.cli.options import AppStart, Options
from waltzrl_tui.cli.registry import COMMANDS
from waltzrl_tui.errors import UsageError
from waltzrl_tui.tui.shell.screens import SCREENS

if TYPE_CHECKING:
    from waltzrl_tui.cli.command import Context

    # argparse has no public name for it.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

AnyOptions = TypeVar("AnyOptions", bound=Options)


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What the program is to do.

    Attributes:
        app: How the app opens instead of the command, where that is possible.
        work: The command with its options; None if there is only the app.
    """

    home: str | None
    json: bool
    options: Options | None
    app: AppStart | None
    work: Callable[[Context], Awaitable[int]] | None


class Parser(argparse.ArgumentParser):
    """Reports wrong usage like every other error: one message and what to do."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", hint=f"See: {self.prog} --help")


def parse(argv: Sequence[str]) -> Invocation:
    """What the arguments ask for.

    Raises:
        UsageError: The arguments are wrong.
        SystemExit: --help or --version was printed.
    """
    args = _build(argv).parse_args(argv)
    home, json = getattr(args, "home", None), getattr(args, "json", False)
    if not hasattr(args, "work"):
        if json:
            raise UsageError("--json needs a command.", hint="See: waltzrl-tui --help")
        return Invocation(
            home=home, json=False, options=None, app=AppStart(screen=args.screen or ""), work=None
        )
    if args.screen is not None:
        raise UsageError("--screen is for the app and goes with no command.")
    options: Options = args.options_type.from_args(args)
    return Invocation(
        home=home,
        json=json,
        options=options,
        app=None if json else options.app_start(),
        work=partial(args.work, options=options),
    )


def command(
    parser: argparse.ArgumentParser,
    options: type[AnyOptions],
    work: Callable[[Context, AnyOptions], Awaitable[int]],
) -> None:
    """Let `parser` be the one of a command that does `work` with its `options`."""
    parser.set_defaults(options_type=options, work=work)


def subcommands(parser: argparse.ArgumentParser) -> Commands:
    """Let `parser` be the one of a group, and return where its commands are added."""
    return parser.add_subparsers(metavar="COMMAND", title="commands", required=True)


def subcommand(
    commands: Commands,
    name: str,
    help: str,
    options: type[AnyOptions],
    work: Callable[[Context, AnyOptions], Awaitable[int]],
) -> argparse.ArgumentParser:
    """Add a command to a group."""
    parser = _add_parser(commands, name, help)
    command(parser, options, work)
    return parser


def _build(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="waltzrl-tui",
        description="Align a conversation agent and a feedback agent. Without a command the app "
        "opens.",
        epilog="Exit status: 0 done, 1 failed, 2 wrong usage.",
        parents=[_common()],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"waltzrl-tui {__version__}")
    parser.add_argument(
        "--screen",
        choices=[entry.name for entry in SCREENS],
        help="the screen that the app opens with",
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for entry in COMMANDS:
        one = _add_parser(commands, entry.name, entry.help)
        # A command can only be chosen by its name. Where that is the value of an option instead,
        # the command is built in vain, which costs little.
        if entry.name in argv:
            entry.build(one)
    return parser


def _add_parser(commands: Commands, name: str, help: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        parents=[_common()],
        allow_abbrev=False,
    )


def _common() -> argparse.ArgumentParser:
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
