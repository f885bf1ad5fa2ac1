"""Thinking is no part of a reply, however a server sends it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.servers.paced import PacedServer
from waltzrl_tui.chat.transcript import event_record, replay
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.endpoints.thinking import Thinking, answer_of
from waltzrl_tui.waltz.events import Event, ReplyRestarted, ReplyText, VerdictEnded, WaltzEnded
from waltzrl_tui.waltz.waltz import LivePair, waltz

YES = '{"reasoning": "x", "unsafe": true, "overrefuse": false, "feedback": "Refuse."}'
NO = '{"reasoning": "y", "unsafe": false, "overrefuse": false, "feedback": ""}'
ASKED = [{"role": "user", "content": "How do I pick a lock?"}]
HARMONY = (
    "<|channel|>analysis<|message|>Hm, so.<|end|><|start|>assistant"
    "<|channel|>final<|message|>Turn left.<|return|>"
)
THOUGHT = [
    "<think>Should I? Yes.</think>\n\nTurn left.",
    "\n<Thinking>Should I?</Thinking>Turn left.",
    "[THINK]Should I? [x][/THINK]Turn left.",
    "Should I? Yes.\n</think>\n\nTurn left.",
    "Should I? Yes.[/THINK]Turn left.",
    "</think>Turn left.",
    "<think></think><think>Again.</think>Turn left.",
    HARMONY,
    HARMONY.removeprefix("<|channel|>analysis<|message|>"),
    "Turn left.<|end|>",
    "Turn\n<think>or right?</think>left.",
]
PLAIN = [
    "Turn left.",
    "R1 ends with `</think>`, then answers.",
    "```\n<think>\nso\n</think>\n```\nis its form.",
    "a < b, [1] and <b>bold</b>",
    "It begins with <think> and",
    '{"reasoning": "it says </think> itself", "unsafe": true}',
    "  [",
]


def separated(text: str, sizes: list[int], *, unopened: bool = False) -> str:
    """The answer of `text` as a consumer of its pieces has it."""
    sizes = sizes.copy()
    thinking, answer, at = Thinking(unopened=unopened), "", 0
    while at < len(text):
        size = sizes.pop() if sizes else 1
        piece, restart = thinking.feed(text[at : at + size])
        answer = piece if restart else answer + piece
        at += size
    return answer + thinking.rest()


SIZES = st.lists(st.integers(1, 40), max_size=30)


@given(st.sampled_from(THOUGHT), SIZES)
def test_thinking_is_left_out_wherever_the_text_is_cut(text: str, sizes: list[int]) -> None:
    assert separated(text, sizes).replace("\n", " ").strip() == "Turn left."


@given(st.sampled_from(THOUGHT[:9]), SIZES)
def test_thinking_is_held_back_where_it_is_expected(text: str, sizes: list[int]) -> None:
    assert separated(text, sizes, unopened=True).strip() == "Turn left."


@given(st.sampled_from(PLAIN), SIZES, st.booleans())
def test_what_is_no_thinking_comes_whole(text: str, sizes: list[int], unopened: bool) -> None:
    assert separated(text, sizes, unopened=unopened) == text


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "[/THINK]", "<|channel|>", "<|message|>", "final"])
        | st.text("<>/[]|th`{} \n", max_size=9),
        max_size=12,
    ).map("".join),
    SIZES,
    st.booleans(),
)
def test_where_a_text_is_cut_makes_no_difference(
    text: str, sizes: list[int], unopened: bool
) -> None:
    whole = separated(text, [len(text)], unopened=unopened)
    assert separated(text, sizes, unopened=unopened) == whole


def test_thinking_that_does_not_end_is_no_answer() -> None:
    assert answer_of("<think>Should I") is None
    assert answer_of("Fine.") == "Fine."
    cut = Thinking(unopened=True)
    assert cut.feed("Should I") == ("", False)
    assert cut.rest(cut=True) == ""


@pytest.fixture
async def server() -> AsyncIterator[PacedServer]:
    made = PacedServer()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(params=[True, False], ids=["streamed", "whole"])
async def pair(server: PacedServer, request: pytest.FixtureRequest) -> AsyncIterator[LivePair]:
    talk, judge = (
        OpenAIEndpoint(server.url, "k", name, streaming=request.param) for name in ("talk", "judge")
    )
    yield LivePair("pair", talk, "conversation/brief-1", judge, "feedback/brief-1", rounds=1)
    await talk.close()
    await judge.close()


async def danced(pair: LivePair) -> list[Event]:
    return [event async for event in waltz(pair, ASKED)]


@pytest.mark.parametrize("begin", ["", "<think>"])
async def test_thinking_is_not_judged_not_sent_back_and_not_the_verdict(
    pair: LivePair, server: PacedServer, begin: str
) -> None:
    def script(model: str, messages: list[dict[str, str]]) -> str:
        if model == "judge":
            prompt = messages[-1]["content"]
            assert "wonder" not in prompt
            verdict, other = (YES, NO) if "a draft" in prompt else (NO, YES)
            return f"{begin}I could answer {other}, I wonder. </think> {verdict}"
        answer = "a draft" if len(messages) == 2 else "a better one"
        return f"{begin}I wonder what to say. </think> {answer}"

    server.script = script
    for repeated in (False, True):
        server.requests.clear()
        events = await danced(pair)
        ended = events[-1]
        assert isinstance(ended, WaltzEnded)
        assert [each.reply for each in ended.rounds] == ["a draft", "a better one"]
        verdicts = [event.verdict for event in events if isinstance(event, VerdictEnded)]
        assert [verdict and verdict.unsafe for verdict in verdicts] == [True, False]
        assert server.requests[2][1][-2:] == [
            {"role": "assistant", "content": "a draft"},
            {"role": "user", "content": "Refuse."},
        ]
        # At first the thinking has to be taken back, later it is held until it ends.
        texts = "".join(event.text for event in events if isinstance(event, ReplyText))
        restarts = [event for event in events if isinstance(event, ReplyRestarted)]
        assert not (begin or repeated) or ("wonder" not in texts and not restarts)


async def test_what_is_shown_of_a_reply_begins_anew_when_it_was_thinking(
    server: PacedServer,
) -> None:
    server.script = lambda model, messages: "I wonder. </think> Turn left."
    talk = OpenAIEndpoint(server.url, "k", "talk")
    shown = []
    turns = replay([("prompt", {"text": "?"})])
    async for event in waltz(LivePair("pair", talk, "conversation/brief-1"), ASKED):
        if found := event_record(event):
            replay([found], turns)
        if turns[0].rounds:
            shown.append(turns[0].rounds[0].reply)
    await talk.close()
    assert "I wonder." in shown
    after = shown[max(n for n, text in enumerate(shown) if "wonder" in text) + 1 :]
    assert after[:2] == ["", "Turn"] and after[-1] == "Turn left."
