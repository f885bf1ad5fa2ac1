"""A turn of a chat as lines: the prompt, drafts, verdicts, and the final reply."""

from __future__ import annotations

from typing import Final

from waltzrl_tui.chat.transcript import RoundState, Turn
from waltzrl_tui.records.verdict import FLAGS, TEXTS, no_flag
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.chat.diff import changed_words, growing_words
from waltzrl_tui.tui.chat.side import Look
from waltzrl_tui.tui.chat.wrap import Line, Span, beside, indented, plain, styled
from waltzrl_tui.tui.shell.keys import press
from waltzrl_tui.waltz.events import cut_off_words, ending_words
from waltzrl_tui.words import duration, money, plural, tokens

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
"""Characters at the end of a streaming text that are drawn; once it ended, all are."""


def turn_lines(
    turn: Turn, width: int, look: Look, elapsed: float | None = None, waiting_for: str = ""
) -> list[Line]:
    """The lines of one turn, at most `width` cells each, with an empty one at the end.

    A blind turn shows no draft that may be replaced: that would give away who writes.

    Args:
        elapsed: Seconds since the prompt was sent while the turn goes on, else None.
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
        out += _block(
            "error",
            "error",
            [(("✗ This side failed; the reason appears after the vote.", "error"),)],
        )
    elif turn.error:
        broad = max(2, min(_LONGEST_LINE, width - _GUTTER - 1))
        error = plain("✗ " + _clean(turn.error), broad, "error")
        if turn.hint:
            error += plain("→ " + _clean(turn.hint), broad, "hint")
        out += _block("error", "error", error)
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
        spans = compare(text, _clean(other.reply), both="draft", gone="gone", new="new")[0]
        return _block("draft", "label", styled(spans, room))
    compare = growing_words if growing else changed_words
    spans = compare(_clean(other.reply), text, both="reply", gone="gone", new="new")[1]
    return _block("reply", "label", styled(spans, room))


def _end_of(text: str) -> str:
    if len(text) <= _GROWING:
        return text
    return f"… {plural(len(text) - _GROWING, 'earlier character')}\n{text[-_GROWING:]}"


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
        why = f"{_clean(state.verdict_error)}; the reply is kept."
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
    """Time, tokens and cost of a draft and its verdict; the final reply has its own below."""
    draft = _effort(state.seconds, state.tokens) if replaced else ""
    verdict = _effort(state.verdict_seconds, state.verdict_tokens)
    return [
        "corrected by hand" if state.edited else "",
        "draft cut off" if state.reply_cut else "",
        _cut(cut_off_words(state.origin), "draft ") if replaced else "",
        _cut(cut_off_words(state.verdict_origin), "verdict "),
        f"draft {draft}" if draft else "",
        f"verdict {verdict}" if verdict and replaced else verdict,
        f"{plural(state.looks, 'check')} {tokens(state.look_tokens)}" if state.looks else "",
        money(state.all_usd, unknown="") if replaced and state.judged else "",
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
    """What the turn is doing; or its time and cost, and a legend if there are marks."""
    if elapsed is not None and (look.blind or not turn.ended):
        activity = "writing" if look.blind else _activity(turn, waiting_for)
        parts = [
            "hidden until both are final" if look.held else activity,
            duration(elapsed, rough=True),
            f"{press('stop', 'chat')} stops",
        ]
        return [[(" · ".join(part for part in parts if part), "faint")]]
    revised = len(turn.rounds) > 1 and _replaced(turn, 0)
    if turn.error and not turn.reply:
        return []
    ended = [_stopped(turn) if turn.stopped else "", "" if turn.ended else "■ interrupted"]
    if look.blind:
        how = " · ".join(part for part in ended if part)
        return [[(how, "faint")]] if how else []
    parts = [
        *ended,
        _ended(turn.rounds[-1]) if turn.rounds else "",
        duration(turn.seconds, unknown=""),
        tokens(turn.tokens or None, unknown=""),
        money(turn.usd, unknown="") if turn.rounds else "",
        f"{len(turn.rounds)} rounds" if len(turn.rounds) > 1 else "",
        one_line(turn.pair, 32),
        *_models(turn),
        f"{press('draft', 'chat')} {'hides' if look.drafts else 'shows'} the draft"
        if revised
        else "",
    ]
    figures = " · ".join(part for part in parts if part)
    lines: list[list[Span]] = [[(figures, "faint")]] if figures else []
    if revised and look.drafts:
        legend = [("struck", "gone"), (": only in the draft · ", "faint")]
        lines.append([*legend, ("underlined", "new"), (": only in the reply", "faint")])
    return lines


def _stopped(turn: Turn) -> str:
    if not any(state.reply for state in turn.rounds):
        return "■ stopped before the first word"
    # A verdict that was stopped says so itself.
    return "■ stopped" if any(state.reply_stopped for state in turn.rounds) else ""


def _activity(turn: Turn, waiting_for: str) -> str:
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
    """The models that the server reported, where they are not named like the pair."""
    names = dict.fromkeys(state.origin.model for state in turn.rounds if state.origin.model)
    return [one_line(name, 48) for name in names if name != turn.pair]


def _effort(seconds: float | None, count: int | None) -> str:
    """Time and tokens, as far as they are known."""
    return " ".join(filter(None, [duration(seconds, unknown=""), tokens(count, unknown="")]))
