"""The user's approvals: which key may go to which server. Stored outside every workspace.

A workspace may come from somebody else, so an address in its store does not mean that this user
trusts it. A key goes only to its provider's own address or to an approved one.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Final

from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.network import on_this_machine
from waltzrl_tui.workspace import private_write

# Stricter than the clients' parsers, which disagree about the host of odd URLs.
_ORIGIN: Final = re.compile(
    r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(?:[/?#]|\Z)", re.I
)
_PORTS: Final = {"http": "80", "https": "443"}


def origin_of(url: str) -> str:
    """The server of a URL as scheme://host:port, or "" if it is not a plain URL."""
    parts = _ORIGIN.match(url)
    if parts is None:
        return ""
    scheme = parts[1].lower()
    return f"{scheme}://{parts[2].lower()}:{parts[3] or _PORTS[scheme]}"


def unencrypted(url: str) -> bool:
    """Whether others on the network could read a key sent there."""
    return not origin_of(url).startswith("https:") and not on_this_machine(url)


def approvals_path() -> Path:
    """`$WALTZRL_APPROVALS`, else a file in the user's configuration folder."""
    if path := os.environ.get("WALTZRL_APPROVALS"):
        return Path(path).expanduser()
    base = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    if not base.is_absolute():
        # A relative path would depend on the current folder.
        base = Path("~/.config").expanduser()
    return base / "waltzrl-tui" / "approvals.json"


def is_approved(key: str, url: str) -> bool:
    """Whether the user lets `key` (a variable, or a provider's name) go to the server of `url`."""
    origin = origin_of(url)
    return bool(origin) and (key, origin) in _read()


def approve(key: str, url: str) -> str:
    """Let `key` go to the server of `url` from now on, and return that server.

    Raises:
        UsageError: `url` is not an address of a server.
        WaltzError: The approval cannot be stored.
    """
    origin = origin_of(url)
    if not origin:
        raise UsageError(
            "No key can be sent there: it is not the address of a server.",
            hint="Give one like https://models.example.com/v1, without a user or a password.",
        )
    pairs = sorted({*_read(), (key, origin)})
    document = {"approvals": [{"key": key, "server": server} for key, server in pairs]}
    path = approvals_path()
    try:
        private_write(path, json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise WaltzError(
            f"The approval cannot be stored in {path}: {error.strerror or error}.",
            hint="Make the folder writable, or set WALTZRL_APPROVALS to another file.",
        ) from error
    return origin


def _read() -> set[tuple[str, str]]:
    try:
        entries = json.loads(approvals_path().read_text("utf-8"))["approvals"]
        return {(str(entry["key"]), str(entry["server"])) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
