"""The service of docs/providers.md's worked example, on loopback."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.support.emulators.core import Answer, Emulator, Request

_JOB = re.compile(r"/jobs/(?P<id>[^/]+)(?P<stop>/stop)?")


@dataclass
class AcmeJob:
    """`word`, when set, is its state whatever the time."""

    id: str
    name: str
    base: str
    made: float
    rows: int
    word: str = ""


class AcmeEmulator(Emulator):
    """Jobs wait 5 s and work 60 s of emulated time, a loss a second.

    Attributes:
        limit: Jobs at once; one more is refused in the words of design §1.
        trial: Jobs that the trial allows in all, or None.
        key: The one that is accepted.
    """

    def __init__(self, *, speed: float = 60.0, skew: float = 0.0) -> None:
        super().__init__(speed=speed, skew=skew)
        self.files: dict[str, bytes] = {}
        self.jobs: dict[str, AcmeJob] = {}
        self.limit = 100
        self.trial: int | None = None
        self.key = "acme-key-0123456789"

    def status(self, job: AcmeJob) -> str:
        age = self.now() - job.made
        return job.word or ("waiting" if age < 5 else "working" if age < 65 else "done")

    def respond(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return Answer(401, {"error": "this key is not known"})
        path = request.path
        if path == "/me":
            return Answer(document={"id": "acct-1", "may_tune": True, "says": "welcome"})
        if path == "/models":
            return Answer(document={"models": ["acme-7b"]})
        if request.method == "PUT" and path.startswith("/files/"):
            self.files[path.rpartition("/")[2]] = request.body
            return Answer(document={"id": path.rpartition("/")[2]})
        if path == "/jobs":
            return self._create(request) if request.method == "POST" else self._list()
        if (found := _JOB.fullmatch(path)) and (job := self.jobs.get(found["id"])):
            if found["stop"]:
                job.word = "stopped" if self.status(job) != "done" else "done"
                return Answer(document={})
            return Answer(document=self._whole(job, int(request.query.get("after", ["0"])[0])))
        return Answer(404, {"error": f"no such thing: {path}"})

    def _list(self) -> Answer:
        return Answer(document={"jobs": [self._brief(job) for job in self.jobs.values()]})

    def _create(self, request: Request) -> Answer:
        wish: dict[str, Any] = request.json
        open_jobs = sum(self.status(job) in ("waiting", "working") for job in self.jobs.values())
        if open_jobs >= self.limit:
            words = f"You have reached the limit of {self.limit} concurrent fine-tuning jobs"
            return Answer(429, {"code": "too_many_jobs", "error": words})
        if self.trial is not None and len(self.jobs) >= self.trial:
            words = "Your trial allows no further fine-tuning jobs. Add a payment method."
            return Answer(402, {"code": "trial", "error": words})
        content = self.files.get(wish["file"])
        if content is None:
            return Answer(422, {"error": f"no file {wish['file']}"})
        job = AcmeJob(
            f"job-{len(self.jobs) + 1}", wish["name"], wish["base"], self.now(), len(content)
        )
        self.jobs[job.id] = job
        return Answer(document=self._brief(job))

    def _brief(self, job: AcmeJob) -> dict[str, Any]:
        return {"id": job.id, "name": job.name, "base": job.base, "status": self.status(job)}

    def _whole(self, job: AcmeJob, after: int) -> dict[str, Any]:
        steps = min(60, max(0, int(self.now() - job.made - 5)))
        done = self.status(job) == "done"
        return self._brief(job) | {
            "says": "",
            "usd": round(steps * 0.01, 2),
            "model": f"tuned-{job.id}" if done else "",
            "losses": [
                {"step": step, "loss": round(2.0 / (1 + step / 10), 4)}
                for step in range(after + 1, steps + 1)
            ],
        }
