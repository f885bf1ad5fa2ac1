"""AWS as boto3 speaks it for Bedrock: STS, S3 and Bedrock's control plane behind one address.

Which of them is meant stands in a request's signature.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from tests.support.emulators.core import Answer, Emulator, Request

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/waltzrl-bedrock"

# By shape these are AWS's; which words the service writes in them could not be observed.
IN_PROGRESS = (
    "You have reached the limit of 2 custom models with a creation status of InProgress in this "
    "account and Region."
)
MODELS_FULL = "You have reached the quota of 100 custom models per account."
DENIED = (
    f"User: arn:aws:iam::{ACCOUNT}:user/me is not authorized to perform: "
    "bedrock:ListFoundationModels on resource: *"
)
NAME_TAKEN = "The provided job name is currently in use."

_SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/(\w+)/aws4_request")
_EPOCHS = {"amazon": 5, "meta": 10}
_ENDED = ("Completed", "Failed", "Stopped")
_STEPS = 40


@dataclass
class Bucket:
    owner: str = ACCOUNT
    objects: dict[str, bytes] = field(default_factory=dict)


@dataclass
class BedrockJob:
    """`word`, when set, is its status whatever the time; `refusal`: why its rows are refused."""

    id: str
    wish: dict[str, Any]
    made: float
    refusal: str = ""
    word: str = ""


@dataclass
class BedrockDeployment:
    id: str
    wish: dict[str, Any]
    made: float
    word: str = ""


class BedrockEmulator(Emulator):
    """Jobs wait 20 s, are checked for 20 s, and run 40 steps of `step_seconds` each.

    Attributes:
        key: The access key id that is accepted; secrets are never sent, signatures not checked.
        region: Where all of it is.
        limit: Unfinished jobs at once. full: No custom model more.
        denied: Services ("bedrock", "s3") or paths that the IAM policy does not allow.
        never_ready: Deployments stay in the making.
        provisioned: Names of provisioned throughput that somebody bought.
        phases: Whether jobs tell of their phases.
    """

    def __init__(self, *, speed: float = 60.0, skew: float = 0.0) -> None:
        super().__init__(speed=speed, skew=skew)
        self.key = "AKIA0123456789ABCDEF"
        self.region = "us-east-1"
        self.buckets: dict[str, Bucket] = {}
        self.jobs: dict[str, BedrockJob] = {}
        self.deployments: dict[str, BedrockDeployment] = {}
        self.provisioned: dict[str, str] = {}
        self.limit = 2
        self.full = False
        self.denied: list[str] = []
        self.never_ready = False
        self.phases = True
        self.page = 100
        self.step_seconds = 4.0

    def respond(self, request: Request) -> Answer:
        found = _SCOPE.search(request.headers.get("authorization", ""))
        if found is None:
            return _refuse(403, "MissingAuthenticationTokenException", "Missing token")
        key, region, service = found.groups()
        if key != self.key:
            return self._stranger(service)
        if any(each == service or each in request.path for each in self.denied):
            if service == "s3":
                return _xml_refuse(403, "AccessDenied", "Access Denied")
            return _refuse(403, "AccessDeniedException", DENIED)
        if service == "sts":
            return _xml(
                '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
                f"<GetCallerIdentityResult><Arn>arn:aws:iam::{ACCOUNT}:user/me</Arn>"
                f"<UserId>AIDA0</UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult>"
                "</GetCallerIdentityResponse>"
            )
        if service == "s3":
            return self._s3(request)
        return self._bedrock(request, region)

    def _stranger(self, service: str) -> Answer:
        words = "The security token included in the request is invalid."
        if service == "bedrock":
            return _refuse(403, "UnrecognizedClientException", words)
        if service == "sts":
            return _xml(
                '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
                f"<Code>InvalidClientTokenId</Code><Message>{words}</Message></Error>"
                "</ErrorResponse>",
                403,
            )
        return _xml_refuse(403, "InvalidAccessKeyId", "The AWS Access Key Id is not known.")

    # S3 ------------------------------------------------------------------------------------------

    def _s3(self, request: Request) -> Answer:
        name, _, key = unquote(request.path).lstrip("/").partition("/")
        if request.method == "PUT" and not key:
            if name in self.buckets:
                mine = self.buckets[name].owner == ACCOUNT
                code = "BucketAlreadyOwnedByYou" if mine else "BucketAlreadyExists"
                return _xml_refuse(409, code, "The requested bucket name is not available.")
            placed = f"<LocationConstraint>{self.region}</LocationConstraint>" in str(request.body)
            if placed == (self.region == "us-east-1"):
                return _xml_refuse(400, "IllegalLocationConstraintException", "Wrong place.")
            self.buckets[name] = Bucket()
            return Answer(raw=b"", headers={"Location": f"/{name}"})
        bucket = self.buckets.get(name)
        if bucket is None:
            return _xml_refuse(404, "NoSuchBucket", "The specified bucket does not exist")
        if request.headers.get("x-amz-expected-bucket-owner", bucket.owner) != bucket.owner:
            return _xml_refuse(403, "AccessDenied", "Access Denied")
        if request.method == "PUT":
            told = request.headers.get("x-amz-checksum-sha256")
            if told != base64.b64encode(hashlib.sha256(request.body).digest()).decode():
                return _xml_refuse(400, "BadDigest", "The SHA256 you specified did not match.")
            bucket.objects[key] = request.body
            return Answer(raw=b"", headers={"ETag": _etag(request.body)})
        objects = bucket.objects | self._written(name)
        if not key:
            prefix = request.query.get("prefix", [""])[0]
            rows = "".join(
                f"<Contents><Key>{escape(each)}</Key><ETag>{escape(_etag(content))}</ETag>"
                f"<Size>{len(content)}</Size></Contents>"
                for each, content in sorted(objects.items())
                if each.startswith(prefix)
            )
            return _xml(f"<ListBucketResult><Name>{name}</Name>{rows}</ListBucketResult>")
        if key not in objects:
            return _xml_refuse(404, "NoSuchKey", "The specified key does not exist.")
        headers = {"ETag": _etag(objects[key]), "Content-Type": "application/octet-stream"}
        return Answer(raw=objects[key], headers=headers)

    def _written(self, bucket: str) -> dict[str, bytes]:
        """What jobs have written to a bucket until now."""
        files = {}
        for job in self.jobs.values():
            where, _, folder = job.wish["outputDataConfig"]["s3Uri"][5:].partition("/")
            steps = self._steps(job)
            if where != bucket or not steps:
                continue
            root = f"{folder}model-customization-job-{job.id}"
            lines = ["step_number,epoch_number,training_loss,perplexity"]
            lines += [f"{n},{n // 20},{_loss(n)},{1.5 + _loss(n)}" for n in range(steps)]
            files[f"{root}/training_artifacts/step_wise_training_metrics.csv"] = _lines(lines)
            if "validationDataConfig" in job.wish and steps == _STEPS:
                lines = ["step_number,epoch_number,validation_loss,perplexity"]
                lines += [f"{n},{n // 20},{_loss(n) + 0.1:.4f},2" for n in (19, 39)]
                name = "validation_artifacts/post_fine_tuning_validation/validation_metrics.csv"
                files[f"{root}/{name}"] = _lines(lines)
        return files

    # Bedrock -------------------------------------------------------------------------------------

    def _bedrock(self, request: Request, region: str) -> Answer:
        kind, _, rest = request.path.lstrip("/").partition("/")
        if kind == "foundation-models":
            rows = _MODELS if region in ("us-east-1", "us-west-2") else []
            rows = [each for each in rows if each["home"] in (region, "")]
            return Answer(document={"modelSummaries": [self._model(each) for each in rows]})
        if kind == "custom-models":
            return Answer(document={"modelSummaries": []})
        if kind == "model-customization-jobs":
            return self._tuning(rest, request)
        if kind == "model-customization":
            return self._deploying(unquote(rest.partition("/")[2]), request)
        if kind == "provisioned-model-throughputs":
            rows = [self._bought(name) for name in self.provisioned]
            return Answer(document={"provisionedModelSummaries": rows})
        if kind == "provisioned-model-throughput":
            name = next((n for n in self.provisioned if self._bought_arn(n) == unquote(rest)), "")
            if not name:
                return _missing("provisioned model")
            if request.method == "DELETE":
                del self.provisioned[name]
                return Answer(document={})
            return Answer(document=self._bought(name))
        return _refuse(404, "UnknownOperationException", "")

    def _model(self, each: dict[str, Any]) -> dict[str, Any]:
        model = each["id"]
        life: dict[str, Any] = {"status": "ACTIVE"}
        if each.get("end"):
            life = {"status": "LEGACY", "endOfLifeTime": each["end"]}
        return {
            "modelArn": f"arn:aws:bedrock:{self.region}::foundation-model/{model}",
            "modelId": model,
            "modelName": each["name"],
            "providerName": each["name"].split()[0],
            "customizationsSupported": ["FINE_TUNING"],
            "modelLifecycle": life,
        }

    def _tuning(self, rest: str, request: Request) -> Answer:
        if not rest:
            if request.method == "POST":
                return self._create(request.json)
            newest = sorted(self.jobs.values(), key=lambda job: job.made, reverse=True)
            rows = [self._summary(job) for job in newest[: int(request.query["maxResults"][0])]]
            return Answer(document={"modelCustomizationJobSummaries": rows})
        name = unquote(rest.removesuffix("/stop"))
        job = self.jobs.get(name) or self.jobs.get(name.rpartition("/")[2])
        job = job or next((j for j in self.jobs.values() if j.wish["jobName"] == name), None)
        if job is None:
            return _missing("model customization job")
        if rest.endswith("/stop"):
            if self.word(job) in _ENDED:
                return _refuse(400, "ConflictException", "The job is not in progress.")
            job.word = "Stopped"
            return Answer(document={})
        return Answer(document=self._whole(job))

    def _create(self, wish: dict[str, Any]) -> Answer:
        for job in self.jobs.values():
            if job.wish["clientRequestToken"] == wish["clientRequestToken"]:
                return Answer(201, {"jobArn": self._arn(job)})
            if job.wish["jobName"] == wish["jobName"]:
                return _refuse(400, "ConflictException", NAME_TAKEN)
        model = wish["baseModelIdentifier"]
        if model not in [each["id"] for each in _MODELS]:
            return _missing("model")
        if any(each["id"] == model and each.get("end") for each in _MODELS):
            words = "This model version has reached the end of its life."
            return _refuse(400, "ValidationException", words)
        most = _EPOCHS[model.partition(".")[0]]
        if not 1 <= int(wish["hyperParameters"]["epochCount"]) <= most:
            words = f"epochCount must be between 1 and {most}."
            return _refuse(400, "ValidationException", words)
        if self.full:
            return _refuse(400, "ServiceQuotaExceededException", MODELS_FULL)
        if sum(self.word(job) not in _ENDED for job in self.jobs.values()) >= self.limit:
            return _refuse(400, "ServiceQuotaExceededException", IN_PROGRESS)
        bucket, _, key = wish["trainingDataConfig"]["s3Uri"][5:].partition("/")
        content = self.buckets.get(bucket, Bucket()).objects.get(key)
        if content is None:
            return _refuse(400, "ValidationException", "The training data cannot be read from S3.")
        number = hashlib.sha256(wish["jobName"].encode()).hexdigest()[:12]
        job = BedrockJob(number, wish, self.now(), refusal=_bad_row(content, model))
        self.jobs[number] = job
        return Answer(201, {"jobArn": self._arn(job)})

    def _arn(self, job: BedrockJob) -> str:
        model = job.wish["baseModelIdentifier"]
        where = f"arn:aws:bedrock:{self.region}:{ACCOUNT}"
        return f"{where}:model-customization-job/{model}/{job.id}"

    def word(self, job: BedrockJob) -> str:
        """Its status now."""
        age = self.now() - job.made
        if job.refusal and age > 40:
            return job.word or "Failed"
        done = age > 40 + _STEPS * self.step_seconds
        return job.word or ("Completed" if done else "InProgress")

    def _steps(self, job: BedrockJob) -> int:
        age = self.now() - job.made - 40
        return 0 if job.refusal else min(_STEPS, max(0, int(age / self.step_seconds)))

    def _details(self, job: BedrockJob) -> dict[str, Any]:
        age, word, steps = self.now() - job.made, self.word(job), self._steps(job)
        checked = "NotStarted" if age < 20 else "InProgress" if age < 40 else "Completed"
        checked = "Failed" if job.refusal and word == "Failed" else checked
        trained = "NotStarted" if not steps else "Completed" if steps == _STEPS else "InProgress"
        at = _iso(self.now())
        return {
            "validationDetails": {"status": checked, "lastModifiedTime": at},
            "dataProcessingDetails": {"status": trained, "lastModifiedTime": at},
            "trainingDetails": {"status": trained, "lastModifiedTime": at},
        }

    def _summary(self, job: BedrockJob) -> dict[str, Any]:
        model = job.wish["baseModelIdentifier"]
        return {
            "jobArn": self._arn(job),
            "jobName": job.wish["jobName"],
            "baseModelArn": f"arn:aws:bedrock:{self.region}::foundation-model/{model}",
            "status": self.word(job),
            "creationTime": _iso(job.made),
            "customizationType": job.wish["customizationType"],
        } | ({"statusDetails": self._details(job)} if self.phases else {})

    def _whole(self, job: BedrockJob) -> dict[str, Any]:
        wish, word = job.wish, self.word(job)
        shown = self._summary(job) | {
            "outputModelName": wish["customModelName"],
            "clientRequestToken": wish["clientRequestToken"],
            "roleArn": wish["roleArn"],
            "hyperParameters": wish["hyperParameters"],
            "trainingDataConfig": wish["trainingDataConfig"],
            "validationDataConfig": wish.get("validationDataConfig", {"validators": []}),
            "outputDataConfig": wish["outputDataConfig"],
        }
        if word == "Failed":
            shown["failureMessage"] = job.refusal or "Internal error"
        if word == "Completed":
            model = f"{wish['baseModelIdentifier']}/{job.id}"
            shown["outputModelArn"] = (
                f"arn:aws:bedrock:{self.region}:{ACCOUNT}:custom-model/{model}"
            )
            shown["endTime"] = _iso(self.now())
            shown["trainingMetrics"] = {"trainingLoss": _loss(_STEPS - 1)}
        return shown

    # Deployments ---------------------------------------------------------------------------------

    def _deploying(self, name: str, request: Request) -> Answer:
        if not name:
            if request.method == "POST":
                return self._deploy(request.json)
            start = int(request.query.get("nextToken", ["0"])[0])
            part = list(self.deployments.values())[start : start + self.page]
            rows = [self._shown_briefly(each) for each in part]
            document: dict[str, Any] = {"modelDeploymentSummaries": rows}
            if start + self.page < len(self.deployments):
                document["nextToken"] = str(start + self.page)
            return Answer(document=document)
        found = self.deployments.get(name.rpartition("/")[2]) or next(
            (d for d in self.deployments.values() if d.wish["modelDeploymentName"] == name), None
        )
        if found is None:
            return _missing("custom model deployment")
        if request.method == "DELETE":
            del self.deployments[found.id]
            return Answer(document={})
        return Answer(document=self._shown(found))

    def _deploy(self, wish: dict[str, Any]) -> Answer:
        for each in self.deployments.values():
            if each.wish["clientRequestToken"] == wish["clientRequestToken"]:
                return Answer(202, {"customModelDeploymentArn": self._deployment_arn(each.id)})
            if each.wish["modelDeploymentName"] == wish["modelDeploymentName"]:
                return _refuse(400, "ValidationException", "A deployment of this name exists.")
        number = hashlib.sha256(wish["modelDeploymentName"].encode()).hexdigest()[:12]
        self.deployments[number] = BedrockDeployment(number, wish, self.now())
        return Answer(202, {"customModelDeploymentArn": self._deployment_arn(number)})

    def _deployment_arn(self, number: str) -> str:
        return f"arn:aws:bedrock:{self.region}:{ACCOUNT}:custom-model-deployment/{number}"

    def _state(self, each: BedrockDeployment) -> str:
        ready = self.now() - each.made > 60 and not self.never_ready
        return each.word or ("Active" if ready else "Creating")

    def _shown(self, each: BedrockDeployment) -> dict[str, Any]:
        shown = {
            "customModelDeploymentArn": self._deployment_arn(each.id),
            "modelDeploymentName": each.wish["modelDeploymentName"],
            "modelArn": each.wish["modelArn"],
            "createdAt": _iso(each.made),
            "status": self._state(each),
        }
        about = each.wish.get("description")
        return shown | ({"description": about} if about else {})

    def _shown_briefly(self, each: BedrockDeployment) -> dict[str, Any]:
        shown = self._shown(each)
        shown.pop("description", None)
        return shown | {"customModelDeploymentName": shown.pop("modelDeploymentName")}

    def _bought_arn(self, name: str) -> str:
        number = hashlib.sha256(name.encode()).hexdigest()[:12]
        return f"arn:aws:bedrock:{self.region}:{ACCOUNT}:provisioned-model/{number}"

    def _bought(self, name: str) -> dict[str, Any]:
        model = self.provisioned[name]
        at = _iso(self.now())
        return {
            "provisionedModelName": name,
            "provisionedModelArn": self._bought_arn(name),
            "modelArn": model,
            "desiredModelArn": model,
            "foundationModelArn": f"arn:aws:bedrock:{self.region}::foundation-model/"
            + model.partition("/")[2].rpartition("/")[0],
            "modelUnits": 1,
            "desiredModelUnits": 1,
            "status": "InService",
            "creationTime": at,
            "lastModifiedTime": at,
        }


_MODELS: list[dict[str, Any]] = [
    {"id": "amazon.nova-micro-v1:0:128k", "name": "Nova Micro", "home": "us-east-1"},
    {"id": "amazon.nova-lite-v1:0:300k", "name": "Nova Lite", "home": "us-east-1"},
    {"id": "meta.llama3-1-8b-instruct-v1:0:128k", "name": "Llama 3.1 8B", "home": "us-west-2"},
    {
        "id": "anthropic.claude-3-haiku-20240307-v1:0:200k",
        "name": "Claude 3 Haiku",
        "home": "",
        "end": "2026-09-10T00:00:00Z",
    },
]


def _bad_row(content: bytes, model: str) -> str:
    """Why a row is refused: Llama 3.1 takes prompts and completions, all others conversations."""
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        row = json.loads(line)
        if model.startswith("meta.llama3-1"):
            good = set(row) == {"prompt", "completion"} and all(row.values())
        else:
            good = _is_conversation(row)
        if not good:
            return f"Validation of the training data failed: line {number} is invalid."
    return ""


def _is_conversation(row: dict[str, Any]) -> bool:
    if not set(row) <= {"schemaVersion", "system", "messages"} or "schemaVersion" not in row:
        return False
    turns = row.get("messages", [])
    roles = [turn.get("role") for turn in turns]
    texts = [turn.get("content") for turn in turns] + [row.get("system", [{"text": "x"}])]
    return (
        bool(roles)
        and roles == ["user", "assistant"] * (len(roles) // 2)
        and all(
            isinstance(parts, list) and all(set(each) == {"text"} for each in parts)
            for parts in texts
        )
        and all(each["text"].strip() for parts in texts for each in parts)
    )


def _loss(step: int) -> float:
    return round(2.2 / (1 + step / 12) + 0.4, 4)


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def _missing(what: str) -> Answer:
    return _refuse(404, "ResourceNotFoundException", f"Could not find the {what}.")


def _refuse(status: int, code: str, words: str) -> Answer:
    return Answer(status, {"message": words}, headers={"x-amzn-ErrorType": code})


def _xml(document: str, status: int = 200) -> Answer:
    return Answer(status, raw=document.encode(), headers={"Content-Type": "text/xml"})


def _xml_refuse(status: int, code: str, words: str) -> Answer:
    return _xml(f"<Error><Code>{code}</Code><Message>{words}</Message></Error>", status)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
