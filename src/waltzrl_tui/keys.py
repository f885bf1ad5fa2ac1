"""Keys of providers: from the environment, else the OS keyring; never stored by us or shown."""

from __future__ import annotations

import os
import re
from typing import Final

from waltzrl_tui.errors import WaltzError

PIECE: Final = 8
"""Characters of a key in a row that count as giving it away."""

KNOWN: Final = (
    "ANTHROPIC_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "FIREWORKS_API_KEY",
    "HF_TOKEN",
    "LAMBDA_API_KEY",
    "MISTRAL_API_KEY",
    "OPENAI_API_KEY",
    "RUNPOD_API_KEY",
    "TINKER_API_KEY",
    "TOGETHER_API_KEY",
    "VAST_API_KEY",
)
"""The variables with the keys of the providers that are known here."""

_OTHERS: Final = (
    "ANTHROPIC_AUTH_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "HUGGING_FACE_HUB_TOKEN",
    "OPENAI_ADMIN_KEY",
)
"""Others that the providers' clients read by themselves."""

_looked_for: set[str] = set()

_SERVICE: Final = "waltzrl-tui"
_SHOWN: Final = 3
_RUNS: Final = re.compile(rf"\S{{{PIECE},}}")


def find_key(variable: str) -> str:
    """The key in the environment variable of that name, else in the OS keyring, else "".

    Reading a keyring may block on its daemon: not on the event loop where `variable` is not set.
    """
    _looked_for.add(variable)
    if value := os.environ.get(variable, "").strip():
        return value
    return _from_keyring(variable)


def key_variables() -> set[str]:
    """The variables that hold keys, as far as known: the providers' and all that were read."""
    return {*KNOWN, *_OTHERS, *_looked_for}


def key_source(variable: str) -> str:
    """ "environment", "keyring" or "": where `find_key` finds it."""
    if os.environ.get(variable, "").strip():
        return "environment"
    return "keyring" if _from_keyring(variable) else ""


def store_key(variable: str, value: str) -> None:
    """Put a key into the OS keyring.

    Raises:
        WaltzError: There is no keyring here, or it refuses.
    """
    try:
        import keyring

        keyring.set_password(_SERVICE, variable, value)
    except ImportError as error:
        raise WaltzError(
            "The OS keyring cannot be used: the package keyring is not installed.",
            hint=f"pip install 'waltzrl-tui[keyring]', or set {variable} in the environment.",
        ) from error
    except Exception as error:
        # Each backend of keyring has errors of its own.
        raise WaltzError(
            f"The OS keyring did not take the key: {type(error).__name__}.",
            hint=f"Set {variable} in the environment.",
        ) from error


def forget_key(variable: str) -> bool:
    """Take a key out of the OS keyring; whether there was one."""
    if not _from_keyring(variable):
        return False
    import keyring

    keyring.delete_password(_SERVICE, variable)
    return True


def masked(value: str) -> str:
    """A key as it may be shown: its first characters where they only tell its kind."""
    return f"{value[:_SHOWN]}…" if len(value) >= 16 else "…"


def _from_keyring(variable: str) -> str:
    try:
        import keyring

        return (keyring.get_password(_SERVICE, variable) or "").strip()
    except Exception:
        # Not installed, or no backend on this machine (each has errors of its own): no key there.
        return ""


class Keys:
    """The keys that this process has used, in memory only, to take them out of what is said."""

    def __init__(self) -> None:
        self._pieces: set[str] = set()

    def add(self, value: str) -> None:
        """Know a key from now on; one that was replaced stays known."""
        self._pieces.update(value[at : at + PIECE] for at in range(len(value) - PIECE + 1))

    def masked(self, text: str) -> str:
        """`text` with every piece of a known key of `PIECE` characters or more as an ellipsis."""
        return _RUNS.sub(self._cut, text) if self._pieces else text

    def _cut(self, found: re.Match[str]) -> str:
        run, at, kept = found.group(), 0, []
        while at < len(run):
            if run[at : at + PIECE] not in self._pieces:
                kept.append(run[at])
                at += 1
                continue
            end = at + PIECE
            while end < len(run) and run[end - PIECE + 1 : end + 1] in self._pieces:
                end += 1
            kept.append("…")
            at = end
        return "".join(kept)
