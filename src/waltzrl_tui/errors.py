"""The errors that reach a user: each says what is wrong, where, and what to do next."""

from __future__ import annotations


class WaltzError(Exception):
    """A failure that is shown to the user as one message, never as a traceback.

    Args:
        message: What is wrong and, where it applies, where (file, line, field).
        hint: What to do next, as an instruction.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(WaltzError):
    """A command or a field was given a value that it cannot take (exit status 2)."""


class StoreError(WaltzError):
    """The store cannot be opened, read or written."""


class DatasetError(WaltzError):
    """A dataset cannot be read, or nothing usable is in it."""


class EngineError(WaltzError):
    """The embedded engine cannot train or serve: extra, weights or resources are missing."""


class EndpointError(WaltzError):
    """A chat endpoint could not be reached, refused, or broke off."""


class NotFoundError(WaltzError):
    """A job, agent, pair or transcript of that name is not in the store."""
