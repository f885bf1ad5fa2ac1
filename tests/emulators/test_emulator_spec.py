"""The check of emulators against the vendors' documents really finds what does not fit."""

from __future__ import annotations

import json

import pytest

from tests.support.emulators.core import Answer, Request
from tests.support.emulators.openapi import load_spec

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


def test_forms_and_the_bounds_of_small_numbers_are_held() -> None:
    spec = load_spec("mistral-ft.yaml")
    if spec is None:
        pytest.skip("../shared/specs is not at hand")

    def job(rate: float) -> Request:
        body = {"model": "m", "hyperparameters": {"learning_rate": rate}}
        return Request("POST", "/v1/fine_tuning/jobs", {}, _HEADERS, json.dumps(body).encode())

    answer = Answer(document={"details": "checked"})
    assert spec.violations(job(1e-4), answer) == []
    # The document's bound is written 1e-08, which is no number in YAML 1.1.
    assert spec.violations(job(1e-9), answer)
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nrow\r\n--x--\r\n'
    )
    headers = {**_HEADERS, "content-type": "multipart/form-data; boundary=x"}
    sent = Request("POST", "/v1/files", {}, headers, form)
    file = {"id": "8f3d5c05-9beb-4a9c-9351-dbbd994e2fea", "object": "file", "bytes": 3}
    file |= {"created_at": 1, "filename": "f", "purpose": "fine-tune"}
    file |= {"sample_type": "instruct", "source": "upload"}
    assert spec.violations(sent, Answer(document=file)) == []
    assert spec.violations(sent, Answer(document={**file, "bytes": "many"}))
    undeclared = Request("POST", "/v1/fine_tuning/jobs", {}, headers, form)
    assert spec.violations(undeclared, answer)
