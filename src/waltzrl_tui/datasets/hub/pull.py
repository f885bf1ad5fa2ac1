"""Datasets from the Hugging Face hub: one split becomes one file in `data/`.

The hub's own client does the transport (`HF_ENDPOINT`, tokens from `HF_TOKEN` or its login,
resuming); the revision is pinned to a commit before anything is fetched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from waltzrl_tui.datasets.hub.errors import translate_errors
from waltzrl_tui.datasets.hub.fetch import (
    TIMEOUT,
    FetchProgress,
    Progress,
    PulledFile,
    check_space,
    fetch,
    put,
    sha256_of,
    verify,
)
from waltzrl_tui.datasets.hub.files import DEFAULT, ChosenSplit, choose, converted, grouped
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.network import route_hub
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import Workspace, private_write

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import DatasetInfo

PARQUET_BRANCH = "refs/convert/parquet"
_ENDPOINT = "https://huggingface.co"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """The origin of a file in `data/`; written beside it as `NAME.source.json`.

    Attributes:
        revision: The commit that was fetched.
        branch: `refs/convert/parquet` where the hub's conversion was used, else empty.
        sha256: Of the file in `data/`.
        licence: From the dataset's card; empty when it names none.
        others: Configurations and splits that were not fetched.
    """

    path: Path
    repo: str
    endpoint: str
    revision: str
    branch: str
    config: str
    split: str
    files: tuple[PulledFile, ...]
    bytes: int
    sha256: str
    licence: str
    others: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path)}


def pull(
    workspace: Workspace,
    repo: str,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    name: str | None = None,
    on_progress: Progress | None = None,
) -> Pulled:
    """Fetch one split of a dataset into the workspace's `data/`. Blocks.

    After an interruption the next call with the same revision resumes where this one ended.

    Args:
        repo: `owner/name`, or its address on the hub.
        name: The file's name in `data/`, without its suffix; derived from the dataset by default.

    Raises:
        UsageError: The set has no such configuration or split, or the name cannot be a file's.
        DatasetError: Not found, gated, no data files, hub not reachable, disk full, or another
            file of that name is there.
    """
    from huggingface_hub import HfApi, logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    route_hub()
    endpoint = os.environ.get("HF_ENDPOINT", _ENDPOINT).rstrip("/")
    repo = _repo(repo, endpoint)
    api = HfApi(endpoint=endpoint, library_name="waltzrl-tui")
    workspace.prepare()
    with translate_errors(repo, endpoint, revision, workspace):
        info, branch, chosen = _chosen(api, repo, revision, config, split)
        commit = info.sha or ""
        target = _target(workspace, repo, chosen, name)
        sizes = _sizes(info, chosen.files)
        staging = workspace.state / "cache" / "hub" / f"{repo.replace('/', '--')}-{commit[:12]}"
        staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_space(staging, sum(sizes.values()), repo)
        progress = FetchProgress(on_progress, sum(sizes.values()))
        # Names from the hub may point anywhere, so each file gets a number.
        fetched = [
            staging / f"{number:05}-{PurePosixPath(file).name}"
            for number, file in enumerate(chosen.files)
        ]
        for file, path in zip(chosen.files, fetched, strict=True):
            fetch(api, repo, commit, file, path, progress)
        files = tuple(
            PulledFile(file, path.stat().st_size, sha256_of(path))
            for file, path in zip(chosen.files, fetched, strict=True)
        )
        verify(info, files, staging)
        digest = put(fetched, target, staging)
    pulled = Pulled(
        path=target,
        repo=repo,
        endpoint=endpoint,
        revision=commit,
        branch=branch,
        config=chosen.config,
        split=chosen.split,
        files=files,
        bytes=target.stat().st_size,
        sha256=digest,
        licence=_licence(info),
        others=_others(chosen),
    )
    document = {key: value for key, value in pulled.to_json().items() if key != "path"}
    private_write(_source_of(target), json.dumps(document, indent=2) + "\n")
    shutil.rmtree(staging, ignore_errors=True)
    return pulled


def _repo(repo: str, endpoint: str) -> str:
    """`owner/name` from the user's text."""
    short = re.sub(r"^(hf://|https?://[^/]+/)?(datasets/)?", "", repo.strip()).strip("/")
    short = "/".join(short.split("/")[:2])
    if not re.fullmatch(r"[\w.-]{1,96}(/[\w.-]{1,96})?", short):
        raise UsageError(
            f"“{one_line(repo, 80)}” is not a dataset on the hub.",
            hint=f"Give OWNER/NAME, as in its address: {endpoint}/datasets/OWNER/NAME.",
        )
    return short


