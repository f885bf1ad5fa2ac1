"""The texts around a conversation: its title, counts, first lines, tabs, and the match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.content import Content

from waltzrl_tui.chat.conversation import Conversation, Feedback
from waltzrl_tui.local.pairs import PairChoice
from waltzrl_tui.store import Vote
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chat.match import Match, PromptSource
from waltzrl_tui.tui.chat.model import ChatModel
from waltzrl_tui.tui.chat.queue import PromptQueue
from waltzrl_tui.tui.chat.side import ChatSide
from waltzrl_tui.tui.chat.wrap import Span
from waltzrl_tui.tui.shell.bars import click
from waltzrl_tui.tui.shell.keys import press
from waltzrl_tui.words import money, plural, tokens

_MODES: Final[dict[Feedback, str]] = {
    "applied": "feedback applied",
    "shown": "feedback shown only",
    "off": "feedback off",
}


def title(
    choice: PairChoice | None, mode: Feedback, watch: bool = False, *, longest: int = 40
) -> Content:
    """The pair that is asked, its kind, and what is done with its feedback.

    Args:
        longest: Characters of the pair's name.
    """
    if choice is None:
        return Content("Chat")
    judged = _MODES[mode] if choice.feedback else "not judged"
    watched = " · drafts watched" if watch and choice.feedback and mode == "applied" else ""
    return Content(f"{one_line(choice.name, longest)} · {choice.kind} · {judged}{watched}")


def subtitle(chat: Conversation) -> Content:
    """Which chat it is, its turns, and tokens and cost of the turns at hand."""
    if chat.row is None:
        return Content("new chat")
    total = sum(turn.tokens for turn in chat.turns)
    costs = [turn.usd for turn in chat.turns if turn.rounds]
    known = [cost for cost in costs if cost is not None]
    sum_usd = sum(known) if len(known) == len(costs) else None
    parts = [
        f"chat {chat.row.id}",
        plural(len(chat.turns) + chat.before + chat.after, "turn"),
        tokens(total) if total else "",
        money(sum_usd, unknown="price not known") if total else "",
        f"branch of {chat.row.branched_from}" if chat.row.branched_from else "",
    ]
    return Content(" · ".join(part for part in parts if part))


def preface(
    chat: Conversation, choice: PairChoice | None, mode: Feedback, only_base: bool
) -> tuple[Span, ...]:
    """The text above the turns: how to begin, or how many turns are above."""
    if chat.before:
        return ((f"{plural(chat.before, 'earlier turn')} above.\n ", "faint"),)
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
                " \nOnly the untrained base is here, which has not learned to decline or to "
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


_NOT_REVISED: Final = f"Verdicts are only shown; nothing is revised ({press('feedback', 'chat')})."


def _revises(rounds: int) -> str:
    if rounds == 0:
        return "It does not request revisions."
    often = "once" if rounds == 1 else f"up to {rounds} times"
    return f"A flagged reply is revised {often}."


_VOTES: Final[tuple[tuple[str, str, Vote], ...]] = (
    ("←", "A", "left"),
    ("→", "B", "right"),
    ("t", "tie", "tie"),
    ("z", "both bad", "both bad"),
)


def match_line(match: Match, sides: Sequence[ChatSide], width: int) -> Content:
    """How to vote on two replies, or the vote."""
    if match.row is None:
        return Content.styled(
            "Blind: names are hidden until the vote." if match.blind else "Both get your prompt.",
            "$faint",
        )
    if match.held:
        stop = press("stop", "chat")
        text = f"Blind: replies are hidden until both are final · {stop} stops them"
        return Content.styled(text, "$faint")
    if match.vote is not None:
        left, right = (one_line(side.badge, max(8, width // 5)) for side in sides)
        return Content.assemble(("✓ ", "$safe"), (_vote(match.vote, left, right), "$text-muted"))
    parts: list[Content] = [Content.styled("Better? ", "$text-muted")]
    for key, word, vote in _VOTES:
        entry = Content.assemble((f" {key} ", "bold $accent"), (f"{word} ", "$foreground"))
        parts.append(entry.stylize(click(f"screen.vote({vote!r})")))
    return Content("").join(parts)


def _vote(vote: Vote, left: str, right: str) -> str:
    match vote:
        case "left":
            return f"A is better: {left}, not {right}"
        case "right":
            return f"B is better: {right}, not {left}"
    return f"{'tie' if vote == 'tie' else 'both bad'}: A {left}, B {right}"


def queue_line(queue: PromptQueue, source: PromptSource, match: Match) -> Content:
    """The file of the queue, the line that was asked, and its label once there is a vote."""
    at = f" · line {source.line}" if source.path and source.line else ""
    label = f" · {source.harm}" if source.path and source.harm and match.vote else ""
    return Content.styled(f"{one_line(queue.path.name, 30)}{at}{label}", "$faint")


def tab(model: ChatModel, place: int) -> Content:
    """The tab of a side, where there is no room for two columns."""
    side, letter, here = model.sides[place], model.letter(place), place == model.current
    mark = {"writing": "●", "done": "✓", "failed": "✗", "stopped": "■"}.get(side.state, "")
    lead = "▸" if here else " "
    text = f"{lead}{letter} {one_line(side.name(letter), 24)} {mark} {side.state} "
    return Content.styled(text, "bold $foreground on $panel" if here else "$text-muted")
