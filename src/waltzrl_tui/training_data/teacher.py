"""A teacher: a larger model, at any chat endpoint, that writes the feedback of feedback rows.

Without one the feedback is templated. Answers are cached by content, so that no row is paid for
twice, not even after a run was killed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.endpoints.key_gate import KeyUse, key_for
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.errors import DatasetError, EndpointError, UsageError
from waltzrl_tui.text import one_line
from waltzrl_tui.tokenizers.estimate import estimate_tokens
from waltzrl_tui.training_data.teacher_text import (
    REPLY_TOKENS,
    answer_key,
    clean_answer,
    teacher_messages,
    wants_teacher,
    with_feedback,
)
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.words import money, plural
from waltzrl_tui.workspace import private_write

_USUAL_TOKENS: Final = 45
_TEMPLATE_TOKENS: Final = 64
"""The most tokens that a model's chat template adds."""

_AT_ONCE: Final = 4
_FAILURES: Final = 3
_ROUNDING_USD: Final = 1e-9

OnAnswer = Callable[[int, int, float], Awaitable[None]]
"""Awaited with (questions done, questions in all, USD spent so far)."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """The teacher's endpoint, price and budget.

    Attributes:
        url: An OpenAI-compatible server, up to `/v1`.
        key_env: The NAME of the variable with its key; "" for a server without one.
        usd_in, usd_out: USD per 1M tokens read and written.
        budget_usd: The most to spend, USD, by the tokens that the server counts.
    """

    url: str
    model: str
    key_env: str = ""
    usd_in: float = 0.0
    usd_out: float = 0.0
    budget_usd: float = 0.0

    def usd(self, read: int, written: int) -> float:
        """The cost of tokens read and written, USD."""
        return (read * self.usd_in + written * self.usd_out) / 1e6

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Teacher:
        return cls(**values)


@dataclass(frozen=True, slots=True)
class TeacherQuote:
    """The cost of teaching.

    Attributes:
        rows: Rows to ask about. kept: rows whose answers are cached.
        usd: The cost of `rows` by estimated tokens, whatever the budget, USD.
        most_usd: The most that is spent, USD: never more than the budget.
    """

    rows: int
    kept: int
    usd: float
    most_usd: float


@dataclass(frozen=True, slots=True)
class TeacherReport:
    """The authors of the feedback, in rows, and the cost, USD.

    Attributes:
        taught: Written by the teacher now. kept: from the cache. templated: the others.
        unusable: Those of the others for which the teacher's answer was unusable.
        stopped: Why no more questions were sent, or "".
    """

    taught: int
    kept: int
    templated: int
    unusable: int
    usd: float
    stopped: str

    @property
    def words(self) -> str:
        """The report in one line."""
        words = f"feedback by the teacher: {plural(self.taught + self.kept, 'row')}"
        if self.kept:
            words += f" ({self.kept:,} from the cache)"
        words += f", templated: {self.templated:,}"
        if self.unusable:
            words += f" ({self.unusable:,} because the answer was unusable)"
        words += f"; {money(self.usd)}"
        return f"{words}; stopped: {self.stopped}" if self.stopped else words

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def quote(rows: Sequence[TrainingRow], teacher: Teacher, cache: Path) -> TeacherQuote:
    """The cost of `teach`. Reads the cache, so not on the event loop."""
    questions = _questions(rows, teacher)
    known = _cached_answers(cache, questions)
    kept = sum(len(questions[key]) for key in known)
    unanswered = [rows[places[0]] for key, places in questions.items() if key not in known]
    most = sum(_most_usd(row, teacher) for row in unanswered)
    return TeacherQuote(
        rows=sum(map(len, questions.values())) - kept,
        kept=kept,
        usd=sum(teacher.usd(_read_tokens(row), _USUAL_TOKENS) for row in unanswered),
        most_usd=min(most, teacher.budget_usd),
    )


async def teach(
    rows: Sequence[TrainingRow],
    teacher: Teacher,
    cache: Path,
    *,
    on_answer: OnAnswer | None = None,
) -> tuple[list[TrainingRow], TeacherReport]:
    """Have the teacher write the feedback of the rows that need some.

    Four questions are in flight at a time, each distinct one once. It ends before the budget could
    be exceeded, or when the teacher fails three times in a row; the remaining rows keep their
    templates. Answers received before an exception stay in the cache.

    Args:
        cache: The folder where answers are stored.

    Raises:
        UsageError: The key is not set.
        DatasetError: An answer cannot be stored.
    """
    questions = _questions(rows, teacher)
    known = await asyncio.to_thread(_cached_answers, cache, questions)
    coming = {key: rows[places[0]] for key, places in questions.items() if key not in known}
    session = _TeacherSession(teacher, cache, len(coming), on_answer)
    if coming:
        await session.run(coming)
    taught_rows = list(rows)
    written: dict[bool, int] = {True: 0, False: 0}
    unusable = 0
    for key, text in (known | session.answers).items():
        places = questions[key]
        if not text:
            unusable += len(places)
            continue
        written[key in known] += len(places)
        for place in places:
            taught_rows[place] = with_feedback(rows[place], text)
    templated = sum(map(len, questions.values())) - sum(written.values())
    return taught_rows, TeacherReport(
        taught=written[False],
        kept=written[True],
        templated=templated,
        unusable=unusable,
        usd=round(session.spent, 6),
        stopped=session.stopped,
    )


class _TeacherSession:
    """The questions to send, and the account of what they cost."""

    def __init__(
        self, teacher: Teacher, cache: Path, whole: int, on_answer: OnAnswer | None
    ) -> None:
        self.answers: dict[str, str] = {}
        self.spent = 0.0
        self.stopped = ""
        self._teacher, self._cache = teacher, cache
        self._whole, self._on_answer = whole, on_answer
        self._done = self._failed = self._under_way = 0
        self._reserved = 0.0
        self._settled = asyncio.Condition()

    async def run(self, questions: Mapping[str, TrainingRow]) -> None:
        endpoint = await _open(self._teacher)
        coming = iter(questions.items())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_AT_ONCE, len(questions))):
                    group.create_task(self._work(endpoint, coming))
        except* Exception as failed:
            raise failed.exceptions[0] from None
        finally:
            await endpoint.close()

    async def _work(
        self, endpoint: OpenAIEndpoint, coming: Iterator[tuple[str, TrainingRow]]
    ) -> None:
        for key, row in coming:
            most = _most_usd(row, self._teacher)
            if not await self._reserve(most):
                return
            answer, cost = await self._ask(endpoint, row, most)
            if answer is not None:
                self.answers[key] = answer
                await asyncio.to_thread(_store, self._cache, key, answer)
            await self._settle(most, cost)
            self._done += 1
            if self._on_answer:
                await self._on_answer(self._done, self._whole, self.spent)

    async def _reserve(self, most: float) -> bool:
        """Reserve `most` USD; wait for questions in flight where their reserves are in the way."""
        budget = self._teacher.budget_usd

        def fits() -> bool:
            return self.spent + self._reserved + most <= budget + _ROUNDING_USD

        async with self._settled:
            await self._settled.wait_for(lambda: self.stopped or fits() or not self._under_way)
            if not self.stopped and not fits():
                self.stopped = f"the next answer could exceed the budget of {money(budget)}"
            if self.stopped:
                return False
            self._reserved += most
            self._under_way += 1
            return True

    async def _settle(self, most: float, cost: float) -> None:
        async with self._settled:
            self._reserved -= most
            self._under_way -= 1
            self.spent += cost
            self._settled.notify_all()

    async def _ask(
        self, endpoint: OpenAIEndpoint, row: TrainingRow, most: float
    ) -> tuple[str | None, float]:
        """The answer ("" where unusable, None where there is none) and its cost, USD."""
        text, read, written = "", 0, 0
        try:
            stream = endpoint.stream(teacher_messages(row), max_tokens=REPLY_TOKENS)
            async with aclosing(stream) as deltas:
                async for delta in deltas:
                    text = delta.text if delta.restart else text + delta.text
                    written = delta.tokens or written
                    read = delta.prompt_tokens or read
        except EndpointError as error:
            self._failed += 1
            if self._failed >= _FAILURES and not self.stopped:
                message = one_line(error.message)
                self.stopped = f"it failed {_FAILURES} times in a row: {message}"
            # The cost of an answer that broke off is unknown, so it counts at its upper bound.
            return None, most if _may_be_billed(error) else 0.0
        self._failed = 0
        written = written or estimate_tokens(text)
        answer = clean_answer(text) if written < REPLY_TOKENS else ""
        return answer, self._teacher.usd(read or _read_tokens(row), written)


async def _open(teacher: Teacher) -> OpenAIEndpoint:
    key = "none"
    if teacher.key_env:
        key = await asyncio.to_thread(key_for, KeyUse("the teacher", teacher.key_env, teacher.url))
    if not key:
        raise UsageError(
            "The teacher's key is not set.",
            hint=f"Set {teacher.key_env} in the environment, or leave the teacher out.",
        )
    return OpenAIEndpoint(teacher.url, key, teacher.model, name="the teacher")


def _may_be_billed(error: EndpointError) -> bool:
    """Whether a failed request may have reached a model: it was neither rejected nor unsent."""
    refused = hasattr(error.__cause__, "status_code")
    inner = getattr(error.__cause__, "__cause__", None)
    return not refused and type(inner).__name__ not in ("ConnectError", "ConnectTimeout")


def _questions(rows: Sequence[TrainingRow], teacher: Teacher) -> dict[str, list[int]]:
    """The places of the rows with the same question, by key."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if wants_teacher(row):
            places.setdefault(answer_key(row, teacher.model), []).append(place)
    return places


def _read_tokens(row: TrainingRow) -> int:
    return sum(estimate_tokens(turn["content"]) for turn in teacher_messages(row))


def _most_usd(row: TrainingRow, teacher: Teacher) -> float:
    """A bound, not an estimate: no text has more tokens than bytes."""
    texts = (turn["content"].encode("utf-8", "replace") for turn in teacher_messages(row))
    return teacher.usd(sum(map(len, texts)) + _TEMPLATE_TOKENS, REPLY_TOKENS)


def _cached_answers(cache: Path, keys: Iterable[str]) -> dict[str, str]:
    """The cached answers; "" where one is unusable."""
    answers: dict[str, str] = {}
    for key in keys:
        try:
            answer = json.loads((cache / f"{key}.json").read_text("utf-8"))["feedback"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(answer, str):
            answers[key] = clean_answer(answer)
    return answers


def _store(cache: Path, key: str, answer: str) -> None:
    try:
        private_write(cache / f"{key}.json", json.dumps({"feedback": answer}))
    except OSError as error:
        raise DatasetError(
            f"The teacher's answers cannot be saved in {cache}: {error.strerror or error}.",
            hint="Free some space, then start again: saved answers are not paid for twice.",
        ) from error
