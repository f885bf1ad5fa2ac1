"""What `data profile` prints for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from waltzrl_tui.cli.layout import fields, table
from waltzrl_tui.datasets.contradictions import contradiction_warning
from waltzrl_tui.datasets.label_values import format_label_values
from waltzrl_tui.datasets.profiling.figures import TOKEN_BUCKETS, Profile

_BAD_SHOWN = 10
_CATEGORIES_SHOWN = 12
_CLUSTERS_SHOWN = 3
_FOUND_SHOWN = 5
_LINES_SHOWN = 6
_WORDS = {
    "exact": "duplicates",
    "near": "near duplicates",
    "contaminated": "in an evaluation suite",
}


def profile_text(found: Profile, priced: Mapping[str, Any] | None = None) -> str:
    """The figures of a profile as lines, the most important first.

    Args:
        priced: What the waste would cost: provider, epochs, and USD by reason.
    """
    parts = [_head(found), *_waste(found, priced), *_tokens(found), *_labels(found)]
    parts += [*_clusters(found), *_contaminated(found), *_personal(found), *_bad(found)]
    return "\n\n".join(parts)


def _head(found: Profile) -> str:
    mapping = {name: value for name, value in found.mapping.to_json().items() if value}
    refusals = found.refusals
    about = "" if refusals.looked_at == refusals.rows else "about "
    benign = refusals.by_harm.get("benign", (0, 0))
    return fields(
        [
            ("file", str(found.path)),
            ("format", f"{_format(found)}, {', '.join(f'{k}: {v}' for k, v in mapping.items())}"),
            ("rows", f"{found.rows:,}"),
            ("bad rows", f"{found.bad_row_count:,}"),
            ("harm label", format_label_values(found.label_values.get("harm", []))),
            ("reply label", format_label_values(found.label_values.get("reply", []))),
            ("prompts", _distinct(found.prompts, found.near.get("prompts"), found.rows)),
            ("replies", _distinct(found.replies, found.near.get("replies"), refusals.rows)),
            ("pairs", _distinct(found.pairs, found.near.get("pairs"), found.rows)),
            (
                "refusals",
                f"{about}{refusals.refused:,} of {refusals.rows:,} replies ({refusals.share:.0%})"
                + (f", {benign[0] / benign[1]:.0%} of the benign prompts" if benign[1] else "")
                if refusals.rows
                else "",
            ),
            ("tokens", f"about {found.tokens:,}, longest row about {found.longest:,}"),
        ]
    )


def _format(found: Profile) -> str:
    return "JSONL" if found.format == "jsonl" else found.format


def _distinct(distinct: int, near: int | None, rows: int) -> str:
    if not rows:
        return ""
    rest = "" if near in (None, distinct) else f", {near:,} when near ones count once"
    return f"{distinct:,} different of {rows:,}{rest}"


def _waste(found: Profile, priced: Mapping[str, Any] | None) -> Iterator[str]:
    usd = (priced or {}).get("usd") or {}
    rows = [
        (
            _WORDS[reason],
            f"{waste.rows:,}",
            f"about {waste.tokens:,}",
            f"${usd[reason]:,.2f}" if reason in usd else "",
        )
        for reason, waste in found.waste.items()
        if waste.rows
    ]
    if not rows:
        return
    at = f"USD at {priced['provider']}" if priced and usd else ""
    shown = table(("not worth paying for", "rows", "tokens", at), rows, right={1, 2, 3})
    if priced and usd:
        shown += f"\nUSD expected for both agents, {priced['epochs']:g} epochs; see the plan."
    elif priced:
        shown += f"\n{priced['provider']} has no price for these rows: see the plan."
    yield shown


def _tokens(found: Profile) -> Iterator[str]:
    sides = {"rows": found.histogram} | {
        name: side.histogram for name, side in found.sides.items() if side.total
    }
    bounds = [f"to {bound:,}" for bound in TOKEN_BUCKETS] + ["more"]
    rows = [
        (bound, *(f"{side[place]:,}" for side in sides.values()))
        for place, bound in enumerate(bounds)
        if found.histogram and any(side[place] for side in sides.values())
    ]
    yield table(("tokens", *sides), rows, right=set(range(1, len(sides) + 1)))


def _labels(found: Profile) -> Iterator[str]:
    if found.contradicting.prompts:
        lines = ", ".join(f"{line:,}" for line in found.contradicting.lines[:_LINES_SHOWN])
        more = "…" if found.contradicting.rows > _LINES_SHOWN else ""
        words = contradiction_warning(found.contradicting.prompts)
        yield f"! {words} (lines {lines}{more})"
    if any(not each.meaning for each in found.label_values.get("harm", [])):
        yield (
            "! values of the harm field are not understood: their rows have no label. Say which "
            "value means harmful: --map harmful=VALUE"
        )
    for label, counts in found.labels.items():
        if not any(counts):
            continue
        shown = list(counts.items())[:_CATEGORIES_SHOWN]
        rows = [(name or "(none)", f"{n:,}", f"{n / found.rows:.0%}") for name, n in shown]
        rest = len(counts) - len(shown)
        more = f"\n… and {rest:,} more" if rest else ""
        yield table((label, "rows", "share"), rows, right={1, 2}) + more


def _clusters(found: Profile) -> Iterator[str]:
    rows = []
    for what in ("prompts", "replies", "pairs"):
        for cluster in [each for each in found.clusters if each.what == what][:_CLUSTERS_SHOWN]:
            lines = ", ".join(f"{line:,}" for line in cluster.lines[:_LINES_SHOWN])
            more = "…" if cluster.rows > _LINES_SHOWN else ""
            alike = "same" if cluster.texts == 1 else f"≥ {cluster.similarity:.0%} alike"
            rows.append((what, f"{cluster.rows:,}", f"{cluster.texts:,}", alike, lines + more))
    if rows:
        yield table(("largest clusters", "rows", "texts", "", "lines"), rows, right={1, 2})


def _contaminated(found: Profile) -> Iterator[str]:
    rows = [
        (f"{each.line:,}", f"{each.suite}:{each.suite_line}", f"{each.similarity:.0%}")
        for each in found.contaminated.found[:_FOUND_SHOWN]
    ]
    if rows:
        more = _more(found.contaminated.rows - len(rows))
        yield table(("line", "also in the suite", "alike"), rows, right={0, 2}) + more


def _personal(found: Profile) -> Iterator[str]:
    if not found.personal.rows:
        return
    kinds = ", ".join(f"{kind} in {rows:,}" for kind, rows in found.personal.kinds.items())
    rows = [
        (f"{each.line:,}", each.field, each.kind, each.shown)
        for each in found.personal.found[:_FOUND_SHOWN]
    ]
    yield (
        f"personal data or secrets in {found.personal.rows:,} "
        f"{'row' if found.personal.rows == 1 else 'rows'}: {kinds}\n"
        + table(("line", "in", "kind", "begins"), rows, right={0})
        + _more(len(found.personal.found) - len(rows))
    )


def _bad(found: Profile) -> Iterator[str]:
    if found.bad_rows:
        bad = [(f"{line:,}", reason) for line, reason in found.bad_rows[:_BAD_SHOWN]]
        yield table(("line", "why it is bad"), bad, right={0}) + _more(
            found.bad_row_count - len(bad)
        )


def _more(count: int) -> str:
    return f"\n… and {count:,} more" if count > 0 else ""
