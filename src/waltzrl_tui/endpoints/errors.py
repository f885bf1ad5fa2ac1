"""Failures of chat endpoints: as our own errors, and whether another attempt may help."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from waltzrl_tui.errors import EndpointError
from waltzrl_tui.network import THROUGH
from waltzrl_tui.providers.errors import (
    AuthError,
    ConcurrencyError,
    InvalidRequestError,
    MissingError,
    ProviderError,
    QuotaError,
    RateLimitError,
    UnavailableError,
)
from waltzrl_tui.providers.sdk_errors import mapped
from waltzrl_tui.text import one_line
from waltzrl_tui.words import duration

LONGEST_WAIT: Final = 60.0
"""Seconds that a server may ask us to wait; if it asks for more, we do not retry."""

_OVERFLOW: Final = re.compile(
    r"context[ _-]?(?:length|size|window)|maximum context|prompt is too long|input is too long"
    r"|too many (?:input )?tokens|exceed_context|max(?:imum)? (?:input|prompt) (?:length|tokens)",
    re.I,
)
_FILTERED: Final = re.compile(
    r"content[ _-]?(?:filter|management|policy)|usage polic|moderation|guardrail"
    r"|(?:prompt|input|request|content) (?:was |has been |is )?(?:flagged|blocked)",
    re.I,
)
# These refuse every prompt, not just this one.
_BARRED: Final = re.compile(r"\b(?:account|organi[sz]ation|project|api key)\b", re.I)
_HINTS: Final[dict[type[ProviderError], str]] = {
    AuthError: "Check the key and what it may do: waltzrl-tui doctor",
    QuotaError: "Add credit or raise the limit in the provider's console, then ask again.",
    MissingError: "Check the agent's model and address with `waltzrl-tui agents list`.",
    UnavailableError: "Ask again in a while.",
}
_REACH_HINT: Final = "Check that it runs and that its URL is right."
_PROXY_HINT: Final = "Check the proxy, or add the host to NO_PROXY to go without it."
_HINT: Final = "Check the agent's model and key with `waltzrl-tui agents list`."


class ContextOverflowError(EndpointError):
    """The request is longer than the model can read."""


class FilteredError(EndpointError):
    """The server's filter refused the request or stopped the reply.

    That is one way a reply can end, not a failure of the server.
    """


class RateLimitedError(EndpointError):
    """The server refuses more requests for now.

    Args:
        retry_after: Seconds that it asks us to wait, if it names any.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RefusedError(Exception):
    """A response with an error status, in the shape of the SDKs' own error.

    Args:
        text: The body; `body` is its JSON, if it is any.
    """

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        super().__init__(text)
        self.status_code = status
        self.headers = headers
        self.body: Any = text
        with suppress(ValueError, RecursionError):
            self.body = json.loads(text)

    @property
    def response(self) -> RefusedError:
        """Where the SDKs' error keeps the headers."""
        return self


class UnreachableError(Exception):
    """The connection to a server cannot be made, so nothing was sent."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed attempt.

    Attributes:
        error: For the user, if it was the last attempt.
        retryable: Whether another attempt may help, as long as no text has arrived.
        retry_after: Seconds that the server asks us to wait first, if it names any.
        rate_limited: The server reports too many requests, so other streams should wait, too.
    """

    error: EndpointError
    retryable: bool = False
    retry_after: float | None = None
    rate_limited: bool = False


def sdk_fault(error: Exception, name: str, *, secret: str = "", mid_reply: bool = False) -> Fault:
    """What an attempt's error means; knows the errors of OpenAI's and Anthropic's SDKs.

    Args:
        name: What errors call the endpoint.
        secret: The key, which a server may repeat: it is removed from the server's words.
        mid_reply: Whether text had arrived.
    """
    if isinstance(error, EndpointError):
        return Fault(error)
    if isinstance(getattr(error, "status_code", None), int):
        return _refused(error, name, secret)
    names = {each.__name__ for each in type(error).__mro__}
    words = _clean(str(error) or type(error).__name__, secret)
    if names & {"APIConnectionError", "UnreachableError"} and not mid_reply:
        # An SDK hides the reason in the cause; our own error states it.
        reason = error if isinstance(error, UnreachableError) else error.__cause__ or error
        cause = _clean(str(reason), secret)
        return Fault(
            EndpointError(
                f"{name} cannot be reached: {cause or 'no connection'}.",
                hint=_PROXY_HINT if THROUGH in cause else _REACH_HINT,
            ),
            retryable=True,
        )
    if "APIError" in names and "APIConnectionError" not in names:
        # An error that came as an event of the stream.
        words = _clean(mapped(error, name).words or words, secret)
        if _OVERFLOW.search(words):
            return Fault(_overflow(name, words))
        if _filtered(error, words):
            return Fault(_withheld(name, words))
        return Fault(
            EndpointError(f"{name} failed while it replied: {words}.", hint="Ask again."),
            retryable=True,
        )
    if isinstance(error, ValueError | TypeError | LookupError | AttributeError):
        return Fault(
            EndpointError(
                f"{name} broke off: what it sent is not a chat reply ({words}).",
                hint="Check that its URL is that of an OpenAI-compatible API.",
            )
        )
    where = "in the middle of its reply" if mid_reply else "before it replied"
    return Fault(
        EndpointError(f"{name} broke off {where}: {words}.", hint="Ask again."), retryable=True
    )


