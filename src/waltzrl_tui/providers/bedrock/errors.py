"""Errors of boto3 as ours: by AWS's error codes first, then by the HTTP status and the words.

By their shape, so that boto3 is not imported here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
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
from waltzrl_tui.providers.sdk_errors import without_keys

TITLE: Final = "Amazon Bedrock"

_THROTTLED: Final = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
    | {"SlowDown"}
)
_QUOTAS: Final = frozenset({"ServiceQuotaExceededException", "LimitExceededException"})
_REFUSED: Final = frozenset(
    {"AccessDeniedException", "AccessDenied", "UnrecognizedClientException", "OptInRequired"}
    | {"InvalidSignatureException", "SignatureDoesNotMatch", "ExpiredTokenException"}
    | {"ExpiredToken", "InvalidToken", "InvalidClientTokenId", "InvalidAccessKeyId"}
    | {"MissingAuthenticationToken", "RequestTimeTooSkewed"}
)
_MISSING: Final = frozenset({"ResourceNotFoundException", "NoSuchKey", "NoSuchBucket", "404"})
_NO_CREDENTIALS: Final = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "SSOError"}
    | {"CredentialRetrievalError", "TokenRetrievalError", "NoAuthTokenError", "LoginError"}
)
_NEVER_SENT: Final = frozenset(
    {"ConnectTimeoutError", "EndpointConnectionError", "ProxyConnectionError"}
)
_WRONG_REQUEST: Final = frozenset(
    {"ParamValidationError", "InvalidRegionError", "InvalidEndpointConfigurationError"}
)
_CONCURRENT: Final = re.compile(
    r"concurren|simultaneous|at (?:the same time|once)|in[ -]?progress|scheduled \w+ jobs|"
    r"(?:active|running|parallel) (?:\w+ )?jobs",
    re.I,
)
_PAYMENT: Final = re.compile(r"payment|billing", re.I)
_CLOSED: Final = re.compile(
    r"end of (?:its )?life|marked by provider as legacy|deprecat|no longer (?:available|supported)"
    r"|discontinu",
    re.I,
)
_SECRETS: Final = re.compile(r"\b(?:AKIA|ASIA|ABSK|bedrock-api-key-)[A-Za-z0-9+/=_-]{8,}")

_SAYS: Final[dict[type[ProviderError], tuple[str, str]]] = {
    AuthError: (
        "does not let these AWS credentials do this",
        "Check them and what their IAM policy allows: waltzrl-tui doctor",
    ),
    QuotaError: (
        "reports that a quota of the account is reached",
        "Ask for more in AWS Service Quotas or settle the billing, then resume the job.",
    ),
    ConcurrencyError: ("already runs too many jobs of this account", ""),
    RateLimitError: ("received too many requests", ""),
    MissingError: ("does not have it", ""),
    ClosedError: (
        "no longer offers this",
        "See `waltzrl-tui plan` for what to use instead.",
    ),
    InvalidRequestError: ("refused the request", "Correct what it names, then launch again."),
    UnavailableError: ("failed", ""),
}


@contextmanager
def translating(*, effect: bool = False) -> Iterator[None]:
    """Raise what boto3 raises inside, or reading its answer, as one of our errors.

    Args:
        effect: The request may have changed something there, if its answer was lost.
    """
    try:
        yield
    except Exception as error:
        # boto3 raises its own errors, and an answer that is not JSON lacks its fields.
        raise mapped(error, effect=effect) from error


def mapped(error: Exception, *, effect: bool = False) -> ProviderError:
    """Our error for an error of boto3, with AWS's message."""
    if isinstance(error, ProviderError):
        return error
    answer = getattr(error, "response", None)
    if isinstance(answer, dict) and "Error" in answer:
        return _of_answer(answer, effect)
    names = {each.__name__ for each in type(error).__mro__}
    words = masked_words(f"{type(error).__name__}: {error}".rstrip(": "))
    if names & _NO_CREDENTIALS:
        return AuthError(
            f"{TITLE} needs valid AWS credentials.", words=words, hint=CREDENTIALS_HINT
        )
    if names & _WRONG_REQUEST:
        return InvalidRequestError(f"The request to {TITLE} is not valid.", words=words)
    if "HTTPClientError" in names or "ConnectionError" in names:
        what = "did not answer in time" if "ReadTimeoutError" in names else "cannot be reached"
        lost = effect and not names & _NEVER_SENT
        return UnavailableError(f"{TITLE} {what}.", words=words, sent=lost)
    return UnavailableError(
        f"{TITLE} sent an answer that its client cannot read.", words=words, sent=effect
    )


CREDENTIALS_HINT: Final = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN where they are "
    "temporary), or AWS_PROFILE: `default` for what `aws configure` wrote."
)


def masked_words(words: str) -> str:
    """AWS's message without anything that looks like a key."""
    return without_keys(_SECRETS.sub("…", words))


def code_of(error: ProviderError) -> str:
    """AWS's code for the refusal behind an error, or ""."""
    answer = getattr(error.__cause__, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""


def _of_answer(answer: dict[str, Any], effect: bool) -> ProviderError:
    fault, about = answer.get("Error") or {}, answer.get("ResponseMetadata") or {}
    code, words = str(fault.get("Code") or ""), masked_words(str(fault.get("Message") or ""))
    status = int(about.get("HTTPStatusCode") or 500)
    kind = _kind(code, status, words)
    what, hint = _SAYS[kind]
    name = f"{status}" if code in ("", str(status)) else f"{status}, {code}"
    return kind(
        f"{TITLE} {what} ({name}).",
        words=words,
        hint=hint,
        retry_after=_retry_after(about.get("HTTPHeaders") or {}),
        sent=effect and kind is UnavailableError,
    )


def _kind(code: str, status: int, words: str) -> type[ProviderError]:
    if code in _QUOTAS or code in _THROTTLED or status == 429:
        if _CONCURRENT.search(words):
            return ConcurrencyError
        return QuotaError if code in _QUOTAS else RateLimitError
    if status >= 500 or status < 400 or code == "RequestTimeout":
        return UnavailableError
    if _CLOSED.search(words):
        return ClosedError
    if code in _REFUSED or status in (401, 403):
        return QuotaError if _PAYMENT.search(words) else AuthError
    if code in _MISSING or status in (404, 410):
        return MissingError
    return InvalidRequestError


def _retry_after(headers: dict[str, Any]) -> float | None:
    try:
        return float(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
