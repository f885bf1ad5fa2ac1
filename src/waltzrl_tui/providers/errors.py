"""What can go wrong at a provider: one small family, the provider's own words kept."""

from __future__ import annotations

from waltzrl_tui.errors import WaltzError


class ProviderError(WaltzError):
    """A provider refused, failed, or could not be reached.

    Args:
        message: What is wrong, in our words, naming the provider.
        words: The provider's own, as it sent them (hostile text: shown through `one_line`).
        hint: What to do next.
        retry_after: Seconds that the provider asks to wait, or None.
        sent: Whether the request may have had its effect: False when it was certainly refused
            or never left, True when the answer was lost. A create that may have had its effect
            is looked for by its tag before it is sent again.
    """

    def __init__(
        self,
        message: str,
        *,
        words: str = "",
        hint: str = "",
        retry_after: float | None = None,
        sent: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.words = words
        self.retry_after = retry_after
        self.sent = sent


class AuthError(ProviderError):
    """The key is missing, wrong, revoked, or may not do this (401, 403)."""


class QuotaError(ProviderError):
    """The account's quota, trial or credit is used up: waiting does not help, the user must act."""


class ConcurrencyError(ProviderError):
    """Too many jobs at once: it goes on when another ends."""


class RateLimitError(ProviderError):
    """Too many requests: it goes on after `retry_after` or a little later (429)."""


class InvalidRequestError(ProviderError):
    """The provider will never take this request as it is (400, 409, 422)."""


class MissingError(ProviderError):
    """The job, file, model or deployment is not there (any more) (404)."""


class UnavailableError(ProviderError):
    """The provider could not be reached, failed (5xx), timed out, or answered nonsense."""


class ClosedError(ProviderError):
    """The service is closed, for all or for this account."""


class SdkMissingError(ProviderError):
    """The provider's client is not installed; the hint says which command adds it."""
