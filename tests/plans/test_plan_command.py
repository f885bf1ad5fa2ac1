"""The command as a user types it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.plans import environment, workload
from tests.support.servers.prices import EVERYTHING, price_server
from waltzrl_tui.cli import main
from waltzrl_tui.plans.export import to_csv, to_markdown
from waltzrl_tui.plans.model import PlanSettings
from waltzrl_tui.plans.price import price_plans
from waltzrl_tui.plans.refresh import BASES
from waltzrl_tui.plans.schema import Catalogue

ROW_KEYS = {
    *("provider", "model", "state", "reason", "training_tokens", "total_usd", "parts"),
    *("duration_s", "price_as_of", "price_source", "blockers", "warnings"),
}


def run(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str, str]:
    code = main(["--home", str(home), "plan", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def document(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> Any:
    code, out, err = run(capsys, home, "--json", *arguments)
    assert code == 0, err
    return json.loads(out)


def test_the_bundled_dataset_is_priced_everywhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = document(capsys, tmp_path / "home")
    assert {"sample", "rows"} <= set(result)
    assert all(set(row) >= ROW_KEYS for row in result["rows"])
    totals = [row["total_usd"]["expected"] for row in result["rows"] if row["total_usd"]]
    assert totals == sorted(totals) and len(totals) >= 9
    assert result["rows"][0]["provider"] == "embedded"
    for row in result["rows"]:
        if row["total_usd"]:
            parts = sum(part["usd"]["expected"] for part in row["parts"])
            assert parts == pytest.approx(row["total_usd"]["expected"], abs=1e-6)
    # Looking at prices makes no workspace.
    assert not (tmp_path / "home" / "data").exists()


def test_options_change_the_plan(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    few = document(capsys, tmp_path, "-n", "100", "--provider", "together", "--chat-hours", "0")
    more = document(
        capsys, tmp_path, "-n", "400", "--provider", "together", "--epochs", "6", "--budget", "0.01"
    )
    (one,), (other,) = few["rows"], more["rows"]
    assert one["total_usd"]["expected"] < 0.2 < other["total_usd"]["expected"]
    assert other["state"] == "blocked" and "budget" in other["reason"]
    assert [
        row["provider"] for row in document(capsys, tmp_path, "--provider", "local")["rows"]
    ] == ["embedded"]


def test_a_condition_chooses_the_rows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    every = document(capsys, tmp_path)["sample"]["rows"]
    some = document(capsys, tmp_path, "--where", "harm = 'benign'")["sample"]["rows"]
    assert 0 < some < every
    code, _, err = run(capsys, tmp_path, "--where", "harmm = 'benign'")
    assert code == 2 and "No column “harmm”" in err


def test_one_agent_is_planned_by_its_role(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "replies.jsonl"
    rows = ({"prompt": f"What is {n} times {n}?", "reply": f"It is {n * n}."} for n in range(40))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    both = document(capsys, tmp_path, str(path))["rows"][0]
    assert both["state"] == "blocked" and "--role conversation" in both["reason"]
    one = document(capsys, tmp_path, str(path), "--role", "conversation")["rows"][0]
    assert (one["state"], one["roles"]) == ("ready", ["conversation"])
    _, out, _ = run(capsys, tmp_path, str(path), "--role", "conversation")
    assert "total, the conversation agent" in out and "both agents" not in out


def test_the_table_has_bars_reasons_and_a_sum(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = run(capsys, tmp_path)
    assert code == 0
    assert "██████████" in out and "closed since 27 March 2026; use Together instead" in out
    assert "cheapest that is ready: embedded" in out and "total, both agents" in out
    code, out, _ = run(capsys, tmp_path, "--provider", "runpod")
    assert "start-up and weights" in out and "tokens/s, computed" in out


def test_wrong_use_is_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, tmp_path, "--provider", "togehter")
    assert code == 2 and "Did you mean together?" in err
    assert run(capsys, tmp_path, "--chat-hours", "nan")[0] == 2
    assert run(capsys, tmp_path, str(tmp_path / "none.jsonl"))[0] == 1
    (tmp_path / "plans.toml").write_text("[provider.vast]\ntitel = 1\n")
    code, _, err = run(capsys, tmp_path)
    assert code == 1 and "plans.toml, line 2" in err and "title" in err and "Traceback" not in err


def test_files_are_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table, page = tmp_path / "plans.csv", tmp_path / "plans.md"
    code, _, err = run(capsys, tmp_path, "--csv", str(table), "--markdown", str(page))
    assert code == 0 and "plans.csv" in err
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8"))))
    assert rows[0]["provider"] == "embedded" and float(rows[2]["total_expected_usd"]) > 0
    assert "| **total** |" in page.read_text("utf-8")
    code, _, err = run(capsys, tmp_path, "--csv", str(tmp_path / "no" / "where.csv"))
    assert code == 1 and "cannot be written" in err


def test_refreshed_prices_are_used_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with price_server(EVERYTHING) as server:
        for variable, _ in BASES.values():
            monkeypatch.setenv(variable, server.url)
        result = document(capsys, tmp_path / "home", "--refresh", "--provider", "vast")
    assert {one["provider"]: one["error"] for one in result["refreshed"]}["runpod"] == (
        "it needs RUNPOD_API_KEY"
    )
    assert "price API" in result["rows"][0]["price_source"] and not result["rows"][0]["price_stale"]


def test_hostile_text_stays_text(catalogue: Catalogue) -> None:
    (row,) = price_plans(catalogue, workload(), PlanSettings(provider="vast"), environment())
    hostile = replace(row, reason='=HYPERLINK("x")\x1b[2J|a', price_source="@SUM(A1)")
    cell = next(csv.DictReader(io.StringIO(to_csv([hostile]))))
    assert cell["reason"].startswith("'=") and cell["price_source"].startswith("'@")
    assert "\x1b" not in to_csv([hostile]) + to_markdown([hostile])
    assert "\\|a" in to_markdown([hostile])


def test_planning_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from waltzrl_tui.cli import main; "
        f"main(['--home', {str(tmp_path)!r}, '--json', 'plan']); "
        "heavy = {'torch', 'textual', 'openai', 'duckdb', 'huggingface_hub', 'transformers', "
        "'mistral_common', 'tiktoken', 'httpx2'}; print(sorted(heavy & set(sys.modules)), "
        "file=sys.stderr)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stderr.strip().splitlines()[-1] == "[]"
