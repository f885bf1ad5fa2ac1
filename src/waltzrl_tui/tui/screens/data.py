"""The Data screen."""

from __future__ import annotations

from waltzrl_tui.tui.keys import bindings
from waltzrl_tui.tui.screens.base import WaltzScreen


class DataScreen(WaltzScreen):
    NAME = "data"
    BINDINGS = bindings("data")
