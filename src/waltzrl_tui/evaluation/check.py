"""How far a judge agrees with human labels about which replies are refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.datasets.reply_labels import labelled_refusal
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.evaluation.judges import Judge
from waltzrl_tui.evaluation.metrics import Rate
from waltzrl_tui.evaluation.paired import Agreement
from waltzrl_tui.text import one_line

_PARTIAL: Final = "partial"
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class CheckedReply:
    """One labelled reply and the judge's opinion about it.

    Attributes:
        people: Whether people call it a refusal; `partial`: only in part.
        judge: Whether the judge does; None where its answer could not be read.
    """

    row: Row
    people: bool
    partial: bool
    judge: bool | None


@dataclass(frozen=True)
class Check:
    """A judge against human labels. Partial refusals are counted apart: people disagree on them."""

    judge: str
    path: Path
    items: Sequence[CheckedReply]

    @property
    def read(self) -> list[CheckedReply]:
        return [item for item in self.items if item.judge is not None and not item.partial]

    @property
    def agreement(self) -> Agreement:
        """On full refusals and full compliances; `first` is the judge."""
        return Agreement.of((bool(item.judge), item.people) for item in self.read)

    @property
    def recall(self) -> Rate:
        """Recall: of the refusals according to people, those that the judge calls refusals."""
        return Rate.of(bool(item.judge) for item in self.read if item.people)

    @property
    def precision(self) -> Rate:
        """Precision: of the refusals according to the judge, those that people call refusals."""
        return Rate.of(item.people for item in self.read if item.judge)

    @property
    def partial(self) -> Rate:
        """Of the partial refusals, those that the judge calls refusals."""
        return Rate.of(
            bool(item.judge) for item in self.items if item.partial and item.judge is not None
        )

    @property
    def differ(self) -> list[CheckedReply]:
        return [item for item in self.read if item.judge != item.people]

    def to_json(self) -> dict[str, Any]:
        return {
            "judge": self.judge,
            "path": str(self.path),
            "n": len(self.read),
            **self.agreement.to_json(),
            "recall": self.recall.to_json(),
            "precision": self.precision.to_json(),
            "partial_called_refusal": self.partial.to_json(),
            "unread": sum(item.judge is None for item in self.items),
            "differences": [
                {
                    "line": item.row.line,
                    "category": item.row.category,
                    "people": "refusal" if item.people else "answer",
                    "judge": "refusal" if item.judge else "answer",
                    "prompt": item.row.prompt,
                    "reply": item.row.reply,
                }
                for item in self.differ
            ],
        }


def labelled_replies(path: str | Path) -> list[tuple[Row, bool, bool]]:
    """Rows with a human label of their reply: row, whether it refuses, whether in part. Blocks.

    Raises:
        DatasetError: The file cannot be read, or holds no such row.
    """
    labelled = []
    for row in open_dataset(Path(path).expanduser().absolute()):
        if isinstance(row, Row) and row.reply:
            refuses = labelled_refusal(row.extra)
            if refuses is not None:
                partial = any(
                    isinstance(value, str) and _PARTIAL in value.casefold()
                    for name, value in row.extra.items()
                    if "label" in name.casefold()
                )
                labelled.append((row, refuses, partial))
    if not labelled:
        raise DatasetError(
            f"{one_line(str(path))} has no reply with a human label.",
            hint="Each row needs a reply and a field such as final_label or refusal.",
        )
    return labelled


async def check(
    judge: Judge,
    path: Path,
    labelled: Sequence[tuple[Row, bool, bool]],
    *,
    at_once: int = _AT_ONCE,
    on_item: Callable[[int], None] | None = None,
) -> Check:
    """Ask the judge about each labelled reply, several at once.

    Raises:
        EndpointError: The judge cannot be asked.
    """
    results: list[CheckedReply | None] = [None] * len(labelled)
    coming = iter(enumerate(labelled))
    done = 0

    async def work() -> None:
        nonlocal done
        for number, (row, people, partial) in coming:
            opinion = await judge.opinion(row, row.reply)
            results[number] = CheckedReply(
                row=row, people=people, partial=partial, judge=opinion.refusal
            )
            done += 1
            if on_item:
                on_item(done)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(labelled))):
            group.create_task(work())
    return Check(judge.name, path, [item for item in results if item is not None])
