"""Fireworks' gateway, as SDK 1.2 speaks it: accounts, datasets, SFT and DPO jobs, deployments.

As the vendor's own it leaves out of its answers what is empty, zero or false.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.support.emulators.core import Answer, Emulator, Request

_SIGNED = re.compile(r"/signed/(?P<kind>metrics|log|upload)/(?P<id>.+)")
_PLACE = re.compile(
    r"/v1/accounts/(?P<account>[^/:]+)"
    r"(?:/(?P<kind>[A-Za-z]+)(?:/(?P<id>[^/:]+))?)?(?::(?P<verb>[A-Za-z]+))?"
)
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_CODES = {400: 3, 401: 16, 404: 5, 409: 6, 412: 9, 429: 8}
_STEPS = 60

SUSPENDED = (
    "Account acme is suspended, possibly due to reaching the monthly spending limit or failure to "
    "pay past invoices. Please go to https://fireworks.ai/account/billing for more information."
)
BEYOND = ("GET /v1/accounts", "GET /v1/accounts/[^/]+", "(?:GET|PUT) /signed/.*")
"""What of this is not in the vendor's document."""


@dataclass
class FireworksDataset:
    """`sent`: when its file came whole, None before."""

    id: str
    made: float
    content: bytes = b""
    sent: float | None = None


@dataclass
class FireworksJob:
    """`word`, when set, is its state whatever the time, without JOB_STATE_."""

    id: str
    kind: str
    wish: dict[str, Any]
    made: float
    word: str = ""
    said: str = ""


@dataclass
class FireworksDeployment:
    id: str
    wish: dict[str, Any]
    made: float
    word: str = ""


