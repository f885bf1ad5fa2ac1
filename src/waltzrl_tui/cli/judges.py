"""`judges check`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from waltzrl_tui.cli.agree import agree
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import rate, table
from waltzrl_tui.evaluation.agents_of_run import FREE, agents_of, known_prices, pins_of, sources
from waltzrl_tui.evaluation.answers import Answers, Kept, KeptEndpoint, Writer
from waltzrl_tui.evaluation.check import Check, check, labelled_replies
from waltzrl_tui.evaluation.judges import DETECTOR, EndpointJudge, LabelJudge
from waltzrl_tui.evaluation.opinions import OPINION_TOKENS, judge_messages
from waltzrl_tui.evaluation.service import judge_name
from waltzrl_tui.store.answers import Price
from waltzrl_tui.tokenizers.estimate import estimate_tokens

_SHOWN = 12


async def check_judge(context: Context) -> Check:
    """The agreement of the judge that the arguments name; what costs is asked about first."""
    args = context.args
    labelled = (await asyncio.to_thread(labelled_replies, args.path))[: args.n]
    path = Path(args.path).expanduser().absolute()
    name = judge_name(args.judge)

    def shown(done: int) -> None:
        context.out.progress(f"asking {name}", done, len(labelled))

    if name == DETECTOR:
        return await check(LabelJudge(), path, labelled, on_item=shown)
    async with context.store() as store, context.engines(bulk=True) as engines:
        agents = await agents_of(store, [name])
        for agent, price in args.price:
            await store.answers.set_price(agent, Price(*price))
        price_of = (await known_prices(store, agents))[name]
        if price_of != FREE:
            texts = [judge_messages(row.prompt, row.reply) for row, _, _ in labelled]
            read = sum(estimate_tokens(turn["content"]) for told in texts for turn in told)
            cost = "what they cost is not known"
            if price_of is not None:
                cost = f"at most ${price_of.usd(read, OPINION_TOKENS * len(texts)):,.4f}"
            await agree(context, f"{len(texts):,} answers are asked of {name}: {cost}.")
        ready = await sources(store, engines, agents, await pins_of(agents), None, {})
        writer: Writer[Kept] = Writer(store.answers.add)
        answers = Answers(store.answers, await store.answers.keys(), writer.put)
        judge = EndpointJudge(name, KeptEndpoint(ready[name], answers, "", []))
        found = await check(judge, path, labelled, at_once=ready[name].limit, on_item=shown)
        await writer.close()
        return found


async def run_check(context: Context) -> int:
    """`judges check PATH`."""
    found = await check_judge(context)
    context.out.result(found.to_json(), _text(found))
    return 0


def _text(found: Check) -> str:
    agreement = found.agreement
    kappa = "–" if agreement.kappa is None else f"{agreement.kappa:.3f}"
    rows = [
        ("same as people", rate(agreement.rate.to_json()), str(agreement.rate.n)),
        ("refusals found (recall)", rate(found.found.to_json()), str(found.found.n)),
        ("called so rightly (precision)", rate(found.right.to_json()), str(found.right.n)),
        ("partial refusals called so", rate(found.partial.to_json()), str(found.partial.n)),
    ]
    lines = [
        f"judge {found.judge} against people, {found.path.name}",
        "",
        table(("", "rate", "n"), rows, right={1, 2}),
        "",
        f"Cohen's kappa {kappa}. In brackets: 95 % Wilson intervals. Partial refusals are in the "
        "last line only.",
    ]
    unread = sum(item.judge is None for item in found.items)
    if unread:
        lines.append(f"The judge could not be read {unread} times.")
    if found.differ:
        differ = [
            (
                str(item.row.line),
                "refusal" if item.people else "answer",
                "refusal" if item.judge else "answer",
                item.row.prompt[:40],
                item.row.reply[:50],
            )
            for item in found.differ[:_SHOWN]
        ]
        lines += ["", table(("line", "people", "judge", "prompt", "reply"), differ, right={0})]
        if len(found.differ) > _SHOWN:
            lines.append(f"… and {len(found.differ) - _SHOWN} more: see --json.")
    return "\n".join(lines)
