"""Amazon Bedrock through boto3: SFT of Nova and of Llama, files in S3, on-demand deployments."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from waltzrl_tui.providers.base import Tuner
from waltzrl_tui.providers.bedrock.errors import TITLE, code_of, translating
from waltzrl_tui.providers.bedrock.files import output_of, read_losses, send_file
from waltzrl_tui.providers.bedrock.jobs import (
    ENDED,
    OURS,
    PROVISIONED,
    deployment_of,
    events_of,
    job_of,
    provisioned_of,
    settings_of,
    state_of,
)
from waltzrl_tui.providers.bedrock.session import ROLE, Aws, role_of
from waltzrl_tui.providers.errors import AuthError, InvalidRequestError, MissingError
from waltzrl_tui.providers.protocol import (
    Account,
    Capabilities,
    Deployment,
    JobSnapshot,
    Progress,
    ProviderContext,
    RemoteEvent,
    RemoteJob,
    TrainingUpload,
    TuneRequest,
)

_LISTED: Final = 100
_TAKEN: Final = re.compile(r"already|in use|exists", re.I)


class Bedrock(Tuner):
    """Nova, which is tuned in us-east-1.

    A job's name, its request's token and its model's name are all our tag: a second create of it
    starts nothing, and `find` asks for it by name. Bedrock checks the rows when the job has
    begun, and tells neither tokens nor costs of it.
    """

    name, title = "bedrock", "Bedrock Nova"
    capabilities = Capabilities.of("bedrock", client_ids=True, deploys=True)
    home = "us-east-1"
    family = "amazon.nova"

    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        self._aws = Aws(context, self.name, self.home)

    async def probe(self) -> Account:
        """Asks who we are, for models that can be tuned, and for custom models."""
        bearer = await self._aws.bearer_only()
        region = await self._aws.region()
        # Files are kept apart by it, too, and a job takes only those of its own region.
        account = "" if bearer else f"{await self._aws.account()}/{region}"
        try:
            offered = await self._offered()
            await self._aws.ask("bedrock", "list_custom_models", maxResults=1)
        except AuthError as error:
            # A wrong API key is denied in the same words as a right that lacks.
            if bearer or "AccessDenied" not in code_of(error):
                raise
            return Account(True, False, error.words or error.message, account)
        closed = _closed(offered)
        tunable = self._tunable(offered)
        if not tunable:
            words = f"the credentials work; {self.title} cannot be tuned in {region}"
            if region != self.home:
                words += f": set {self._aws.region_variable}={self.home}"
            return Account(True, False, words + closed, account)
        words = f"{len(tunable)} models of {self.title} can be tuned in {region}"
        if bearer:
            words = "a Bedrock API key does not open S3; set AWS_ACCESS_KEY_ID or AWS_PROFILE"
            return Account(True, False, words, account)
        if not os.environ.get(ROLE):
            words += f"; set {ROLE} before a launch"
        return Account(True, True, words + closed, account)

    async def _offered(self) -> list[dict[str, Any]]:
        answer = await self._aws.ask(
            "bedrock", "list_foundation_models", byCustomizationType="FINE_TUNING"
        )
        with translating():
            return list(answer["modelSummaries"])

    def _tunable(self, offered: list[dict[str, Any]]) -> list[str]:
        return [
            str(each["modelId"])
            for each in offered
            if str(each["modelId"]).startswith(self.family) and _status(each) == "ACTIVE"
        ]

    async def upload(self, file: TrainingUpload, progress: Progress) -> str:
        return await send_file(self._aws, file, progress)

    def payload(self, request: TuneRequest) -> dict[str, Any]:
        """What `create` sends.

        Raises:
            InvalidRequestError: No service role is set.
        """
        body: dict[str, Any] = {
            "jobName": request.tag,
            "customModelName": request.tag,
            "clientRequestToken": request.tag,
            "roleArn": role_of(request.options),
            "baseModelIdentifier": request.from_model or request.model,
            "customizationType": "FINE_TUNING",
            "trainingDataConfig": {"s3Uri": request.training_file},
            "outputDataConfig": {"s3Uri": output_of(request.training_file)},
            "hyperParameters": settings_of(request.epochs, request.options),
        }
        if request.validation_file:
            validator = {"s3Uri": request.validation_file}
            body["validationDataConfig"] = {"validators": [validator]}
        return body

    async def create(self, request: TuneRequest) -> RemoteJob:
        try:
            answer = await self._aws.ask(
                "bedrock",
                "create_model_customization_job",
                effect=True,
                **self.payload(request),
            )
        except MissingError as error:
            # The model, the role or the bucket: waiting would not bring it.
            raise InvalidRequestError(
                f"{TITLE} lacks a resource that the job names.",
                words=error.words,
                hint=error.hint,
            ) from error
        except InvalidRequestError as error:
            if _taken(error) and (existing := await self.find(request.tag)):
                return existing
            raise
        with translating(effect=True):
            arn = str(answer["jobArn"])
        model = str(request.from_model or request.model)
        return RemoteJob(arn, request.tag, "queued", "InProgress", model)

    async def find(self, tag: str) -> RemoteJob | None:
        try:
            return await self._job(tag)
        except MissingError:
            return None

    async def _job(self, job_id: str) -> RemoteJob:
        job = await self._details(job_id)
        with translating():
            return job_of(job)

    async def _details(self, job_id: str) -> dict[str, Any]:
        return await self._aws.ask("bedrock", "get_model_customization_job", jobIdentifier=job_id)

    async def jobs(self) -> list[RemoteJob]:
        answer = await self._aws.ask(
            "bedrock",
            "list_model_customization_jobs",
            maxResults=_LISTED,
            sortBy="CreationTime",
            sortOrder="Descending",
        )
        with translating():
            return [job_of(each) for each in answer.get("modelCustomizationJobSummaries", [])]

    async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
        job = await self._details(job_id)
        with translating():
            state, word = state_of(job)
            events = events_of(job)
            output = str(job["outputDataConfig"]["s3Uri"])
            number = str(job["jobArn"]).rpartition("/")[2]
        losses = None
        if state != "queued":
            losses = await read_losses(
                self._aws, output, number, cursor.get("losses", {}), ended=state in ENDED
            )
            if losses.words:
                text = f"the losses in {output} cannot be read: {losses.words}"
                events.append(RemoteEvent("unread", "", text, "warning"))
        reported = set(cursor.get("events", []))
        steps = [read[1] for read in losses.marks.values()] if losses else []
        return JobSnapshot(
            state,
            word,
            words=str(job.get("failureMessage") or ""),
            step=max(steps) if steps else None,
            fraction=1.0 if state == "succeeded" else None,
            result_model=str(job.get("outputModelArn") or "") if state == "succeeded" else "",
            events=[each for each in events if each.key not in reported],
            metrics=losses.metrics if losses else [],
            cursor={
                "events": sorted(reported | {each.key for each in events}),
                "losses": losses.marks if losses else dict(cursor.get("losses", {})),
            },
        )

    async def cancel(self, job_id: str) -> None:
        job = await self._job(job_id)
        if job.state in ENDED or job.provider_state == "Stopping":
            return
        try:
            await self._aws.ask(
                "bedrock", "stop_model_customization_job", effect=True, jobIdentifier=job.id
            )
        except InvalidRequestError:
            # It may have ended in between.
            if (await self._job(job_id)).state not in ENDED:
                raise

    # Deployments: on demand, billed by the token. Provisioned throughput costs dollars an hour at
    # a price that no call tells: it is never bought here, but shown and taken down. -------------

    async def deploy(self, result_model: str, base_model: str, tag: str) -> Deployment:
        name = "waltzrl-" + re.sub(r"[^0-9a-zA-Z]+", "-", tag).strip("-")[:50].strip("-")
        about = f"{OURS}{tag}"
        parameters = {
            "modelDeploymentName": name,
            "modelArn": result_model,
            "description": about,
            "clientRequestToken": name,
        }
        try:
            answer = await self._aws.ask(
                "bedrock", "create_custom_model_deployment", effect=True, **parameters
            )
        except InvalidRequestError as error:
            if _taken(error) and (existing := await self._named(name)) and existing.tag == tag:
                return existing
            raise
        with translating(effect=True):
            arn = str(answer["customModelDeploymentArn"])
            return deployment_of(
                {"customModelDeploymentArn": arn, "status": "Creating", "description": about}
            )

    async def _named(self, name: str) -> Deployment | None:
        try:
            return await self.deployment(name)
        except MissingError:
            return None

    async def deployment(self, deployment_id: str) -> Deployment:
        if PROVISIONED in deployment_id:
            answer = await self._aws.ask(
                "bedrock", "get_provisioned_model_throughput", provisionedModelId=deployment_id
            )
            with translating():
                return provisioned_of(answer)
        answer = await self._aws.ask(
            "bedrock",
            "get_custom_model_deployment",
            customModelDeploymentIdentifier=deployment_id,
        )
        with translating():
            return deployment_of(answer)

    async def deployments(self) -> list[Deployment]:
        deployments = []
        listed = await self._all("list_custom_model_deployments", "modelDeploymentSummaries")
        for each in listed:
            # Only the deployment itself has the description with the tag in it.
            if up := await self._named(str(each["customModelDeploymentArn"])):
                deployments.append(up)
        try:
            bought = await self._all(
                "list_provisioned_model_throughputs", "provisionedModelSummaries"
            )
        except AuthError:
            bought = []  # a right that chat does not need
        with translating():
            deployments += [provisioned_of(each) for each in bought]
        return [each for each in deployments if each.state != "failed"]

    async def _all(self, operation: str, field: str) -> list[dict[str, Any]]:
        client = await self._aws.client("bedrock")
        pages = client.get_paginator(operation).paginate(PaginationConfig={"PageSize": _LISTED})
        with translating():
            return await asyncio.to_thread(
                lambda: [each for page in pages for each in page.get(field, [])]
            )

    async def undeploy(self, deployment_id: str) -> None:
        operation, field = "delete_custom_model_deployment", "customModelDeploymentIdentifier"
        if PROVISIONED in deployment_id:
            operation, field = "delete_provisioned_model_throughput", "provisionedModelId"
        try:
            await self._aws.ask("bedrock", operation, effect=True, **{field: deployment_id})
        except MissingError:
            return

    async def close(self) -> None:
        await asyncio.to_thread(self._aws.close)


class BedrockLlama(Bedrock):
    """Llama 3.1, 3.2 and 3.3, which are tuned in us-west-2."""

    name, title = "bedrock_llama", "Bedrock Llama"
    home = "us-west-2"
    family = "meta.llama"


def _taken(error: InvalidRequestError) -> bool:
    """Whether it was refused because something of this name is there already."""
    return code_of(error) == "ConflictException" or bool(_TAKEN.search(error.words))


def _status(model: Mapping[str, Any]) -> str:
    return str((model.get("modelLifecycle") or {}).get("status") or "ACTIVE")


def _closed(offered: list[dict[str, Any]]) -> str:
    """Notes on the Claude models that AWS still lists as tunable."""
    notes = []
    for each in offered:
        if str(each["modelId"]).startswith("anthropic.") and _status(each) != "ACTIVE":
            end = (each.get("modelLifecycle") or {}).get("endOfLifeTime")
            until = f", ends {end:%d %B %Y}" if end else ""
            notes.append(f"; {each.get('modelName') or each['modelId']} is {_status(each)}{until}")
    return "".join(dict.fromkeys(notes))
