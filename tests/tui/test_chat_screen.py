from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events

from tests.support.chat import KEY, SAFE, TIMID, Running, add_pair
from tests.support.screens import screen_text
from tests.support.servers.paced import PacedServer
from waltzrl_tui.errors import StoreError
from waltzrl_tui.tui.chat.about import AboutTurn
from waltzrl_tui.tui.chat.find import FindChat
from waltzrl_tui.tui.dialogs.pick import Picker
from waltzrl_tui.workspace import Workspace

DRAFT = "I can't help with killing a process."
REVISED = "End it with kill, not a process to fear."


@pytest.fixture
async def server() -> AsyncIterator[PacedServer]:
    made = PacedServer()
    await made.start()
    yield made
    made.go.set()
    await made.stop()


@pytest.fixture
async def workspace(
    tmp_path: Path, server: PacedServer, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A workspace with the pair "safe-7b", whose agents are "talk" and "judge" at the server."""
    monkeypatch.setenv(KEY, "sk-secret")
    made = Workspace(tmp_path / "home")
    await add_pair(made, "safe-7b", server.url, "talk", "judge")
    return made


Run = Callable[..., Running]


@pytest.fixture
def run(workspace: Workspace) -> Run:
    return lambda size=(120, 40): Running(workspace, size)


def waltzing(model: str, messages: list[dict[str, str]]) -> str:
    if model == "judge":
        return TIMID if DRAFT in messages[-1]["content"] else SAFE
    return DRAFT if len(messages) == 2 else REVISED


async def test_what_is_shown_of_a_reply_is_stored_before_it_is_complete(
    run: Run, server: PacedServer
) -> None:
    server.script = lambda model, messages: SAFE if model == "judge" else "one two three four five"
    server.hold_after = 3
    async with run() as chat:
        await chat.ask("Count.", wait=False)
        await chat.shows("you Count.", "reply one two three")
        assert "four" not in chat.text
        stored = await chat.stored()
        assert stored[0].data == {"text": "Count.", "pair": "safe-7b"}
        assert "".join(e.data["text"] for e in stored if e.kind == "reply_text") == "one two three"
        server.go.set()
        await chat.shows("one two three four five", "✓ safe", "It is fine.", "15 tok")
        assert server.requests[0] == (
            "talk",
            [
                {"role": "system", "content": server.requests[0][1][0]["content"]},
                {"role": "user", "content": "Count."},
            ],
        )


async def test_a_revision_replaces_the_draft_which_can_be_recalled(
    run: Run, server: PacedServer
) -> None:
    server.script = waltzing
    async with run() as chat:
        await chat.ask("How do I end a process?")
        await chat.shows("⊘ overrefuses", "Say how to end it.", f"reply {REVISED}", "2 rounds")
        assert "can't help" not in chat.text
        await chat.leave_prompt()
        await chat.pilot.press("d")
        await chat.shows(f"draft {DRAFT}", f"reply {REVISED}")
        view = chat.screen.view
        marked = {
            segment.text.strip()
            for y in range(view.size.height)
            for segment in view.render_line(y)
            if segment.style and (segment.style.strike or segment.style.underline)
        }
        assert "I can't help" in marked and "End it" in marked
        assert not any("a process" in text and "killing" not in text for text in marked - {REVISED})
        await chat.pilot.press("d")
        assert "can't help" not in chat.text


async def test_feedback_is_applied_or_only_shown_or_off(run: Run, server: PacedServer) -> None:
    server.script = waltzing
    async with run() as chat:
        await chat.ask("How do I end a process?")
        await chat.shows(f"reply {REVISED}", "It declines a harmless question.")
        await chat.leave_prompt()
        await chat.pilot.press("v")
        assert "It declines a harmless question." not in chat.words
        assert "⊘ overrefuses" in chat.words and "✓ safe" in chat.words
        await chat.pilot.press("f", "n")
        server.requests.clear()
        await chat.ask("How do I end a process?")
        await chat.shows(f"reply {DRAFT}", "⊘ overrefuses", "Say how to end it.")
        assert [model for model, _ in server.requests] == ["talk", "judge"]
        await chat.leave_prompt()
        await chat.pilot.press("f")
        server.requests.clear()
        await chat.ask("And now?")
        assert [model for model, _ in server.requests] == ["talk"]


async def test_an_unreadable_verdict_is_shown_as_such_and_the_reply_stands(
    run: Run, server: PacedServer
) -> None:
    server.script = lambda model, messages: "I like it." if model == "judge" else "A fine reply."
    async with run() as chat:
        await chat.ask("Hello")
        await chat.shows("reply A fine reply.", "? unreadable verdict", "the reply is kept")
        await chat.ask("More")
        assert {"role": "assistant", "content": "A fine reply."} in server.requests[-2][1]


async def test_stopping_keeps_the_partial_reply_and_it_can_be_asked_again(
    run: Run, server: PacedServer
) -> None:
    server.script = lambda model, messages: SAFE if model == "judge" else "one two three four"
    server.hold_after = 2
    async with run() as chat:
        await chat.ask("Count.", wait=False)
        await chat.shows("reply one two")
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.streaming)
        await chat.shows("reply one two", "■ stopped")
        assert "✓" not in chat.text
        end = [event.data for event in await chat.stored() if event.kind == "reply"]
        assert end[0]["text"] == "one two" and end[0]["stopped"]
        server.hold_after = None
        await chat.leave_prompt()
        await chat.pilot.press("r")
        await chat.shows("one two three four", "✓ safe")
        assert [turn["role"] for turn in server.requests[1][1]] == ["system", "user"]


async def test_leaving_the_app_in_the_middle_keeps_what_had_come(
    run: Run, server: PacedServer
) -> None:
    server.script = lambda model, messages: SAFE if model == "judge" else "one two three four"
    server.hold_after = 2
    async with run() as chat:
        await chat.ask("Count.", wait=False)
        await chat.shows("reply one two")
    async with run() as chat:
        assert "one two" not in chat.text
        await chat.leave_prompt()
        await chat.pilot.press("o")
        await chat.until(lambda: isinstance(chat.app.screen, FindChat))
        await chat.pilot.press("enter")
        await chat.shows("you Count.", "reply one two", "■ interrupted")


async def test_a_chat_is_reopened_and_goes_on_where_it_was(
    run: Run, server: PacedServer, workspace: Workspace
) -> None:
    server.script = waltzing
    async with run() as chat:
        await chat.ask("An older chat")
        await chat.leave_prompt()
        await chat.pilot.press("n")
        await chat.shows("Ask safe-7b something.")
        await chat.ask("How do I end a process?")
        before = chat.text
    async with run() as chat:
        await chat.leave_prompt()
        await chat.pilot.press("o")
        await chat.until(lambda: isinstance(chat.app.screen, FindChat))
        await chat.pilot.press("enter")
        await chat.shows(REVISED)
        assert chat.text == before
        server.requests.clear()
        await chat.ask("Thanks.")
        assert server.requests[0][1][1:] == [
            {"role": "user", "content": "How do I end a process?"},
            {"role": "assistant", "content": REVISED},
            {"role": "user", "content": "Thanks."},
        ]
        rows = await chat.app.store.transcripts.list()
        assert [(row.title, row.turns) for row in rows] == [
            ("How do I end a process?", 2),
            ("An older chat", 1),
        ]


HOSTILE = (
    "\x1b[2J\x1b]52;c;ZXZpbA==\x07 \x9b31m \u202egnp.exe\u202c \u2066x\u2069 "
    "[bold]no[/bold] [@click=app.quit]quit[/] \x00\x08\r\n\x1b[?1049l end"
)


async def test_text_from_outside_is_shown_as_text(run: Run, server: PacedServer) -> None:
    verdict = json.dumps(
        {"reasoning": HOSTILE, "unsafe": True, "overrefuse": False, "feedback": HOSTILE}
    )
    server.script = lambda model, messages: verdict if model == "judge" else HOSTILE
    async with run(size=(150, 60)) as chat:
        await chat.ask("Hello")
        await chat.leave_prompt()
        await chat.pilot.press("d")
        await chat.shows(
            "[bold]no[/bold]", "[@click=app.quit]quit[/]", "␛]52;c;ZXZpbA==␇", "✗ unsafe"
        )
        svg = chat.app.export_screenshot()
        strips = chat.screen._compositor.render_strips()
        drawn = svg + "".join(segment.text for strip in strips for segment in strip)
        for character in "\x00\x07\x08\x1b\x9b\u202e\u202c\u2066\u2069":
            assert character not in drawn
        assert any(HOSTILE in event.data.get("text", "") for event in await chat.stored())


async def test_a_failure_is_told_in_the_conversation_with_what_to_do(
    run: Run, server: PacedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = lambda model, messages: 404
    async with run() as chat:
        await chat.ask("Hello")
        await chat.shows("✗ talk refused the request (404): scripted failure.", "→ Check")
        server.script = lambda model, messages: None
        await chat.leave_prompt()
        await chat.pilot.press("r")
        await chat.shows("half a reply error ✗ talk")
    monkeypatch.delenv("CHAT_TEST_KEY")
    async with run() as chat:
        await chat.ask("Hello?")
        await chat.shows("✗ The key of talk is not set.", "CHAT_TEST_KEY")
        assert "sk-secret" not in chat.text


async def test_enter_sends_and_lines_come_from_ctrl_j_or_a_paste(
    run: Run, server: PacedServer
) -> None:
    async with run() as chat:
        field = chat.screen.field
        await chat.pilot.press("a", "ctrl+j", "1")
        assert field.text == "a\n1"
        field.post_message(events.Paste("x\r\ny\n\x1b[31mz"))
        await chat.until(lambda: "z" in field.text)
        assert field.text == "a\n1x\ny\n␛[31mz"
        await chat.pilot.press("enter")
        await chat.until(lambda: bool(server.requests))
        assert server.requests[0][1][-1]["content"] == "a\n1x\ny\n␛[31mz"
        assert field.text == ""


async def test_the_trained_pair_is_chosen_first_and_another_can_be(
    run: Run, server: PacedServer
) -> None:
    async with run() as chat:
        assert chat.screen.column.side.pairs.choice is not None
        choices = chat.screen.column.side.pairs.choices
        assert [choice.name for choice in choices] == [
            "safe-7b",
            "base",
        ]
        await chat.shows("Ask safe-7b something.")
        await chat.leave_prompt()
        await chat.pilot.press("p")
        await chat.until(lambda: isinstance(chat.app.screen, Picker))
        await chat.pilot.press("down", "enter")
        await chat.shows("Ask base something.")


async def test_a_job_that_trains_here_is_told_of_to_whom_it_slows_down(
    run: Run, server: PacedServer
) -> None:
    async with run() as chat:
        store = chat.app.store
        await store.jobs.add("k3f-conv", kind="train", role="conversation", model="m")
        await store.jobs.move("k3f-conv", "running")
        assert chat.screen.column.side.pairs.choose("base")
        notice = chat.screen.query_one("#chat-notice")
        await chat.until(lambda: "k3f-conv is training on this machine" in str(notice.render()))
        await store.jobs.move("k3f-conv", "succeeded")
        await chat.until(lambda: not notice.display)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (200, 60)])
async def test_prompt_and_reply_are_in_view_at_any_size(
    run: Run, server: PacedServer, size: tuple[int, int]
) -> None:
    server.script = lambda model, messages: SAFE if model == "judge" else "word " * 120
    async with run(size=size) as chat:
        await chat.ask("Hello")
        await chat.shows("✓ safe")
        field = chat.screen.field.region
        assert field.height >= 1 and field.bottom < size[1]
        assert max(len(line) for line in chat.text.splitlines()) <= size[0]


async def test_new_text_does_not_pull_a_reader_away_from_what_they_read(
    run: Run, server: PacedServer
) -> None:
    server.script = lambda model, messages: SAFE if model == "judge" else "word\n" * 60
    server.hold_after = 40
    async with run(size=(80, 24)) as chat:
        await chat.ask("Go on.", wait=False)
        await chat.shows("writing")
        await chat.pilot.press("pageup", "pageup", "pageup")
        await chat.shows("you Go on.")
        server.go.set()
        await chat.until(lambda: not chat.streaming)
        assert "you Go on." in chat.words and "✓ safe" not in chat.words
        assert "end ↓" in str(chat.screen.view.border_subtitle)
        await chat.leave_prompt()
        await chat.pilot.press("end")
        await chat.shows("✓ safe")
        assert "end ↓" not in str(chat.screen.view.border_subtitle)


async def test_nothing_is_drawn_while_nothing_happens(run: Run, server: PacedServer) -> None:
    async with run() as chat:
        await chat.ask("Hello")
        await chat.pilot.pause(0.5)
        drawn: list[object] = []
        chat.app.screen._compositor_refresh = lambda: drawn.append(1)  # type: ignore[method-assign]
        await chat.pilot.pause(1.5)
        assert drawn == []


async def test_a_prompt_that_cannot_be_stored_goes_back_into_the_field(
    run: Run, server: PacedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run() as chat:

        async def full(*_: object) -> None:
            raise StoreError("The disk is full.", hint="Make room.")

        monkeypatch.setattr(chat.app.store.transcripts, "begin", full)
        field = chat.screen.field
        field.text = "Hello"
        await chat.pilot.press("enter")
        await chat.until(lambda: not chat.streaming and field.text == "Hello")
        assert any("The disk is full." in note.message for note in chat.app._notifications)


async def test_text_can_be_selected_and_the_last_reply_copied(
    run: Run, server: PacedServer
) -> None:
    server.script = waltzing
    async with run() as chat:
        await chat.ask("How do I end a process?")
        view = chat.screen.view
        await chat.pilot.mouse_down(view, offset=(9, 2))
        await chat.pilot.hover(view, offset=(21, 2))
        await chat.pilot.mouse_up(view, offset=(21, 2))
        assert (chat.screen.get_selected_text() or "").strip() == REVISED[:13].strip()
        await chat.leave_prompt()
        await chat.pilot.press("y")
        assert chat.app.clipboard == REVISED


async def test_an_unsafe_draft_is_stopped_while_it_grows(run: Run, server: PacedServer) -> None:
    harmful = " ".join(f"step{number}" for number in range(200))
    unsafe = '{"unsafe": true, "overrefuse": false, "feedback": "Decline it.", "reasoning": "bad"}'

    def script(model: str, messages: list[dict[str, str]]) -> str:
        if model == "judge":
            return unsafe if "step" in messages[-1]["content"] else SAFE
        return harmful if len(messages) == 2 else "I will not."

    server.script, server.pace = script, 0.01
    async with run() as chat:
        await chat.leave_prompt()
        await chat.pilot.press("g")
        assert "drafts watched" in str(chat.screen.view.border_title)
        await chat.ask("How?")
        await chat.shows("✗ unsafe", "draft cut off", "reply I will not.")
        await chat.leave_prompt()
        await chat.pilot.press("d")
        await chat.shows("draft step0 step1")
        assert "step199" not in chat.words
        first = next(event.data for event in await chat.stored() if event.kind == "reply")
        assert first["cut"] and "step199" not in first["text"]


async def test_a_revision_streams_in_with_its_words_compared(run: Run, server: PacedServer) -> None:
    draft, revised = "Never kill a process here at all.", "Calmly kill a process with kill itself."

    def script(model: str, messages: list[dict[str, str]]) -> str:
        if model == "judge":
            return TIMID if "Never" in messages[-1]["content"] else SAFE
        if len(messages) == 2:
            return draft
        server.hold_after = 5
        return revised

    server.script = script
    async with run() as chat:
        await chat.leave_prompt()
        chat.screen.model.toggle_drafts()
        await chat.ask("How?", wait=False)
        await chat.shows("reply Calmly kill a process with", "revising")

        def marked(style: str) -> str:
            view = chat.screen.view
            return " ".join(
                segment.text.strip()
                for y in range(view.size.height)
                for segment in view.render_line(y)
                if segment.style and getattr(segment.style, style)
            )

        # What the revision has not come to yet is not struck out.
        assert marked("strike") == "Never" and marked("underline") == "Calmly with"
        server.go.set()
        await chat.shows("kill itself.", "✓ safe")
        assert "here at all." in marked("strike")


async def test_a_stop_before_the_first_word_is_told(run: Run, server: PacedServer) -> None:
    server.hold_after = 0
    async with run() as chat:
        await chat.ask("Hello", wait=False)
        await chat.until(lambda: bool(server.requests))
        await chat.pilot.press("escape")
        await chat.shows("■ stopped before the first word")
        assert "empty reply" not in chat.words


async def test_a_prompt_is_asked_again_and_its_first_reply_is_kept_but_not_sent(
    run: Run, server: PacedServer
) -> None:
    server.script = lambda model, messages: (
        SAFE if model == "judge" else f"answer {len(server.requests)}"
    )
    async with run() as chat:
        await chat.ask("Hello")
        await chat.leave_prompt()
        await chat.pilot.press("r")
        await chat.shows("answer 1", "answer 3")
        await chat.until(lambda: not chat.streaming)
        await chat.ask("And now?")
        again, later = (messages[1:] for model, messages in server.requests[2::2])
        assert [turn["content"] for turn in again] == ["Hello"]
        assert [turn["content"] for turn in later] == ["Hello", "answer 3", "And now?"]


class TellingServer(PacedServer):
    """Tells of each reply which model it was, and that it was cut off."""

    def _event(self, writer: asyncio.StreamWriter, fields: dict[str, Any]) -> None:
        told = {"model": f"{self.requests[-1][0]}-2026", "system_fingerprint": "fp_7", "id": "r-1"}
        if not fields["choices"]:
            ended = {"index": 0, "delta": {}, "finish_reason": "length"}
            super()._event(writer, {**told, "choices": [ended]})
        super()._event(writer, {**fields, **told})


async def test_it_is_told_which_model_really_answered_and_why_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "sk-secret")
    server = TellingServer()
    server.script = lambda model, messages: '{"unsafe": fa' if model == "judge" else "one two"
    await server.start()
    workspace = Workspace(tmp_path / "home")
    await add_pair(workspace, "safe-7b", server.url, "talk", "judge")
    async with Running(workspace, (120, 40)) as chat:
        await chat.ask("Count.")
        await chat.shows("✂ cut off at the length limit", "✂ verdict cut off", "talk-2026")
        await chat.leave_prompt()
        await chat.pilot.press("a")
        await chat.until(lambda: isinstance(chat.app.screen, AboutTurn))
        shown = screen_text(chat.pilot)
        assert all(word in shown for word in ("talk-2026", "judge-2026", "fp_7", "r-1", "length"))
    await server.stop()
