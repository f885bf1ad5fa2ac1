"""Errors of vendors' SDKs, and of the HTTP libraries under them, as ours.

By their shape, so that no SDK is imported here. Stainless generates those of Together, Fireworks
and OpenAI (`status_code`, `body`, `APIConnectionError`), Speakeasy Mistral's (`status_code`, `body`
as text), and the hub's have the HTTP library's `response`. All let some errors of httpx through.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
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
_NEVER_SENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"}
)
"""httpx's errors before anything of the request has left."""

_RESET: Final = re.compile(r"\bt=(\d+)")
"""Seconds in a header such as `"api";r=0;t=55`."""

_DEEPEST: Final = 6
_KEYS: Final = re.compile(r"\b(?:sk|tgp|fw|hf|key)[-_][A-Za-z0-9_-]{8,}|Bearer\s+\S+")
_HINTS: Final[dict[type[ProviderError], str]] = {
    AuthError: "Check the key and what it may do: waltzrl-tui doctor",
    QuotaError: "Add credit or raise the limit in the provider's console, then resume the job.",
    InvalidRequestError: "Correct what it names, then launch again.",
    ClosedError: "See `waltzrl-tui plan` for what to use instead.",
}


def mapped(error: BaseException, title: str, *, effect: bool = False) -> ProviderError:
    """Our error for an SDK's error, with the provider's message.

    Args:
        effect: The request may have changed something there, if its answer was lost.
    """
    if isinstance(error, ProviderError):
        return error
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", getattr(response, "status_code", None))
    # A good answer of wrong types is an error with the status 200.
    if isinstance(status, int) and status >= 400:
        return of_status(
            status, _words(error), title, retry_after=_retry_after(error), effect=effect
        )
    names = {each.__name__ for each in type(error).__mro__}
    if "LocalEntryNotFoundError" in names and error.__cause__ is not None:
        # A download from the hub that could not begin: the reason is underneath.
        return mapped(error.__cause__, title, effect=effect)
    if "OfflineModeIsEnabled" in names:
        return UnavailableError(
            "HF_HUB_OFFLINE is set: the hub is not used.", hint="Unset it and try again."
        )
    if names & {"APITimeoutError", "TimeoutException"}:
        return UnavailableError(
            f"{title} did not answer in time.", sent=effect and not names & _NEVER_SENT
        )
    if names & {"APIConnectionError", "TransportError"}:
        cause = error.__cause__ if "APIConnectionError" in names else None
        reason = cause or error
        # A connection that was refused has carried nothing; one that broke may have.
        refused = type(reason).__name__ in _NEVER_SENT
        words = str(cause) if cause else f"{type(error).__name__}: {error}".rstrip(": ")
        return UnavailableError(
            f"{title} cannot be reached.", words=without_keys(words), sent=effect and not refused
        )
    return UnavailableError(
        f"{title} sent an answer that its client cannot read.",
        words=without_keys(f"{type(error).__name__}: {error}".rstrip(": ")),
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
    words = without_keys(words)
    kind = _kind(status, words)
    what = {
        AuthError: "does not accept the key",
        QuotaError: "reports that the account's quota or credit is used up",
        ConcurrencyError: "already runs too many jobs of this account",
        RateLimitError: "received too many requests",
        MissingError: "does not have it",
        ClosedError: "no longer offers this",
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


def without_keys(words: str) -> str:
    """A provider's message without anything that looks like a key."""
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


def _words(error: BaseException) -> str:
    """The message in an answer's body, whatever its shape; else the error's own."""
    if message := getattr(error, "server_message", ""):
        return str(message)
    body: Any = getattr(error, "body", None)
    if isinstance(body, str):
        with suppress(ValueError, RecursionError):
            body = json.loads(body)
    words = "; ".join(_sentences(body)) if body else ""
    return words or str(getattr(error, "message", "") or error).strip()


def _sentences(body: Any, depth: int = 0) -> list[str]:
    if isinstance(body, str):
        return [body]
    if isinstance(body, list) and depth < _DEEPEST:
        return [words for part in body for words in _sentences(part, depth + 1)]
    if isinstance(body, dict) and depth < _DEEPEST:
        names = ("error", "message", "detail", "msg")
        inner = next((body[name] for name in names if body.get(name)), "")
        where = ".".join(str(part) for part in body.get("loc", ()) if part != "body")
        sentences = _sentences(inner, depth + 1)
        return [f"{where}: {words}" if where else words for words in sentences if words]
    return []


def _retry_after(error: BaseException) -> float | None:
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None) or getattr(error, "headers", None) or {}
    try:
        return float(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        # The hub's own header.
        reset = _RESET.search(str(headers.get("ratelimit", "")))
        limited = getattr(response, "status_code", None) == 429
        return float(reset[1]) if reset and limited else None