class FireworksEmulator(Emulator):
    """Jobs wait 20 s, run 60 steps of `step_seconds` each, and write their result for 10 s.

    Attributes:
        key: The one that is accepted.
        accounts: That it belongs to; the first is the one that works.
        limit: Jobs at once; one more is refused. suspended: As after the last dollar.
        price: Of 1M tokens, USD. page: Rows of a list at once, at most.
        never_ready: Deployments stay in the making.
    """

    def __init__(self, *, speed: float = 60.0, skew: float = 0.0) -> None:
        super().__init__(speed=speed, skew=skew)
        self.key = "fw_0123456789abcdef"
        self.accounts = ["acme"]
        self.datasets: dict[str, FireworksDataset] = {}
        self.jobs: dict[str, FireworksJob] = {}
        self.deployments: dict[str, FireworksDeployment] = {}
        self.limit = 100
        self.suspended = False
        self.price = 0.50
        self.page = 200
        self.step_seconds = 4.0
        self.never_ready = False

    def respond(self, request: Request) -> Answer:
        if found := _SIGNED.fullmatch(request.path):
            return self._signed(found["kind"], found["id"], request)
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _refuse(401, "The API key you provided is invalid.")
        if request.path == "/v1/accounts":
            return Answer(document={"accounts": [self._account(each) for each in self.accounts]})
        found = _PLACE.fullmatch(request.path)
        if found is None or (found["account"] not in (*self.accounts, "fireworks")):
            return _refuse(404, "not found")
        kind, name, verb = found["kind"] or "", found["id"] or "", found["verb"] or ""
        if not kind:
            return Answer(document=self._account(found["account"]))
        if self.suspended and request.method == "POST":
            return _refuse(412, SUSPENDED)
        if kind == "models":
            return self._listed("models", _MODELS, request)
        if kind == "datasets":
            return self._dataset(name, verb, request)
        if kind in ("supervisedFineTuningJobs", "dpoJobs"):
            return self._tuning(kind, name, verb, request)
        if kind == "deployments":
            return self._deploying(name, request)
        return _refuse(404, f"no such page: {request.method} {request.path}")

    def _account(self, name: str) -> dict[str, Any]:
        shown = {"name": f"accounts/{name}", "email": "me@example.com", "state": "READY"}
        if self.suspended:
            shown["suspendState"] = "MONTHLY_SPEND_LIMIT_EXCEEDED"
        return shown

    def _name(self, kind: str, name: str) -> str:
        return f"accounts/{self.accounts[0]}/{kind}/{name}"

    def _listed(self, kind: str, rows: Iterable[dict[str, Any]], request: Request) -> Answer:
        asked = {name: values[0] for name, values in request.query.items()}
        rows = sorted(
            rows,
            key=lambda row: str(row.get("createTime", "")),
            reverse=asked.get("orderBy") == "create_time desc",
        )
        size = min(self.page, int(asked.get("pageSize", 50)))
        start = int(asked.get("pageToken", 0))
        document: dict[str, Any] = {"totalSize": len(rows)}
        if part := rows[start : start + size]:
            document[kind] = part
        if start + size < len(rows):
            document["nextPageToken"] = str(start + size)
        return Answer(document=document)

    # Datasets ----------------------------------------------------------------------------------

    def _dataset(self, name: str, verb: str, request: Request) -> Answer:
        if not name:
            made = FireworksDataset(request.json["datasetId"], self.now())
            if made.id in self.datasets:
                return _refuse(409, f"dataset {made.id} already exists")
            self.datasets[made.id] = made
            return Answer(document=self._shown(made))
        dataset = self.datasets.get(name)
        if dataset is None:
            return _refuse(404, f"dataset {name} not found")
        if verb == "upload":
            self._filled(dataset, _form_file(request.body))
            size = len(dataset.content)
            return Answer(document={"id": name, "object": "file", "bytes": size})
        if verb == "getUploadEndpoint":
            place = f"{self.url}/signed/upload/{name}"
            urls = dict.fromkeys(request.json["filenameToSize"], place)
            return Answer(document={"filenameToSignedUrls": urls})
        if verb == "validateUpload":
            if not dataset.content:
                return _refuse(400, "no file was uploaded")
            dataset.sent = self.now()
            return Answer(document={})
        return Answer(document=self._shown(dataset))

    def _filled(self, dataset: FireworksDataset, content: bytes) -> None:
        dataset.content, dataset.sent = content, self.now()

    def _shown(self, dataset: FireworksDataset) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "name": self._name("datasets", dataset.id),
            "createTime": _iso(dataset.made),
            "state": "UPLOADING",
            "userUploaded": {},
        }
        if dataset.sent is not None and self.now() - dataset.sent > 3:
            bad = _empty_reply(dataset.content)
            if bad:
                shown["status"] = {"code": "INVALID_ARGUMENT", "message": bad}
            else:
                shown["state"] = "READY"
                shown["estimatedTokenCount"] = str(len(dataset.content) // 4)
        return shown

    # Jobs --------------------------------------------------------------------------------------

    def _tuning(self, kind: str, name: str, verb: str, request: Request) -> Answer:
        if not name:
            if verb == "estimateCost":
                return Answer(document={"estimatedCost": self._money(request.json)})
            if request.method == "POST":
                key = "dpoJobId" if kind == "dpoJobs" else "supervisedFineTuningJobId"
                return self._create(kind, request.query[key][0], request.json)
            rows = [self._whole(job) for job in self.jobs.values() if job.kind == kind]
            return self._listed(kind, rows, request)
        job = self.jobs.get(name)
        if job is None or job.kind != kind:
            return _refuse(404, f"{kind} {name} not found")
        if verb == "cancel":
            job.word = "CANCELLED"
            return Answer(document={})
        if verb == "getMetricsFileEndpoint":
            return Answer(document={"signedUrl": f"{self.url}/signed/metrics/{job.id}"})
        return Answer(document=self._whole(job))

    def _create(self, kind: str, name: str, wish: dict[str, Any]) -> Answer:
        training = wish.get("trainingConfig", wish)
        if name in self.jobs:
            return _refuse(409, f"{kind} {name} already exists")
        if not _ID.fullmatch(name):
            return _refuse(400, f"invalid id: {name}")
        if int(training.get("epochs", 1)) > 100:
            return _refuse(400, "epochs must be at most 100")
        if wish["dataset"].rpartition("/")[2] not in self.datasets:
            return _refuse(400, f"dataset {wish['dataset']} is not ready")
        ended = ("COMPLETED", "FAILED", "CANCELLED")
        if sum(self.word(job) not in ended for job in self.jobs.values()) >= self.limit:
            return _refuse(429, f"at most {self.limit} concurrent fine-tuning jobs are allowed")
        job = FireworksJob(name, kind, wish, self.now())
        self.jobs[name] = job
        return Answer(document=self._whole(job))

    def word(self, job: FireworksJob) -> str:
        """Its state now, without JOB_STATE_."""
        age, trained = self.now() - job.made, 20 + _STEPS * self.step_seconds
        for until, word in ((5, "CREATING"), (20, "PENDING"), (trained, "RUNNING")):
            if age < until:
                return job.word or word
        return job.word or ("WRITING_RESULTS" if age < trained + 10 else "COMPLETED")

    def _steps(self, job: FireworksJob) -> int:
        return min(_STEPS, max(0, int((self.now() - job.made - 20) / self.step_seconds)))

    def _money(self, wish: dict[str, Any]) -> dict[str, Any]:
        dataset = self.datasets.get(wish["dataset"].rpartition("/")[2])
        tokens = (len(dataset.content) // 4 if dataset else 0) * int(wish.get("epochs", 1))
        nanos = round(tokens * self.price * 1000)
        return {
            "currencyCode": "USD",
            **({"units": str(nanos // 10**9)} if nanos >= 10**9 else {}),
            **({"nanos": nanos % 10**9} if nanos % 10**9 else {}),
        }

    def _whole(self, job: FireworksJob) -> dict[str, Any]:
        word, steps = self.word(job), self._steps(job)
        shown = {
            **job.wish,
            "name": self._name(job.kind, job.id),
            "createTime": _iso(job.made),
            "state": f"JOB_STATE_{word}",
            "status": {"code": "OK", **({"message": job.said} if job.said else {})},
        }
        if word != "CREATING":
            shown["trainerLogsSignedUrl"] = f"{self.url}/signed/log/{job.id}"
        if job.kind == "dpoJobs":
            return shown
        epochs = int(job.wish.get("epochs", 1))
        epoch, within = divmod(steps * epochs, _STEPS)
        if steps == _STEPS:
            epoch, within = epochs - 1, _STEPS
        progress = {"percent": 100 * within // _STEPS, "epoch": epoch, "inputTokens": 100 * steps}
        return shown | {
            "updateTime": _iso(self.now()),
            "jobProgress": {name: value for name, value in progress.items() if value},
            "estimatedCost": self._money(job.wish),
            "metricsFileSignedUrl": f"{self.url}/signed/metrics/{job.id}",
        }

    # Files behind signed addresses -------------------------------------------------------------

    def _signed(self, kind: str, name: str, request: Request) -> Answer:
        if "authorization" in request.headers:
            return _refuse(400, "Only one auth mechanism allowed")
        if kind == "upload":
            size = len(request.body)
            if request.headers.get("x-goog-content-length-range") != f"{size},{size}":
                return _refuse(403, "SignatureDoesNotMatch")
            self.datasets[name].content = request.body
            return Answer(raw=b"")
        job = self.jobs[name]
        lines = self._metrics(job) if kind == "metrics" else self._log(job)
        content = "".join(f"{line}\n" for line in lines).encode()
        if not content:
            return _refuse(404, "NoSuchKey")
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if asked is None:
            return Answer(raw=content)
        start, end = int(asked[1]), min(int(asked[2]) + 1, len(content))
        if start >= len(content):
            return Answer(416, raw=b"")
        span = f"bytes {start}-{end - 1}/{len(content)}"
        return Answer(206, headers={"Content-Range": span}, raw=content[start:end])

    def _metrics(self, job: FireworksJob) -> list[str]:
        lines = []
        for step in range(1, self._steps(job) + 1):
            loss = round(2.2 / (1 + step / 12) + 0.4, 4)
            lines.append(json.dumps({"step": step, "train/loss": loss, "train/lr": 1e-4}))
            if step % 20 == 0 and "evaluationDataset" in job.wish:
                lines.append(json.dumps({"step": step, "eval/loss": round(loss + 0.1, 4)}))
        return lines

    def _log(self, job: FireworksJob) -> list[str]:
        return [f"step {step} of {_STEPS}" for step in range(10, self._steps(job) + 1, 10)]

    # Deployments -------------------------------------------------------------------------------

    def _deploying(self, name: str, request: Request) -> Answer:
        if not name:
            if request.method == "POST":
                return self._deploy(request.query["deploymentId"][0], request.json)
            up = [each for each in self.deployments.values() if self._state(each) != "DELETED"]
            return self._listed("deployments", [self._deployment(each) for each in up], request)
        found = self.deployments.get(name)
        if found is None:
            return _refuse(404, f"deployment {name} not found")
        if request.method == "DELETE":
            if request.query.get("ignoreChecks") != ["true"]:
                return _refuse(400, "the deployment was used within the last hour")
            found.word = "DELETED"
            return Answer(document={})
        return Answer(document=self._deployment(found))

    def _deploy(self, name: str, wish: dict[str, Any]) -> Answer:
        if name in self.deployments:
            return _refuse(409, f"deployment {name} already exists")
        if not _ID.fullmatch(name):
            return _refuse(400, f"invalid id: {name}")
        made = FireworksDeployment(name, wish, self.now())
        self.deployments[name] = made
        return Answer(document=self._deployment(made))

    def _state(self, each: FireworksDeployment) -> str:
        ready = self.now() - each.made > 60 and not self.never_ready
        return each.word or ("READY" if ready else "CREATING")

    def _deployment(self, each: FireworksDeployment) -> dict[str, Any]:
        state = self._state(each)
        return each.wish | {
            "name": self._name("deployments", each.id),
            "createTime": _iso(each.made),
            "state": state,
            "replicaCount": 1 if state == "READY" else 0,
            "acceleratorType": "NVIDIA_H100_80GB",
            "acceleratorCount": 1,
        }


_MODELS = [
    {"name": "accounts/fireworks/models/qwen3-8b", "supervisedLoraTunable": True},
    {"name": "accounts/fireworks/models/llama-v3p3-70b-instruct", "tunable": True},
    {"name": "accounts/fireworks/models/flux-1-schnell"},
]


def _refuse(status: int, words: str) -> Answer:
    code = _CODES.get(status, 2)
    return Answer(status, {"code": code, "message": words, "details": []})


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _form_file(body: bytes) -> bytes:
    found = re.search(rb'filename="[^"]+"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', body, re.DOTALL)
    assert found is not None
    return found[1]


def _empty_reply(content: bytes) -> str:
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        turns = json.loads(line).get("messages", [])
        if any(not str(turn.get("content", "")).strip() for turn in turns):
            return f"Line {number}: a message has empty content."
    return ""
