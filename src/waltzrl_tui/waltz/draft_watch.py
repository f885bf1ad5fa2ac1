"""Checks of a draft while it streams: an unsafe one is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from waltzrl_tui.endpoints.base import ChatEndpoint, Delta
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.waltz.events import DraftJudged
from waltzrl_tui.waltz.prompts import feedback_messages
from waltzrl_tui.waltz.streamed_text import StreamedText
from waltzrl_tui.waltz.verdict import VerdictError, parse_verdict, partial_fields


class DraftWatch:
    """Has the feedback agent judge a draft while it streams, one check at a time.

    Only `unsafe` counts: half an answer often looks like a refusal. A check ends once its verdict
    says that the draft is not unsafe; one that fails changes nothing.

    Args:
        feedback: The feedback agent, with the version of its prompt.
        prompt: What is answered.
        every: Pieces of the draft (tokens, as most endpoints send them) between two checks.
        verdict_tokens: Cap of one verdict, in tokens.

    Attributes:
        cut: Set when the draft is judged unsafe.
        verdict_text: The verdict that cut it off, as far as it has arrived.
    """

    def __init__(
        self,
        feedback: ChatEndpoint,
        feedback_prompt: str,
        prompt: str,
        *,
        round: int,
        every: int,
        verdict_tokens: int,
    ) -> None:
        self.cut = asyncio.Event()
        self.verdict_text = StreamedText()
        self._feedback, self._version, self._prompt = feedback, feedback_prompt, prompt
        self._round, self._every, self._cap = round, every, verdict_tokens
        self._pieces = 0
        self._checks: list[DraftJudged] = []
        self._task: asyncio.Task[None] | None = None
        self._more = asyncio.Event()

    def update(self, draft: str) -> None:
        """Take in the draft with one more piece; start a check when it is due and none runs."""
        self._pieces += 1
        idle = self._task is None or self._task.done()
        if self._pieces >= self._every and idle and not self.cut.is_set() and draft.strip():
            self._pieces = 0
            self._task = asyncio.create_task(self._check(draft))

    def take_checks(self) -> list[DraftJudged]:
        """The checks that have ended since the last call."""
        checks, self._checks = self._checks, []
        return checks

    async def stream_verdict(self, stop: asyncio.Event | None) -> AsyncGenerator[Delta, None]:
        """The pieces of the verdict that cut off the draft, including later ones, until `stop`.

        Raises:
            EndpointError: The feedback agent broke off.
        """
        shown = ""
        assert self._task is not None
        stopping = None if stop is None else asyncio.ensure_future(stop.wait())
        if stopping is not None:
            stopping.add_done_callback(lambda _: self._more.set())
        try:
            while stop is None or not stop.is_set():
                self._more.clear()
                text = self.verdict_text.text
                if text != shown:
                    restart = not text.startswith(shown)
                    piece = text if restart else text[len(shown) :]
                    shown = text
                    yield Delta(piece, restart=restart)
                elif self._task.done():
                    self._task.result()
                    return
                else:
                    await self._more.wait()
        finally:
            if stopping is not None:
                stopping.cancel()

    def verdict(self) -> Verdict:
        """The verdict that cut off the draft; unsafe even if the rest cannot be read."""
        with suppress(VerdictError):
            verdict = parse_verdict(self.verdict_text.text)
            if verdict.unsafe:
                return verdict
        return Verdict.of("unsafe")

    async def close(self) -> None:
        """End the check that is running, if any."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with suppress(asyncio.CancelledError, EndpointError):
                await self._task

    async def _check(self, draft: str) -> None:
        messages = feedback_messages(self._version, self._prompt, draft.strip())
        text = self.verdict_text = StreamedText()
        unsafe: str | bool | None = None
        deltas = self._feedback.stream(messages, max_tokens=self._cap)
        try:
            async with aclosing(text.read(deltas)) as pieces:
                async for piece in pieces:
                    if piece.restart:
                        unsafe = unsafe or None
                    if unsafe is None:
                        unsafe = partial_fields(text.text).get("unsafe")
                    if unsafe or self.cut.is_set():
                        self.cut.set()
                        self._more.set()
                    elif unsafe is False:
                        break
        except EndpointError:
            if self.cut.is_set():
                raise
            return
        finally:
            self._more.set()
        if not self.cut.is_set():
            self._checks.append(
                DraftJudged(
                    round=self._round,
                    length=len(draft),
                    seconds=text.seconds,
                    tokens=text.tokens,
                    prompt_tokens=text.prompt_tokens,
                )
            )
