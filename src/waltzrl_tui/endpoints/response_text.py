"""The text of a server's answer, before we trust it."""

from __future__ import annotations

from typing import Any, Final

from waltzrl_tui.errors import EndpointError

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of one answer that are read; SDKs buffer a line without an end for ever."""


def too_long(most: int) -> EndpointError:
    """What is said of an answer of more than `most` bytes."""
    return EndpointError(
        f"The answer is longer than {most // 1024**2} MB; the rest was not read.",
        hint="The endpoint sends what is no chat reply.",
    )


class WholeText:
    """Joins the halves of a character that came in two pieces; a half alone becomes U+FFFD."""

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
    """The text of a message's content: a string, or parts of which those with text count."""
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
