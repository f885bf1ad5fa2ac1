"""Errors in the shape that clients of OpenAI's API read."""

from __future__ import annotations

from typing import Any

from waltzrl_tui.agents.endpoint_errors import ContextOverflowError, RateLimitedError
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


def of_waltz(error: WaltzError) -> ApiError:
    """A failure of one of the pair's agents, as the client is told."""
    message = str(error)
    if isinstance(error, ContextOverflowError):
        return ApiError(400, message, param="messages", code="context_length_exceeded")
    if isinstance(error, RateLimitedError):
        wait = error.retry_after
        headers = {} if wait is None else {"retry-after": f"{wait:.0f}"}
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
