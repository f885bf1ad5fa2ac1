"""The check of emulators against the vendors' documents really finds what does not fit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from core import Answer, Request
from spec import load_spec

_HEADERS = {"content-type": "application/json", "authorization": "Bearer x"}


def _exchange(body: object, answer: object) -> tuple[Request, Answer]:
    content = json.dumps(body).encode()
    return Request("POST", "/v1/fine-tunes/estimate-price", {}, _HEADERS, content), Answer(
        document=answer
    )


def test_wrong_bodies_answers_and_paths_are_found() -> None:
    spec = load_spec("together-ft.yaml")
    if spec is None:
        pytest.skip("../shared/specs is not at hand")
    good = {"training_file": "f", "model": "m", "n_epochs": 1}
    answer = {"estimation_available": True, "estimated_total_price": 1.0}
    assert spec.violations(*_exchange(good, answer)) == []
    assert spec.violations(*_exchange({**good, "n_epochs": "many"}, answer))
    assert spec.violations(*_exchange(good, {"estimated_total_price": "much"}))
    unknown = Request("GET", "/v1/no-such-thing", {}, _HEADERS, b"")
    assert spec.violations(unknown, Answer(document={}))
