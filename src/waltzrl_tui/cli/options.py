"""A command's options as typed values, and the options that several commands share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from typing import Literal, Self

from waltzrl_tui.cli.parser_values import above_zero, count, share, two_prices, usd
from waltzrl_tui.records.roles import ROLES
from waltzrl_tui.tokenizers.estimate import VERDICT_TOKENS


@dataclass(frozen=True, kw_only=True)
class AppStart:
    """How the app opens.

    Attributes:
        screen: Its name, "" for the first one.
        pair, vs: The pairs to chat with; None for the app's own choice and for no second one.
    """

    screen: str = ""
    pair: str | None = None
    vs: str | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a command is to do. Each field is named like the argument that sets it."""

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Self:
        """The options from parsed arguments; repeated ones become tuples."""
        values = {field.name: getattr(args, field.name) for field in fields(cls)}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    def app_start(self) -> AppStart | None:
        """How the app opens instead of the command, on a terminal; None if it never does."""
        return None


@dataclass(frozen=True, kw_only=True)
class NameOptions(Options):
    """The options of the commands that take a name and nothing else."""

    name: str


@dataclass(frozen=True, kw_only=True)
class SampleOptions(Options):
    """Which rows of a dataset are drawn. `samples.recipe_of` makes a recipe of them."""

    n: int | None
    seed: int
    dedupe: Literal["exact", "near", "off"]
    where: str
    balance: str
    valid: float


def add_sample_options(
    parser: argparse.ArgumentParser, *, rows: str = "rows (default: all)"
) -> None:
    """Add the arguments of `SampleOptions`; `rows` is the help of -n."""
    parser.add_argument("-n", type=count, metavar="N", help=rows)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="which rows are drawn (0)")
    parser.add_argument(
        "--dedupe",
        choices=("exact", "near", "off"),
        default="exact",
        help="drop rows that are the same, or nearly the same (exact)",
    )
    parser.add_argument(
        "--where",
        default="",
        metavar="EXPRESSION",
        help="only rows that match: \"harm = 'benign' and length(reply) > 40\"",
    )
    parser.add_argument(
        "--balance",
        default="harm",
        metavar="COLUMN",
        help="equal shares of its values (harm); none keeps the dataset's proportions",
    )
    parser.add_argument(
        "--valid", type=share, default=0.1, metavar="FRACTION", help="held out (0.1)"
    )


@dataclass(frozen=True, kw_only=True)
class TeacherOptions(Options):
    """Which model writes the feedback. `teacher.teacher_of` checks them."""

    role: str
    teacher: str
    teacher_model: str
    teacher_key_env: str
    teacher_price: tuple[float, float] | None
    teacher_budget: float | None
    yes: bool


def add_teacher_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `TeacherOptions`, except --role and --yes."""
    options = parser.add_argument_group("a teacher for the feedback text (default: templates)")
    options.add_argument(
        "--teacher",
        default="",
        metavar="URL",
        help="an OpenAI-compatible endpoint, up to /v1, that writes it",
    )
    options.add_argument(
        "--teacher-model", default="", metavar="M", help="its name at that endpoint"
    )
    options.add_argument(
        "--teacher-key-env", default="", metavar="VAR", help="the NAME of its key's variable"
    )
    options.add_argument(
        "--teacher-price",
        type=two_prices,
        metavar="IN,OUT",
        help="USD per 1M tokens read and written (on this machine: 0,0)",
    )
    options.add_argument(
        "--teacher-budget", type=usd, metavar="USD", help="stop asking once this much is spent"
    )


def add_role(parser: argparse.ArgumentParser) -> None:
    """Add --role of one agent or both."""
    parser.add_argument(
        "--role", choices=(*ROLES, "both"), default="both", help="the agents to train (both)"
    )


def add_epochs(parser: argparse.ArgumentParser, help: str, default: float | None = None) -> None:
    """Add --epochs."""
    parser.add_argument("--epochs", type=above_zero, default=default, metavar="E", help=help)


def add_suites(parser: argparse.ArgumentParser) -> None:
    """Add --suite of the commands that look for leaks."""
    parser.add_argument(
        "--suite",
        action="append",
        default=[],
        metavar="FILE",
        help="evaluation prompts to look for among the rows, beside the bundled ones; repeatable",
    )


def add_provider_url(parser: argparse.ArgumentParser) -> None:
    """Add --provider-url."""
    parser.add_argument(
        "--provider-url", default="", metavar="URL", help="instead of the provider's own address"
    )


def add_token_limits(parser: argparse.ArgumentParser | argparse._ArgumentGroup, reply: int) -> None:
    """Add --max-tokens and --verdict-tokens; `reply` is the default of the first."""
    parser.add_argument(
        "--max-tokens",
        type=count,
        default=reply,
        metavar="N",
        help=f"maximum length of one reply, in tokens, thinking included ({reply})",
    )
    parser.add_argument(
        "--verdict-tokens",
        type=count,
        default=VERDICT_TOKENS,
        metavar="N",
        help=f"maximum length of one verdict, in tokens, thinking included ({VERDICT_TOKENS})",
    )


def add_yes(parser: argparse.ArgumentParser | argparse._ArgumentGroup, help: str) -> None:
    """Add --yes; `help` says to what."""
    parser.add_argument("--yes", action="store_true", help=help)