def provider_fault(error: ProviderError, name: str) -> Fault:
    """The fault for an error that the provider's own module has classified."""
    words = one_line(error.words or error.message, 300).rstrip(".")
    if _OVERFLOW.search(words):
        return Fault(_overflow(name, words))
    if isinstance(error, InvalidRequestError) and _filtered(error, words):
        return Fault(_withheld(name, words))
    if isinstance(error, RateLimitError | ConcurrencyError):
        return Fault(
            _rate_limited(name, words, error.retry_after),
            retryable=_worth_waiting(error.retry_after),
            retry_after=error.retry_after,
            rate_limited=True,
        )
    return Fault(
        EndpointError(f"{name}: {words}.", hint=error.hint or _HINTS.get(type(error), _HINT)),
        retryable=isinstance(error, UnavailableError) and _worth_waiting(error.retry_after),
        retry_after=error.retry_after,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by a response's headers, or None."""
    for header, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(header, "")) / unit
        except ValueError:
            continue
        return max(0.0, seconds) if seconds == seconds else None
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError, OverflowError):
        return None


def _refused(error: Exception, name: str, secret: str) -> Fault:
    status: int = error.status_code  # type: ignore[attr-defined]
    headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", {})
    provider_error = mapped(error, name)
    words = _clean(provider_error.words, secret)
    seconds = retry_after(headers)
    if status in (400, 413, 422, 500) and _OVERFLOW.search(words):
        return Fault(_overflow(name, words))
    if status in (400, 403, 422, 451) and _filtered(error, words):
        return Fault(_withheld(name, words))
    rate_limited = isinstance(provider_error, RateLimitError | ConcurrencyError)
    # A used-up quota is reported with 429 as well, but never with a time to wait.
    if rate_limited or (status == 429 and seconds is not None):
        return Fault(
            _rate_limited(name, words, seconds),
            retryable=_worth_waiting(seconds),
            retry_after=seconds,
            rate_limited=True,
        )
    what = f"failed ({status})" if status >= 500 else f"refused the request ({status})"
    retryable = status in (408, 409) or status >= 500
    if (header := headers.get("x-should-retry")) in ("true", "false"):
        retryable = header == "true"
    error_for_user = EndpointError(
        f"{name} {what}: {words}.", hint=_HINTS.get(type(provider_error), _HINT)
    )
    return Fault(
        error_for_user, retryable=retryable and _worth_waiting(seconds), retry_after=seconds
    )


def _worth_waiting(seconds: float | None) -> bool:
    return seconds is None or seconds <= LONGEST_WAIT


def _rate_limited(name: str, words: str, seconds: float | None) -> RateLimitedError:
    when = "in a while" if seconds is None else f"in {duration(seconds, rough=True)}"
    return RateLimitedError(
        f"{name} received too many requests: {words}.",
        hint=f"Ask again {when}, or send fewer requests at once.",
        retry_after=seconds,
    )


def _filtered(error: Exception, words: str) -> bool:
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    code = inner.get("code") if isinstance(inner, dict) else None
    if code in ("content_filter", "content_policy_violation"):
        return True
    return bool(_FILTERED.search(words)) and not _BARRED.search(words)


def _withheld(name: str, words: str) -> FilteredError:
    return FilteredError(
        f"A filter of {name} refused: {words}.", hint="Rephrase the prompt, or ask something else."
    )


def _overflow(name: str, words: str) -> ContextOverflowError:
    return ContextOverflowError(
        f"The conversation is longer than {name} can read: {words}.",
        hint="Start a new chat, shorten the prompt, or choose a model with a longer context.",
    )


def _clean(words: Any, secret: str) -> str:
    text = str(words)
    # Shorter ones are not secrets ("none"), and removing them would spoil the words.
    if len(secret) >= 8:
        text = text.replace(secret, "…")
    return one_line(text, 300).rstrip(". ")
