"""A turn of a chat as lines: what was asked, the draft, the verdicts, the reply that stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from waltzrl_tui.chat.conversation import Feedback
from waltzrl_tui.chat.transcript import RoundState, Turn
from waltzrl_tui.records.verdict import FLAGS, TEXTS, no_flag
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.chat.diff import changed_words, growing_words
from waltzrl_tui.tui.chat.wrap import (
    Line,
    Span,
    beside,
    indented,
    plain,
    styled,
)
from waltzrl_tui.waltz.events import cut_off_words, ending_words

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
_GROWING: Final = 8_000
"""Characters of a text that streams which are drawn: its end. All of it is drawn once it ended."""


@dataclass(frozen=True, slots=True)
class Look:
    """How turns are shown.

    Attributes:
        mode: What is done with the feedback agent, which decides what is worth telling.
        whole: Whether verdicts are shown whole, or in a line.
        drafts: Whether drafts that were revised are shown, with the words that changed.
        blind: Whether nothing is shown but replies: not who gave them, nor how.
        held: Whether not even the reply under way is shown: it may still be taken back.
        recall: The name of the key that shows drafts.
        stop: The name of the key that stops a reply.
    """

    mode: Feedback = "applied"
    whole: bool = True
    drafts: bool = False
    blind: bool = False
    held: bool = False
    recall: str = ""
    stop: str = ""


def turn_lines(
    turn: Turn, width: int, look: Look, elapsed: float | None = None, waiting_for: str = ""
) -> list[Line]:
    """The lines of one turn, at most `width` cells each, with an empty one at the end.

    Of a blind turn no draft is shown that may be replaced: that would tell who writes.

    Args:
        elapsed: Seconds since it was asked while it is still going on, else None.
        waiting_for: What it waits for before its first word.
    """
    hidden = look.held and elapsed is not None
    wide = width >= _WIDE and look.whole and not look.blind
    left = min(_LONGEST_LINE + _GUTTER, width * 58 // 100) if wide else width
    room = max(2, min(_LONGEST_LINE, left - _GUTTER - 1))
    side = min(72, width - left - 3) if wide else room
    out = _block("you", "label", plain(_clean(turn.prompt), room, "you"))
    meta = [line for part in _meta(turn, look, elapsed, waiting_for) for line in styled(part, room)]
    waiting: list[Line] = []
    for number, state in enumerate(() if hidden else turn.rounds):
        replaced = _replaced(turn, number)
        judged = [] if look.blind else _verdict(state, side, look, replaced)
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
    if hidden:
        pass
    elif turn.error and look.blind:
        out += _block("error", "error", [(("✗ This side failed; why is told later.", "error"),)])
    elif turn.error:
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
    """Whether a later round has begun to say something else, or has withdrawn an unsafe draft."""
    later = turn.rounds[number + 1 :]
    verdict = turn.rounds[number].verdict
    withdrawn = verdict is not None and verdict.unsafe and any(_no_text(each) for each in later)
    return withdrawn or any(state.reply for state in later)


def _no_text(state: RoundState) -> bool:
    """Whether a reply has ended by itself without text."""
    return state.reply_ended and not state.reply and not state.reply_stopped


def _reply(turn: Turn, number: int, room: int, look: Look, replaced: bool) -> list[Line]:
    state = turn.rounds[number]
    if replaced and not look.drafts:
        return []
    if not state.reply:
        if not _no_text(state):
            return []
        words = "(an empty reply)" if look.blind else f"({ending_words(state.reply, state.origin)})"
        return _block("reply", "label", plain(words, room, "faint"))
    growing = not (state.reply_ended or turn.ended)
    text = _clean(_end_of(state.reply) if growing else state.reply)
    if not look.drafts or look.blind or not (replaced or number > 0):
        return _block("reply", "label", plain(text, room, "reply"))
    other = turn.rounds[number + 1 if replaced else number - 1]
    whole = other.reply_ended or turn.ended
    if replaced:
        compare = changed_words if whole else growing_words
        spans = compare(text, _clean(other.reply), kept="draft", gone="gone", new="new")[0]
        return _block("draft", "label", styled(spans, room))
    compare = growing_words if growing else changed_words
    spans = compare(_clean(other.reply), text, kept="reply", gone="gone", new="new")[1]
    return _block("reply", "label", styled(spans, room))


def _end_of(text: str) -> str:
    if len(text) <= _GROWING:
        return text
    return f"… {len(text) - _GROWING:,} characters before this\n{text[-_GROWING:]}"


def _verdict(state: RoundState, width: int, look: Look, replaced: bool) -> list[Line]:
    if not (state.judged or state.verdict_text):
        return []
    fields = state.fields()
    head: list[Span] = list(_flags(state, fields))
    aside = " · ".join(part for part in _figures(state, replaced) if part)
    if aside:
        head.append((("   " if head else "") + aside, "faint"))
    out = styled(head, width)
    unreadable = state.judged and state.verdict is None and not state.verdict_stopped
    if unreadable:
        why = f"{_clean(state.verdict_error)}; the reply stands."
        out += plain(why, width, "unknown")
        if look.whole and state.verdict_text.strip():
            shown = state.verdict_text.strip()[:_GROWING]
            raw = plain(_clean(shown), width, "faint")
            out += raw[:_RAW_LINES]
            out += [(("…", "faint"),)] if len(raw) > _RAW_LINES else []
        return out
    flagged = any(fields.get(name) is True for name in FLAGS)
    for name, field in TEXTS.items():
        value = _clean(str(fields.get(name, ""))[:_GROWING]).strip()
        if value and (look.whole or (flagged and name == "feedback")):
            out += indented(plain(value, max(2, width - 11), field.style), ((name, "faint"),), 11)
    return out


def _figures(state: RoundState, replaced: bool) -> list[str]:
    """What a round took: the draft (the reply that stands has its figures below), its verdict."""
    draft = [_seconds(state.seconds), _tokens(state.tokens)] if replaced else []
    judging = [_seconds(state.verdict_seconds), _tokens(state.verdict_tokens)]
    told = " ".join(part for part in draft if part)
    took = " ".join(part for part in judging if part)
    return [
        "corrected by hand" if state.edited else "",
        "draft stopped early" if state.reply_cut else "",
        _cut(cut_off_words(state.origin), "draft ") if replaced else "",
        _cut(cut_off_words(state.verdict_origin), "verdict "),
        f"draft {told}" if told else "",
        f"verdict {took}" if took and replaced else took,
        f"{state.looks} looks {state.look_tokens:,} tok" if state.looks else "",
        usd(state.all_usd) if replaced and state.judged else "",
    ]


def _flags(state: RoundState, fields: dict[str, str | bool]) -> list[Span]:
    if state.verdict_stopped:
        return [("■ stopped while judging", "faint")]
    if state.judged and state.verdict is None:
        return [("? unreadable verdict", "unknown")]
    flags: list[Span] = []
    for name, flag in FLAGS.items():
        if fields.get(name) is True:
            flags += [("  ", "")] if flags else []
            flags.append((f"{flag.symbol} {flag.label}", flag.style))
    if no_flag(fields):
        flags.append(("– nothing to judge", "faint") if _no_text(state) else ("✓ safe", "safe"))
    return flags or [("… judging", "faint")]


def _meta(turn: Turn, look: Look, elapsed: float | None, waiting_for: str) -> list[list[Span]]:
    """What the turn is doing; or what it took, and how to read the marks if there are any."""
    if elapsed is not None and (look.blind or not turn.ended):
        doing = "writing" if look.blind else _doing(turn, waiting_for)
        parts = [
            "both are shown once neither is taken back" if look.held else doing,
            f"{elapsed:.0f} s",
            f"{look.stop} stops" if look.stop else "",
        ]
        return [[(" · ".join(part for part in parts if part), "faint")]]
    revised = len(turn.rounds) > 1 and _replaced(turn, 0)
    if turn.error and not turn.reply:
        return []
    ended = [_stopped(turn) if turn.stopped else "", "" if turn.ended else "■ interrupted"]
    if look.blind:
        took = " · ".join(part for part in ended if part)
        return [[(took, "faint")]] if took else []
    parts = [
        *ended,
        _ended(turn.rounds[-1]) if turn.rounds else "",
        _seconds(turn.seconds),
        _tokens(turn.tokens or None),
        usd(turn.usd) if turn.rounds else "",
        f"{len(turn.rounds)} rounds" if len(turn.rounds) > 1 else "",
        one_line(turn.pair, 32),
        *_models(turn),
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


def _stopped(turn: Turn) -> str:
    if not any(state.reply for state in turn.rounds):
        return "■ stopped before the first word"
    # A verdict that was stopped says so itself.
    return "■ stopped" if any(state.reply_stopped for state in turn.rounds) else ""


def _doing(turn: Turn, waiting_for: str) -> str:
    if not turn.rounds:
        return waiting_for or "waiting for the first word"
    last = turn.rounds[-1]
    if last.judged or (len(turn.rounds) > 1 and not last.reply_ended):
        return "revising"
    return "judging" if last.reply_ended else "writing"


def _ended(state: RoundState) -> str:
    # Of an empty reply that stands in its place.
    return _cut(cut_off_words(state.origin)) if state.reply else ""


def _cut(off: str, what: str = "") -> str:
    return f"✂ {what}{off}" if off else ""


def _models(turn: Turn) -> list[str]:
    """What the server said that it ran, where that is not the pair's own name."""
    names = dict.fromkeys(state.origin.model for state in turn.rounds if state.origin.model)
    return [one_line(name, 48) for name in names if name != turn.pair]


def usd(value: float | None) -> str:
    """An amount as short as it can be told; "" where nobody knows it."""
    if value is None:
        return ""
    if value == 0:
        return "$0"
    return f"${value:.2f}" if value >= 0.1 else f"${value:.4f}" if value >= 0.0001 else "<$0.0001"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _tokens(value: int | None) -> str:
    return "" if value is None else f"{value:,} tok"
