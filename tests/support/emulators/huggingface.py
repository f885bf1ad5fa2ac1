"""Hugging Face's wire as training there uses it: accounts, repositories, Jobs with their logs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from tests.support.emulators.core import Answer, Emulator, Request

_REPO = r"(?P<kind>datasets|models)/(?P<repo>[^/]+/[^/]+)"
_INFO = re.compile(rf"/api/{_REPO}(?:/revision/[^/]+)?")
_ACT = re.compile(rf"/api/{_REPO}/(?P<act>preupload|commit|tree)/[^/]+")
_FILE = re.compile(r"/(?P<data>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/[^/]+/(?P<path>.+)")
_JOBS = re.compile(r"/api/jobs/(?P<account>[^/]+)(?:/(?P<id>[^/]+))?(?:/(?P<act>logs|cancel))?")
_ENDED = ("COMPLETED", "ERROR", "CANCELED", "DELETED")
_STEPS = 20

_SAID_AT = "2026-01-01T00:00:00.000Z"  # the client stops at lines later than the answer's Date

NO_CREDIT = (
    "Pre-paid credit balance is insufficient - add more credits to your account to use Jobs."
)
BUSY = "You have reached the maximum number of concurrent jobs for your account."
HARDWARE = {
    "cpu-basic": 0.000167,
    "l4x1": 0.013333,
    "a10g-small": 0.016667,
    "l40sx1": 0.03,
    "a100-large": 0.041667,
    "h200": 0.083333,
}
"""USD a minute."""


@dataclass
class Repository:
    """`private` as its maker wished it. Commits are told apart by their content."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


@dataclass
class HubJob:
    """`word`, when set, is its stage whatever the time; `log`: its lines, made up without."""

    id: str
    wish: dict[str, Any]
    made: float
    word: str = ""
    message: str | None = None
    log: list[str] | None = None
    stopped: float | None = None


