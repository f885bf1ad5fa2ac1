"""Errors in the shape that clients of OpenAI's API read."""

from __future__ import annotations

from typing import Any

from waltzrl_tui.endpoints.errors import ContextOverflowError, RateLimitedError
from waltzrl_tui.errors import WaltzError


class ApiError(Exception):
    """A request that gets an error for an answer.

    Args:
        status: Of HTTP.
        message: What is wrong and what to do.
        kind: The error's `type`.
        param: The field of the request that is wrong.
        code: A word for programs.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.document: dict[str, Any] = {
            "error": {"message": message, "type": kind, "param": param, "code": code}
        }


def internal() -> ApiError:
    """A fault of ours."""
    return ApiError(500, "This should not have happened; the log tells more.", kind="server_error")


def busy() -> ApiError:
    """More requests than may wait."""
    return ApiError(
        429,
        "Too many requests wait already; ask again in a while.",
        kind="rate_limit_error",
        code="too_many_requests",
        headers={"retry-after": "2"},
    )


def budget_reached() -> ApiError:
    """What was answered has cost as much as was allowed.

    Its status is not 429, after which clients ask again, and some harnesses for ever.
    """
    return ApiError(
        402,
        "The budget that this pair is served with is used up, so nothing more is asked. Whoever "
        "runs the server can start it again with another --budget.",
        kind="insufficient_quota",
        code="budget_reached",
        headers={"x-should-retry": "false"},
    )


def of_waltz(error: WaltzError) -> ApiError:
    """A failure of one of the pair's agents, as the client is told."""
    message = str(error)
    if isinstance(error, ContextOverflowError):
        return ApiError(400, message, param="messages", code="context_length_exceeded")
    if isinstance(error, RateLimitedError):
        wait = error.retry_after
        headers = {} if wait is None else {"retry-after": f"{min(wait, 3600):.0f}"}
        return ApiError(
            429, message, kind="rate_limit_error", code="rate_limit_exceeded", headers=headers
        )
    # The agent was asked again already, so a client need not try it once more.
    return ApiError(
        502,
        message,
        kind="server_error",
        code="agent_failed",
        headers={"x-should-retry": "false"},
    )
