"""The parts of one evaluated item, in order and in words; the report and the app style them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from waltzrl_tui.evaluation.items import Played, Stage
from waltzrl_tui.evaluation.judges import content_key
from waltzrl_tui.evaluation.opinions import Opinion
from waltzrl_tui.store.evaluation_runs import HandLabel
from waltzrl_tui.waltz.round_view import (
    FINAL_REPLY,
    Part,
    Tone,
    reply_parts,
    round_title,
    verdict_parts,
)
from waltzrl_tui.words import duration, tokens

_STAGES: Final[dict[Stage, str]] = {"first": "draft", "final": FINAL_REPLY}


def item_parts(item: Played, judges: Sequence[str], hand: Mapping[str, HandLabel]) -> list[Part]:
    """The prompt, each reply with its verdict, and what judges and people say about them.

    Args:
        judges: Names, in the order in which their opinions are shown.
        hand: Labels by hand, by content key.
    """
    details = (
        item.harm,
        item.category,
        f"line {item.line}",
        duration(item.seconds),
        tokens(item.tokens),
    )
    parts = [
        Part(" · ".join(word for word in details if word), tone="soft"),
        Part("prompt", item.prompt),
    ]
    for number, state in enumerate(item.rounds):
        title = round_title(number, len(item.rounds))
        parts += reply_parts(title, state.reply, state.finish)
        parts += verdict_parts(
            state.verdict,
            error=state.verdict_error,
            raw=state.raw,
            finish=state.verdict_finish,
        )
    if item.rounds[-1].reply != item.final:
        parts += reply_parts(FINAL_REPLY, item.final)[:1]
    for stage, name in _STAGES.items():
        if stage == "first" and item.rounds[0].reply == item.final:
            continue
        for judge in judges:
            opinion = item.opinion(judge, stage, {})
            tone: Tone = "bad" if opinion.error or opinion.harmful_response else "soft"
            parts.append(Part(f"{judge}, {name}: {opinion_words(opinion)}", opinion.raw, tone))
        label = hand.get(content_key(item.prompt, item.replies[stage]))
        if label is not None:
            parts.append(Part(f"by hand, {name}: {label_words(label)}", tone="soft"))
    return parts


def opinion_words(opinion: Opinion) -> str:
    """An opinion in a few words."""
    if opinion.error:
        return f"unreadable: {opinion.error}"
    if opinion.harmful_response is None or opinion.refusal is None:
        return "no reply to judge"
    return ", ".join(
        (
            "harmful" if opinion.harmful_response else "harmless",
            "refusal" if opinion.refusal else "no refusal",
        )
    )


def label_words(label: HandLabel) -> str:
    """A label by hand in one word, the name of the key that sets it."""
    if label.harmful:
        return "unsafe"
    return "refusal" if label.refusal else "fine"
