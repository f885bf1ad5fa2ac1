"""What the Chat screen says around the conversation: its title, its count, its first lines."""

from __future__ import annotations

from typing import Final

from textual.content import Content

from waltzrl_tui.chat.conversation import Conversation, Feedback
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chat.lines import usd
from waltzrl_tui.tui.chat.wrap import Span
from waltzrl_tui.tui.dialogs.pick import PairChoice, count
from waltzrl_tui.tui.shell.keys import press

_MODES: Final[dict[Feedback, str]] = {
    "applied": "feedback applied",
    "shown": "feedback shown only",
    "off": "feedback off",
}


def title(
    choice: PairChoice | None, mode: Feedback, watch: bool = False, *, longest: int = 40
) -> Content:
    """The pair that is asked, what it is, and what is done with its feedback.

    Args:
        longest: Characters of the pair's name.
    """
    if choice is None:
        return Content("Chat")
    judged = _MODES[mode] if choice.feedback else "not judged"
    watched = " · drafts watched" if watch and choice.feedback and mode == "applied" else ""
    return Content(f"{one_line(choice.name, longest)} · {choice.kind} · {judged}{watched}")


def subtitle(chat: Conversation) -> Content:
    """Which chat it is, and what is in it as far as it is held."""
    if chat.row is None:
        return Content("new chat")
    tokens = sum(turn.tokens for turn in chat.turns)
    costs = [turn.usd for turn in chat.turns if turn.rounds]
    known = [each for each in costs if each is not None]
    cost = usd(sum(known)) if len(known) == len(costs) else "price not known"
    parts = [
        f"chat {chat.row.id}",
        count(len(chat.turns) + chat.before + chat.after, "turn"),
        f"{tokens:,} tok" if tokens else "",
        cost if tokens else "",
        f"branch of {chat.row.branched_from}" if chat.row.branched_from else "",
    ]
    return Content(" · ".join(part for part in parts if part))


def preface(
    chat: Conversation, choice: PairChoice | None, mode: Feedback, only_base: bool
) -> tuple[Span, ...]:
    """What stands above the turns: how to begin, or how much is above."""
    if chat.before:
        return ((f"{count(chat.before, 'earlier turn')} above.\n ", "faint"),)
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
                + (_revises(choice.row.rounds) if mode == "applied" else _NOT_REVISED),
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
        f" \n{leave} leaves the prompt; then {press('pair', 'chat')} chooses another pair, "
        f"{press('beside', 'chat')} sets two side by side, {press('queue', 'chat')} asks the "
        f"prompts of a file, and {press('open', 'chat')} finds earlier chats."
    )
    spans.append((keys, "faint"))
    return tuple(spans)


_NOT_REVISED: Final = f"It is only shown: nothing is revised ({press('feedback', 'chat')})."


def _revises(rounds: int) -> str:
    if rounds == 0:
        return "It does not ask for revisions."
    often = "once" if rounds == 1 else f"up to {rounds} times"
    return f"A flagged reply is revised {often}."
