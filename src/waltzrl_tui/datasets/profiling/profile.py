"""Profile a dataset in one pass, with about 1 KB of memory per distinct row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from waltzrl_tui.datasets.near.index import NearIndex
from waltzrl_tui.datasets.profiling.contamination import BUNDLED, load_references
from waltzrl_tui.datasets.profiling.counts import ProfileCounter
from waltzrl_tui.datasets.profiling.figures import TOKEN_BUCKETS, Profile
from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import BadRow

__all__ = ["BAD_ROWS_SHOWN", "TOKEN_BUCKETS", "Profile", "profile"]

BAD_ROWS_SHOWN = 100


def profile(
    path: str | Path,
    *,
    suites: Sequence[str | Path] = (BUNDLED,),
    on_progress: Callable[[int], None] | None = None,
    on_bad: Callable[[BadRow], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Profile:
    """Count the dataset at `path`. Blocks for its whole length, so not on the event loop.

    Args:
        suites: Files of evaluation prompts to compare the rows with.
        on_progress: Called with the rows read so far, every thousand.
        on_bad: Called with every bad row, including those that the profile does not list.
        stop: Checked every thousand rows; the profile then covers what was read so far.

    Raises:
        DatasetError: It or a suite cannot be read or has no usable rows, or there is not enough
            space for the temporary file for near duplicates.
    """
    dataset = open_dataset(path)
    references = load_references(suites, path)
    bad: list[tuple[int, str]] = []
    bad_count = 0
    with NearIndex() as prompts, NearIndex() as replies:
        counter = ProfileCounter(references, prompts, replies, dataset.mapping.reply_label)
        for row in dataset:
            if isinstance(row, BadRow):
                bad_count += 1
                if len(bad) < BAD_ROWS_SHOWN:
                    bad.append((row.line, row.reason))
                if on_bad:
                    on_bad(row)
                continue
            counter.add(row)
            if counter.rows % 1000 == 0:
                if on_progress:
                    on_progress(counter.rows)
                if stop and stop():
                    break
        figures = counter.profile(Path(path), dataset.mapping, bad_count, bad, stop)
        return replace(figures, format=dataset.format)
