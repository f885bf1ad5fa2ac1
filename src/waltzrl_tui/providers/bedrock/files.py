"""Files in S3: training files under their hash, and the losses that Bedrock writes there."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from waltzrl_tui.providers.bedrock.errors import code_of, translating
from waltzrl_tui.providers.bedrock.session import Aws
from waltzrl_tui.providers.errors import (
    AuthError,
    InvalidRequestError,
    MissingError,
    ProviderError,
    RateLimitError,
    UnavailableError,
)
from waltzrl_tui.providers.file_stream import sent_file
from waltzrl_tui.providers.protocol import Progress, RemoteMetric, TrainingUpload
from waltzrl_tui.words import size

ROOT: Final = "waltzrl"
"""The folder of the bucket that is ours."""

_CSV_BYTES: Final = 16 << 20
_LARGEST: Final = 5 << 30
"""Of one request to S3; Bedrock itself takes 1 GB."""

_CSVS: Final = {
    "train": ("step_wise_training_metrics.csv", "training_loss"),
    "valid": ("validation_metrics.csv", "validation_loss"),
}
"""The files' names and the column of each that holds the loss, by the user guide."""


async def send_file(aws: Aws, file: TrainingUpload, progress: Progress) -> str:
    """Put the file under its hash, or find it there; gives its `s3://` address.

    S3 checks what comes against the hash, so a file that changes meanwhile is refused.

    Raises:
        InvalidRequestError: It is too large, or the bucket is not there or another account's.
    """
    if file.bytes > _LARGEST:
        raise InvalidRequestError(f"The file has {size(file.bytes)}; S3 takes 5 GB in one upload.")
    bucket, owner = await aws.bucket()
    where = {"Bucket": bucket, "Key": f"{ROOT}/files/{file.sha256}.jsonl", **owner}
    if await _there(aws, where, file.bytes):
        return f"s3://{bucket}/{where['Key']}"
    try:
        await _put(aws, where, file, progress)
    except MissingError as error:
        if not owner:
            raise InvalidRequestError(
                f"There is no bucket {bucket}.",
                words=error.words,
                hint=f"Create it in {await aws.region()}, or unset {aws.bucket_variable}.",
            ) from error
        await _make_bucket(aws, bucket)
        await _put(aws, where, file, progress)
    return f"s3://{bucket}/{where['Key']}"


async def _there(aws: Aws, where: Mapping[str, Any], size: int) -> bool:
    try:
        metadata = await aws.ask("s3", "head_object", **where)
    except MissingError:
        return False
    except AuthError:
        # Without s3:ListBucket access to a missing file is denied too: send it.
        return False
    return bool(metadata.get("ContentLength") == size)


async def _put(
    aws: Aws, where: Mapping[str, Any], file: TrainingUpload, progress: Progress
) -> None:
    client = await aws.client("s3")
    with translating(effect=True), sent_file(file.path, progress) as content:
        await asyncio.to_thread(
            client.put_object,
            **where,
            Body=content,
            ContentLength=file.bytes,
            ChecksumSHA256=base64.b64encode(bytes.fromhex(file.sha256)).decode(),
            ContentType="application/jsonl",
            Metadata={"name": file.name, "rows": str(file.rows)},
        )


async def _make_bucket(aws: Aws, bucket: str) -> None:
    region = await aws.region()
    # S3 refuses its first region as a constraint.
    place = {} if region == "us-east-1" else {"LocationConstraint": region}
    configuration = {"CreateBucketConfiguration": place} if place else {}
    try:
        await aws.ask("s3", "create_bucket", effect=True, Bucket=bucket, **configuration)
    except InvalidRequestError as error:
        if code_of(error) == "BucketAlreadyOwnedByYou":
            return
        raise InvalidRequestError(
            f"The bucket {bucket} could not be created.",
            words=error.words,
            hint=f"Set {aws.bucket_variable} to a bucket that you own in {region}.",
        ) from error


@dataclass
class Losses:
    """The new content of the files of losses.

    Attributes:
        marks: The ETag and last step read, by kind; part of the cursor.
        words: Why they cannot be read, "" when they can.
    """

    metrics: list[RemoteMetric] = field(default_factory=list)
    marks: dict[str, list[Any]] = field(default_factory=dict)
    words: str = ""


async def read_losses(
    aws: Aws, output: str, job_id: str, read_before: Mapping[str, Any], *, ended: bool
) -> Losses:
    """The losses by step that were added since `read_before`.

    A job is watched even if its files cannot be read, or S3 fails while it runs: then the losses
    come with a later call. A job that has ended has no later call.

    Args:
        output: The job's output folder, `s3://…`. job_id: The end of the job's ARN.

    Raises:
        ProviderError: The job has ended, and S3 cannot be reached.
    """
    bucket, _, folder = output.removeprefix("s3://").partition("/")
    prefix = f"{folder.strip('/')}/model-customization-job-{job_id}/".lstrip("/")
    report = Losses(marks={kind: list(read) for kind, read in read_before.items()})
    steps: dict[int, dict[str, float]] = {}
    try:
        listed = await aws.ask("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix)
        for each in listed.get("Contents", []):
            for kind, (name, column) in _CSVS.items():
                if str(each["Key"]).endswith(f"/{name}"):
                    await _read(aws, bucket, each, kind, column, report.marks, steps)
    except (RateLimitError, UnavailableError):
        if ended:
            raise
        return Losses(marks=dict(read_before))
    except ProviderError as error:
        report.words = error.words or error.message
    report.metrics = [
        RemoteMetric(
            step, loss=row.get("train"), valid_loss=row.get("valid"), epoch=row.get("epoch")
        )
        for step, row in sorted(steps.items())
    ]
    return report


async def _read(
    aws: Aws,
    bucket: str,
    each: Mapping[str, Any],
    kind: str,
    column: str,
    marks: dict[str, list[Any]],
    steps: dict[int, dict[str, float]],
) -> None:
    tag, last = marks.get(kind, ["", -1])
    if each["ETag"] == tag:
        return
    client = await aws.client("s3")
    with translating():
        content = await asyncio.to_thread(_content, client, bucket, str(each["Key"]))
    rows = await asyncio.to_thread(rows_of, content, column)
    for step, loss, epoch in rows:
        if step <= last:
            continue
        row = steps.setdefault(step, {})
        row[kind] = loss
        if epoch is not None:
            row["epoch"] = epoch
    marks[kind] = [each["ETag"], max(last, rows[-1][0]) if rows else last]


def _content(client: Any, bucket: str, key: str) -> str:
    answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{_CSV_BYTES - 1}")
    with answer["Body"] as body:
        return str(body.read().decode("utf-8", "replace"))


def rows_of(content: str, column: str) -> list[tuple[int, float, float | None]]:
    """Steps, losses and epochs in a file of losses, by step; other rows are left out."""
    rows = []
    for row in csv.DictReader(io.StringIO(content)):
        step, loss = _number(row.get("step_number")), _number(row.get(column))
        if step is not None and loss is not None:
            rows.append((int(step), loss, _number(row.get("epoch_number"))))
    return sorted(rows, key=lambda each: each[0])


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def output_of(training_file: str) -> str:
    """Where Bedrock writes what comes of a training file: beside it."""
    bucket = training_file.removeprefix("s3://").partition("/")[0]
    return f"s3://{bucket or '…'}/{ROOT}/out/"
