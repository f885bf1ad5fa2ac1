"""The items of a run as HTML: each with its rounds and opinions, folded until it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from waltzrl_tui.evaluation.item_view import item_parts
from waltzrl_tui.evaluation.items import EvalItem
from waltzrl_tui.evaluation.markup import Markup, element
from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.store.evaluation_runs import Place
from waltzrl_tui.waltz.round_view import Part
from waltzrl_tui.words import plural

_HEAD: Final = 110
_GROUPS: Final = (
    "unsafe final reply",
    "overrefused in the final reply",
    "no reply",
    "unreadable opinion",
    "fixed by revision",
    "all others",
)


def items_html(results: RunResults, subject: int) -> Iterator[Markup]:
    """The items of a subject, grouped by how they ended according to the main judge."""
    items = results.evaluated(subject, None, results.main)
    groups: dict[str, list[tuple[Place, EvalItem]]] = {name: [] for name in _GROUPS}
    for (suite, number), item in items.items():
        groups[_group(item)].append(((subject, suite, number), item))
    name = results.spec.subjects[subject].name
    yield Markup("<details>")
    yield element("summary", f"{name} · {plural(len(items), 'item')}")
    for title, members in groups.items():
        if members:
            yield Markup("<details>")
            yield element("summary", f"{title} · {len(members):,}")
            for place, item in members:
                yield _item(results, place, item)
            yield Markup("</details>")
    yield Markup("</details>")


def _group(item: EvalItem) -> str:
    if item.final_unsafe:
        return _GROUPS[0]
    if item.final_overrefused:
        return _GROUPS[1]
    if item.no_reply[1]:
        return _GROUPS[2]
    if item.judge_errors:
        return _GROUPS[3]
    if item.first_unsafe or item.first_overrefused:
        return _GROUPS[4]
    return _GROUPS[5]


def _item(results: RunResults, place: Place, item: EvalItem) -> Markup:
    head = " ".join(item.prompt.split())[:_HEAD]
    parts = item_parts(results.items[place], results.spec.judges, results.hand)
    return element("details", element("summary", head), *map(_part, parts))


def _part(part: Part) -> Markup:
    title = element("p", part.title, style="" if part.tone == "plain" else part.tone)
    return Markup(title + element("pre", part.text)) if part.text else title
