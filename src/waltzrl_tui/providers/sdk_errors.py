"""Errors of the SDKs that Stainless generates (Together, Fireworks, OpenAI), as ours.

By their shape, so that no SDK is imported here: all have the same classes under the same names.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from waltzrl_tui.providers.errors import (
    AuthError,
    ClosedError,
    ConcurrencyError,
    InvalidRequestError,
    MissingError,
    ProviderError,
    QuotaError,
    RateLimitError,
    UnavailableError,
)

_CONCURRENT: Final = re.compile(
    r"concurren|at (?:the same time|once)|active (?:fine-?tun|jobs?)|(?:running|parallel) jobs?",
    re.I,
)
_QUOTA: Final = re.compile(
    r"quota|credit|billing|spend|payment|trial|insufficient funds|balance|exceed\w* your", re.I
)
_CLOSED: Final = re.compile(
    r"deprecat|no longer (?:available|supported)|discontinu|not available for this type|sunset"
    r"|not available to (?:new|your)|closed to",
    re.I,
)
_KEYS: Final = re.compile(r"\b(?:sk|tgp|fw|hf|key)[-_][A-Za-z0-9_-]{8,}|Bearer\s+\S+")
_HINTS: Final[dict[type[ProviderError], str]] = {
    AuthError: "Check the key and what it may do: waltzrl-tui doctor",
    QuotaError: "Add credit or raise the limit in the provider's console, then resume the job.",
    InvalidRequestError: "Change what it names, then launch anew.",
    ClosedError: "See `waltzrl-tui plan` for what to use instead.",
}


def mapped(error: Exception, title: str, *, effect: bool = False) -> ProviderError:
    """An SDK's error as one of ours, with the provider's words.

    Args:
        effect: The request may have changed something there, if its answer was lost.
    """
    if isinstance(error, ProviderError):
        return error
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return of_status(
            status, _words(error), title, retry_after=_retry_after(error), effect=effect
        )
    names = {each.__name__ for each in type(error).__mro__}
    if "APITimeoutError" in names:
        return UnavailableError(f"{title} did not answer in time.", sent=effect)
    if "APIConnectionError" in names:
        cause = error.__cause__ or error
        # A connection that was refused has carried nothing; one that broke may have.
        refused = "ConnectError" in type(cause).__name__
        return UnavailableError(
            f"{title} cannot be reached.", words=said(str(cause)), sent=effect and not refused
        )
    return UnavailableError(
        f"{title} answered what its client does not understand.",
        words=said(f"{type(error).__name__}: {error}"),
        sent=effect,
    )


def of_status(
    status: int,
    words: str,
    title: str,
    *,
    retry_after: float | None = None,
    effect: bool = False,
) -> ProviderError:
    """The error of an HTTP status and the words that came with it."""
    words = said(words)
    kind = _kind(status, words)
    what = {
        AuthError: "does not accept the key",
        QuotaError: "says that the account's quota or credit is used up",
        ConcurrencyError: "runs too many jobs of this account already",
        RateLimitError: "was asked too often",
        MissingError: "does not have it",
        ClosedError: "does not offer this any more",
        UnavailableError: f"failed ({status})",
    }.get(kind, f"refused the request ({status})")
    lost = effect and kind is UnavailableError
    return kind(
        f"{title} {what}.",
        words=words,
        hint=_HINTS.get(kind, ""),
        retry_after=retry_after,
        sent=lost,
    )


@asynccontextmanager
async def translating(title: str, *, effect: bool = False) -> AsyncIterator[None]:
    """Raise what an SDK raises inside as one of our errors."""
    try:
        yield
    except Exception as error:
        # SDKs raise their own errors, their HTTP library's, and ValueError on nonsense.
        raise mapped(error, title, effect=effect) from error


def said(words: str) -> str:
    """A provider's words without anything that looks like a key."""
    return _KEYS.sub("…", words).strip()[:1000]


def _kind(status: int, words: str) -> type[ProviderError]:
    if _CONCURRENT.search(words) and status in (400, 403, 409, 422, 429):
        return ConcurrencyError
    if status == 402 or (_QUOTA.search(words) and status in (400, 401, 403, 412, 422, 429)):
        return QuotaError
    if _CLOSED.search(words) and status in (400, 403, 404, 410, 422):
        return ClosedError
    if status in (401, 403):
        return AuthError
    if status in (404, 410):
        return MissingError
    if status == 429:
        return RateLimitError
    if status >= 500 or status in (408, 425):
        return UnavailableError
    return InvalidRequestError


def _words(error: Exception) -> str:
    body: Any = getattr(error, "body", None)
    for _ in range(3):
        if isinstance(body, dict):
            body = body.get("error", body.get("message", body.get("detail", "")))
    if isinstance(body, str) and body:
        return body
    return str(getattr(error, "message", "") or error)


def _retry_after(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return float(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
