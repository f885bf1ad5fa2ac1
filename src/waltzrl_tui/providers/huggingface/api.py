"""The calls to the hub that block: used in threads, and raising the SDK's own errors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.network import route_hub
from waltzrl_tui.providers.errors import InvalidRequestError, MissingError, SdkMissingError
from waltzrl_tui.providers.huggingface.jobs import usd_per_second

ADAPTER_FILES: Final = ("adapter_config.json", "adapter_model.safetensors", "adapter.gguf")
_NEEDED: Final = ADAPTER_FILES[:2]
_TAIL: Final = 500


class Hub:
    """The hub as one token sees it. Connects on first use."""

    def __init__(self, token: str, url: str) -> None:
        try:
            from huggingface_hub import HfApi, logging
            from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
        except ImportError as error:
            raise SdkMissingError(
                "Hugging Face's client is not installed.", hint="pip install 'huggingface_hub>=2.3'"
            ) from error
        # Neither may write over the screen.
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        disable_progress_bars()
        route_hub()
        self.token = token
        endpoint = (url or os.environ.get("HF_ENDPOINT", "")).rstrip("/") or None
        self.api = HfApi(endpoint=endpoint, token=token, library_name="waltzrl-tui")

    def whoami(self) -> dict[str, Any]:
        """The account: `name`, `isPro`, `canPay`, `auth` and more."""
        account = self.api.whoami()
        if not isinstance(account.get("name"), str):
            raise ValueError("an account without a name")
        return account

    def prices(self) -> dict[str, float]:
        """USD per second by machine, where listed."""
        prices = {each.name: usd_per_second(each) for each in self.api.list_jobs_hardware()}
        return {name: usd for name, usd in prices.items() if usd is not None}

    def job(self, account: str, job_id: str) -> Any:
        """A `JobInfo`."""
        return self.api.inspect_job(job_id=job_id, namespace=account)

    def jobs(self, account: str, label: str = "") -> Iterator[Any]:
        """All `JobInfo` of an account, or those with a label (`key=value`), page by page."""
        # Not by the SDK's list: it waits in its thread for as long as a Retry-After asks.
        from huggingface_hub import JobInfo

        for page in self._pages(f"/api/jobs/{account}", {"label": label} if label else {}):
            for each in page:
                yield JobInfo(**each, endpoint=self.api.endpoint)

    def log(self, account: str, job_id: str, *, whole: bool) -> list[str]:
        """The lines of a job's log, or its last 500. Takes up to 5 s where nothing comes."""
        tail = None if whole else _TAIL
        return list(self.api.fetch_job_logs(job_id=job_id, namespace=account, tail=tail))

    def start(self, account: str, body: dict[str, Any]) -> Any:
        """Start a job: one request. The token goes with it as the job's secret."""
        return self.api.run_job(
            image=body["dockerImage"],
            command=body["command"],
            env=body["environment"],
            secrets={"HF_TOKEN": self.token},
            flavor=body["flavor"],
            timeout=body["timeoutSeconds"],
            labels=body["labels"],
            namespace=account,
        )

    def cancel(self, account: str, job_id: str) -> None:
        """Ask a job to stop."""
        self.api.cancel_job(job_id=job_id, namespace=account)

    def files(self, repo: str) -> dict[str, int | None] | None:
        """Sizes by path of a dataset repository, or None when there is none.

        Raises:
            InvalidRequestError: Everybody can read it.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            dataset = self.api.dataset_info(repo, files_metadata=True)
        except RepositoryNotFoundError as error:
            if error.response.status_code == 404:
                return None
            raise
        if dataset.private is not True:
            raise InvalidRequestError(
                f"The dataset repository {repo} is public, so nothing was sent to it.",
                hint="Make it private in its settings, then resume the job.",
            )
        return {each.rfilename: each.size for each in dataset.siblings or []}

    def send(self, repo: str, path: str, content: bytes | Path, size: int) -> bool:
        """Put a file into a private dataset repository unless it is there; whether it was sent.

        Args:
            path: Carries the content's hash, so that one of this path and size is the same.
        """
        there = self.files(repo)
        if there is not None and there.get(path) == size:
            return False
        if there is None:
            self.api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
        self.api.upload_file(
            path_or_fileobj=content,
            path_in_repo=path,
            repo_id=repo,
            repo_type="dataset",
            commit_message=path,
        )
        return True

    def fetch_adapter(self, repo: str, folder: Path, cache: Path) -> Path:
        """Fetch an adapter's files into a folder that is made.

        Raises:
            MissingError: The repository holds none.
        """
        self.api.snapshot_download(
            repo, local_dir=folder, cache_dir=cache, allow_patterns=list(ADAPTER_FILES)
        )
        for name in _NEEDED:
            if not (folder / name).is_file():
                raise MissingError(
                    f"The repository {repo} does not hold an adapter: {name} is missing.",
                    hint="See the job's log.",
                )
        return folder

    def _pages(self, path: str, params: dict[str, str]) -> Iterator[list[Any]]:
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            get_session,
            hf_raise_for_status,
        )

        headers = build_hf_headers(token=self.token, library_name="waltzrl-tui")
        url: str | None = f"{self.api.endpoint}{path}"
        query: dict[str, str] | None = params
        while url is not None:
            answer = get_session().get(url, params=query, headers=headers)
            hf_raise_for_status(answer)
            yield answer.json()
            # The next address has the parameters in it.
            url, query = answer.links.get("next", {}).get("url"), None


def fingerprint(token: str) -> str:
    """A fingerprint that distinguishes tokens without storing them."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]
