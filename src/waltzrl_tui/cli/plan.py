"""`plan`: what training the agents costs at every provider, and what would stop it."""

from __future__ import annotations

import asyncio
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import bar, cut, duration, fields, table
from waltzrl_tui.cli.samples import recipe_of, roles_of
from waltzrl_tui.datasets.contradictions import contradiction_warning
from waltzrl_tui.datasets.starter import STARTER, bundled
from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.plans.catalogue import load_catalogue
from waltzrl_tui.plans.environment import read_environment
from waltzrl_tui.plans.export import to_csv, to_markdown
from waltzrl_tui.plans.model import Environment, Money, PlanRow, PlanSettings, Workload
from waltzrl_tui.plans.price import ALIASES, cheapest_ready, price_plans
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.plans.tokenizers import counters_for
from waltzrl_tui.plans.workload import measure_workload
from waltzrl_tui.waltz.prompts import agents_named

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


async def plan(context: Context) -> int:
    """`plan [PATH]`."""
    args = context.args
    refreshed = await _refreshed(context) if args.refresh else []
    catalogue = await asyncio.to_thread(load_catalogue, context.workspace)
    settings = PlanSettings(
        epochs=args.epochs,
        size=args.size,
        chat_hours=args.chat_hours,
        method=args.method,
        budget_usd=args.budget,
        provider=provider_named(args.provider, catalogue),
        model=args.model,
        roles=roles_of(args),
    )
    source = Path(args.path).expanduser() if args.path else bundled(STARTER)
    workload = await _measured(context, catalogue, settings, source)
    environment = await _environment(context)
    rows = price_plans(catalogue, workload, settings, environment)
    await _export(context, rows, workload)
    document = {
        "sample": _sample(source, workload),
        "wish": {
            "epochs": settings.epochs,
            "size": settings.size,
            "method": settings.method,
            "chat_hours": settings.chat_hours,
            "budget_usd": settings.budget_usd,
            "provider": settings.provider,
            "model": settings.model,
            "roles": list(settings.roles),
        },
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
    wanted = ALIASES.get(name, name)
    if wanted and wanted not in catalogue.provider:
        from difflib import get_close_matches

        close = get_close_matches(wanted, catalogue.provider, n=1)
        raise UsageError(
            f"There is no provider {name!r}.",
            hint=f"Did you mean {close[0]}?"
            if close
            else f"Choose one of {', '.join(sorted(catalogue.provider))}.",
        )
    return wanted


async def _refreshed(context: Context) -> list[dict[str, Any]]:
    from waltzrl_tui.plans.refresh import RefreshResult, refresh

    context.out.status.set("asking for prices")
    titles = (await asyncio.to_thread(load_catalogue, None)).provider

    def done(one: RefreshResult) -> None:
        title = titles[one.provider].title
        what = f"{one.prices} prices" if not one.error else f"no prices: {one.error}"
        context.out.say(f"{title}: {what}")

    found = await refresh(context.workspace, on_done=done)
    return [{"provider": one.provider, "prices": one.prices, "error": one.error} for one in found]


async def _measured(
    context: Context, catalogue: Catalogue, settings: PlanSettings, source: Path
) -> Workload:
    recipe = recipe_of(context.args, source)
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
    # A plan is no reason to make a workspace where there is none.
    if not await asyncio.to_thread(context.workspace.store_path.exists):
        return await read_environment(None, context.workspace)
    async with context.store() as store:
        return await read_environment(store, context.workspace)


async def _export(context: Context, rows: Sequence[PlanRow], workload: Workload) -> None:
    files = []
    if context.args.csv:
        files.append((context.args.csv, to_csv(rows)))
    if context.args.markdown:
        title = f"Plans for {workload.source}"
        files.append((context.args.markdown, to_markdown(rows, title=title)))
    for name, text in files:
        path = Path(name).expanduser()
        await asyncio.to_thread(_write, path, text)
        context.out.say(f"written: {path}")


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
                "rows": file.rows,
                "valid_rows": file.valid_rows,
                "tokens": file.tokens,
                "valid_tokens": file.valid_tokens,
                "longest": file.longest,
                "bytes": file.bytes,
                "exact": file.exact,
                "tokenizer": file.tokenizer,
                "error": file.error,
                "counts": {name: count.tokens for name, count in file.counts.items()},
            }
            for role, file in workload.roles.items()
        ],
    }


def _text(rows: Sequence[PlanRow], workload: Workload, settings: PlanSettings) -> str:
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
        f"{role} {'' if file.exact else 'about '}{file.tokens:,} tokens in {file.rows:,} rows"
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
        cells.append((row.title, row.model, _usd(row.total), drawn, _time(row), _state(row) + age))
    return _fitted(("provider", "model", "total", "", "time", "state"), cells)


def _fitted(headers: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> str:
    """The table, on a narrow terminal without the model and the bar, and reasons cut."""
    wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else _UNLIMITED
    kept = list(range(len(headers)))
    for dropped in (None, 1, 3):
        kept = [column for column in kept if column != dropped]
        widths = [max(len(row[column]) for row in (headers, *cells)) for column in kept[:-1]]
        room = wide - sum(widths) - 2 * len(widths)
        if room >= _REASON:
            break
    shown = [
        (*(row[column] for column in kept[:-1]), cut(row[-1], max(_REASON, room))) for row in cells
    ]
    right = {kept.index(2), kept.index(4)}
    return table([headers[column] for column in kept], shown, right=right)


def _sum(row: PlanRow) -> str:
    lines = []
    if row.total is not None:
        amounts = [(part.what, _exact(part.usd.expected), _range(part.usd)) for part in row.parts]
        amounts.append(
            (f"total, {agents_named(row.roles)}", _exact(row.total.expected), _range(row.total))
        )
        lines += [table(("line", "USD", "range"), amounts, right={1}), ""]
    old = ", older than 90 days: ask anew with --refresh" if row.price_stale else ""
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
    # Many a reason begins with the state itself: "closed since March 2026".
    if row.reason.startswith(word.partition(" ")[0]):
        return row.reason
    return f"{word}: {row.reason}" if row.reason else word


def _usd(total: Money | None) -> str:
    if total is None:
        return "–"
    if 0 < total.expected < 0.005:
        return "<$0.01"
    return f"${total.expected:,.2f}"


def _exact(usd: float) -> str:
    return f"{usd:,.4f}"


def _range(usd: Money) -> str:
    return "" if usd.low == usd.high else f"{usd.low:,.4f} to {usd.high:,.4f}"


def _time(row: PlanRow) -> str:
    if row.seconds is None:
        return "–"
    low, high = (duration(each) for each in row.seconds)
    return low if low == high else f"{low}–{high}"
