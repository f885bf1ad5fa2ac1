"""The check of AWS exchanges must itself be able to fail."""

from __future__ import annotations

import json

import pytest

from tests.support.emulators.core import Answer, Request
from tests.support.emulators.service_model import JsonService

_HEADERS = {"authorization": "Credential=AKIA/20261122/us-east-1/bedrock/aws4_request"}
_ARN = "arn:aws:bedrock:us-east-1:123456789012:model-customization-job/amazon.nova-x/abcdef012345"
_GOOD = {
    "jobName": "k3f-conv",
    "customModelName": "k3f-conv",
    "clientRequestToken": "k3f-conv",
    "roleArn": "arn:aws:iam::123456789012:role/waltzrl",
    "baseModelIdentifier": "amazon.nova-micro-v1:0:128k",
    "customizationType": "FINE_TUNING",
    "trainingDataConfig": {"s3Uri": "s3://bucket/waltzrl/files/x.jsonl"},
    "outputDataConfig": {"s3Uri": "s3://bucket/waltzrl/out/"},
    "hyperParameters": {"epochCount": "2"},
}


def _violations(
    body: object = None, answer: Answer | None = None, path: str = "/model-customization-jobs"
) -> list[str]:
    method = "GET" if body is None else "POST"
    content = b"" if body is None else json.dumps(body).encode()
    asked = Request(method, path, {}, _HEADERS, content)
    answer = answer or Answer(201, {"jobArn": _ARN})
    return JsonService("bedrock", "bedrock").violations(asked, answer)


def test_a_good_exchange_passes_and_another_service_is_let_be() -> None:
    assert _violations(_GOOD) == []
    other = {"authorization": "Credential=AKIA/20261122/us-east-1/s3/aws4_request"}
    asked = Request("PUT", "/bucket", {}, other, b"")
    assert JsonService("bedrock", "bedrock").violations(asked, Answer()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"jobName": "a b"}, "pattern"),
        ({"jobName": "x" * 64}, "limits"),
        ({"customizationType": "TUNING"}, "none of"),
        ({"hyperParameters": {"epochCount": 2}}, "no string"),
        ({"outputDataConfig": {"uri": "s3://bucket"}}, "not known"),
        ({"validationDataConfig": {}}, "required"),
        ({"seed": 1}, "not known"),
    ],
)
def test_a_request_that_does_not_fit_is_told(change: dict[str, object], words: str) -> None:
    found = _violations({**_GOOD, **change})
    assert any(words in each for each in found)


def test_an_answer_or_a_path_that_does_not_fit_is_told() -> None:
    assert "not 201" in _violations(_GOOD, Answer(200, {"jobArn": _ARN}))[0]
    assert "required" in _violations(_GOOD, Answer(201, {}))[0]
    assert "pattern" in _violations(_GOOD, Answer(201, {"jobArn": "arn:1"}))[0]
    assert "no operation" in _violations(path="/model-customisation-jobs")[0]
