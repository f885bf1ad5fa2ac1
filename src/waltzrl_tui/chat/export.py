"""A whole chat as a file: Markdown to read, JSONL to work with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from waltzrl_tui.chat.transcript import RoundState, Turn
from waltzrl_tui.endpoints.base import Origin
from waltzrl_tui.store.rows import TranscriptRow
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.waltz.round_view import (
    EMPTY,
    FINAL_REPLY,
    Part,
    reply_parts,
    round_title,
    verdict_parts,
)
from waltzrl_tui.words import duration, tokens


def to_markdown(row: TranscriptRow, turns: Iterable[Turn]) -> str:
    """The chat to read; text from outside is quoted, never markup."""
    out = [f"# {_plain(one_line(row.title, 120) or 'Chat')}", ""]
    out += [f"{row.created_at} · chat {row.id}", ""]
    for turn in turns:
        out += ["## You", "", _quoted(turn.prompt), ""]
        for number, state in enumerate(turn.rounds):
            title = f"{turn.pair}: {round_title(number, len(turn.rounds))}{_figures(state)}"
            reply, *remarks = reply_parts(title, state.reply, state.origin.finish)
            out += [f"### {_plain(one_line(reply.title, 120))}", "", _quoted(reply.text), ""]
            out += [*_lines(remarks), *_origin_line(state.origin)]
            if state.judged:
                verdict = verdict_parts(
                    state.verdict,
                    error=state.verdict_error,
                    raw=state.verdict_text,
                    finish=state.verdict_origin.finish,
                )
                out += [*_lines(verdict), *_origin_line(state.verdict_origin)]
        whole = bool(turn.rounds) and turn.ended and not turn.stopped and not turn.error
        if whole and turn.rounds[-1].reply != turn.reply:
            out += [f"### {FINAL_REPLY}", "", _quoted(turn.reply or EMPTY), ""]
        if turn.error:
            out += [f"**{_plain(one_line(turn.error, 400))}**", ""]
    return "\n".join(out)


def to_jsonl(row: TranscriptRow, turns: Iterable[Turn]) -> str:
    """One object per turn: `prompt`, `reply`, `pair` and all `rounds`; also a valid dataset."""
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


def _lines(parts: Iterable[Part]) -> list[str]:
    lines = []
    for part in parts:
        lines += [f"*{_plain(one_line(part.title, 200))}*", ""]
        if part.text:
            lines += [_quoted(part.text), ""]
    return lines


def _origin_line(origin: Origin) -> list[str]:
    """What the server reported about a reply or a verdict, on one line."""
    fields = (
        ("model", origin.model),
        ("ended", origin.finish),
        ("id", origin.id),
        ("fingerprint", origin.fingerprint),
        ("sent without", ", ".join(origin.without)),
    )
    line = " · ".join(f"{name} {_plain(value)}" for name, value in fields if value)
    return [f"<sub>{line}</sub>", ""] if line else []


def _figures(state: RoundState) -> str:
    figures = []
    if state.all_seconds is not None:
        figures.append(duration(state.all_seconds))
    if state.all_tokens:
        figures.append(tokens(state.all_tokens))
    return f" ({', '.join(figures)})" if figures else ""


def _quoted(text: str) -> str:
    # A fence longer than any run of tildes in the text cannot be closed by the text.
    clean = printable(text)
    fence = "~~~"
    while fence in clean:
        fence += "~"
    return f"{fence}\n{clean}\n{fence}"


def _plain(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|" else char for char in text)
