"""Providers' keys: from the environment, else the OS keyring; never stored by us or shown."""

from __future__ import annotations

import os
import re
from typing import Final

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.records.providers import PROVIDERS

PIECE: Final = 8
"""Consecutive characters of a key that count as a leak."""

KNOWN: Final = frozenset(
    name
    for provider in PROVIDERS.values()
    for name in (*provider.keys, *provider.other_keys)
    # A profile is the name of an entry in a file of the user's, not a secret.
    if name != "AWS_PROFILE"
)
"""The variables of the known providers' keys."""

_requested: set[str] = set()

_SERVICE: Final = "waltzrl-tui"
_RUNS: Final = re.compile(rf"\S{{{PIECE},}}")


def find_key(variable: str) -> str:
    """The key in the environment variable of that name, else in the OS keyring, else "".

    Reading a keyring may block on its daemon: do not call this on the event loop.
    """
    _requested.add(variable)
    if value := os.environ.get(variable, "").strip():
        return value
    return _from_keyring(variable)


def key_variables() -> set[str]:
    """The known variables of keys: the providers' and all that were read."""
    return {*KNOWN, *_requested}


def key_source(variable: str) -> str:
    """ "environment", "keyring" or "": where `find_key` finds it."""
    if os.environ.get(variable, "").strip():
        return "environment"
    return "keyring" if _from_keyring(variable) else ""


def store_key(variable: str, value: str) -> None:
    """Put a key into the OS keyring.

    Raises:
        WaltzError: There is no keyring, or it refuses.
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
        # Each keyring backend has errors of its own.
        raise WaltzError(
            f"The OS keyring did not store the key: {type(error).__name__}.",
            hint=f"Set {variable} in the environment.",
        ) from error


def forget_key(variable: str) -> bool:
    """Remove a key from the OS keyring.

    Returns:
        Whether there was one.
    """
    if not _from_keyring(variable):
        return False
    import keyring

    keyring.delete_password(_SERVICE, variable)
    return True


def masked(value: str) -> str:
    """A key as it may be shown: its first characters, if they only reveal its kind."""
    return f"{value[:3]}…" if len(value) >= 16 else "…"


def _from_keyring(variable: str) -> str:
    try:
        import keyring

        return (keyring.get_password(_SERVICE, variable) or "").strip()
    except Exception:
        # Not installed, or no backend on this machine (each has errors of its own).
        return ""


class Keys:
    """The keys that this process has used, in memory only, to mask them in messages."""

    def __init__(self) -> None:
        self._pieces: set[str] = set()

    def add(self, value: str) -> None:
        """Mask a key from now on; one that it replaces stays masked."""
        self._pieces.update(value[at : at + PIECE] for at in range(len(value) - PIECE + 1))

    def masked(self, text: str) -> str:
        """`text` with every piece of `PIECE` characters or more of a known key replaced by …."""
        return _RUNS.sub(self._mask_run, text) if self._pieces else text

    def _mask_run(self, match: re.Match[str]) -> str:
        run, at, parts = match.group(), 0, []
        while at < len(run):
            if run[at : at + PIECE] not in self._pieces:
                parts.append(run[at])
                at += 1
                continue
            end = at + PIECE
            while end < len(run) and run[end - PIECE + 1 : end + 1] in self._pieces:
                end += 1
            parts.append("…")
            at = end
        return "".join(parts)
