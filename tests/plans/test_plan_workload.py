"""From a dataset to the workload, and tokens by real tokenizers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from waltzrl_tui.datasets.sampling.sampling import SampleRecipe
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.plans.model import PlanSettings
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.plans.tokenizers import counters_for
from waltzrl_tui.plans.workload import MeasurementStopped, measure_workload
from waltzrl_tui.tokenizers.counting import Estimate, MistralFile, TokenizerFile, find_tokenizer
from waltzrl_tui.workspace import Workspace

CHAT = [
    {"role": "system", "content": "Answer."},
    {"role": "user", "content": "What is a kite?"},
    {"role": "assistant", "content": "A toy that flies."},
]


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows(count: int, **more: str) -> list[dict[str, str]]:
    text = "kite moss salt wool jade oak bell clock river lamp stone glass"
    words = text.split()
    return [
        {
            "prompt": f"Tell me of {words[number % 12]} and {words[number // 12 % 12]}, {number}.",
            "reply": ("I can't help with that. ", "")[number % 2]
            + f"It is a thing of {words[number * 5 % 12]}.",
            "harm": "benign" if number % 2 else "harmful",
            **more,
        }
        for number in range(count)
    ]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A word tokenizer with ChatML's marks, as its own library writes it."""
    tokenizers = pytest.importorskip("tokenizers")
    encoder = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    encoder.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    encoder.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    path = tmp_path / "tokenizer.json"
    encoder.save(str(path))
    return path


def test_both_files_are_measured(tmp_path: Path, tokenizer: Path) -> None:
    path = write(tmp_path / "rows.jsonl", rows(60))
    recipe = SampleRecipe(str(path))
    estimated = measure_workload(path, recipe)
    tokens = measure_workload(path, recipe, counters=[TokenizerFile("Words", tokenizer)])
    assert estimated.source == "rows.jsonl"
    for role in ("conversation", "feedback"):
        about, exact = estimated.roles[role], tokens.roles[role]  # type: ignore[index]
        assert (about.exact, about.tokenizer, about.error) == (False, "estimate", 0.15)
        assert (exact.exact, exact.tokenizer, exact.error) == (True, "Words", 0.0)
        assert exact.rows == about.rows and exact.rows + exact.valid_rows >= 60
        assert exact.counts["Words"].tokens == exact.tokens > 0
        assert exact.longest * exact.rows >= exact.tokens


def test_fewer_rows_are_a_smaller_load(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", rows(60))
    whole = measure_workload(path, SampleRecipe(str(path)))
    half = measure_workload(path, SampleRecipe(str(path), n=30))
    assert half.roles["conversation"].tokens < whole.roles["conversation"].tokens
    assert whole.scaled(30).roles["conversation"].tokens == pytest.approx(
        half.roles["conversation"].tokens, rel=0.2
    )


def test_replies_alone_teach_the_conversation_agent_only(tmp_path: Path) -> None:
    path = write(
        tmp_path / "replies.jsonl",
        [{name: value for name, value in row.items() if name != "harm"} for row in rows(20)],
    )
    assert list(measure_workload(path, SampleRecipe(str(path))).roles) == ["conversation"]


def test_labelled_prompts_alone_teach_no_agent(tmp_path: Path) -> None:
    path = write(
        tmp_path / "prompts.jsonl",
        [{name: value for name, value in row.items() if name != "reply"} for row in rows(20)],
    )
    with pytest.raises(DatasetError, match="its rows have no replies"):
        measure_workload(path, SampleRecipe(str(path)))


def test_rows_with_an_empty_reply_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [*rows(30), *({**row, "reply": ""} for row in rows(5))])
    result = measure_workload(path, SampleRecipe(str(path)))
    assert result.empty_replies == 5
    assert result.roles["conversation"].rows <= 30


def test_no_role_can_learn_from_bare_prompts(tmp_path: Path) -> None:
    path = write(tmp_path / "bare.jsonl", [{"prompt": f"Why {n}?"} for n in range(9)])
    with pytest.raises(DatasetError, match="its rows have no replies"):
        measure_workload(path, SampleRecipe(str(path)))


def test_only_rows_that_fulfil_the_condition_are_measured(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", rows(60))
    result = measure_workload(path, SampleRecipe(str(path), where="harm = 'benign'"))
    assert result.rows == 30
    with pytest.raises(UsageError, match="No column “harmm”"):
        measure_workload(path, SampleRecipe(str(path), where="harmm = 'benign'"))


def test_it_ends_when_nobody_waits(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", rows(5000))
    progress: list[int] = []
    with pytest.raises(MeasurementStopped):
        measure_workload(
            path, SampleRecipe(str(path)), on_progress=progress.append, stop=lambda: bool(progress)
        )
    assert len(progress) == 1


def test_a_template_is_counted_token_by_token(tokenizer: Path) -> None:
    # Each turn: start, role, content, end. The words of the contents are 2, 5 and 5.
    assert TokenizerFile("Words", tokenizer).count([CHAT]) == [3 * 3 + 2 + 5 + 5]
    assert Estimate().count([CHAT])[0] == pytest.approx(21, abs=8)


def test_tokenizers_are_found_in_the_hubs_cache_only(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert find_tokenizer("Qwen3", "Qwen/Qwen3-8B") is None
    model = tmp_path / "hub" / "models--Qwen--Qwen3-8B"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("abc123")
    (model / "snapshots" / "abc123").mkdir(parents=True)
    tokenizer.rename(model / "snapshots" / "abc123" / "tokenizer.json")
    result = find_tokenizer("Qwen3", "Qwen/Qwen3-8B")
    assert result is not None and result.exact and result.count([CHAT]) == [21]


def test_mistrals_packaged_vocabulary_counts_with_its_own_template() -> None:
    pytest.importorskip("mistral_common")
    pytest.importorskip("tiktoken")
    result = find_tokenizer("Mistral Tekken")
    assert isinstance(result, MistralFile)
    tokens = result.count([CHAT, CHAT[1:]])
    assert tokens[0] > tokens[1] == pytest.approx(17, abs=4)


def test_the_embedded_models_own_tokenizer_counts(
    catalogue: Catalogue, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WALTZRL_CACHE", str(tmp_path / "cache"))
    workspace = Workspace(tmp_path / "home")
    assert counters_for(catalogue, workspace, PlanSettings()) == []
    place = tmp_path / "cache" / "models" / "SmolLM2-135M-Instruct"
    place.mkdir(parents=True)
    tokenizer.rename(place / "tokenizer.json")
    assert [one.name for one in counters_for(catalogue, workspace, PlanSettings())] == ["SmolLM2"]
