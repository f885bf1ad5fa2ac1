"""Mistral's fine-tuning wire: files, jobs that wait to be started, checkpoints."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.support.emulators.core import Answer, Emulator, Request

_JOB = re.compile(r"/v1/fine_tuning/jobs/(?P<id>[^/]+)(?P<rest>/start|/cancel)?")
_FORM_FILE = re.compile(rb'filename="([^"]+)"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', re.DOTALL)
_ENDED = ("SUCCESS", "FAILED", "FAILED_VALIDATION", "CANCELLED")
_STEPS = 40

CLOSED = "Model not available for this type of fine-tuning (completion)."
CONCURRENT = "You have reached the limit of 2 concurrent fine-tuning jobs."
TRIAL = "Your trial quota for fine-tuning is used up. Add a payment method."
EPOCHS = "The number of epochs (253.0) exceeds the limit of 100."
EMPTY = "Invalid file format: line 1: an assistant message must have content."


@dataclass
class MistralJob:
    """`word`, when set, is its status whatever the time; `refusal`: why its check fails."""

    id: str
    wish: dict[str, Any]
    made: float
    refusal: str = ""
    started: float | None = None
    word: str = ""
    data_tokens: int = 0
    history: list[tuple[str, int]] = field(default_factory=list)


class MistralEmulator(Emulator):
    """Jobs are checked for 10 s, wait to be started, and run 200 s of emulated time.

    Attributes:
        closed: Whether a job is refused as every model was since March 2026.
        limit: Started jobs at once; the check of one more fails.
        trial: Jobs that the trial allows in all, or None.
        currency: Of the prices.
    """

    def __init__(self, *, speed: float = 60.0, skew: float = 0.0) -> None:
        super().__init__(speed=speed, skew=skew)
        self.key = "mistral0123456789abcdef"
        self.files: dict[str, tuple[str, bytes]] = {}
        self.jobs: dict[str, MistralJob] = {}
        self.closed = False
        self.limit = 2
        self.trial: int | None = None
        self.currency = "USD"
        self.tunable = True

    def respond(self, request: Request) -> Answer:
        path = request.path
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return Answer(401, {"detail": "Unauthorized"})
        if path == "/v1/models":
            return Answer(document={"object": "list", "data": [self._model()]})
        if path == "/v1/files":
            return self._upload(request.body) if request.method == "POST" else self._list(request)
        if path == "/v1/fine_tuning/jobs":
            return self._create(request.json) if request.method == "POST" else self._page(request)
        found = _JOB.fullmatch(path)
        job = self.jobs.get(found["id"]) if found else None
        if found is None or job is None:
            return Answer(404, {"detail": "No fine tuning job matches the given query."})
        if found["rest"] == "/start":
            if self.status(job) != "VALIDATED":
                return Answer(422, {"detail": f"Job is {self.status(job)}, not VALIDATED."})
            job.started = self.now()
        elif found["rest"] == "/cancel":
            job.word = "CANCELLED"
        return Answer(document=self._whole(job) | self._details(job))

    def status(self, job: MistralJob) -> str:
        """Its status now."""
        if job.word:
            return job.word
        if job.started is None:
            age = self.now() - job.made
            if age < 2:
                return "QUEUED"
            if age < 10:
                return "VALIDATING"
            return "FAILED_VALIDATION" if job.refusal else "VALIDATED"
        age = self.now() - job.started
        return "QUEUED" if age < 5 else "RUNNING" if age < 205 else "SUCCESS"

    def _model(self) -> dict[str, Any]:
        capabilities = {"completion_chat": True, "fine_tuning": self.tunable}
        return {"id": "open-mistral-7b", "type": "base", "capabilities": capabilities}

    def _upload(self, body: bytes) -> Answer:
        found = _FORM_FILE.search(body)
        assert found is not None
        rows = [json.loads(line) for line in found[2].splitlines() if line]
        turns = [turn for row in rows for turn in row["messages"]]
        if any(not turn["content"].strip() for turn in turns):
            return Answer(422, {"detail": EMPTY})
        file_id = str(uuid.uuid4())
        self.files[file_id] = (found[1].decode(), found[2])
        return Answer(document=self._file(file_id))

    def _file(self, file_id: str) -> dict[str, Any]:
        name, content = self.files[file_id]
        return {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": 1_790_000_000,
            "filename": name,
            "purpose": "fine-tune",
            "sample_type": "instruct",
            "source": "upload",
            "num_lines": content.count(b"\n"),
        }

    def _list(self, request: Request) -> Answer:
        part = (request.query.get("search") or [""])[0]
        found = [self._file(each) for each, (name, _) in self.files.items() if part in name]
        return Answer(document={"object": "list", "data": found, "total": len(found)})

    def _create(self, wish: dict[str, Any]) -> Answer:
        if self.closed:
            return Answer(422, {"detail": CLOSED})
        file_id = wish["training_files"][0]["file_id"]
        if file_id not in self.files:
            words = {"loc": ["body", "training_files"], "msg": f"no file {file_id}"}
            return Answer(422, {"detail": [words]})
        if (wish["hyperparameters"].get("epochs") or 1) > 100:
            return Answer(422, {"detail": EPOCHS})
        job = MistralJob(str(uuid.uuid4()), wish, self.now())
        job.data_tokens = len(self.files[file_id][1]) // 4
        going = [each for each in self.jobs.values() if each.started is not None]
        if self.trial is not None and len(going) >= self.trial:
            job.refusal = TRIAL
        elif sum(self.status(each) not in _ENDED for each in going) >= self.limit:
            job.refusal = CONCURRENT
        self.jobs[job.id] = job
        return Answer(document=self._whole(job))

    def _page(self, request: Request) -> Answer:
        page, size = (int(request.query[name][0]) for name in ("page", "page_size"))
        jobs = sorted(self.jobs.values(), key=lambda job: -job.made)
        listed = [self._whole(job) for job in jobs[page * size : (page + 1) * size]]
        return Answer(document={"object": "list", "data": listed, "total": len(jobs)})

    def cost(self, job: MistralJob) -> float:
        """Four dollars, and two a million tokens."""
        epochs = job.wish["hyperparameters"].get("epochs") or 1
        return 4.0 + 2e-6 * job.data_tokens * epochs

    def _whole(self, job: MistralJob) -> dict[str, Any]:
        status = self.status(job)
        checked = status not in ("QUEUED", "VALIDATING") or job.started is not None
        done = status == "SUCCESS"
        wish, tokens = job.wish, int(job.data_tokens * job.wish["hyperparameters"].get("epochs", 1))
        return {
            "id": job.id,
            "object": "job",
            "job_type": "completion",
            "auto_start": wish["auto_start"],
            "model": wish["model"],
            "status": status,
            "created_at": int(job.made),
            "modified_at": int(job.started or job.made),
            "training_files": [each["file_id"] for each in wish["training_files"]],
            "validation_files": wish.get("validation_files") or [],
            "hyperparameters": wish["hyperparameters"]
            | ({"training_steps": _STEPS} if checked else {}),
            "fine_tuned_model": f"ft:{wish['model']}:org:{wish['suffix']}:abc" if done else None,
            "suffix": wish["suffix"],
            "integrations": [],
            "trained_tokens": tokens if done else None,
            "metadata": {
                "expected_duration_seconds": 200 if checked else None,
                "cost": self.cost(job) if checked else None,
                "cost_currency": self.currency if checked else None,
                "train_tokens": tokens if checked else None,
            },
        }

    def _details(self, job: MistralJob) -> dict[str, Any]:
        """Events and checkpoints, the newest first as the vendor lists them."""
        status = self.status(job)
        if [status] != [word for word, _ in job.history[-1:]]:
            job.history.append((status, int(self.now())))
        events = []
        for word, at in job.history:
            data = {"status": word}
            if word.startswith("FAILED"):
                data["error"] = job.refusal or "out of memory"
            events.append({"name": "status-updated", "created_at": at, "data": data})
        age = 0.0 if job.started is None else self.now() - job.started - 5
        checkpoints = []
        for step in range(4, min(_STEPS, int(age / 5)) + 1, 4):
            loss = round(2.4 / (1 + step / 10), 4)
            point = {"train_loss": loss, "valid_loss": round(loss + 0.2, 4)}
            checkpoints.append({"step_number": step, "created_at": int(job.made), "metrics": point})
        return {"events": events[::-1], "checkpoints": checkpoints[::-1]}
