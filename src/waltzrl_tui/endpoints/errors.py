"""What goes wrong at a chat endpoint: as one of our errors, and whether asking again may help."""

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
from waltzrl_tui.network import THROUGH, RouteError, certificates, proxy_of
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

LONGEST_WAIT: Final = 60.0
"""Seconds that a server may ask to wait; one that asks for more is not waited for."""

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
# Of these no other prompt would be answered either.
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
    """What was sent is longer than the model reads."""


class FilteredError(EndpointError):
    """A filter of the server's refused what was sent, or stopped what was written.

    That is how a reply can end, and no failure of the server.
    """


class RateLimitedError(EndpointError):
    """The server answers no more for now.

    Args:
        retry_after: Seconds that it asks to wait, where it says so.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RefusedError(Exception):
    """An answer with a status that is no success, in the shape of the SDKs' own error.

    Args:
        said: The body, whose JSON is `body` where it is some.
    """

    def __init__(self, status: int, headers: Mapping[str, str], said: str) -> None:
        super().__init__(said)
        self.status_code = status
        self.headers = headers
        self.body: Any = said
        with suppress(ValueError, RecursionError):
            self.body = json.loads(said)

    @property
    def response(self) -> RefusedError:
        """Where the SDKs' error keeps the headers."""
        return self


class UnreachableError(Exception):
    """A server cannot be connected to, so it was asked nothing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed attempt.

    Attributes:
        error: What the user is told when it was the last one.
        again: Whether another attempt may help, as long as no text has come.
        after: Seconds that the server asks to wait first, where it says so.
        crowded: It was asked too often, so that other streams do well to wait, too.
    """

    error: EndpointError
    again: bool = False
    after: float | None = None
    crowded: bool = False


def check_route(url: str, name: str) -> None:
    """See that the environment lets an address be asked. Blocks for some 30 ms.

    Args:
        name: What the endpoint is called.

    Raises:
        EndpointError: It names a proxy or certificates that cannot be used.
    """
    import httpx2

    try:
        proxy_of(url)
        if url.startswith("https:"):
            certificates(httpx2)
    except RouteError as error:
        raise EndpointError(f"{name} cannot be asked: {error.message}", hint=error.hint) from error


def fault_of(error: Exception, name: str, *, secret: str = "", said: bool = False) -> Fault:
    """What an attempt's error means; knows the errors of the SDKs of OpenAI and Anthropic.

    Args:
        name: What the endpoint is called.
        secret: The key, which a server may repeat: it is taken out of the server's words.
        said: Whether text had come.
    """
    if isinstance(error, EndpointError):
        return Fault(error)
    if isinstance(getattr(error, "status_code", None), int):
        return _refused(error, name, secret)
    names = {each.__name__ for each in type(error).__mro__}
    words = _clean(str(error) or type(error).__name__, secret)
    if names & {"APIConnectionError", "UnreachableError"} and not said:
        # An SDK's words say nothing of the reason, which is underneath; ours say it all.
        reason = error if isinstance(error, UnreachableError) else error.__cause__ or error
        cause = _clean(str(reason), secret)
        return Fault(
            EndpointError(
                f"{name} cannot be reached: {cause or 'no connection'}.",
                hint=_PROXY_HINT if THROUGH in cause else _REACH_HINT,
            ),
            again=True,
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
            again=True,
        )
    if isinstance(error, ValueError | TypeError | LookupError | AttributeError):
        return Fault(
            EndpointError(
                f"{name} broke off: it sent what is no chat reply ({words}).",
                hint="Check that its URL is that of an OpenAI-compatible API.",
            )
        )
    where = "in the middle of its reply" if said else "before it replied"
    return Fault(
        EndpointError(f"{name} broke off {where}: {words}.", hint="Ask again."), again=True
    )


def of_provider(error: ProviderError, name: str) -> Fault:
    """A refusal that a provider's own module has read."""
    words = one_line(error.words or error.message, 300).rstrip(".")
    if _OVERFLOW.search(words):
        return Fault(_overflow(name, words))
    if isinstance(error, InvalidRequestError) and _filtered(error, words):
        return Fault(_withheld(name, words))
    if isinstance(error, RateLimitError | ConcurrencyError):
        return Fault(_crowded(name, words, error.retry_after), True, error.retry_after, True)
    again = isinstance(error, UnavailableError)
    hint = error.hint or _HINTS.get(type(error), _HINT)
    return Fault(EndpointError(f"{name}: {words}.", hint=hint), again, error.retry_after)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the headers of an answer ask to wait, or None."""
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
    found = mapped(error, name)
    words = _clean(found.words, secret)
    after = retry_after(headers)
    if status in (400, 413, 422, 500) and _OVERFLOW.search(words):
        return Fault(_overflow(name, words))
    if status in (400, 403, 422, 451) and _filtered(error, words):
        return Fault(_withheld(name, words))
    crowded = isinstance(found, RateLimitError | ConcurrencyError)
    # A used-up quota is told with 429 as well, but never with a time to wait.
    if crowded or (status == 429 and after is not None):
        waits = after is None or after <= LONGEST_WAIT
        return Fault(_crowded(name, words, after), waits, after, True)
    what = f"failed ({status})" if status >= 500 else f"refused the request ({status})"
    hint = _HINTS.get(type(found), _HINT)
    again = status in (408, 409) or status >= 500
    if (told := headers.get("x-should-retry")) in ("true", "false"):
        again = told == "true"
    if after is not None and after > LONGEST_WAIT:
        again = False
    return Fault(EndpointError(f"{name} {what}: {words}.", hint=hint), again, after)


def _crowded(name: str, words: str, after: float | None) -> RateLimitedError:
    wait = f" in {after:.0f} s" if after is not None else " in a while"
    return RateLimitedError(
        f"{name} was asked too often: {words}.",
        hint=f"Ask again{wait}, or less at once.",
        retry_after=after,
    )


def _filtered(error: Exception, words: str) -> bool:
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    code = inner.get("code") if isinstance(inner, dict) else None
    if code in ("content_filter", "content_policy_violation"):
        return True
    return bool(_FILTERED.search(words)) and not _BARRED.search(words)


def _withheld(name: str, words: str) -> FilteredError:
    return FilteredError(f"A filter of {name} refused: {words}.", hint="Ask something else.")


def _overflow(name: str, words: str) -> ContextOverflowError:
    return ContextOverflowError(
        f"The conversation is longer than {name} can read: {words}.",
        hint="Start a new chat, shorten the prompt, or choose a model with a longer context.",
    )


def _clean(words: Any, secret: str) -> str:
    text = str(words)
    # Shorter ones are no secrets ("none"), and taking them out would spoil the words.
    if len(secret) >= 8:
        text = text.replace(secret, "…")
    return one_line(text, 300).rstrip(". ")
