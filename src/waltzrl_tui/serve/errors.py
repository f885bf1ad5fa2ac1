"""Errors in the format of OpenAI's API."""

from __future__ import annotations

from typing import Any

from waltzrl_tui.endpoints.errors import ContextOverflowError, RateLimitedError
from waltzrl_tui.errors import WaltzError


class ApiError(Exception):
    """An error response to a request.

    Args:
        message: What is wrong and what to do.
        kind: The error's `type`.
        param: The invalid field of the request.
        code: The machine-readable code.
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


def internal_error() -> ApiError:
    """The response to a bug in the server."""
    return ApiError(500, "Internal error; see the server's log.", kind="server_error")


def agent_error(error: WaltzError) -> ApiError:
    """The response to a failure of one of the pair's agents."""
    message = str(error)
    if isinstance(error, ContextOverflowError):
        return ApiError(400, message, param="messages", code="context_length_exceeded")
    if isinstance(error, RateLimitedError):
        seconds = error.retry_after
        headers = {} if seconds is None else {"retry-after": f"{min(seconds, 3600):.0f}"}
        return ApiError(
            429, message, kind="rate_limit_error", code="rate_limit_exceeded", headers=headers
        )
    # The request to the agent was already retried, so a client need not retry.
    return ApiError(
        502,
        message,
        kind="server_error",
        code="agent_failed",
        headers={"x-should-retry": "false"},
    )
