"""`plan`: what training the agents costs at every provider, and what stands in the way."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import bar, cut, fields, table
from waltzrl_tui.cli.options import SampleOptions, add_epochs, add_role, add_sample_options
from waltzrl_tui.cli.parser import command
from waltzrl_tui.cli.parser_values import hours, usd
from waltzrl_tui.cli.samples import recipe_of, roles_of
from waltzrl_tui.datasets.contradictions import contradiction_warning
from waltzrl_tui.datasets.starter import STARTER, bundled
from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.plans.export import to_csv, to_markdown
from waltzrl_tui.plans.model import Environment, Money, PlanRow, PlanSettings, Workload
from waltzrl_tui.waltz.prompts import agents_named
from waltzrl_tui.words import NONE, duration_range, money, money_range, plural

if TYPE_CHECKING:
    from waltzrl_tui.plans.schema import Catalogue

_BAR = 10
_REASON = 30
_UNLIMITED = 200
_STATES = {
    "ready": "ready",
    "needs_key": "needs key",
    "needs_gpu": "needs GPU",
    "closed": "closed",
    "blocked": "blocked",
}


@dataclass(frozen=True, kw_only=True)
class PlanOptions(SampleOptions):
    """The options of `plan`."""

    path: str | None
    role: str
    epochs: float
    provider: str
    model: str
    size: Literal["small", "default", "large"]
    chat_hours: float
    method: Literal["sft", "dpo"]
    budget: float | None
    csv: str | None
    markdown: str | None
    refresh: bool


def build(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command(parser, PlanOptions, plan)
    parser.add_argument("path", nargs="?", metavar="PATH", help="a dataset (default: bundled)")
    add_role(parser)
    add_sample_options(parser)
    add_epochs(parser, "passes over the rows (3)", default=3.0)
    parser.add_argument("--provider", default="", metavar="P", help="only this one, line by line")
    parser.add_argument("--model", default="", metavar="M", help="base model (default: by size)")
    parser.add_argument(
        "--size",
        choices=("small", "default", "large"),
        default="default",
        help="of the base model: small is 3B and below, default 7B to 9B, large 70B",
    )
    parser.add_argument(
        "--chat-hours", type=hours, default=1.0, metavar="H", help="hours of chat afterwards (1)"
    )
    parser.add_argument(
        "--method", choices=("sft", "dpo"), default="sft", help="training method (sft)"
    )
    parser.add_argument("--budget", type=usd, metavar="USD", help="block what costs more")
    parser.add_argument("--csv", metavar="FILE", help="write all plans as CSV")
    parser.add_argument("--markdown", metavar="FILE", help="write all plans as Markdown")
    parser.add_argument("--refresh", action="store_true", help="fetch today's prices first (free)")


async def plan(context: Context, options: PlanOptions) -> int:
    """`plan [PATH]`."""
    from waltzrl_tui.plans.catalogue import load_catalogue
    from waltzrl_tui.plans.price import price_plans

    refreshed = await _refreshed(context) if options.refresh else []
    catalogue = await asyncio.to_thread(load_catalogue, context.workspace)
    settings = PlanSettings(
        epochs=options.epochs,
        size=options.size,
        chat_hours=options.chat_hours,
        method=options.method,
        budget_usd=options.budget,
        provider=provider_named(options.provider, catalogue),
        model=options.model,
        roles=roles_of(options.role),
    )
    source = Path(options.path).expanduser() if options.path else bundled(STARTER)
    workload = await _measured(context, options, catalogue, settings, source)
    environment = await _environment(context)
    rows = price_plans(catalogue, workload, settings, environment)
    await _export(context, options, rows, workload)
    document = {
        "sample": _sample(source, workload),
        "wish": asdict(settings),
        "refreshed": refreshed,
        "rows": [row.to_json() for row in rows],
    }
    context.out.result(document, _text(rows, workload, settings))
    return 0


def provider_named(name: str, catalogue: Catalogue) -> str:
    """The provider's own name in the catalogue.

    Raises:
        UsageError: There is no such provider; the hint names the nearest.
    """
    from waltzrl_tui.plans.price import ALIASES

    key = ALIASES.get(name, name)
    if key and key not in catalogue.provider:
        from difflib import get_close_matches

        close = get_close_matches(key, catalogue.provider, n=1)
        raise UsageError(
            f"There is no provider {name!r}.",
            hint=f"Did you mean {close[0]}?"
            if close
            else f"Choose one of {', '.join(sorted(catalogue.provider))}.",
        )
    return key


async def _refreshed(context: Context) -> list[dict[str, Any]]:
    from waltzrl_tui.plans.catalogue import load_catalogue
    from waltzrl_tui.plans.refresh import RefreshResult, refresh

    context.out.status.set("fetching prices")
    titles = (await asyncio.to_thread(load_catalogue, None)).provider

    def done(one: RefreshResult) -> None:
        title = titles[one.provider].title
        outcome = f"no prices: {one.error}" if one.error else plural(one.prices, "price")
        context.out.say(f"{title}: {outcome}")

    prices = await refresh(context.workspace, on_done=done)
    return [{"provider": one.provider, "prices": one.prices, "error": one.error} for one in prices]


async def _measured(
    context: Context,
    options: PlanOptions,
    catalogue: Catalogue,
    settings: PlanSettings,
    source: Path,
) -> Workload:
    from waltzrl_tui.plans.tokenizers import counters_for
    from waltzrl_tui.plans.workload import measure_workload

    recipe = recipe_of(options, source)
    stopping = threading.Event()

    def work() -> Workload:
        return measure_workload(
            source,
            recipe,
            counters=counters_for(catalogue, context.workspace, settings),
            on_progress=lambda rows: context.out.progress("reading", rows, 0, "rows"),
            stop=stopping.is_set,
        )

    try:
        return await asyncio.to_thread(work)
    finally:
        stopping.set()


async def _environment(context: Context) -> Environment:
    # A plan alone must not create a workspace.
    from waltzrl_tui.plans.environment import read_environment

    if not await asyncio.to_thread(context.workspace.store_path.exists):
        return await read_environment(None, context.workspace)
    async with context.store() as store:
        return await read_environment(store, context.workspace)


async def _export(
    context: Context, options: PlanOptions, rows: Sequence[PlanRow], workload: Workload
) -> None:
    files = []
    if options.csv:
        files.append((options.csv, to_csv(rows)))
    if options.markdown:
        title = f"Plans for {workload.source}"
        files.append((options.markdown, to_markdown(rows, title=title)))
    for name, text in files:
        path = Path(name).expanduser()
        await asyncio.to_thread(_write, path, text)
        context.out.say(f"wrote {path}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise WaltzError(
            f"{path} cannot be written: {error.strerror or error}.", hint="Choose another file."
        ) from error


def _sample(source: Path, workload: Workload) -> dict[str, Any]:
    return {
        "path": str(source),
        "rows": workload.rows,
        "empty_replies": workload.empty_replies,
        "unlabelled": workload.unlabelled,
        "contradicting_prompts": workload.contradicting,
        "files": [
            {
                "role": role,
                **asdict(file),
                "counts": {name: count.tokens for name, count in file.counts.items()},
            }
            for role, file in workload.roles.items()
        ],
    }


def _text(rows: Sequence[PlanRow], workload: Workload, settings: PlanSettings) -> str:
    from waltzrl_tui.plans.price import cheapest_ready

    unicode = "utf" in (sys.stdout.encoding or "").lower()
    most = max((row.total.expected for row in rows if row.total), default=0.0)
    lines = [_headline(workload, settings), ""]
    if len(rows) > 1:
        lines += [_table(rows, most, unicode), ""]
    chosen = rows[0] if settings.provider and rows else cheapest_ready(rows)
    if chosen is None:
        lines.append("No plan is ready: see the states above.")
        if workload.contradicting:
            lines.append(f"! {contradiction_warning(workload.contradicting)}")
    else:
        word = "" if settings.provider else "cheapest that is ready: "
        lines += [f"{word}{chosen.title}, {chosen.model or 'no model'}", "", _sum(chosen)]
    return "\n".join(lines)


def _headline(workload: Workload, settings: PlanSettings) -> str:
    files = [
        f"{role} {'' if file.exact else 'about '}{file.tokens:,} tokens "
        f"in {plural(file.rows, 'row')}"
        for role, file in workload.only(settings.roles).roles.items()
    ]
    chat = f", then {settings.chat_hours:g} h of chat" if settings.chat_hours else ""
    return (
        f"{workload.source}: {'; '.join(files) or 'nothing to train on'}\n"
        f"{settings.epochs:g} epochs by {settings.method.upper()}, "
        f"{agents_named(settings.roles)}{chat}"
    )


def _table(rows: Sequence[PlanRow], most: float, unicode: bool) -> str:
    cells = []
    for row in rows:
        drawn = ""
        if row.total is not None and most > 0:
            drawn = bar(round(1000 * row.total.expected / most), 1000, unicode=unicode, size=_BAR)
            drawn = drawn.rstrip("░-")
        age = " (old price)" if row.price_stale else ""
        cells.append(
            (
                row.title,
                row.model,
                money(row.total.expected) if row.total else NONE,
                drawn,
                _time(row),
                _state(row) + age,
            )
        )
    return _fitted(("provider", "model", "total", "", "time", "state"), cells)


def _fitted(headers: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> str:
    """The table, on a narrow terminal without the model and the bar, and reasons cut."""
    wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else _UNLIMITED
    columns = list(range(len(headers)))
    for dropped in (None, 1, 3):
        columns = [column for column in columns if column != dropped]
        widths = [max(len(row[column]) for row in (headers, *cells)) for column in columns[:-1]]
        room = wide - sum(widths) - 2 * len(widths)
        if room >= _REASON:
            break
    shown = [
        (*(row[column] for column in columns[:-1]), cut(row[-1], max(_REASON, room)))
        for row in cells
    ]
    right = {columns.index(2), columns.index(4)}
    return table([headers[column] for column in columns], shown, right=right)


def _sum(row: PlanRow) -> str:
    lines = []
    if row.total is not None:
        amounts = [(part.what, money(part.usd.expected), _range(part.usd)) for part in row.parts]
        amounts.append(
            (f"total, {agents_named(row.roles)}", money(row.total.expected), _range(row.total))
        )
        lines += [table(("item", "cost", "range"), amounts, right={1}), ""]
    old = ", older than 90 days: update with --refresh" if row.price_stale else ""
    lines.append(
        fields(
            [
                ("state", _state(row)),
                ("time", _time(row) if row.seconds else ""),
                ("price of", f"{row.price_as_of}{old}" if row.price_as_of else ""),
                ("source", row.price_source),
            ]
        )
    )
    lines += [f"! {text}" for text in (*row.blockers, *row.warnings)]
    lines += [f"· {text}" for text in row.notes]
    return "\n".join(lines)


def _state(row: PlanRow) -> str:
    word = _STATES[row.state]
    # Many reasons begin with the state itself: "closed since March 2026".
    if row.reason.startswith(word.partition(" ")[0]):
        return row.reason
    return f"{word}: {row.reason}" if row.reason else word


def _range(usd: Money) -> str:
    return "" if usd.low == usd.high else money_range(usd.low, usd.high)


def _time(row: PlanRow) -> str:
    return NONE if row.seconds is None else duration_range(*row.seconds)
