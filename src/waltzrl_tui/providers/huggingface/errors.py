"""Errors of huggingface_hub and of its HTTP library, as ours: by shape, without the SDK."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from waltzrl_tui.providers.errors import ProviderError, UnavailableError
from waltzrl_tui.providers.sdk_errors import of_status, said

_NEVER_SENT: Final = {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"}
"""httpx2's errors before anything of the request has left."""

_RESET: Final = re.compile(r"\bt=(\d+)")
"""Seconds in a header such as `"api";r=0;t=55`."""


@asynccontextmanager
async def translating(title: str, *, effect: bool = False) -> AsyncIterator[None]:
    """Raise what the SDK raises inside as one of our errors.

    Args:
        effect: The request may have changed something there, if its answer was lost.
    """
    try:
        yield
    except Exception as error:
        # Besides its own the SDK lets httpx2's errors through, and KeyError or ValueError on
        # answers that it does not understand.
        raise mapped(error, title, effect=effect) from error


def mapped(error: BaseException, title: str, *, effect: bool = False) -> ProviderError:
    """An error as one of ours, with the hub's words."""
    if isinstance(error, ProviderError):
        return error
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(status, int) and status >= 400:
        words = str(getattr(error, "server_message", "") or "") or str(error).strip()
        return of_status(status, words, title, retry_after=_retry_after(response), effect=effect)
    names = {each.__name__ for each in type(error).__mro__}
    if "LocalEntryNotFoundError" in names and error.__cause__ is not None:
        # A download that could not begin: the reason is underneath.
        return mapped(error.__cause__, title, effect=effect)
    if "OfflineModeIsEnabled" in names:
        return UnavailableError(
            "HF_HUB_OFFLINE is set: nothing is asked of the hub.", hint="Unset it and try again."
        )
    words = said(f"{type(error).__name__}: {error}".rstrip(": "))
    if "TransportError" in names:
        what = "did not answer in time" if "TimeoutException" in names else "cannot be reached"
        return UnavailableError(
            f"{title} {what}.", words=words, sent=effect and not names & _NEVER_SENT
        )
    return UnavailableError(
        f"{title} answered what its client does not understand.", words=words, sent=effect
    )


def _retry_after(response: Any) -> float | None:
    headers = getattr(response, "headers", {})
    try:
        return float(headers.get("retry-after", ""))
    except ValueError:
        found = _RESET.search(headers.get("ratelimit", ""))
        return float(found[1]) if found and response.status_code == 429 else None
