"""OpenAI's fine-tuning wire: files, jobs, events with metrics."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.support.emulators.core import Answer, Emulator, Request

_FILE = re.compile(r"/v1/files/(?P<id>[^/]+)")
_JOB = re.compile(r"/v1/fine_tuning/jobs/(?P<id>ftjob-[^/]+)(?P<rest>/events|/cancel)?")

CLOSED = "Fine-tuning is no longer available to new organizations. See the deprecations page."


@dataclass
class OpenAIJob:
    """`word`, when set, is its status whatever the time."""

    id: str
    wish: dict[str, Any]
    made: float
    word: str = ""


class OpenAIEmulator(Emulator):
    """Jobs check files for 10 s and run 200 s of emulated time, a step every 4 s.

    Attributes:
        closed: Whether a create is refused as it is to organisations that never tuned.
    """

    def __init__(self, *, speed: float = 60.0, skew: float = 0.0) -> None:
        super().__init__(speed=speed, skew=skew)
        self.key = "sk-proj-0123456789abcdef"
        self.files: dict[str, tuple[str, bytes]] = {}
        self.jobs: dict[str, OpenAIJob] = {}
        self.limit = 3
        self.closed = False

    def respond(self, request: Request) -> Answer:
        path = request.path
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _refuse(401, "Incorrect API key provided.", "invalid_api_key")
        if path == "/v1/models":
            model = {
                "id": "gpt-4o-mini-2024-07-18",
                "object": "model",
                "created": 1,
                "owned_by": "o",
            }
            return Answer(document={"object": "list", "data": [model]})
        if path == "/v1/files":
            if request.method == "POST":
                return self._upload(request.body)
            return Answer(document=_listed([self._file(each) for each in self.files]))
        if found := _FILE.fullmatch(path):
            known = found["id"] in self.files
            return (
                Answer(document=self._file(found["id"])) if known else _refuse(404, "No such File")
            )
        if path == "/v1/fine_tuning/jobs":
            if request.method == "POST":
                return self._create(request.json)
            jobs = sorted(self.jobs.values(), key=lambda job: -job.made)
            listed = [self._whole(job) for job in jobs]
            return Answer(document={"object": "list", "data": listed, "has_more": False})
        if (found := _JOB.fullmatch(path)) and (job := self.jobs.get(found["id"])):
            if found["rest"] == "/cancel":
                job.word = "cancelled"
            if found["rest"] == "/events":
                return self._page(self._events(job), request)
            return Answer(document=self._whole(job))
        return _refuse(404, f"no such page: {path}")

    def _upload(self, body: bytes) -> Answer:
        found = re.search(
            rb'filename="([^"]+)"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', body, re.DOTALL
        )
        assert found is not None
        file_id = f"file-{len(self.files) + 1}"
        self.files[file_id] = (found[1].decode(), found[2])
        return Answer(document=self._file(file_id))

    def _file(self, file_id: str) -> dict[str, Any]:
        name, content = self.files[file_id]
        lines = [line for line in content.decode("utf-8", "replace").splitlines() if line]
        empty = any(
            not str(turn.get("content", "")).strip()
            for line in lines
            for turn in json.loads(line).get("messages", [])
        )
        shown = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": 1_790_000_000,
            "filename": name,
            "purpose": "fine-tune",
            "status": "error" if empty else "processed",
        }
        if empty:
            shown["status_details"] = "Invalid file format. Line 1: a message has empty content."
        return shown

    def _create(self, wish: dict[str, Any]) -> Answer:
        if self.closed:
            return _refuse(403, CLOSED, "fine_tuning_closed")
        ended = ("succeeded", "failed", "cancelled")
        going = sum(self.status(job) not in ended for job in self.jobs.values())
        if going >= self.limit:
            words = "This fine-tune request has been rate-limited. Your organization has reached "
            return _refuse(
                429, f"{words}the maximum of {self.limit} active requests (running jobs)."
            )
        if wish["training_file"] not in self.files:
            return _refuse(400, "invalid training_file")
        job = OpenAIJob(f"ftjob-{len(self.jobs) + 1}", wish, self.now())
        self.jobs[job.id] = job
        return Answer(document=self._whole(job))

    def status(self, job: OpenAIJob) -> str:
        """Its status now."""
        age = self.now() - job.made
        known = "validating_files" if age < 10 else "running" if age < 210 else "succeeded"
        return job.word or known

    def _steps(self, job: OpenAIJob) -> int:
        return min(50, max(0, int((self.now() - job.made - 10) / 4)))

    def _whole(self, job: OpenAIJob) -> dict[str, Any]:
        status = self.status(job)
        done = status == "succeeded"
        wish = job.wish
        kind = wish["method"]["type"]
        base = wish["model"]
        return {
            "id": job.id,
            "object": "fine_tuning.job",
            "created_at": int(job.made),
            "error": None,
            "fine_tuned_model": f"ft:{base}:org:{wish['suffix']}:abc" if done else None,
            "finished_at": int(job.made + 210) if done else None,
            "estimated_finish": int(job.made + 210) if status == "running" else None,
            "hyperparameters": {"n_epochs": wish["method"][kind]["hyperparameters"]["n_epochs"]},
            "model": base,
            "organization_id": "org-1",
            "result_files": [],
            "seed": 1,
            "status": status,
            "trained_tokens": 4200 if done else None,
            "training_file": wish["training_file"],
            "validation_file": wish.get("validation_file"),
            "metadata": wish.get("metadata"),
            "method": wish["method"],
        }

    def _events(self, job: OpenAIJob) -> list[dict[str, Any]]:
        def event(number: int, message: str, kind: str, data: Any) -> dict[str, Any]:
            return {
                "id": f"ftevent-{number}",
                "object": "fine_tuning.job.event",
                "created_at": int(job.made) + number,
                "level": "info",
                "message": message,
                "type": kind,
                "data": data,
            }

        said = [event(0, "Created fine-tuning job", "message", {})]
        for step in range(1, self._steps(job) + 1):
            loss = round(2.4 / (1 + step / 10), 4)
            data = {"step": step, "train_loss": loss, "total_steps": 50}
            if step % 10 == 0:
                data["full_valid_loss"] = loss + 0.2
            said.append(event(step, f"Step {step}/50: training loss={loss}", "metrics", data))
        if self.status(job) == "succeeded":
            said.append(event(99, "The job has successfully completed", "message", {}))
        return said[::-1]

    @staticmethod
    def _page(events: list[dict[str, Any]], request: Request) -> Answer:
        limit = int((request.query.get("limit") or ["20"])[0])
        if after := (request.query.get("after") or [""])[0]:
            ids = [each["id"] for each in events]
            events = events[ids.index(after) + 1 :] if after in ids else []
        page = events[:limit]
        more = len(events) > limit
        return Answer(document={"object": "list", "data": page, "has_more": more})


def _listed(data: list[dict[str, Any]]) -> dict[str, Any]:
    ids = [each["id"] for each in data] or [""]
    return {
        "object": "list",
        "data": data,
        "has_more": False,
        "first_id": ids[0],
        "last_id": ids[-1],
    }


def _refuse(status: int, words: str, code: str = "") -> Answer:
    return Answer(
        status, {"error": {"message": words, "type": "invalid_request_error", "code": code}}
    )
