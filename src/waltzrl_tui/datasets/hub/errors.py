"""The hub client's errors, rewritten for the user: what is wrong, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from waltzrl_tui.errors import DatasetError, UsageError, WaltzError
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import Workspace


@contextmanager
def translate_errors(
    repo: str, endpoint: str, revision: str | None, workspace: Workspace
) -> Iterator[None]:
    """Raise the client's errors as DatasetError or UsageError."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except WaltzError:
        raise
    except errors.GatedRepoError as error:
        raise DatasetError(
            f"{repo} is gated: accept its terms before you fetch it.",
            hint=f"Accept them at {endpoint}/datasets/{repo} while logged in, then set a "
            "token of that account: export HF_TOKEN=…, or run: hf auth login",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DatasetError(
            f"{repo} has no revision “{one_line(revision or '', 60)}”.",
            hint="Give one of its branches, tags or commits.",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DatasetError(
            f"There is no dataset {repo} at {endpoint}, or it is private.",
            hint=f"Look it up at {endpoint}/datasets. For a private one set a token that may "
            "read it: export HF_TOKEN=…, or run: hf auth login",
        ) from error
    except errors.HFValidationError as error:
        raise UsageError(
            f"“{repo}” is not a dataset on the hub.", hint="Give OWNER/NAME, as in its address."
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise DatasetError(
            "HF_HUB_OFFLINE is set, so nothing is fetched.", hint="Unset it to pull datasets."
        ) from error
    except errors.HfHubHTTPError as error:
        raise _refused(error, repo, endpoint) from error
    except (errors.LocalEntryNotFoundError, httpx2.HTTPError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, errors.HfHubHTTPError):
            raise _refused(cause, repo, endpoint) from error
        raise DatasetError(
            f"{endpoint} cannot be reached: {one_line(str(cause) or type(cause).__name__, 300)}.",
            hint="Check the connection (and HF_ENDPOINT, where it is set), then pull again: it "
            "resumes where it stopped.",
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DatasetError(
                f"The disk under {workspace.home} is full.",
                hint="Free some space and pull again: it resumes where it stopped.",
            ) from error
        raise DatasetError(
            f"{repo} could not be fetched: {one_line(error.strerror or str(error), 160)}.",
            hint="Pull again: it resumes where it stopped.",
        ) from error


def _refused(error: Any, repo: str, endpoint: str) -> DatasetError:
    status = error.response.status_code
    hints = {
        401: "Create a new token and set HF_TOKEN, or run: hf auth login",
        403: "The token must be allowed to read this dataset.",
        429: "Too many requests: wait a few minutes, or set a token for a higher limit.",
    }
    message = one_line(error.server_message or "", 160)
    return DatasetError(
        f"{endpoint} refuses {repo} (status {status}){': ' + message if message else ''}.",
        hint=hints.get(status, "Try again in a few minutes: it resumes where it stopped."),
    )
