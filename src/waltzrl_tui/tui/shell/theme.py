"""The themes of the app: a calm dark one, a light one, and one of high contrast."""

from __future__ import annotations

import contextlib
import os
from typing import Final

from textual.theme import Theme

from waltzrl_tui.workspace import Workspace, private_write

_FILE: Final = "theme"

# Its greys are nearly neutral: with 256 colours, which is what SSH often leaves, bluish ones
# would turn into navy and teal.
DARK: Final = Theme(
    name="waltz-dark",
    primary="#7fa8d1",
    secondary="#9d8fc7",
    accent="#e9b872",
    success="#8cc08f",
    warning="#dcae62",
    error="#e0796f",
    foreground="#d5d9e0",
    background="#121417",
    surface="#181b1f",
    panel="#25282d",
    boost="#30343a",
    dark=True,
    variables={
        "safe": "#8cc08f",
        "unsafe": "#e0796f",
        "refusal": "#dcae62",
        "line": "#3b4047",
        "faint": "#7f868f",
        "text-muted": "#a4adba",
        "text-disabled": "#5d6673",
        "block-cursor-background": "#363b43",
        "block-cursor-foreground": "#f2f4f7",
        "block-cursor-text-style": "bold",
        "input-selection-background": "#7fa8d1 35%",
        "border": "#7fa8d1",
    },
)

LIGHT: Final = Theme(
    name="waltz-light",
    primary="#2f6499",
    secondary="#6a4fa3",
    accent="#9a5b00",
    success="#2c6e36",
    warning="#8a5a00",
    error="#b3352b",
    foreground="#23272e",
    background="#f7f6f3",
    surface="#f1efeb",
    panel="#e4e1db",
    boost="#dad6cf",
    dark=False,
    variables={
        "safe": "#2c6e36",
        "unsafe": "#b3352b",
        "refusal": "#8a5a00",
        "line": "#c6c1b8",
        "faint": "#6b7078",
        "text-muted": "#4d535b",
        "text-disabled": "#9a9da2",
        "block-cursor-background": "#cfdcea",
        "block-cursor-foreground": "#14181d",
        "block-cursor-text-style": "bold",
        "border": "#2f6499",
    },
)

CONTRAST: Final = Theme(
    name="waltz-contrast",
    primary="#8ecbff",
    secondary="#d7b8ff",
    accent="#ffd84d",
    success="#6fff8a",
    warning="#ffd84d",
    error="#ff8f85",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1c1c1c",
    boost="#2b2b2b",
    dark=True,
    text_alpha=1.0,
    variables={
        "safe": "#6fff8a",
        "unsafe": "#ff8f85",
        "refusal": "#ffd84d",
        "line": "#8a8a8a",
        "faint": "#c8c8c8",
        "text-muted": "#e4e4e4",
        "text-disabled": "#a0a0a0",
        "block-cursor-background": "#ffffff",
        "block-cursor-foreground": "#000000",
        "block-cursor-text-style": "bold",
        "border": "#ffd84d",
    },
)

THEMES: Final = (DARK, LIGHT, CONTRAST)

FALLBACKS: Final[dict[str, str]] = {
    "safe": "#8cc08f",
    "unsafe": "#e0796f",
    "refusal": "#dcae62",
    "line": "#6b7280",
    "faint": "#8b93a0",
}
"""Our variables, for Textual's own themes, which do not define them."""


def saved_theme(workspace: Workspace) -> str:
    """The theme saved in this workspace, or ""."""
    try:
        return (workspace.state / _FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def save_theme(workspace: Workspace, name: str) -> None:
    """Save the theme; one that cannot be written is forgotten."""
    with contextlib.suppress(OSError):
        private_write(workspace.state / _FILE, f"{name}\n")


def far_away() -> bool:
    """Whether the terminal is reached over SSH, where animations cost traffic and stutter."""
    return bool(os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"))
