"""Text in a server's response, which is not trusted."""

from __future__ import annotations

from typing import Any, Final

from waltzrl_tui.errors import EndpointError
from waltzrl_tui.words import size

MAX_BYTES: Final = 64_000_000
"""Bytes of one response that are read; SDKs buffer an endless line for ever."""


def response_too_long(limit: int) -> EndpointError:
    """The error for a response of more than `limit` bytes."""
    return EndpointError(
        f"The response is longer than {size(limit)}; the rest was not read.",
        hint="The endpoint does not send a chat reply.",
    )


class SurrogateJoiner:
    """Joins the two halves of a character split across pieces; a lone half becomes U+FFFD."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        if text.isascii() and not self._half:
            return text
        text, self._half = self._half + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text

    def rest(self) -> str:
        half, self._half = self._half, ""
        return "\ufffd" if half else ""


def content_text(content: Any) -> str:
    """The text of a message's content: a string, or the joined text of its text parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part_text(part) for part in content)
    return ""


def _part_text(part: Any) -> str:
    if isinstance(part, dict):
        kind, text = part.get("type"), part.get("text")
    else:
        kind, text = getattr(part, "type", None), getattr(part, "text", None)
    return text if kind == "text" and isinstance(text, str) else ""
