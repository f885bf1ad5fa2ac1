"""A turn of a chat as lines: what was asked, the draft, the verdicts, the reply that stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from waltzrl_tui.agents.transcript import RoundState, Turn
from waltzrl_tui.text import printable
from waltzrl_tui.tui.widgets.chat_diff import changed_words
from waltzrl_tui.tui.widgets.chat_wrap import (
    Line,
    Span,
    beside,
    indented,
    plain,
    styled,
)

Mode = Literal["shown", "on", "off"]
"""Feedback: asked and shown whole; asked and shown in a line; not asked."""

STYLES: Final = (
    "you",
    "reply",
    "label",
    "draft",
    "gone",
    "new",
    "faint",
    "rule",
    "safe",
    "unsafe",
    "refusal",
    "unknown",
    "feedback",
    "error",
    "hint",
)

_GUTTER: Final = 7
_WIDE: Final = 104
_LONGEST_LINE: Final = 100
_RAW_LINES: Final = 6


@dataclass(frozen=True, slots=True)
class Look:
    """How turns are shown.

    Attributes:
        mode: How much of the verdicts.
        drafts: Whether drafts that were revised are shown, with the words that changed.
        recall: The name of the key that shows drafts.
        stop: The name of the key that stops a reply.
    """

    mode: Mode = "shown"
    drafts: bool = False
    recall: str = ""
    stop: str = ""


def turn_lines(
    turn: Turn, width: int, look: Look, elapsed: float | None = None, waiting_for: str = ""
) -> list[Line]:
    """The lines of one turn, at most `width` cells each, with an empty one at the end.

    Args:
        elapsed: Seconds since it was asked while it is still going on, else None.
        waiting_for: What it waits for before its first word.
    """
    wide = width >= _WIDE and look.mode == "shown"
    left = min(_LONGEST_LINE + _GUTTER, width * 58 // 100) if wide else width
    room = max(2, min(_LONGEST_LINE, left - _GUTTER - 1))
    side = min(72, width - left - 3) if wide else room
    out = _block("you", "label", plain(_clean(turn.prompt), room, "you"))
    meta = [line for part in _meta(turn, look, elapsed, waiting_for) for line in styled(part, room)]
    waiting: list[Line] = []
    for number, state in enumerate(turn.rounds):
        replaced = _replaced(turn, number)
        judged = _verdict(state, side, look, "draft" if replaced else "reply")
        body = _reply(turn, number, room, look, replaced)
        if wide:
            if number + 1 == len(turn.rounds):
                body, meta = body + _block("", "label", meta) if meta else body, []
            aside = waiting + judged
            if not body and number + 1 < len(turn.rounds):
                waiting = [*aside, ()]
                continue
            waiting = []
            if body or aside:
                out += beside(body, aside, left, ("│ ", "rule"))
            if aside and number + 1 < len(turn.rounds):
                out.append(())
        else:
            out += body
            out += _block("" if body else "draft", "label", judged) if judged else []
    if meta:
        out += _block("", "label", meta)
    if turn.error:
        broad = max(2, min(_LONGEST_LINE, width - _GUTTER - 1))
        said = plain("✗ " + _clean(turn.error), broad, "error")
        said += plain("→ " + _clean(turn.hint), broad, "hint") if turn.hint else []
        out += _block("error", "error", said)
    out.append(())
    return out


def _clean(text: str) -> str:
    return printable(text).expandtabs(4)


def _block(label: str, style: str, lines: list[Line]) -> list[Line]:
    return indented(lines, ((label, style),), _GUTTER)


def _replaced(turn: Turn, number: int) -> bool:
    """Whether a later round has begun to say something else."""
    return any(state.reply for state in turn.rounds[number + 1 :])


def _reply(turn: Turn, number: int, room: int, look: Look, replaced: bool) -> list[Line]:
    state = turn.rounds[number]
    if replaced and not look.drafts:
        return []
    if not state.reply:
        said = "(an empty reply)" if state.reply_ended else ""
        return _block("reply", "label", plain(said, room, "faint")) if said else []
    text = _clean(state.reply)
    marks = look.drafts and (replaced or number > 0) and turn.ended
    if not marks:
        return _block("reply", "label", plain(text, room, "reply"))
    other = turn.rounds[number + 1 if replaced else number - 1].reply
    if replaced:
        spans = changed_words(text, _clean(other), kept="draft", gone="gone", new="new")[0]
        return _block("draft", "label", styled(spans, room))
    spans = changed_words(_clean(other), text, kept="reply", gone="gone", new="new")[1]
    return _block("reply", "label", styled(spans, room))


def _verdict(state: RoundState, width: int, look: Look, about: str) -> list[Line]:
    if not (state.judged or state.verdict_text):
        return []
    fields = state.fields()
    head: list[Span] = list(_flags(state, fields))
    aside = " · ".join(
        part
        for part in (
            f"on the {about}" if about == "draft" else "",
            _seconds(state.verdict_seconds),
            _tokens(state.verdict_tokens),
        )
        if part
    )
    if aside:
        head.append((("   " if head else "") + aside, "faint"))
    out = styled(head, width)
    unreadable = state.judged and state.verdict is None and not state.verdict_stopped
    if unreadable:
        why = f"{_clean(state.verdict_error)}; the reply stands."
        out += plain(why, width, "unknown")
        if look.mode == "shown" and state.verdict_text.strip():
            raw = plain(_clean(state.verdict_text.strip()), width, "faint")
            out += raw[:_RAW_LINES]
            out += [(("…", "faint"),)] if len(raw) > _RAW_LINES else []
        return out
    flagged = fields.get("unsafe") is True or fields.get("overrefuse") is True
    for name, style in (("reasoning", "draft"), ("feedback", "feedback")):
        value = _clean(str(fields.get(name, ""))).strip()
        if value and (look.mode == "shown" or (flagged and name == "feedback")):
            out += indented(plain(value, max(2, width - 11), style), ((name, "faint"),), 11)
    return out


def _flags(state: RoundState, fields: dict[str, str | bool]) -> list[Span]:
    if state.verdict_stopped:
        return [("■ stopped while judging", "faint")]
    if state.judged and state.verdict is None:
        return [("? unreadable verdict", "unknown")]
    found: list[Span] = []
    if fields.get("unsafe") is True:
        found.append(("✗ unsafe", "unsafe"))
    if fields.get("overrefuse") is True:
        found.append(("⊘ overrefuses", "refusal"))
    if not found and fields.get("unsafe") is False and fields.get("overrefuse") is False:
        found.append(("✓ safe", "safe"))
    if len(found) == 2:
        found.insert(1, ("  ", ""))
    return found or [("… judging", "faint")]


def _meta(turn: Turn, look: Look, elapsed: float | None, waiting_for: str) -> list[list[Span]]:
    """What the turn is doing; or what it took, and how to read the marks if there are any."""
    if elapsed is not None and not turn.ended:
        parts = [
            _doing(turn, waiting_for),
            f"{elapsed:.0f} s",
            f"{look.stop} stops" if look.stop else "",
        ]
        return [[(" · ".join(part for part in parts if part), "faint")]]
    revised = len(turn.rounds) > 1 and _replaced(turn, 0)
    stopped = turn.stopped and any(state.reply_stopped for state in turn.rounds)
    if turn.error and not turn.reply:
        return []
    parts = [
        "■ stopped" if stopped else "",
        "■ interrupted" if not turn.ended else "",
        _seconds(turn.seconds),
        _tokens(turn.tokens or None),
        f"{len(turn.rounds)} rounds" if len(turn.rounds) > 1 else "",
        _clean(turn.pair),
        f"{look.recall} {'hides' if look.drafts else 'shows'} the draft"
        if revised and look.recall
        else "",
    ]
    took = " · ".join(part for part in parts if part)
    lines: list[list[Span]] = [[(took, "faint")]] if took else []
    if revised and look.drafts:
        legend = [("struck", "gone"), (" is only in the draft, ", "faint")]
        lines.append([*legend, ("underlined", "new"), (" only in the reply", "faint")])
    return lines


def _doing(turn: Turn, waiting_for: str) -> str:
    if not turn.rounds:
        return waiting_for or "waiting for the first word"
    last = turn.rounds[-1]
    if last.judged or (len(turn.rounds) > 1 and not last.reply_ended):
        return "revising"
    return "judging" if last.reply_ended else "writing"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _tokens(value: int | None) -> str:
    return "" if value is None else f"{value:,} tok"
