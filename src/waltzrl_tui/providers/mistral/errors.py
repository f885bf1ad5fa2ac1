"""Errors of the SDKs that Speakeasy generates (Mistral), as ours: by shape, without the SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from waltzrl_tui.providers.errors import ProviderError, UnavailableError
from waltzrl_tui.providers.sdk_errors import of_status, said

_NEVER_SENT: Final = {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"}
"""httpx's errors before anything of the request has left."""


@asynccontextmanager
async def translating(title: str, *, effect: bool = False) -> AsyncIterator[None]:
    """Raise what an SDK raises inside as one of our errors.

    Args:
        effect: The request may have changed something there, if its answer was lost.
    """
    try:
        yield
    except Exception as error:
        # The SDK lets httpx's errors through, and raises its own on statuses and wrong types.
        raise mapped(error, title, effect=effect) from error


def mapped(error: Exception, title: str, *, effect: bool = False) -> ProviderError:
    """An SDK's or httpx's error as one of ours, with the provider's words."""
    if isinstance(error, ProviderError):
        return error
    status = getattr(error, "status_code", None)
    # A good answer of wrong types is an error with the status 200.
    if isinstance(status, int) and status >= 400:
        return of_status(
            status,
            _words(str(getattr(error, "body", ""))),
            title,
            retry_after=_retry_after(error),
            effect=effect,
        )
    names = {each.__name__ for each in type(error).__mro__}
    if "TransportError" in names:
        what = "did not answer in time" if "TimeoutException" in names else "cannot be reached"
        lost = effect and not names & _NEVER_SENT
        words = said(f"{type(error).__name__}: {error}".rstrip(": "))
        return UnavailableError(f"{title} {what}.", words=words, sent=lost)
    return UnavailableError(
        f"{title} answered what its client does not understand.",
        words=said(f"{type(error).__name__}: {error}"),
        sent=effect,
    )


def _words(body: str) -> str:
    """The sentence in an answer's body: under `detail` or `message`, alone or as a list."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        return body
    return "; ".join(_sentences(found)) or body


def _sentences(found: Any) -> list[str]:
    if isinstance(found, str):
        return [found]
    if isinstance(found, list):
        return [each for part in found for each in _sentences(part)]
    if isinstance(found, dict):
        names = ("detail", "message", "msg", "error")
        inner = next((found[name] for name in names if found.get(name)), "")
        where = ".".join(str(part) for part in found.get("loc", ()) if part != "body")
        return [f"{where}: {each}" if where else each for each in _sentences(inner)]
    return []


def _retry_after(error: Exception) -> float | None:
    try:
        return float(getattr(error, "headers", {}).get("retry-after", ""))
    except ValueError:
        return None
