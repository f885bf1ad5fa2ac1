"""Checks of the options that take a server's address or the name of a key's variable."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from waltzrl_tui.errors import UsageError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# The prefixes of providers' keys; no variable has such a name.
_KEY_PREFIX = re.compile(r"(sk|hf|pk|key|rpa|tgp|fw|gsk|xai)[-_]", re.I)


def checked_address(option: str, url: str, key_option: str) -> str:
    """The address without a slash at its end.

    Raises:
        UsageError: It is not an address, or has a user or a password in it.
    """
    parts = _split(url)
    if parts is None:
        raise UsageError(
            f"{option} is not the address of a server.",
            hint="Give one like http://127.0.0.1:8000/v1.",
        )
    if "@" in parts.netloc:
        raise UsageError(
            f"{option} has a user or a password in it, which would be stored.",
            hint=f"Put the key into an environment variable and give its name with {key_option}.",
        )
    return url.rstrip("/")


def check_variable(option: str, name: str) -> None:
    """Raise if `name` cannot be the name of a variable.

    Raises:
        UsageError: It cannot. The message does not repeat it: it may be the key itself.
    """
    if name and (not _VARIABLE.fullmatch(name) or _KEY_PREFIX.match(name)):
        raise UsageError(
            f"{option} takes the name of an environment variable, never a key.",
            hint="Set a variable to the key and give its name, for example OPENAI_API_KEY.",
        )


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None
