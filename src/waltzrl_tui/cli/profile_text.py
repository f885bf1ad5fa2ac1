"""The text that `data profile` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from waltzrl_tui.cli.layout import fields, table
from waltzrl_tui.datasets.contradictions import contradiction_warning
from waltzrl_tui.datasets.label_values import format_label_values
from waltzrl_tui.datasets.profiling.figures import TOKEN_BUCKETS, Profile
from waltzrl_tui.datasets.reading.rows import PARTS
from waltzrl_tui.waltz.prompts import agents_named
from waltzrl_tui.words import money, percent, plural

_BAD_SHOWN = 10
_CATEGORIES_SHOWN = 12
_CLUSTERS_SHOWN = 3
_EXAMPLES_SHOWN = 5
_LINES_SHOWN = 6
_WORDS = {
    "exact": "duplicates",
    "near": "near duplicates",
    "contaminated": "in an evaluation suite",
}


def profile_text(profile: Profile, priced: Mapping[str, Any] | None = None) -> str:
    """The figures of a profile as lines, the most important first.

    Args:
        priced: The cost of the waste: provider, epochs, and USD by reason.
    """
    parts = [_head(profile), *_waste(profile, priced), *_tokens(profile), *_labels(profile)]
    parts += [*_clusters(profile), *_contaminated(profile), *_personal(profile), *_bad(profile)]
    return "\n\n".join(parts)


def _head(profile: Profile) -> str:
    parts = [("shape", str(profile.mapping.shape))]
    parts += [(part, profile.mapping.text(part)) for part in PARTS]
    mapping = ", ".join(f"{name}: {text}" for name, text in parts if text)
    refusals = profile.refusals
    about = "" if refusals.looked_at == refusals.rows else "about "
    benign = refusals.by_harm.get("benign", (0, 0))
    return fields(
        [
            ("file", str(profile.path)),
            ("format", f"{_format(profile)}, {mapping}"),
            ("rows", f"{profile.rows:,}"),
            ("bad rows", f"{profile.bad_row_count:,}"),
            ("harm label", format_label_values(profile.label_values.get("harm", []))),
            ("reply label", format_label_values(profile.label_values.get("reply", []))),
            ("prompts", _distinct(profile.prompts, profile.near.get("prompts"), profile.rows)),
            ("replies", _distinct(profile.replies, profile.near.get("replies"), refusals.rows)),
            ("pairs", _distinct(profile.pairs, profile.near.get("pairs"), profile.rows)),
            (
                "refusals",
                f"{about}{refusals.refused:,} of {plural(refusals.rows, 'reply', 'replies')} "
                f"({percent(refusals.share)})"
                + (f", {percent(benign[0] / benign[1])} of the benign prompts" if benign[1] else "")
                if refusals.rows
                else "",
            ),
            ("tokens", f"about {profile.tokens:,}, longest row about {profile.longest:,}"),
        ]
    )


def _format(profile: Profile) -> str:
    return "JSONL" if profile.format == "jsonl" else profile.format


def _distinct(distinct: int, near: int | None, rows: int) -> str:
    if not rows:
        return ""
    rest = "" if near in (None, distinct) else f", {near:,} without near duplicates"
    return f"{distinct:,} unique of {rows:,}{rest}"


def _waste(profile: Profile, priced: Mapping[str, Any] | None) -> Iterator[str]:
    usd = (priced or {}).get("usd") or {}
    rows = [
        (
            _WORDS[reason],
            f"{waste.rows:,}",
            f"about {waste.tokens:,}",
            money(usd[reason]) if reason in usd else "",
        )
        for reason, waste in profile.waste.items()
        if waste.rows
    ]
    if not rows:
        return
    at = f"cost at {priced['provider']}" if priced and usd else ""
    shown = table(("not worth paying for", "rows", "tokens", at), rows, right={1, 2, 3})
    if priced and usd:
        agents = agents_named(priced["roles"])
        shown += f"\nExpected cost for {agents}, {priced['epochs']:g} epochs; see the plan."
    elif priced:
        shown += f"\n{priced['provider']} has no price for these rows: see the plan."
    yield shown


def _tokens(profile: Profile) -> Iterator[str]:
    sides = {"rows": profile.histogram} | {
        name: side.histogram for name, side in profile.sides.items() if side.total
    }
    bounds = [f"≤ {bound:,}" for bound in TOKEN_BUCKETS] + ["more"]
    rows = [
        (bound, *(f"{side[place]:,}" for side in sides.values()))
        for place, bound in enumerate(bounds)
        if profile.histogram and any(side[place] for side in sides.values())
    ]
    yield table(("tokens", *sides), rows, right=set(range(1, len(sides) + 1)))


def _labels(profile: Profile) -> Iterator[str]:
    if profile.contradicting.prompts:
        lines = ", ".join(f"{line:,}" for line in profile.contradicting.lines[:_LINES_SHOWN])
        more = "…" if profile.contradicting.rows > _LINES_SHOWN else ""
        words = contradiction_warning(profile.contradicting.prompts)
        yield f"! {words} (lines {lines}{more})"
    if any(not each.meaning for each in profile.label_values.get("harm", [])):
        yield (
            "! values of the harm field are not understood: their rows have no label. State which "
            "value means harmful: --map harmful=VALUE"
        )
    for label, counts in profile.labels.items():
        if not any(counts):
            continue
        shown = list(counts.items())[:_CATEGORIES_SHOWN]
        rows = [(name or "(none)", f"{n:,}", percent(n / profile.rows)) for name, n in shown]
        rest = len(counts) - len(shown)
        more = f"\n… and {rest:,} more" if rest else ""
        yield table((label, "rows", "share"), rows, right={1, 2}) + more


def _clusters(profile: Profile) -> Iterator[str]:
    rows = []
    for what in ("prompts", "replies", "pairs"):
        for cluster in [each for each in profile.clusters if each.what == what][:_CLUSTERS_SHOWN]:
            lines = ", ".join(f"{line:,}" for line in cluster.lines[:_LINES_SHOWN])
            more = "…" if cluster.rows > _LINES_SHOWN else ""
            alike = "same" if cluster.texts == 1 else f"≥ {percent(cluster.similarity)} similar"
            rows.append((what, f"{cluster.rows:,}", f"{cluster.texts:,}", alike, lines + more))
    if rows:
        yield table(("largest clusters", "rows", "texts", "", "lines"), rows, right={1, 2})


def _contaminated(profile: Profile) -> Iterator[str]:
    rows = [
        (f"{each.line:,}", f"{each.suite}:{each.suite_line}", percent(each.similarity))
        for each in profile.contaminated.examples[:_EXAMPLES_SHOWN]
    ]
    if rows:
        more = _more(profile.contaminated.rows - len(rows))
        yield table(("line", "also in suite", "similarity"), rows, right={0, 2}) + more


def _personal(profile: Profile) -> Iterator[str]:
    if not profile.personal.rows:
        return
    kinds = ", ".join(f"{kind} in {rows:,}" for kind, rows in profile.personal.kinds.items())
    rows = [
        (f"{each.line:,}", each.field, each.kind, each.shown)
        for each in profile.personal.examples[:_EXAMPLES_SHOWN]
    ]
    yield (
        f"personal data or secrets in {plural(profile.personal.rows, 'row')}: {kinds}\n"
        + table(("line", "in", "kind", "begins"), rows, right={0})
        + _more(len(profile.personal.examples) - len(rows))
    )


def _bad(profile: Profile) -> Iterator[str]:
    if profile.bad_rows:
        bad = [(f"{line:,}", reason) for line, reason in profile.bad_rows[:_BAD_SHOWN]]
        yield table(("line", "why it is bad"), bad, right={0}) + _more(
            profile.bad_row_count - len(bad)
        )


def _more(count: int) -> str:
    return f"\n… and {count:,} more" if count > 0 else ""
