"""The hub client's errors in our words: what is wrong, and what to do."""

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
    """Turn the client's errors into ours."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except WaltzError:
        raise
    except errors.GatedRepoError as error:
        raise DatasetError(
            f"{repo} is gated: its owners want their terms accepted before anyone fetches it.",
            hint=f"Accept them at {endpoint}/datasets/{repo} while logged in there, then give a "
            "token of that account: export HF_TOKEN=…, or run: hf auth login",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DatasetError(
            f"{repo} has no revision “{one_line(revision or '', 60)}”.",
            hint="Give a branch, a tag or a commit of it.",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DatasetError(
            f"There is no dataset {repo} at {endpoint}, or it is private.",
            hint=f"Look it up at {endpoint}/datasets. For a private one give a token that may "
            "read it: export HF_TOKEN=…, or run: hf auth login",
        ) from error
    except errors.HFValidationError as error:
        raise UsageError(
            f"“{repo}” is no dataset of the hub.", hint="Give OWNER/NAME as in its address."
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
            f"{endpoint} cannot be reached: {one_line(str(cause) or type(cause).__name__, 120)}.",
            hint="Check the connection (and HF_ENDPOINT, where it is set), then pull again: it "
            "goes on where it stopped.",
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DatasetError(
                f"The disk under {workspace.home} is full.",
                hint="Make space there and pull again: it goes on where it stopped.",
            ) from error
        raise DatasetError(
            f"{repo} could not be fetched: {one_line(error.strerror or str(error), 160)}.",
            hint="Pull again: it goes on where it stopped.",
        ) from error


def _refused(error: Any, repo: str, endpoint: str) -> DatasetError:
    status = error.response.status_code
    hints = {
        401: "Make a new token and give it by HF_TOKEN, or run: hf auth login",
        403: "The token must be allowed to read this dataset.",
        429: "Too many requests: wait some minutes, or give a token for a higher limit.",
    }
    message = one_line(error.server_message or "", 160)
    return DatasetError(
        f"{endpoint} refuses {repo} (status {status}){': ' + message if message else ''}.",
        hint=hints.get(status, "Try again in some minutes: it goes on where it stopped."),
    )
