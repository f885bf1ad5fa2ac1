"""From a drawn sample to the two agents' training files: rollouts of the base, then rendering."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path

from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.endpoints.base import ChatEndpoint
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.local.serving import BULK
from waltzrl_tui.records.roles import Role
from waltzrl_tui.training_data.rendering import (
    case_counts,
    conversation_rows,
    feedback_rows,
    wants_rollout,
)
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.waltz.prompts import DEFAULT_FEEDBACK, conversation_messages
from waltzrl_tui.workspace import private_write


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write sampled rows as JSONL, to be read by `read_rows`."""
    lines = [json.dumps(asdict(row)) for row in rows]
    private_write(path, "".join(line + "\n" for line in lines))


def read_rows(path: Path) -> list[Row]:
    """The rows that `write_rows` wrote.

    Raises:
        DatasetError: The file is gone or was changed.
    """
    try:
        # Not splitlines(): it also splits at U+0085 and U+2028, which may stand in a prompt.
        lines = path.read_text("utf-8").split("\n")
        return [Row(**json.loads(line)) for line in lines if line]
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(
            f"The sample's rows in {path} cannot be read: {error}.", hint="Start a new job."
        ) from error


class Rollouts:
    """The base's replies, written to a file as they arrive, so that a kill loses few."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.replies: dict[str, str] = {}
        if path.exists():
            for line in path.read_text("utf-8").split("\n"):
                try:
                    record = json.loads(line)
                    self.replies[record["prompt"]] = record["reply"]
                except (ValueError, KeyError):
                    continue  # a line cut short by a kill; sampled again

    async def sample(
        self,
        endpoint: ChatEndpoint,
        prompts: Sequence[str],
        *,
        prompt_version: str,
        max_tokens: int,
        on_progress: Callable[[int], Awaitable[None]],
    ) -> None:
        """Sample a greedy reply to every prompt that has none, several at a time.

        Args:
            on_progress: Called with the number of replies that there are now.

        Raises:
            EndpointError: The endpoint failed; the replies so far are kept.
        """
        left = iter([prompt for prompt in dict.fromkeys(prompts) if prompt not in self.replies])
        self._path.parent.mkdir(parents=True, exist_ok=True)

        async def work() -> None:
            for prompt in left:
                text = ""
                deltas = endpoint.stream(
                    conversation_messages(prompt_version, [{"role": "user", "content": prompt}]),
                    max_tokens=max_tokens,
                )
                async with aclosing(deltas):
                    async for delta in deltas:
                        text = delta.text if delta.restart else text + delta.text
                self.replies[prompt] = text.strip()
                await asyncio.to_thread(self._keep, prompt)
                await on_progress(len(self.replies))

        async with asyncio.TaskGroup() as group:
            for _ in range(BULK):
                group.create_task(work())

    def _keep(self, prompt: str) -> None:
        line = json.dumps({"prompt": prompt, "reply": self.replies[prompt]}, ensure_ascii=False)
        with self._path.open("a", encoding="utf-8") as file:
            # A line that a kill cut short must not swallow this one.
            file.write(
                ("\n" if file.tell() and not self._ends_with_newline() else "") + line + "\n"
            )

    def _ends_with_newline(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"


def wanted_rollouts(rows: Sequence[Row], judged: int) -> list[str]:
    """The prompts whose rollout is used: see `feedback_rows`."""
    return [row.prompt for row in rows if wants_rollout(row, judged)]


def render(
    role: Role,
    rows: Sequence[Row],
    rollouts: dict[str, str],
    *,
    prompt_version: str,
    revisions: float,
    refusals_within: int,
    judged: int,
) -> tuple[list[TrainingRow], dict[str, int]]:
    """One role's training rows from rows and rollouts, and how many there are by case or source."""
    rendered: list[TrainingRow]
    if role == "conversation":
        rendered = conversation_rows(
            rows,
            rollouts,
            prompt_version,
            revisions=revisions,
            refusals_within=refusals_within,
        )
        revised = sum(row.source == "revision" for row in rendered)
        counts = {"replies": len(rendered) - revised, "revisions": revised}
    else:
        rendered = feedback_rows(rows, rollouts, prompt_version, judged=judged)
        counts = case_counts(rendered)
    return rendered, counts


def foreseen_feedback(
    rows: Sequence[Row], *, judged: int, rollout_tokens: int
) -> list[TrainingRow]:
    """The feedback rows that a launch will render, before the base's replies are known.

    In their place stand answers of the greatest length, so that no fewer rows want feedback than
    will, and none is shorter.
    """
    answer = " ".join(["word"] * rollout_tokens)
    rollouts = dict.fromkeys(wanted_rollouts(rows, judged), answer)
    return feedback_rows(rows, rollouts, DEFAULT_FEEDBACK, judged=judged)