def _chosen(
    api: HfApi, repo: str, revision: str | None, config: str | None, split: str | None
) -> tuple[DatasetInfo, str, ChosenSplit]:
    """The dataset's own files where they are supported, else the hub's Parquet conversion."""
    from huggingface_hub.errors import RevisionNotFoundError

    info = api.dataset_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT)
    card = info.card_data.to_dict() if info.card_data else {}  # type: ignore[no-untyped-call]
    if groups := grouped(_names(info), card):
        return info, "", choose(groups, repo, config, split)
    if revision is None:
        try:
            parquet = api.dataset_info(
                repo, revision=PARQUET_BRANCH, files_metadata=True, timeout=TIMEOUT
            )
        except RevisionNotFoundError:
            parquet = None
        if parquet is not None and (groups := converted(_names(parquet))):
            parquet.card_data = info.card_data
            return parquet, PARQUET_BRANCH, choose(groups, repo, config, split)
    raise DatasetError(
        f"{repo} has no supported data files, and the hub has not converted it.",
        hint="It may need its own loading script: download it and save it as JSONL in data/.",
    )


def _names(info: DatasetInfo) -> list[str]:
    return [file.rfilename for file in info.siblings or []]


def _sizes(info: DatasetInfo, files: Sequence[str]) -> dict[str, int]:
    known = {file.rfilename: file.size or 0 for file in info.siblings or []}
    return {file: known.get(file, 0) for file in files}


def _target(workspace: Workspace, repo: str, chosen: ChosenSplit, name: str | None) -> Path:
    """The file in `data/`, which must be new or pulled from the same set before."""
    if name is not None and (not name or name != Path(name).name or name.startswith(".")):
        raise UsageError(
            f"“{one_line(name, 60)}” cannot be a file in data/.", hint="Give a plain --out NAME."
        )
    whole = chosen.config in (DEFAULT, "") or chosen.config in repo
    parts = [repo.rpartition("/")[2], *([] if whole else [chosen.config]), chosen.split]
    stem = name or re.sub(r"[^\w.-]+", "-", "-".join(parts))
    file = PurePosixPath(chosen.files[0]).name
    suffixes = "".join(PurePosixPath(file).suffixes[-2 if file.endswith(".gz") else -1 :])
    # Several files become one, line by line.
    suffix = suffixes if len(chosen.files) == 1 else ".jsonl"
    known = name is not None and name.casefold().endswith(suffix.casefold())
    target = workspace.data / (stem if known else stem + suffix)
    if target.exists() and _repo_of(target) != repo:
        raise DatasetError(
            f"{one_line(str(target))} already exists and was not pulled from {repo}.",
            hint="Choose another name with --out NAME.",
        )
    return target


def _source_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.source.json")


def _repo_of(target: Path) -> str:
    try:
        return str(json.loads(_source_of(target).read_text(encoding="utf-8"))["repo"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _licence(info: DatasetInfo) -> str:
    card = info.card_data
    licence = getattr(card, "license", None) if card else None
    names = licence if isinstance(licence, list) else [licence or ""]
    return one_line(", ".join(map(str, names)), 80)


def _others(chosen: ChosenSplit) -> tuple[str, ...]:
    configs = [f"--config {name}" for name in chosen.configs if name != chosen.config]
    return (*configs, *(f"--split {name}" for name in chosen.splits if name != chosen.split))
