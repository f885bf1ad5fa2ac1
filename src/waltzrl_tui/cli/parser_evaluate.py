"""The arguments of the commands about evaluations and judges."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from waltzrl_tui.cli.parser_base import caps, command, group
from waltzrl_tui.cli.parser_values import count, two_prices

if TYPE_CHECKING:
    from waltzrl_tui.cli.parser_base import Commands


def add_evaluate(commands: Commands) -> None:
    """`evaluate`, `evaluations` and `judges`."""
    _evaluate(commands)
    _evaluations(commands)
    _judges(commands)


def _evaluate(commands: Commands) -> None:
    evaluate = command(
        commands, "evaluate", "evaluate:evaluate", "how safe and how timid pairs are on prompts"
    )
    what = evaluate.add_argument_group("what is evaluated")
    what.add_argument(
        "--pair", action="append", default=[], metavar="NAME", help="a pair; repeatable"
    )
    what.add_argument(
        "--baselines",
        default="",
        metavar="PAIR",
        help="this pair beside the paper's baselines: base alone, base + safeguard, untrained "
        "collaboration, oracle feedback",
    )
    what.add_argument(
        "--base", default="", metavar="PAIR", help="the untrained pair of --baselines (base)"
    )
    what.add_argument(
        "--safeguard",
        default="",
        metavar="AGENT",
        help="looks for unsafe replies in --baselines (the pair's feedback agent)",
    )
    what.add_argument(
        "--run", type=count, metavar="ID", help="go on with a run that was not finished"
    )
    on = evaluate.add_argument_group("on what, and by whom it is judged")
    on.add_argument("--prompts", metavar="PATH", help="labelled prompts (default: bundled)")
    on.add_argument(
        "--suite",
        action="append",
        default=[],
        metavar="PATH",
        help="labelled prompts (bundled: those that come along); repeatable",
    )
    on.add_argument("-n", type=count, metavar="N", help="a stratified part of each suite")
    on.add_argument("--seed", type=int, default=0, metavar="S", help="which part, with -n")
    on.add_argument(
        "--judge",
        action="append",
        default=[],
        metavar="J",
        help="refusal (the detector, the default), or an agent that is asked WildGuard's three "
        "questions; repeatable, the first is the main one",
    )
    how = evaluate.add_argument_group("how")
    how.add_argument(
        "--concurrency",
        type=count,
        metavar="N",
        help="requests at once at one server (8; the embedded engine 16)",
    )
    how.add_argument(
        "--limit",
        action="append",
        type=_limit,
        default=[],
        metavar="AGENT=N",
        help="the same for the server of one agent; repeatable",
    )
    how.add_argument(
        "--price",
        action="append",
        type=_price,
        default=[],
        metavar="AGENT=IN,OUT",
        help="USD per 1M tokens read and written; kept for later; repeatable",
    )
    caps(how, 256)
    how.add_argument("--fresh", action="store_true", help="ask anew what is kept from earlier")
    how.add_argument("--yes", action="store_true", help="yes to what it costs")
    out = evaluate.add_argument_group("what is written")
    out.add_argument("--report", metavar="FILE", help="an HTML report that opens offline")
    out.add_argument("--csv", metavar="FILE", help="every item and opinion as CSV")


def _evaluations(commands: Commands) -> None:
    made = group(commands, "evaluations", "runs of evaluations: see, export, stop, settle by hand")
    listed = command(made, "list", "evaluations:list_runs", "all runs, newest first")
    listed.add_argument("--limit", type=count, default=50, metavar="N", help="at most N (50)")
    show = command(made, "show", "evaluations:show", "the figures of a run, finished or not")
    show.add_argument("run", type=count, metavar="ID")
    show.add_argument("--categories", action="store_true", help="the rates of each category, too")
    show.add_argument("--report", metavar="FILE", help="an HTML report that opens offline")
    show.add_argument("--csv", metavar="FILE", help="every item and opinion as CSV")
    stop = command(made, "stop", "evaluations:stop", "stop a run; what is finished is kept")
    stop.add_argument("run", type=count, metavar="ID")
    disputes = command(
        made, "disputes", "evaluations:disputes", "replies about which the judges differ"
    )
    disputes.add_argument("run", type=count, metavar="ID")
    label = command(made, "label", "evaluations:label", "settle one of them by hand")
    label.add_argument("key", metavar="KEY", help="as disputes shows it")
    said = label.add_mutually_exclusive_group(required=True)
    for name, help in (
        ("unsafe", "the reply is harmful"),
        ("refusal", "it refuses"),
        ("fine", "neither"),
        ("clear", "take the label back"),
    ):
        said.add_argument(f"--{name}", dest="label", action="store_const", const=name, help=help)


def _judges(commands: Commands) -> None:
    judges = group(commands, "judges", "how far judges can be trusted")
    check = command(
        judges,
        "check",
        "judges:run_check",
        "a judge's agreement with the labels that people gave replies",
    )
    check.add_argument(
        "path", metavar="PATH", help="replies with labels of people (XSTest's completions)"
    )
    check.add_argument(
        "--judge", default="refusal", metavar="J", help="refusal (the detector), or an agent"
    )
    check.add_argument("-n", type=count, metavar="N", help="the first N rows")
    check.add_argument(
        "--price",
        action="append",
        type=_price,
        default=[],
        metavar="AGENT=IN,OUT",
        help="USD per 1M tokens read and written",
    )
    check.add_argument("--yes", action="store_true", help="yes to what it costs")


def _limit(text: str) -> tuple[str, int]:
    name, _, value = text.rpartition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not AGENT=N")
    return name, count(value)


def _price(text: str) -> tuple[str, tuple[float, float]]:
    name, _, value = text.rpartition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not AGENT=IN,OUT")
    return name, two_prices(value)
