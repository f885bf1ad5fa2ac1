"""Together's fine-tuning wire, as SDK 3.1 speaks it: files, jobs, events, metrics, deployments."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.support.emulators.core import Answer, Emulator, Request

_FILE = re.compile(r"/v1/files/(?P<id>[^/]+)(?P<rest>/preprocess)?")
_JOB = re.compile(r"/v1/fine-tunes/(?P<id>ft-[^/]+)(?P<rest>/events|/metrics|/cancel)?")
_DEPLOYMENTS = re.compile(r"/v2/projects/[^/]+/endpoints/(?P<endpoint>[^/]+)/deployments")
_DEPLOYMENT = re.compile(_DEPLOYMENTS.pattern + r"/(?P<id>[^/]+)")
_ENDPOINTS = re.compile(r"/v2/projects/[^/]+/endpoints")

TRIAL = (
    "This job would exceed your free trial credits. Please upgrade to a paid account through "
    "Settings -> Billing on api.together.ai to continue."
)


@dataclass
class TogetherFile:
    id: str
    name: str
    checksum: str
    content: bytes = b""
    sent: float = 0.0


@dataclass
class TogetherJob:
    """`word`, when set, is its status whatever the time."""

    id: str
    wish: dict[str, Any]
    made: float
    word: str = ""
    stopped_at: float | None = None


@dataclass
class TogetherDeployment:
    id: str
    endpoint: str
    name: str
    model: str
    made: float
    word: str = ""


class TogetherEmulator(Emulator):
    """Jobs wait 20 s and run 60 steps of `step_seconds` each of emulated time.

    Attributes:
        key: The one that is accepted.
        limit: Jobs at once; one more is refused. trial: Jobs in all, or None.
        allowed: What the estimate says of going on. price: Of 1M tokens, USD.
        bad_file: What the check says of every file, "" for nothing.
    """

    def __init__(self, *, speed: float = 60.0, skew: float = 0.0) -> None:
        super().__init__(speed=speed, skew=skew)
        self.key = "tgp_v1_0123456789abcdef"
        self.files: dict[str, TogetherFile] = {}
        self._sums: dict[str, str] = {}
        self.jobs: dict[str, TogetherJob] = {}
        self.endpoints: dict[str, str] = {}
        self.deployments: dict[str, TogetherDeployment] = {}
        self.limit = 100
        self.trial: int | None = None
        self.allowed = True
        self.price = 0.48
        self.bad_file = ""
        self.step_seconds = 4.0

    def respond(self, request: Request) -> Answer:
        path = request.path
        if request.method == "PUT" and path.startswith("/upload/"):
            return self._put(path.rpartition("/")[2], request.body)
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _refuse(401, "Invalid API key provided.")
        if path == "/v2/supported-models":
            return Answer(document={"data": [{"id": "m1", "name": "Qwen/Qwen3-8B"}], "next": ""})
        if path == "/v1/files" and request.method == "POST":
            return self._file(request)
        if found := _FILE.fullmatch(path):
            file = self.files.get(found["id"])
            return Answer(document=self._shown(file)) if file else _refuse(404, "No such file")
        if path == "/v1/fine-tunes/models/limits":
            return Answer(document=_LIMITS)
        if path == "/v1/fine-tunes/estimate-price":
            return self._estimate(request.json)
        if path == "/v1/fine-tunes":
            return self._create(request.json) if request.method == "POST" else self._list()
        if found := _JOB.fullmatch(path):
            job = self.jobs.get(found["id"])
            if job is None:
                return _refuse(404, "Fine-tune job not found")
            return self._job(job, found["rest"] or "", request)
        return self._deploying(request)

    def _file(self, request: Request) -> Answer:
        wish = request.json or _form(request.body)
        for file in self.files.values():
            if file.checksum and file.checksum == wish.get("checksum"):
                return Answer(409, {"file_id": file.id, "error": {"message": "exists"}})
        file = TogetherFile(f"file-{len(self.files) + 1}", wish["file_name"], "")
        self.files[file.id] = file
        # It counts as uploaded once its content has come.
        file.checksum = ""
        self._sums[file.id] = str(wish.get("checksum", ""))
        headers = {"Location": f"{self.url}/upload/{file.id}", "X-Together-File-Id": file.id}
        return Answer(302, headers=headers)

    def _put(self, file_id: str, content: bytes) -> Answer:
        file = self.files[file_id]
        file.content, file.sent = content, self.now()
        file.checksum = self._sums[file_id]
        return Answer(200)

    def _shown(self, file: TogetherFile) -> dict[str, Any]:
        checked = self.now() - file.sent > 5
        lines = [line for line in file.content.decode("utf-8", "replace").splitlines() if line]
        bad = self.bad_file or self._empty_reply(lines)
        status = "PENDING" if not checked else "INVALID_FORMAT" if bad else "COMPLETED"
        shown: dict[str, Any] = {
            "id": file.id,
            "bytes": len(file.content),
            "created_at": 1_790_000_000,
            "filename": file.name,
            "FileType": "jsonl",
            "LineCount": len(lines),
            "object": "file",
            "Processed": checked,
            "purpose": "fine-tune",
            "processing_status": status,
        }
        if checked:
            shown["validation_report"] = {"valid": not bad, "nlines": len(lines)}
            if bad:
                shown["validation_report"] |= {"error": bad, "error_type": "INVALID_FORMAT"}
        return shown

    @staticmethod
    def _empty_reply(lines: list[str]) -> str:
        for number, line in enumerate(lines, 1):
            turns = json.loads(line).get("messages", [])
            if any(not str(turn.get("content", "")).strip() for turn in turns):
                return f"Line {number}: a message has empty content."
        return ""

    def _tokens(self, wish: dict[str, Any]) -> int:
        file = self.files.get(wish["training_file"])
        return (len(file.content) // 4 if file else 0) * int(wish.get("n_epochs") or 1)

    def _estimate(self, wish: dict[str, Any]) -> Answer:
        file = self.files.get(wish["training_file"])
        if file is None:
            return _refuse(404, "No such file")
        if self.now() - file.sent <= 5:
            reason = "train_file_not_validated"
            return Answer(document={"estimation_available": False, "unavailable_reason": reason})
        tokens = self._tokens(wish)
        return Answer(
            document={
                "estimation_available": True,
                "allowed_to_proceed": self.allowed,
                "estimated_total_price": round(tokens * self.price / 1e6, 6),
                "estimated_train_token_count": tokens,
                "estimated_eval_token_count": 0,
                "user_limit": 50.0,
            }
        )

    def _create(self, wish: dict[str, Any]) -> Answer:
        if int(wish.get("n_epochs") or 1) > 100:
            return _refuse(400, "n_epochs must be at most 100")
        going = sum(self.status(job) in ("queued", "running") for job in self.jobs.values())
        if going >= self.limit:
            words = f"You have reached the limit of {self.limit} concurrent fine-tuning jobs."
            return _refuse(429, words)
        if self.trial is not None and len(self.jobs) >= self.trial:
            return _refuse(403, TRIAL)
        if wish["training_file"] not in self.files:
            return _refuse(400, "Training file not found")
        job = TogetherJob(f"ft-{len(self.jobs) + 1:08x}", wish, self.now())
        self.jobs[job.id] = job
        return Answer(document=self._whole(job))

    def _list(self) -> Answer:
        newest = sorted(self.jobs.values(), key=lambda job: -job.made)
        return Answer(document={"data": [self._whole(job) for job in newest]})

    def status(self, job: TogetherJob) -> str:
        """Its status now."""
        age = self.now() - job.made
        whole = 20 + 60 * self.step_seconds
        return job.word or ("queued" if age < 20 else "running" if age < whole else "completed")

    def _steps(self, job: TogetherJob) -> int:
        until = job.stopped_at or self.now()
        return min(60, max(0, int((until - job.made - 20) / self.step_seconds)))

    def _whole(self, job: TogetherJob) -> dict[str, Any]:
        wish, status, steps = job.wish, self.status(job), self._steps(job)
        tokens = self._tokens(wish) * steps // 60
        shown = {
            "id": job.id,
            "object": "fine-tune",
            "user_id": "user-1",
            "owner_address": "user-1",
            "status": status,
            "model": wish["model"],
            "training_file": wish["training_file"],
            "validation_file": wish.get("validation_file") or "",
            "n_epochs": wish.get("n_epochs", 1),
            "n_evals": wish.get("n_evals", 0),
            "model_output_name": f"acct/Qwen3-8B-{wish['suffix']}-1a2b3c4d",
            "created_at": _iso(job.made),
            "updated_at": _iso(self.now()),
            "token_count": tokens,
            "total_price": int(tokens * self.price * 1000),
            "progress": {
                "estimate_available": status == "running",
                "seconds_remaining": int(max(0, (60 - steps) * self.step_seconds)),
            },
        }
        if status == "completed":
            shown["model_object_id"] = f"ml-{job.id[3:]}"
        return shown

    def _job(self, job: TogetherJob, rest: str, request: Request) -> Answer:
        if rest == "/cancel":
            job.word, job.stopped_at = "cancelled", self.now()
            return Answer(document=self._whole(job))
        if rest == "/events":
            return Answer(document={"data": self._events(job)})
        if rest == "/metrics":
            since = int(float((request.query.get("global_step_from") or ["0"])[0]))
            rows = [
                {
                    "train/global_step": float(step),
                    "train/loss": round(2.2 / (1 + step / 12) + 0.4, 4),
                    "train/learning_rate": 1e-5,
                    **(
                        {"eval/loss": round(2.3 / (1 + step / 12) + 0.5, 4)}
                        if step % 20 == 0
                        else {}
                    ),
                }
                for step in range(max(1, since), self._steps(job) + 1)
            ]
            return Answer(document={"metrics": rows})
        return Answer(document=self._whole(job))

    def _events(self, job: TogetherJob) -> list[dict[str, Any]]:
        def event(at: float, message: str, kind: str, **more: Any) -> dict[str, Any]:
            return {
                "object": "fine-tune-event",
                "created_at": _iso(at),
                "message": message,
                "type": kind,
                "level": "info",
                "hash": "",
                "wandb_url": "",
                "checkpoint_path": "",
                "model_path": "",
                "training_offset": 0,
                "param_count": 0,
                "token_count": 0,
                "total_steps": 0,
                "step": 0,
                **more,
            }

        said = [event(job.made, "Fine-tune request created", "job_pending")]
        for step in range(20, self._steps(job) + 1, 20):
            at = job.made + 20 + self.step_seconds * step
            words = f"Epoch completed, at step {step}"
            said.append(event(at, words, "epoch_complete", step=step, total_steps=60))
        if self.status(job) == "completed":
            said.append(
                event(
                    job.made + 20 + 60 * self.step_seconds,
                    "Job finished",
                    "job_complete",
                    step=60,
                    total_steps=60,
                )
            )
        if self.status(job) == "error":
            said.append(event(self.now(), "CUDA out of memory", "job_error", level="error"))
        return said

    def _deploying(self, request: Request) -> Answer:
        path = request.path
        if _ENDPOINTS.fullmatch(path):
            if request.method == "POST":
                name = request.json["name"]
                self.endpoints[f"ep-{len(self.endpoints) + 1}"] = name
                return Answer(document=self._endpoint(f"ep-{len(self.endpoints)}"))
            listed = [self._endpoint(each) for each in self.endpoints]
            return Answer(document={"data": listed, "next": "", "hasMore": False})
        if (found := _DEPLOYMENTS.fullmatch(path)) and request.method == "POST":
            wish = request.json
            made = TogetherDeployment(
                f"dep-{len(self.deployments) + 1}",
                found["endpoint"],
                wish["name"],
                wish["model"],
                self.now(),
            )
            self.deployments[made.id] = made
            return Answer(document=self._deployment(made))
        if (found := _DEPLOYMENT.fullmatch(path)) and found["id"] in self.deployments:
            deployment = self.deployments[found["id"]]
            if request.method in ("PATCH", "PUT", "POST"):
                deployment.word = "STOPPED"
            return Answer(document=self._deployment(deployment))
        return _refuse(404, f"no such page: {request.method} {path}")

    def _state(self, each: TogetherDeployment) -> str:
        ready = self.now() - each.made > 60
        return "DEPLOYMENT_STATE_" + (each.word or ("READY" if ready else "PROVISIONING"))

    def _endpoint(self, endpoint_id: str) -> dict[str, Any]:
        under = [each for each in self.deployments.values() if each.endpoint == endpoint_id]
        return {
            "id": endpoint_id,
            "name": f"acct/{self.endpoints[endpoint_id]}",
            "projectId": "proj-1",
            "createdAt": _iso(0),
            "updatedAt": _iso(0),
            "endpointType": "ENDPOINT_TYPE_DEDICATED",
            "visibility": "VISIBILITY_PRIVATE",
            "etag": "1",
            "trafficSplit": [],
            "deployments": [
                self._deployment(each) | {"state": self._state(each)} for each in under
            ],
        }

    def _deployment(self, each: TogetherDeployment) -> dict[str, Any]:
        return {
            "id": each.id,
            "name": f"acct/{self.endpoints[each.endpoint]}/{each.name}",
            "endpointId": each.endpoint,
            "projectId": "proj-1",
            "model": each.model,
            "modelId": each.model.rpartition("/")[2],
            "modelRevisionId": "1",
            "config": "projects/proj-1/configs/c1",
            "configId": "c1",
            "hardware": "1x_nvidia_h100_80gb_sxm",
            "etag": "1",
            "createdAt": _iso(each.made),
            "updatedAt": _iso(self.now()),
            "trafficMode": "TRAFFIC_MODE_LIVE",
            "autoscaling": {"minReplicas": 1, "maxReplicas": 1},
            "status": {"state": self._state(each), "message": ""},
            "estimatedEffectiveTrafficShare": 1.0,
        }


_LIMITS = {
    "model_name": "Qwen/Qwen3-8B",
    "max_num_epochs": 20,
    "max_num_evals": 100,
    "max_learning_rate": 1.0,
    "min_learning_rate": 0.0,
    "merge_output_lora": True,
    "supports_full_training": False,
    "supports_reasoning": False,
    "supports_tools": True,
    "supports_vision": False,
    "lora_training": {
        "default_rank": 8,
        "max_rank": 64,
        "max_batch_size": 64,
        "max_batch_size_dpo": 32,
        "min_batch_size": 1,
        "target_modules": ["all-linear"],
    },
}


def _refuse(status: int, words: str) -> Answer:
    return Answer(status, {"error": {"message": words, "type": "invalid_request_error"}})


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _form(body: bytes) -> dict[str, str]:
    """The fields of a multipart body."""
    fields = {}
    for name, value in re.findall(
        rb'name="([^"]+)"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', body, re.DOTALL
    ):
        fields[name.decode()] = value.decode("utf-8", "replace")
    return fields
