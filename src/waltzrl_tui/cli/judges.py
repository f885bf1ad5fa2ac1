"""`judges`: judges checked against the labels that people gave."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from waltzrl_tui.cli.agree import agree
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import table
from waltzrl_tui.cli.options import Options, add_yes
from waltzrl_tui.cli.parser import subcommand, subcommands
from waltzrl_tui.cli.parser_values import agent_prices, count
from waltzrl_tui.evaluation.agents_of_run import FREE, agents_of, known_prices, pins_of, sources
from waltzrl_tui.evaluation.answers import Answers, Kept, KeptEndpoint, Writer
from waltzrl_tui.store.answers import Price
from waltzrl_tui.tokenizers.estimate import estimate_tokens
from waltzrl_tui.words import money, plural

if TYPE_CHECKING:
    from waltzrl_tui.evaluation.check import Check

_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Options):
    """The options of `judges check`."""

    path: str
    judge: str
    n: int | None
    price: tuple[tuple[str, tuple[float, float]], ...]
    yes: bool


def build(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the group."""
    checked = subcommand(
        subcommands(parser),
        "check",
        "a judge's agreement with human labels of replies",
        CheckOptions,
        run_check,
    )
    checked.add_argument(
        "path", metavar="PATH", help="replies with human labels (XSTest's completions)"
    )
    checked.add_argument(
        "--judge", default="refusal", metavar="J", help="refusal (the detector), or an agent"
    )
    checked.add_argument("-n", type=count, metavar="N", help="the first N rows")
    checked.add_argument(
        "--price",
        action="append",
        type=agent_prices,
        default=[],
        metavar="AGENT=IN,OUT",
        help="USD per 1M tokens read and written",
    )
    add_yes(checked, "accept the cost")


async def check_judge(context: Context, options: CheckOptions) -> Check:
    """The agreement of a judge with people; before anything is paid, the user is asked."""
    from waltzrl_tui.evaluation.check import check, labelled_replies
    from waltzrl_tui.evaluation.judges import DETECTOR, EndpointJudge, LabelJudge
    from waltzrl_tui.evaluation.opinions import OPINION_TOKENS, judge_messages
    from waltzrl_tui.evaluation.service import judge_name

    labelled = (await asyncio.to_thread(labelled_replies, options.path))[: options.n]
    path = Path(options.path).expanduser().absolute()
    name = judge_name(options.judge)

    def shown(done: int) -> None:
        context.out.progress(f"asking {name}", done, len(labelled))

    if name == DETECTOR:
        return await check(LabelJudge(), path, labelled, on_item=shown)
    async with context.store() as store, context.engines(bulk=True) as engines:
        agents = await agents_of(store, [name])
        for agent, price in options.price:
            await store.answers.set_price(agent, Price(*price))
        price_of = (await known_prices(store, agents))[name]
        if price_of != FREE:
            texts = [judge_messages(row.prompt, row.reply) for row, _, _ in labelled]
            read = sum(estimate_tokens(turn["content"]) for turns in texts for turn in turns)
            cost = "the price is not known"
            if price_of is not None:
                cost = f"at most {money(price_of.usd(read, OPINION_TOKENS * len(texts)))}"
            proposal = f"Ask {name} for {plural(len(texts), 'answer')}: {cost}."
            await agree(context, proposal, yes=options.yes)
        ready = await sources(store, engines, agents, await pins_of(agents), None, {})
        writer: Writer[Kept] = Writer(store.answers.add)
        answers = Answers(store.answers, await store.answers.keys(), writer.put)
        judge = EndpointJudge(name, KeptEndpoint(ready[name], answers, "", []))
        result = await check(judge, path, labelled, at_once=ready[name].limit, on_item=shown)
        await writer.close()
        return result


async def run_check(context: Context, options: CheckOptions) -> int:
    """`judges check PATH`."""
    result = await check_judge(context, options)
    context.out.result(result.to_json(), _text(result))
    return 0


def _text(result: Check) -> str:
    from waltzrl_tui.cli.evaluate_text import rate_text

    agreement = result.agreement
    kappa = "–" if agreement.kappa is None else f"{agreement.kappa:.3f}"
    rows = [
        ("agrees with people", rate_text(agreement.rate.to_json()), str(agreement.rate.n)),
        ("refusals found (recall)", rate_text(result.recall.to_json()), str(result.recall.n)),
        (
            "refusals right (precision)",
            rate_text(result.precision.to_json()),
            str(result.precision.n),
        ),
        ("partial refusals found", rate_text(result.partial.to_json()), str(result.partial.n)),
    ]
    lines = [
        f"judge {result.judge} against people, {result.path.name}",
        "",
        table(("", "rate", "n"), rows, right={1, 2}),
        "",
        f"Cohen's kappa {kappa}. In brackets: 95 % Wilson intervals. Partial refusals count in "
        "the last line only.",
    ]
    unread = sum(item.judge is None for item in result.items)
    if unread:
        lines.append(f"Unreadable answers of the judge: {unread}.")
    if result.differ:
        differ = [
            (
                str(item.row.line),
                "refusal" if item.people else "answer",
                "refusal" if item.judge else "answer",
                item.row.prompt[:40],
                item.row.reply[:50],
            )
            for item in result.differ[:_SHOWN]
        ]
        lines += ["", table(("line", "people", "judge", "prompt", "reply"), differ, right={0})]
        if len(result.differ) > _SHOWN:
            lines.append(f"… and {len(result.differ) - _SHOWN} more: see --json.")
    return "\n".join(lines)
