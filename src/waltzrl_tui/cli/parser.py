"""The arguments of every command. Light: no command is imported until it runs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from waltzrl_tui import __version__
from waltzrl_tui.errors import UsageError

if TYPE_CHECKING:
    # argparse has no public name for it.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

SCREENS = ("data", "plan", "jobs", "chat")
ROLES = ("conversation", "feedback")
PROVIDERS = (
    "local",
    "together",
    "fireworks",
    "openai",
    "mistral",
    "tinker",
    "hf_jobs",
    "runpod",
    "vast",
    "lambda",
    "bedrock",
)
"""Whose format `data sample` writes: the keys of `datasets.provider_files.STYLES`."""


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage like every other error: one message and what to do."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", hint=f"See: {self.prog} --help")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; `command` is `module:function` in this package, or None for the app.

    Raises:
        UsageError: They are not what a command takes.
        SystemExit: --help or --version was asked for and printed.
    """
    args = _build().parse_args(argv)
    for name, value in (("home", None), ("json", False), ("screen", None), ("command", None)):
        if not hasattr(args, name):
            setattr(args, name, value)
    if args.command is None and args.json:
        raise UsageError("--json needs a command.", hint="See: waltzrl-tui --help")
    if args.command is not None and args.screen is not None:
        raise UsageError("--screen is for the app and goes with no command.")
    return args


def _build() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="waltzrl-tui",
        description="Align a conversation agent and a feedback agent. Without a command the app "
        "opens.",
        epilog="Exit status: 0 done, 1 failed, 2 wrong usage.",
        parents=[_everywhere()],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"waltzrl-tui {__version__}")
    parser.add_argument("--screen", choices=SCREENS, help="the screen that the app opens with")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    _run(commands)
    _data(commands)
    _plan(commands)
    _train(commands)
    _jobs(commands)
    _agents(commands)
    _pairs(commands)
    _chat(commands)
    _evaluate(commands)
    _command(commands, "doctor", "doctor:doctor", "what this machine and workspace have")
    return parser


def _everywhere() -> argparse.ArgumentParser:
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


def _command(commands: Commands, name: str, function: str, help: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        parents=[_everywhere()],
        allow_abbrev=False,
    )
    if function:
        parser.set_defaults(command=function)
    return parser


def _group(commands: Commands, name: str, help: str) -> Commands:
    group = _command(commands, name, "", help)
    return group.add_subparsers(metavar="COMMAND", title="commands", required=True)


def _run(commands: Commands) -> None:
    run = _command(
        commands,
        "run",
        "run:run",
        "sample, train both agents here, and evaluate before and after",
    )
    run.add_argument("path", nargs="?", metavar="PATH", help="a JSONL dataset (default: bundled)")
    run.add_argument("--quick", action="store_true", help="a short training and fewer prompts")
    _sample_options(run)
    run.add_argument("--epochs", type=_above_zero, metavar="E")
    run.add_argument("--name", default="", help="what the agents and the pair are called")
    run.add_argument("--prompts", metavar="FILE", help="evaluation prompts (default: bundled)")


def _data(commands: Commands) -> None:
    data = _group(commands, "data", "look at a dataset, and sample it")
    profile = _command(
        data,
        "profile",
        "data:profile",
        "rows, bad rows, tokens, duplicates, labels, refusals, leaks, personal data",
    )
    profile.add_argument("path", metavar="PATH", help="a dataset (JSONL, JSON, CSV, Parquet, gz)")
    _suite_option(profile)
    profile.add_argument(
        "--bad-rows", metavar="FILE", help="write every bad row, with line and reason, as JSONL"
    )
    profile.add_argument(
        "--map",
        metavar="PART=FIELD,…",
        help="which field is the prompt, reply, harm, category or context; kept for this file "
        "(harm==harmful: all of it is; guess: forget it)",
    )
    profile.add_argument(
        "--provider", metavar="P", default="", help="what the waste would cost there, in USD"
    )
    profile.add_argument("--epochs", type=_above_zero, default=3.0, metavar="E", help="(3)")
    pull = _command(data, "pull", "pull:pull", "a dataset from the Hugging Face hub into data/")
    pull.add_argument("repo", metavar="REPO", help="OWNER/NAME")
    pull.add_argument("--split", metavar="S", help="default: train, or the only one")
    pull.add_argument("--config", metavar="C", help="which of the set's configurations")
    pull.add_argument("--revision", metavar="R", help="a branch, tag or commit (default: newest)")
    pull.add_argument("--out", metavar="NAME", help="what the file in data/ is called")
    sample = _command(data, "sample", "data:sample", "write the training files of a sample")
    sample.add_argument("path", metavar="PATH", help="a dataset (JSONL, JSON, CSV, Parquet, gz)")
    sample.add_argument("--role", choices=(*ROLES, "both"), default="both")
    _sample_options(sample)
    _suite_option(sample)
    sample.add_argument(
        "--extend",
        type=_count,
        metavar="SAMPLE",
        help="grow this earlier sample to -n rows: its rows first, on the side they were",
    )
    sample.add_argument(
        "--for",
        dest="for_provider",
        choices=PROVIDERS,
        default="local",
        help="whose format the files have (default: local)",
    )
    sample.add_argument("--out", metavar="DIR", required=True, help="where the files go")


