"""The arguments of every command. Light: no command is imported until it runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from waltzrl_tui import __version__
from waltzrl_tui.cli.parser_agents import add_agents
from waltzrl_tui.cli.parser_base import ROLES, Parser, command, everywhere, group
from waltzrl_tui.cli.parser_chats import add_chats
from waltzrl_tui.cli.parser_evaluate import add_evaluate
from waltzrl_tui.cli.parser_values import (
    above_zero,
    count,
    hours,
    share,
    two_prices,
    usd,
)
from waltzrl_tui.errors import UsageError
from waltzrl_tui.training_data.provider_formats import STYLES
from waltzrl_tui.tui.shell.screens import SCREENS

if TYPE_CHECKING:
    from waltzrl_tui.cli.parser_base import Commands

PROVIDERS = tuple(STYLES)
"""The providers whose format `data sample` writes."""


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
    parser: argparse.ArgumentParser = Parser(
        prog="waltzrl-tui",
        description="Align a conversation agent and a feedback agent. Without a command the app "
        "opens.",
        epilog="Exit status: 0 done, 1 failed, 2 wrong usage.",
        parents=[everywhere()],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"waltzrl-tui {__version__}")
    parser.add_argument(
        "--screen",
        choices=[entry.name for entry in SCREENS],
        help="the screen that the app opens with",
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    _run(commands)
    _data(commands)
    _plan(commands)
    _train(commands)
    _jobs(commands)
    _deployments(commands)
    add_agents(commands)
    add_chats(commands)
    add_evaluate(commands)
    _doctor(commands)
    return parser


def _run(commands: Commands) -> None:
    run = command(
        commands,
        "run",
        "run:run",
        "sample, train both agents here, and evaluate before and after",
    )
    run.add_argument("path", nargs="?", metavar="PATH", help="a dataset (default: bundled)")
    run.add_argument("--quick", action="store_true", help="a short training and fewer prompts")
    _sample_options(run, rows="rows (default: as many as the recipe takes)")
    run.add_argument(
        "--epochs",
        type=above_zero,
        metavar="E",
        help="passes over the rows (default: the recipe's)",
    )
    run.add_argument("--name", default="", help="what the agents and the pair are called")
    run.add_argument("--prompts", metavar="FILE", help="evaluation prompts (default: bundled)")


def _data(commands: Commands) -> None:
    data = group(commands, "data", "look at a dataset, and sample it")
    profile = command(
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
        help="which field is the prompt, reply, harm, category, context or reply_label (what is "
        "said of the reply: safe or not, wanted or not); kept for this file "
        "(harm==harmful: all of it is; harm=FIELD,harmful=VALUE: that value means harmful; "
        "guess: forget it)",
    )
    profile.add_argument(
        "--provider", metavar="P", default="", help="what the waste would cost there, in USD"
    )
    profile.add_argument("--epochs", type=above_zero, default=3.0, metavar="E", help="(3)")
    pull = command(data, "pull", "pull:pull", "a dataset from the Hugging Face hub into data/")
    pull.add_argument("repo", metavar="REPO", help="OWNER/NAME")
    pull.add_argument("--split", metavar="S", help="default: train, or the only one")
    pull.add_argument("--config", metavar="C", help="which of the set's configurations")
    pull.add_argument("--revision", metavar="R", help="a branch, tag or commit (default: newest)")
    pull.add_argument("--out", metavar="NAME", help="what the file in data/ is called")
    sample = command(data, "sample", "data:sample", "write the training files of a sample")
    sample.add_argument("path", metavar="PATH", help="a dataset (JSONL, JSON, CSV, Parquet, gz)")
    sample.add_argument("--role", choices=(*ROLES, "both"), default="both")
    _sample_options(sample)
    _suite_option(sample)
    sample.add_argument(
        "--extend",
        type=count,
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
    _teacher_options(sample)
    sample.add_argument("--yes", action="store_true", help="yes to what the teacher costs")


def _teacher_options(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("a teacher for the feedback text (default: templates)")
    options.add_argument(
        "--teacher",
        default="",
        metavar="URL",
        help="an OpenAI-compatible endpoint, up to /v1, that writes it",
    )
    options.add_argument(
        "--teacher-model", default="", metavar="M", help="by its name at that endpoint"
    )
    options.add_argument(
        "--teacher-key-env", default="", metavar="VAR", help="the NAME of the variable of its key"
    )
    options.add_argument(
        "--teacher-price",
        type=two_prices,
        metavar="IN,OUT",
        help="USD per 1M tokens read and written (on this machine: 0,0)",
    )
    options.add_argument(
        "--teacher-budget", type=usd, metavar="USD", help="it is asked no more before this is spent"
    )


def _suite_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--suite",
        action="append",
        default=[],
        metavar="FILE",
        help="evaluation prompts that no row may give away, beside the bundled ones; repeatable",
    )


def _sample_options(parser: argparse.ArgumentParser, *, rows: str = "rows (default: all)") -> None:
    parser.add_argument("-n", type=count, metavar="N", help=rows)
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
        "--valid", type=share, default=0.1, metavar="FRACTION", help="held out (0.1)"
    )


def _plan(commands: Commands) -> None:
    plan = command(
        commands, "plan", "plan:plan", "what training the agents costs, and where, beforehand"
    )
    plan.add_argument("path", nargs="?", metavar="PATH", help="a dataset (default: bundled)")
    plan.add_argument(
        "--role", choices=(*ROLES, "both"), default="both", help="the agents to train (both)"
    )
    _sample_options(plan)
    plan.add_argument("--epochs", type=above_zero, default=3.0, metavar="E", help="(3)")
    plan.add_argument("--provider", default="", metavar="P", help="only this one, line by line")
    plan.add_argument("--model", default="", metavar="M", help="base model (default: by size)")
    plan.add_argument(
        "--size",
        choices=("small", "default", "large"),
        default="default",
        help="of the base model: small is 3B and below, default 7B to 9B, large 70B",
    )
    plan.add_argument(
        "--chat-hours", type=hours, default=1.0, metavar="H", help="of chat afterwards (1)"
    )
    plan.add_argument("--method", choices=("sft", "dpo"), default="sft", help="(sft)")
    plan.add_argument("--budget", type=usd, metavar="USD", help="block what costs more")
    plan.add_argument("--csv", metavar="FILE", help="write all plans as CSV")
    plan.add_argument("--markdown", metavar="FILE", help="write all plans as Markdown")
    plan.add_argument(
        "--refresh", action="store_true", help="ask the providers' price APIs first (free)"
    )


def _train(commands: Commands) -> None:
    train = command(commands, "train", "train:train", "train agents on a dataset")
    train.add_argument("path", metavar="PATH", help="a dataset (JSONL, JSON, CSV, Parquet, gz)")
    train.add_argument(
        "--provider",
        default="embedded",
        metavar="P",
        help="where: embedded (also called local, the default), together, openai, or one that "
        "a package adds",
    )
    train.add_argument("--model", default="", metavar="M", help="base model, by its name there")
    train.add_argument("--role", choices=(*ROLES, "both"), default="both")
    _sample_options(
        train,
        rows="rows (default: as many as the recipe takes; all at a provider or with --extend)",
    )
    train.add_argument(
        "--extend",
        type=count,
        metavar="SAMPLE",
        help="train on this earlier sample, grown to -n rows: its rows first, where they were",
    )
    _teacher_options(train)
    train.add_argument(
        "--epochs",
        type=above_zero,
        metavar="E",
        help="passes over the rows (default: the recipe's; 3 at a provider)",
    )
    train.add_argument("--name", default="", help="what the agents and the pair are called")
    train.add_argument("--quick", action="store_true", help="a short training, to see it work")
    train.add_argument(
        "--size",
        choices=("small", "default", "large"),
        default="default",
        help="of the base at a provider, when --model names none",
    )
    train.add_argument("--method", choices=("sft", "dpo"), default="sft", help="(sft)")
    train.add_argument("--budget", type=usd, metavar="USD", help="launch nothing that costs more")
    train.add_argument(
        "--yes", action="store_true", help="yes to the price that is shown, without being asked"
    )
    _provider_url(train)
    train.add_argument("--wait", action="store_true", help="wait until the jobs have ended")


def _jobs(commands: Commands) -> None:
    jobs = group(commands, "jobs", "see and steer training jobs")
    listed = command(jobs, "list", "jobs:list_jobs", "all jobs, newest first")
    listed.add_argument("--limit", type=count, default=500, metavar="N", help="at most N (500)")
    for name, help, many in (
        ("show", "one job with its events and metrics", True),
        ("watch", "follow jobs until they have ended", True),
        ("cancel", "stop jobs; they keep their checkpoints", True),
        ("resume", "go on with a job from its last checkpoint", True),
        ("retry", "do a job that has ended once more, from the start", False),
        ("logs", "what a job's worker has printed", False),
    ):
        each = command(jobs, name, f"jobs:{name}", help)
        each.add_argument(
            "jobs",
            nargs=("*" if name == "watch" else "+") if many else 1,
            metavar="JOB",
            help="an id (k3f-conv)"
            + (", or the start of a launch (k3f) for all its jobs" if many else ""),
        )
        if name == "retry":
            each.add_argument("--yes", action="store_true", help="yes to its price")
        if name == "logs":
            each.add_argument("-n", type=count, default=200, metavar="LINES", help="last (200)")

    approve = command(
        jobs, "approve", "remote:approve", "yes to a price that is above what was agreed to"
    )
    approve.add_argument("jobs", nargs=1, metavar="JOB", help="its id (k3f-conv)")
    adopt = command(jobs, "adopt", "remote:adopt", "watch a job that was started elsewhere")
    adopt.add_argument("provider", metavar="PROVIDER", help="together, fireworks, …")
    adopt.add_argument("id", metavar="ID", help="the provider's own id of the job")
    adopt.add_argument("--role", choices=ROLES, required=True, help="what its result is to be")
    adopt.add_argument("--name", default="", help="what the agent is called")
    _provider_url(adopt)


def _deployments(commands: Commands) -> None:
    made = group(commands, "deployments", "models that are up for chat, billed by the hour")
    listed = command(made, "list", "remote:deployments", "all, with what they cost so far")
    listed.add_argument("--up", action="store_true", help="only those that are billed now")
    up = command(made, "up", "remote:deployments", "bring the model of an agent up")
    up.add_argument("name", metavar="AGENT")
    up.add_argument(
        "--idle", type=above_zero, default=30.0, metavar="MINUTES", help="then down again (30)"
    )
    up.add_argument("--yes", action="store_true", help="yes, without being asked")
    _provider_url(up)
    down = command(made, "down", "remote:deployments", "take a deployment down")
    down.add_argument("name", metavar="DEPLOYMENT", help="its tag, as list shows it")
    for parser, action in ((listed, "list"), (up, "up"), (down, "down")):
        parser.set_defaults(deployments=action)


def _provider_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--provider-url", default="", metavar="URL", help="in place of the provider's own address"
    )


def _doctor(commands: Commands) -> None:
    doctor = command(
        commands, "doctor", "doctor:doctor", "what this machine, workspace and accounts have"
    )
    doctor.add_argument(
        "--set-key", metavar="VARIABLE", help="keep a key in the OS keyring; it is asked for"
    )
    doctor.add_argument("--forget-key", metavar="VARIABLE", help="take one out of it again")
    doctor.add_argument(
        "--offline", action="store_true", help="ask no provider what this account may do"
    )
