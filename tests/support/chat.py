"""The Chat screen under test, as a user sees and presses it, with pairs at scripted servers."""

from __future__ import annotations

from collections.abc import Callable

from textual.pilot import Pilot

from waltzrl_tui.approvals import approve
from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.store import Store, TranscriptEventRow
from waltzrl_tui.tui.chat.column import ChatColumn
from waltzrl_tui.tui.chat.screen import ChatScreen
from waltzrl_tui.tui.shell.app import WaltzApp
from waltzrl_tui.workspace import Workspace

KEY = "CHAT_TEST_KEY"
SAFE = '{"reasoning": "It is fine.", "unsafe": false, "overrefuse": false, "feedback": ""}'
TIMID = (
    '{"reasoning": "It declines a harmless question.", "unsafe": false, "overrefuse": true, '
    '"feedback": "Say how to end it."}'
)


async def add_pair(
    workspace: Workspace, name: str, url: str, talk: str, judge: str = "", rounds: int = 1
) -> None:
    """A pair whose agents are the models `talk` and `judge` of the server at `url`."""
    approve(KEY, url)
    async with await Store.open(workspace) as store:
        for base, role in ((talk, "conversation"), (judge, "feedback")):
            if base and not any(agent.name == base for agent in await store.agents.list()):
                await store.agents.add(
                    base,
                    role=role,  # type: ignore[arg-type]
                    kind="openai",
                    base=base,
                    prompt=f"{role}/brief-1",
                    url=url,
                    key_env=KEY,
                    job_id="k3f",
                )
        await store.agents.add_pair(name, conversation=talk, feedback=judge, rounds=rounds)


class Chat:
    """The app under test with its Chat screen, as a user sees and presses it."""

    def __init__(self, app: WaltzApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def screen(self) -> ChatScreen:
        found = self.app.screen_stack[0]
        assert isinstance(found, ChatScreen)
        return found

    @property
    def left(self) -> ChatColumn:
        return self.screen.columns[0]

    @property
    def right(self) -> ChatColumn:
        return self.screen.columns[1]

    @property
    def streaming(self) -> bool:
        return self.screen.model.streaming

    def said(self, column: ChatColumn) -> str:
        """What a column shows, on one line."""
        view = column.view
        lines = (view.render_line(y).text for y in range(view.size.height))
        return " ".join(" ".join(lines).split())

    @property
    def text(self) -> str:
        """What the conversation shows."""
        view = self.screen.view
        return "\n".join(view.render_line(y).text.rstrip() for y in range(view.size.height))

    @property
    def words(self) -> str:
        return " ".join(self.text.replace("│", " ").split())

    async def until(self, what: Callable[[], bool], seconds: float = 15) -> None:
        for _ in range(int(seconds / 0.02)):
            if what():
                await self.pilot.pause()
                return
            await self.pilot.pause(0.02)
        raise AssertionError(f"not within {seconds} s; shown:\n{self.text}")

    async def shows(self, *texts: str) -> None:
        await self.until(lambda: all(text in self.words for text in texts))

    async def ask(self, prompt: str, *, wait: bool = True) -> None:
        before = self.screen.column.side.last
        self.screen.field.focus()
        self.screen.field.text = prompt
        await self.pilot.press("enter")
        await self.until(lambda: _is_new(self.screen.column.side.last, before))
        if wait:
            await self.until(lambda: not self.streaming)

    async def leave_prompt(self) -> None:
        await self.pilot.press("escape")
        assert self.app.focused is self.screen.view

    async def stored(self) -> list[TranscriptEventRow]:
        row = (await self.app.store.transcripts.list())[0]
        return await self.app.store.transcripts.events(row.id)


class Running:
    def __init__(
        self, workspace: Workspace, size: tuple[int, int], pair: str = "", vs: str = ""
    ) -> None:
        self._app = WaltzApp(workspace, screen="chat", pair=pair, vs=vs)
        self._context = self._app.run_test(size=size)

    async def __aenter__(self) -> Chat:
        pilot = await self._context.__aenter__()
        chat = Chat(self._app, pilot)
        await chat.until(lambda: isinstance(self._app.screen, ChatScreen))
        await chat.until(lambda: chat.screen.column.side.pairs.choice is not None)
        return chat

    async def __aexit__(self, *error: object) -> None:
        await self._context.__aexit__(*error)  # type: ignore[arg-type]


def _is_new(turn: Turn | None, before: Turn | None) -> bool:
    return turn is not None and turn is not before