def _suite_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--suite",
        action="append",
        default=[],
        metavar="FILE",
        help="evaluation prompts that no row may give away, beside the bundled ones; repeatable",
    )


def _sample_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", type=_count, metavar="N", help="rows (default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
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
        help="only rows that fulfil it: \"harm = 'benign' and length(reply) > 40\"",
    )
    parser.add_argument(
        "--balance",
        default="harm",
        metavar="COLUMN",
        help="equal shares of its values (harm); none keeps the dataset's proportions",
    )
    parser.add_argument(
        "--valid", type=_share, default=0.1, metavar="FRACTION", help="held out (0.1)"
    )


def _plan(commands: Commands) -> None:
    plan = _command(
        commands, "plan", "plan:plan", "what training both agents costs, and where, beforehand"
    )
    plan.add_argument("path", nargs="?", metavar="PATH", help="a dataset (default: bundled)")
    _sample_options(plan)
    plan.add_argument("--epochs", type=_above_zero, default=3.0, metavar="E", help="(3)")
    plan.add_argument("--provider", default="", metavar="P", help="only this one, line by line")
    plan.add_argument("--model", default="", metavar="M", help="base model (default: by size)")
    plan.add_argument(
        "--size",
        choices=("small", "default", "large"),
        default="default",
        help="of the base model: small is 3B and below, default 7B to 9B, large 70B",
    )
    plan.add_argument(
        "--chat-hours", type=_hours, default=1.0, metavar="H", help="of chat afterwards (1)"
    )
    plan.add_argument("--method", choices=("sft", "dpo"), default="sft", help="(sft)")
    plan.add_argument("--budget", type=_usd, metavar="USD", help="block what costs more")
    plan.add_argument("--csv", metavar="FILE", help="write all plans as CSV")
    plan.add_argument("--markdown", metavar="FILE", help="write all plans as Markdown")
    plan.add_argument(
        "--refresh", action="store_true", help="ask the providers' price APIs first (free)"
    )


def _train(commands: Commands) -> None:
    train = _command(commands, "train", "train:train", "train agents on a dataset")
    train.add_argument("path", metavar="PATH", help="a dataset (JSONL, JSON, CSV, Parquet, gz)")
    train.add_argument(
        "--provider",
        choices=("embedded", "local"),
        default="embedded",
        help="where: the embedded engine on this machine, also called local",
    )
    train.add_argument("--model", default="", metavar="M", help="base model (default: embedded)")
    train.add_argument("--role", choices=(*ROLES, "both"), default="both")
    _sample_options(train)
    train.add_argument("--epochs", type=_above_zero, metavar="E")
    train.add_argument("--name", default="", help="what the agents and the pair are called")
    train.add_argument("--quick", action="store_true", help="a short training, to see it work")
    train.add_argument(
        "--budget", type=_usd, metavar="USD", help="never spend more (this engine is free)"
    )
    train.add_argument(
        "--yes", action="store_true", help="never ask before spending (this engine is free)"
    )
    train.add_argument("--wait", action="store_true", help="wait until the jobs have ended")


