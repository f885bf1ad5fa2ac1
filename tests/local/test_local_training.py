"""The trainer's arithmetic and its stops, on the real weights but with few and short rows."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.local.encoding import Encoded, batches, encode
from waltzrl_tui.local.prepare import read_rows, write_rows
from waltzrl_tui.local.recipe import TrainingSettings
from waltzrl_tui.local.schedule import learning_rate, pieces
from waltzrl_tui.local.training import Trainer, TrainingStep
from waltzrl_tui.local.weights import find_weights
from waltzrl_tui.records.labels import Harm
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.waltz.prompts import conversation_messages
from waltzrl_tui.workspace import Workspace

_LENGTHS = st.lists(st.integers(2, 300), min_size=1, max_size=80)


@given(_LENGTHS, st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_has_every_row_once(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    made = batches(lengths, size, seed=seed, epoch=epoch)
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    assert max(map(len, made)) <= size
    assert made == batches(lengths, size, seed=seed, epoch=epoch)


@given(_LENGTHS, st.integers(1, 700), st.integers(1, 4))
def test_pieces_hold_all_rows_within_the_limit(lengths: list[int], limit: int, parts: int) -> None:
    rows = [Encoded([0] * length, 1, [1.0] * (length - 1)) for length in lengths]
    made = pieces(range(len(rows)), rows, limit, parts=parts)
    assert [index for piece in made for index in piece] == list(range(len(rows)))
    for piece in made:
        padded = len(piece) * max(lengths[index] for index in piece)
        assert padded <= limit or len(piece) == 1


@given(st.integers(2, 300), st.integers(1, 20), st.integers(1, 8))
def test_rows_of_one_length_are_shared_out_evenly(length: int, count: int, parts: int) -> None:
    rows = [Encoded([0] * length, 1, [1.0] * (length - 1))] * count
    sizes = [len(piece) for piece in pieces(range(count), rows, 10**9, parts=parts)]
    assert len(sizes) == min(parts, count)
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 500))
def test_the_learning_rate_stays_between_zero_and_its_peak(total: int) -> None:
    rates = [learning_rate(step, total, 1e-3) for step in range(total)]
    assert all(0 < rate <= 1e-3 for rate in rates)


class _Letters:
    """A tokenizer whose tokens are letters, with the methods of transformers' that are used."""

    eos_token_id = 0

    def apply_chat_template(self, messages: list[dict[str, str]], **_: object) -> str:
        return "".join(f"<{turn['content']}>" for turn in messages)

    def __call__(self, text: str, **_: object) -> dict[str, object]:
        spans = [(index, index + 1) for index in range(len(text))]
        return {"input_ids": [ord(letter) for letter in text], "offset_mapping": spans}


def test_only_the_opening_of_a_reply_is_learned() -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    settings = {"max_tokens": 20, "decisions": [(1, 2)], "decision_weight": 4.0}
    whole = encode(_Letters(), messages, **settings)
    opening = encode(_Letters(), messages, **settings, opening_tokens=3)
    assert whole is not None
    assert whole.ids[whole.start :] == [*map(ord, "Hello"), 0]
    assert whole.weights == [1, 4, 1, 1, 1, 1]
    assert opening == Encoded(whole.ids[: whole.start + 3], whole.start, [1, 4, 1])
    longer = encode(_Letters(), messages, **settings, opening_tokens=30)
    assert longer == whole


@given(
    st.lists(st.tuples(st.text(), st.text(), st.sampled_from(["harmful", "benign"])), max_size=5)
)
def test_sampled_rows_are_handed_to_the_worker_whole(texts: list[tuple[str, str, Harm]]) -> None:
    rows = [Row(line, *text) for line, text in enumerate(texts, 1)]
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder) / "rows.jsonl", rows)
        assert read_rows(Path(folder) / "rows.jsonl") == rows


def _rows() -> list[TrainingRow]:
    prompts = ("one", "two and", "three and a", "four", "five or six", "seven")
    return [
        TrainingRow(
            (
                *conversation_messages("conversation/brief-1", [{"role": "user", "content": text}]),
                {"role": "assistant", "content": f"{text} it is."},
            )
        )
        for text in prompts
    ]


@pytest.mark.real
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    workspace: Workspace, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    source = find_weights(workspace).source
    settings = TrainingSettings(epochs=2.0, batch_rows=2, last_layers=2, rank=2)

    def run(folder: Path, stop_at: int | None) -> Path | None:
        stop = threading.Event()

        def report(said: object) -> None:
            if isinstance(said, TrainingStep):
                steps.append((said.step, round(said.values["loss"], 4)))
                if said.step == stop_at:
                    stop.set()

        rows = _rows()
        return Trainer(
            source, folder, rows, rows[:2], settings, report=report, stop=stop, threads=1
        ).run()

    steps: list[tuple[int, float]] = []
    whole = run(tmp_path / "whole", None)
    uninterrupted, steps = steps, []
    assert run(tmp_path / "parts", 3) is None
    parts = run(tmp_path / "parts", None)
    assert steps == uninterrupted
    assert whole is not None
    assert parts is not None
    first = load_file(whole / "adapter_model.safetensors")
    second = load_file(parts / "adapter_model.safetensors")
    assert first.keys() == second.keys()
    assert all(first[name].allclose(second[name], atol=1e-6) for name in first)
