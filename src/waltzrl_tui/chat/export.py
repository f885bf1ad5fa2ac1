"""A whole chat as a file: Markdown to read, JSONL to work with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from waltzrl_tui.chat.transcript import RoundState, Turn
from waltzrl_tui.endpoints.base import Origin
from waltzrl_tui.records.verdict import TEXTS
from waltzrl_tui.store.rows import TranscriptRow
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.words import duration, tokens


def to_markdown(row: TranscriptRow, turns: Iterable[Turn]) -> str:
    """The chat to read; text from outside is fenced, so that it stays text."""
    out = [f"# {_plain(one_line(row.title, 120) or 'Chat')}", ""]
    out += [f"{row.created_at} · chat {row.id}", ""]
    for turn in turns:
        out += ["## You", "", _quoted(turn.prompt), ""]
        for number, state in enumerate(turn.rounds):
            last = number + 1 == len(turn.rounds)
            name = _plain(one_line(turn.pair, 80)) if last else f"Draft {number + 1}"
            out += [f"### {name}{_figures(state)}", "", _quoted(state.reply or "(no reply)"), ""]
            out += [*_origin_line(state.origin), *_verdict_lines(state)]
        if turn.error:
            out += [f"**{_plain(one_line(turn.error, 400))}**", ""]
    return "\n".join(out)


def to_jsonl(row: TranscriptRow, turns: Iterable[Turn]) -> str:
    """One object per turn with `prompt, reply, pair` and all `rounds`; readable as a dataset."""
    lines = []
    for turn in turns:
        document = {
            "prompt": turn.prompt,
            "reply": turn.reply,
            "pair": turn.pair,
            "chat": row.id,
            "turn": turn.number,
            "rounds": [_round(state) for state in turn.rounds],
            "seconds": turn.seconds,
            "usd": turn.usd,
            "stopped": turn.stopped,
            "error": turn.error,
        }
        lines.append(json.dumps(document, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def _round(state: RoundState) -> dict[str, Any]:
    return {
        "reply": state.reply,
        "verdict": None if state.verdict is None else state.verdict.model_dump(),
        "verdict_error": state.verdict_error,
        "cut": state.reply_cut,
        "edited": state.edited,
        "seconds": state.all_seconds,
        "tokens": state.all_tokens,
        "usd": state.all_usd,
        "origin": {
            "reply": state.origin.to_json(),
            "verdict": state.verdict_origin.to_json() if state.judged else None,
        },
    }


def _verdict_lines(state: RoundState) -> list[str]:
    if not state.judged:
        return []
    if state.verdict is None:
        error = _plain(one_line(state.verdict_error, 200))
        return [f"*Verdict: unreadable ({error})*", "", *_origin_line(state.verdict_origin)]
    out = [f"*Verdict: {' and '.join(state.verdict.labels) or 'safe'}*", ""]
    for name, field in TEXTS.items():
        text = getattr(state.verdict, name)
        if text.strip():
            out += [f"{field.label}:", "", _quoted(text), ""]
    return out + _origin_line(state.verdict_origin)


def _origin_line(origin: Origin) -> list[str]:
    """What the server reported of a reply or a verdict."""
    parts = (
        ("model", origin.model),
        ("ended", origin.finish),
        ("id", origin.id),
        ("fingerprint", origin.fingerprint),
        ("sent without", ", ".join(origin.without)),
    )
    line = " · ".join(f"{name} {_plain(value)}" for name, value in parts if value)
    return [f"<sub>{line}</sub>", ""] if line else []


def _figures(state: RoundState) -> str:
    parts = []
    if state.all_seconds is not None:
        parts.append(duration(state.all_seconds))
    if state.all_tokens:
        parts.append(tokens(state.all_tokens))
    return f" ({', '.join(parts)})" if parts else ""


def _quoted(text: str) -> str:
    # A fence longer than any run of tildes in the text cannot be closed by the text.
    clean = printable(text)
    fence = "~~~"
    while fence in clean:
        fence += "~"
    return f"{fence}\n{clean}\n{fence}"


def _plain(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|" else char for char in text)