def _jobs(commands: Commands) -> None:
    jobs = _group(commands, "jobs", "see and steer training jobs")
    listed = _command(jobs, "list", "jobs:list_jobs", "all jobs, newest first")
    listed.add_argument("--limit", type=_count, default=500, metavar="N", help="at most N (500)")
    for name, help, many in (
        ("show", "one job with its events and metrics", True),
        ("watch", "follow jobs until they have ended", True),
        ("cancel", "stop jobs; they keep their checkpoints", True),
        ("resume", "go on with a job from its last checkpoint", True),
        ("retry", "do a job that has ended once more, from the start", False),
        ("logs", "what a job's worker has printed", False),
    ):
        command = _command(jobs, name, f"jobs:{name}", help)
        command.add_argument(
            "jobs",
            nargs=("*" if name == "watch" else "+") if many else 1,
            metavar="JOB",
            help="an id (k3f-conv)"
            + (", or the start of a launch (k3f) for all its jobs" if many else ""),
        )
        if name == "logs":
            command.add_argument("-n", type=_count, default=200, metavar="LINES", help="last (200)")


def _agents(commands: Commands) -> None:
    agents = _group(commands, "agents", "models in a role")
    _command(agents, "list", "agents:list_agents", "all agents")
    add = _command(agents, "add", "agents:add_agent", "name an endpoint or an adapter as an agent")
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
    remove = _command(agents, "remove", "agents:remove_agent", "forget an agent; its files stay")
    remove.add_argument("name", metavar="NAME")


def _pairs(commands: Commands) -> None:
    pairs = _group(commands, "pairs", "a conversation agent with a feedback agent")
    _command(pairs, "list", "agents:list_pairs", "all pairs")
    add = _command(pairs, "add", "agents:add_pair", "make a pair of two agents")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--conversation", required=True, metavar="AGENT")
    add.add_argument("--feedback", default="", metavar="AGENT", help="without one: no feedback")
    add.add_argument(
        "--rounds", type=_zero_or_more, default=1, metavar="T", help="revisions at most (1)"
    )
    remove = _command(pairs, "remove", "agents:remove_pair", "forget a pair; its agents stay")
    remove.add_argument("name", metavar="NAME")


def _chat(commands: Commands) -> None:
    chat = _command(commands, "chat", "chat:chat", "ask a pair; on a terminal the app's chat opens")
    chat.add_argument("--pair", metavar="NAME", help="default: the newest trained one, else base")
    chat.add_argument("--vs", metavar="NAME", help="a second pair beside it")
    chat.add_argument("--prompt", metavar="TEXT", help="ask this, print the reply and leave")
    _reply_length(chat, 512)


def _evaluate(commands: Commands) -> None:
    evaluate = _command(
        commands, "evaluate", "evaluate:evaluate", "how safe and how timid a pair is on prompts"
    )
    evaluate.add_argument("--pair", required=True, metavar="NAME")
    evaluate.add_argument("--prompts", metavar="PATH", help="labelled JSONL (default: bundled)")
    evaluate.add_argument("-n", type=_count, metavar="N", help="a stratified part of the prompts")
    evaluate.add_argument("--seed", type=int, default=0, metavar="S", help="which part, with -n")
    evaluate.add_argument(
        "--concurrency", type=_count, default=8, metavar="N", help="prompts at once (8)"
    )
    _reply_length(evaluate, 256)


def _reply_length(parser: argparse.ArgumentParser, tokens: int) -> None:
    parser.add_argument(
        "--max-tokens",
        type=_count,
        default=tokens,
        metavar="N",
        help=f"cap of one reply ({tokens})",
    )


def _number(kind: Callable[[str], float], text: str, low: float, high: float, words: str) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {words}")
    return value


def _count(text: str) -> int:
    return int(_number(int, text, 1, 10**9, "a whole number of 1 or more"))


def _zero_or_more(text: str) -> int:
    return int(_number(int, text, 0, 1000, "a whole number from 0 to 1000"))


def _share(text: str) -> float:
    return _number(float, text, 0, 0.5, "a share from 0 to 0.5")


def _above_zero(text: str) -> float:
    return _number(float, text, 1e-6, 1e6, "a number above 0")


def _hours(text: str) -> float:
    return _number(float, text, 0, 10_000, "hours from 0 to 10000")


def _usd(text: str) -> float:
    return _number(float, text, 0, 1e9, "an amount of 0 or more")
