"""HTML from text: what is not `Markup` is escaped, so nothing from outside becomes an element."""

from __future__ import annotations

from html import escape
from typing import Final

from waltzrl_tui.text import printable

_LONGEST: Final = 6000


class Markup(str):
    """HTML; every other string is text."""

    __slots__ = ()


def html_text(text: str) -> Markup:
    """`text` escaped, without control characters and bidi overrides, at most 6,000 characters."""
    if isinstance(text, Markup):
        return text
    shown = f"{text[:_LONGEST]} …" if len(text) > _LONGEST else text
    return Markup(escape(printable(shown)))


def element(name: str, *content: str, style: str = "") -> Markup:
    """An element around `content`; `style` is its class."""
    opening = f"{name} class='{style}'" if style else name
    return Markup(f"<{opening}>{''.join(map(html_text, content))}</{name}>")
