"""The items of a run as HTML: what was said, how it was judged, folded away until it is opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from waltzrl_tui.endpoints.base import Origin
from waltzrl_tui.evaluation.items import EvalItem, Played, Stage
from waltzrl_tui.evaluation.judges import content_key
from waltzrl_tui.evaluation.opinions import Opinion
from waltzrl_tui.evaluation.results import Results
from waltzrl_tui.store.evaluation_runs import HandLabel, Place
from waltzrl_tui.text import printable
from waltzrl_tui.waltz.events import ending_words

_LONGEST: Final = 6000
_GROUPS: Final = (
    "unsafe in the end",
    "overrefused in the end",
    "no reply",
    "the judge could not be read",
    "mended by feedback",
    "all the others",
)
_Shown = tuple[Place, EvalItem]


def safe(text: str) -> str:
    """Text from outside as text: no markup, no control characters, no bidi overrides."""
    cut = f"{text[:_LONGEST]} …" if len(text) > _LONGEST else text
    return escape(printable(cut))


def items_html(results: Results, subject: int) -> Iterator[str]:
    """The items of a subject, in groups by how they ended as the main judge labels them."""
    items = results.evaluated(subject, None, results.main)
    name = results.spec.subjects[subject].name
    yield f"<details><summary>{safe(name)} · {len(items)} items</summary>"
    found = [((subject, *place), item) for place, item in items.items()]
    for title, chosen in _groups(found):
        if not chosen:
            continue
        yield f"<details><summary>{safe(title)} · {len(chosen)}</summary>"
        for place, item in chosen:
            yield from _item(results, results.items[place], item)
        yield "</details>"
    yield "</details>"


def _groups(items: Sequence[_Shown]) -> list[tuple[str, list[_Shown]]]:
    """Each item once, under the first of these that it is."""
    groups: list[list[_Shown]] = [[] for _ in _GROUPS]
    for shown in items:
        item = shown[1]
        if item.final_unsafe:
            place = 0
        elif item.final_overrefused:
            place = 1
        elif item.no_reply[1]:
            place = 2
        elif item.judge_errors:
            place = 3
        elif item.first_unsafe or item.first_overrefused:
            place = 4
        else:
            place = 5
        groups[place].append(shown)
    return list(zip(_GROUPS, groups, strict=True))


def _item(results: Results, played: Played, item: EvalItem) -> Iterator[str]:
    head = " ".join(item.prompt.split())
    yield f"<details><summary>{safe(head[:110])}</summary>"
    yield f"<p class='soft'>{safe(item.harm)} · {safe(item.category)} · line {played.line} · "
    yield f"{item.seconds:.2f} s · {item.tokens} tokens</p><pre>{safe(item.prompt)}</pre>"
    for number, each in enumerate(item.rounds):
        name = "reply" if len(item.rounds) == 1 else "draft"
        yield f"<p>{f'revision {number}' if number else name}</p>"
        yield f"<pre>{safe(each.reply) or '(empty)'}</pre>"
        if words := ending_words(each.reply, Origin(finish=each.finish)):
            yield f"<p class='bad'>{words}</p>"
        verdict = each.verdict
        if verdict is not None:
            style = "bad" if verdict.flags else "good"
            words = ", ".join(verdict.labels) or "satisfactory"
            yield f"<p class='{style}'>verdict: {words}</p>"
            if words := f"{verdict.reasoning}\n{verdict.feedback}".strip():
                yield f"<pre>{safe(words)}</pre>"
            if each.verdict_cut:
                yield "<p class='bad'>the verdict was cut off at its cap</p>"
        elif each.verdict_error:
            yield f"<p class='bad'>verdict not read: {safe(each.verdict_error)}</p>"
            yield f"<pre>{safe(each.raw)}</pre>"
    if item.rounds[-1].reply != item.final:
        yield f"<p>the reply that stands</p><pre>{safe(item.final) or '(empty)'}</pre>"
    yield from _opinions(results, played)
    yield "</details>"


def _opinions(results: Results, played: Played) -> Iterator[str]:
    """What each judge says of the draft and of the reply that stands, and what people say."""
    stages: tuple[Stage, ...] = ("first", "final")
    if played.replies["first"] == played.replies["final"]:
        stages = ("final",)
    for stage in stages:
        what = "draft" if stage == "first" else "reply that stands"
        for judge in results.spec.judges:
            opinion = played.opinion(judge, stage, {})
            yield f"<p class='soft'>{safe(judge)} of the {what}: {_words(opinion)}</p>"
            if opinion.raw:
                yield f"<pre>{safe(opinion.raw)}</pre>"
        label = results.hand.get(content_key(played.prompt, played.replies[stage]))
        if label is not None:
            yield f"<p class='soft'>by hand of the {what}: <b>{label_words(label)}</b></p>"


def _words(opinion: Opinion) -> str:
    if opinion.error:
        return f"<span class='bad'>not read: {safe(opinion.error)}</span>"
    if opinion.harmful_response is None or opinion.refusal is None:
        return "no reply to judge"
    harmful = "<b class='bad'>harmful</b>" if opinion.harmful_response else "harmless"
    return f"{harmful}, {'<b>refusal</b>' if opinion.refusal else 'no refusal'}"


def label_words(label: HandLabel) -> str:
    """A label by hand in a word, as the keys that give it are called."""
    if label.harmful:
        return "unsafe"
    return "refusal" if label.refusal else "fine"
