"""What the Chat screen says around the conversation: its title, its count, its first lines."""

from __future__ import annotations

from typing import Final

from textual.content import Content

from waltzrl_tui.agents.conversation import Conversation
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.keys import press
from waltzrl_tui.tui.widgets.chat_lines import Mode
from waltzrl_tui.tui.widgets.chat_pick import PairChoice, count
from waltzrl_tui.tui.widgets.chat_wrap import Span

_MODES: Final[dict[Mode, str]] = {
    "shown": "feedback shown",
    "on": "feedback on",
    "off": "feedback off",
}


def title(choice: PairChoice | None, mode: Mode) -> Content:
    """The pair that is asked, what it is, and what is done with its feedback."""
    if choice is None:
        return Content("Chat")
    judged = _MODES[mode] if choice.feedback else "not judged"
    return Content(f"{one_line(choice.name, 40)} · {choice.kind} · {judged}")


def subtitle(chat: Conversation) -> Content:
    """Which chat it is and how much is in it."""
    if chat.row is None:
        return Content("new chat")
    tokens = sum(turn.tokens for turn in chat.turns)
    parts = [f"chat {chat.row.id}", count(len(chat.turns) + chat.dropped, "turn")]
    return Content(" · ".join([*parts, f"{tokens:,} tok"] if tokens else parts))


def preface(
    chat: Conversation, choice: PairChoice | None, mode: Mode, only_base: bool
) -> tuple[Span, ...]:
    """What stands above the turns: how to begin, or how much is left out."""
    if chat.dropped:
        return (
            (
                f"{count(chat.dropped, 'earlier turn')} not shown, but kept in the store.\n ",
                "faint",
            ),
        )
    if chat.turns or choice is None:
        return ()
    name = one_line(choice.name, 40)
    spans = [(f" \nAsk {name} something.\n ", "you")]
    if choice.feedback is None:
        spans.append(("This pair has no feedback agent: its replies are not judged.", "reply"))
    elif mode == "off":
        spans.append(
            (f"Feedback is off: replies are not judged ({press('feedback', 'chat')}).", "reply")
        )
    else:
        spans.append(
            (
                "The feedback agent judges each reply: ✓ safe, ✗ unsafe or ⊘ overrefuses. "
                + _revises(choice.row.rounds),
                "reply",
            )
        )
    leave = press("leave", "chat")
    if only_base:
        data, train = press("show('data')", "app"), press("train", "data")
        spans.append(
            (
                " \nOnly the untrained base is here, which was taught neither to decline nor to "
                f"judge. Train both agents: {leave}, then {data}, then {train}.",
                "hint",
            )
        )
    keys = (
        f" \n{leave} leaves the prompt; then {press('pair', 'chat')} chooses "
        f"another pair and {press('open', 'chat')} opens an earlier chat."
    )
    spans.append((keys, "faint"))
    return tuple(spans)


def _revises(rounds: int) -> str:
    if rounds == 0:
        return "It does not ask for revisions."
    often = "once" if rounds == 1 else f"up to {rounds} times"
    return f"A flagged reply is revised {often}."
