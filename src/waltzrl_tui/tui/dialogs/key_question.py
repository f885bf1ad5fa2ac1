"""The question before a key goes to a server that this user has not approved."""

from __future__ import annotations

from collections.abc import Sequence

from waltzrl_tui.approvals import approve
from waltzrl_tui.endpoints.key_gate import KeyUse
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen


def key_question(uses: Sequence[KeyUse]) -> ConfirmScreen:
    """Asks about those keys and servers; without a y nothing is sent."""
    text = "\n\n".join([*(use.words for use in uses), "A yes is kept for you on this machine."])
    return ConfirmScreen("Send your key there?", text, [("y", "send it there, now and later")])


def approve_all(uses: Sequence[KeyUse]) -> None:
    """Keep the yes. Blocks on the disk.

    Raises:
        WaltzError: It cannot be kept.
    """
    for use in uses:
        approve(use.variable, use.url)