class HuggingFaceEmulator(Emulator):
    """Jobs are scheduled for 10 s and run 200 s of emulated time; then there is an adapter.

    Attributes:
        who: What whoami tells besides the name.
        limit: Unfinished jobs at once, or None. `broke`: no credit is left.
        page: Jobs on one page. `narrows`: Whether a list is narrowed by a label.
        kept: Whether logs are still there.
        adapter: Files that a job which ends puts into its repository; none makes none.
    """

    def __init__(self, *, speed: float = 60.0, skew: float = 0.0) -> None:
        super().__init__(speed=speed, skew=skew)
        self.key = "hf_0123456789abcdefghijABCDEFGHIJ"
        self.account = "ada"
        self.who: dict[str, Any] = {"isPro": False, "canPay": True}
        self.role = "write"
        self.repos: dict[tuple[str, str], Repository] = {}
        self.jobs: dict[str, HubJob] = {}
        self.limit: int | None = None
        self.broke = False
        self.page = 30
        self.narrows = True
        self.kept = True
        self.adapter = {name: name.encode() for name in _ADAPTER}

    def respond(self, request: Request) -> Answer:
        path = unquote(request.path)
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _refused(401, "Invalid credentials in Authorization header")
        if path == "/api/whoami-v2":
            token = {"displayName": "laptop", "role": self.role}
            auth = {"type": "access_token", "accessToken": token}
            named = {"type": "user", "name": self.account, "orgs": [], "auth": auth}
            return Answer(document=named | self.who)
        if path == "/api/models":
            return Answer(document=[{"id": "Qwen/Qwen3-8B"}, {"id": "Qwen/Qwen3-1.7B"}])
        if path == "/api/jobs/hardware":
            return Answer(document=[_hardware(name, usd) for name, usd in HARDWARE.items()])
        if path == "/api/repos/create":
            return self._create_repo(request.json)
        if found := _JOBS.fullmatch(path):
            return self._jobs(request, found["account"], found["id"] or "", found["act"] or "")
        if found := _INFO.fullmatch(path):
            return self._about(found["kind"], found["repo"])
        if found := _ACT.fullmatch(path):
            return self._act(request, found["kind"], found["repo"], found["act"])
        if found := _FILE.fullmatch(path):
            kind = "datasets" if found["data"] else "models"
            return self._file(kind, found["repo"], found["path"])
        return _refused(404, "Sorry, we can't find the page you are looking for.")

    # ------------------------------------------------------------------- repositories
    def _create_repo(self, wish: dict[str, Any]) -> Answer:
        name = f"{wish['organization'] or self.account}/{wish['name']}"
        kind = f"{wish.get('type', 'model')}s"
        if (kind, name) in self.repos:
            document = {"error": "You already created this repo", "url": f"{self.url}/{name}"}
            return Answer(409, document)
        self.repos[kind, name] = Repository(wish.get("visibility") == "private")
        return Answer(document={"url": f"{self.url}/{name}", "name": name})

    def _about(self, kind: str, name: str) -> Answer:
        held = self.repos.get((kind, name))
        if held is None:
            return _refused(404, "Repository not found", code="RepoNotFound")
        siblings = [
            {"rfilename": path, "size": len(content)} for path, content in held.files.items()
        ]
        return Answer(
            document={"id": name, "sha": held.sha, "private": held.private, "siblings": siblings}
        )

    def _act(self, request: Request, kind: str, name: str, act: str) -> Answer:
        held = self.repos.get((kind, name))
        if held is None:
            return _refused(404, "Repository not found", code="RepoNotFound")
        if act == "tree":
            listed = [
                {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
                for path, content in held.files.items()
            ]
            return Answer(document=listed)
        if act == "preupload":
            asked = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in request.json["files"]
            ]
            return Answer(document={"files": asked})
        for line in request.body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                held.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        return Answer(
            document={"commitUrl": f"{self.url}/{name}/commit/{held.sha}", "commitOid": held.sha}
        )

    def _file(self, kind: str, name: str, path: str) -> Answer:
        held = self.repos.get((kind, name))
        content = held.files.get(path) if held else None
        if held is None or content is None:
            return _refused(404, "Entry not found", code="EntryNotFound")
        headers = {
            "X-Repo-Commit": held.sha,
            "ETag": f'"{_oid(content)}"',
            "Content-Type": "application/octet-stream",
        }
        return Answer(headers=headers, raw=content)

    # --------------------------------------------------------------------------- jobs
    def _jobs(self, request: Request, account: str, job_id: str, act: str) -> Answer:
        if account != self.account:
            return _refused(403, "You don't have access to the Jobs of this namespace")
        if not job_id:
            return self._start(request.json) if request.method == "POST" else self._list(request)
        job = self.jobs.get(job_id)
        if job is None:
            return _refused(404, "Job not found")
        if act == "logs":
            if not self.kept:
                return _refused(404, "Logs are not available any more")
            return self._log(job, request)
        if act == "cancel":
            if self.stage(job) in _ENDED:
                return _refused(400, "Job is not running")
            job.word, job.stopped = "CANCELED", self.now()
        return Answer(document=self._whole(job))

    def _start(self, wish: dict[str, Any]) -> Answer:
        if self.broke:
            return _refused(402, NO_CREDIT)
        if wish["flavor"] not in HARDWARE:
            return _refused(400, f"Invalid flavor: {wish['flavor']}")
        going = sum(self.stage(each) not in _ENDED for each in self.jobs.values())
        if self.limit is not None and going >= self.limit:
            return _refused(429, BUSY)
        job = HubJob(uuid.uuid4().hex[:24], wish, self.now())
        self.jobs[job.id] = job
        return Answer(document=self._whole(job))

    def stage(self, job: HubJob) -> str:
        """Its stage now."""
        if job.word:
            return job.word
        age = self.now() - job.made
        if age < 10:
            return "SCHEDULING"
        if age < min(210, 10 + job.wish.get("timeoutSeconds", 1800)):
            return "RUNNING"
        if age < 210:
            job.word, job.message = "ERROR", "Job timeout"
            return job.word
        job.word = "COMPLETED"
        if self.adapter:
            result = json.loads(job.wish["environment"]["WALTZRL_JOB"])["result"]
            self.repos["models", result] = Repository(True, dict(self.adapter))
        return job.word

    def _list(self, request: Request) -> Answer:
        asked = request.query.get("label", []) if self.narrows else []
        wanted = dict(each.split("=", 1) for each in asked)
        found = [
            job
            for job in sorted(self.jobs.values(), key=lambda job: -job.made)
            if wanted.items() <= job.wish.get("labels", {}).items()
        ]
        first = int(request.query.get("cursor", ["0"])[0])
        listed = [self._whole(job) for job in found[first : first + self.page]]
        headers = {}
        if len(found) > first + self.page:
            label = "".join(f"&label={name}={value}" for name, value in wanted.items())
            there = f"{self.url}{request.path}?cursor={first + self.page}{label}"
            headers["Link"] = f'<{there}>; rel="next"'
        return Answer(document=listed, headers=headers)

    def _whole(self, job: HubJob) -> dict[str, Any]:
        stage, wish = self.stage(job), job.wish
        ran = min(200.0, max(0.0, (job.stopped or self.now()) - job.made - 10))
        return {
            "id": job.id,
            "createdAt": _iso(job.made),
            "startedAt": _iso(job.made + 10) if ran else None,
            "finishedAt": _iso(job.made + 10 + ran) if stage in _ENDED else None,
            "dockerImage": wish.get("dockerImage"),
            "command": wish["command"],
            "arguments": wish["arguments"],
            "environment": wish["environment"],
            # Names only: what is in them cannot be read back.
            "secrets": list(wish.get("secrets", {})),
            "flavor": wish["flavor"],
            "labels": wish.get("labels"),
            "status": {"stage": stage, "message": job.message},
            "durations": {
                "schedulingSecs": 10 if ran else None,
                "runningSecs": int(ran) if ran else None,
                "totalSecs": int(self.now() - job.made),
            },
            "owner": {"id": "5e9ecfc0", "name": self.account, "type": "user"},
        }

    def _log(self, job: HubJob, request: Request) -> Answer:
        lines = job.log if job.log is not None else self._made_up(job)
        tail = int(request.query.get("tail", ["0"])[0])
        events = "".join(
            f"data: {json.dumps({'timestamp': _SAID_AT, 'data': line})}\n\n"
            for line in ["===== Job started =====", *lines][-tail:]
        )
        return Answer(headers={"Content-Type": "text/event-stream"}, raw=events.encode())

    def _made_up(self, job: HubJob) -> list[str]:
        """Lines as the worker prints them: a step in every 10 s."""
        lines = ["Installed 57 packages in 9.31s"]
        rows: list[dict[str, Any]] = [
            {"kind": "note", "text": "12 rows, 300 tokens an epoch", "level": "info"}
        ]
        for step in range(1, min(_STEPS, int((self.now() - job.made - 10) / 10)) + 1):
            loss = round(2.4 / (1 + step / 10), 4)
            row = {"kind": "step", "step": step, "total_steps": _STEPS, "loss": loss}
            row |= {"valid_loss": loss + 0.2 if step % 4 == 0 else None, "learning_rate": 5e-4}
            row |= {"tokens": step * 45, "tokens_per_second": 4100.0, "epoch": step * 3 / _STEPS}
            rows.append(row | {"eta_seconds": (_STEPS - step) * 10.0})
        if self.stage(job) == "COMPLETED":
            rows.append({"kind": "result", "repo": "ada/somewhere"})
        lines += [f"@waltzrl {json.dumps({'row': n, **row})}" for n, row in enumerate(rows, 1)]
        return lines


_ADAPTER: Sequence[str] = ("adapter_config.json", "adapter_model.safetensors", "adapter.gguf")


def _hardware(name: str, usd: float) -> dict[str, Any]:
    gpu = {"type": "gpu", "model": name, "quantity": "1", "vram": "24 GB", "manufacturer": "Nvidia"}
    return {
        "name": name,
        "prettyName": name.title(),
        "cpu": "4 vCPU",
        "ram": "15 GB",
        "ephemeralStorage": "110 GB",
        "accelerator": None if name.startswith("cpu") else gpu,
        "unitCostMicroUSD": round(usd * 1e6),
        "unitCostUSD": usd,
        "unitLabel": "minute",
    }


def _refused(status: int, words: str, *, code: str = "") -> Answer:
    headers = {"X-Error-Message": words, **({"X-Error-Code": code} if code else {})}
    return Answer(status, {"error": words}, headers=headers)


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
