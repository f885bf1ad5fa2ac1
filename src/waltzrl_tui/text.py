"""Text from outside is hostile: make it safe to show on a terminal."""

from __future__ import annotations

import unicodedata

# Bidirectional overrides and isolates can reorder a line; zero-width characters hide text.
# Joiners (U+200C, U+200D) stay: scripts and emoji need them.
_INVISIBLE = {
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    0x061C,
    0x200B,
    0x200E,
    0x200F,
    0x2060,
    0xFEFF,
}


def _shown_as(code: int) -> str | None:
    if code in (0x09, 0x0A):
        return None
    if code == 0x0D:
        return ""
    if code < 0x20 or code == 0x7F:
        return chr(0x2400 + code) if code < 0x20 else "␡"
    if 0x80 <= code < 0xA0 or code in _INVISIBLE or 0xD800 <= code < 0xE000:
        return "�"
    if 0xE0000 <= code < 0xE0080:
        return "�"
    return None


class _Table(dict[int, int | str | None]):
    def __missing__(self, code: int) -> int | str:
        shown = _shown_as(code)
        value: int | str = code if shown is None else shown
        self[code] = value
        return value


_TABLE = _Table()


def printable(text: str) -> str:
    """`text` with every character that could steer a terminal replaced by a visible one.

    Newlines and tabs stay; carriage returns go; escape and other control characters become
    their control pictures; bidirectional overrides, zero-width characters and lone surrogates
    become U+FFFD. The result is safe to write to a terminal and to show without markup.
    """
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_TABLE)


def one_line(text: str, limit: int = 200) -> str:
    """`printable(text)` on one line, at most `limit` characters, cut with an ellipsis."""
    line = " ".join(printable(text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def normalised(text: str) -> str:
    """The form in which prompts are compared: NFKC, case-folded, spaces collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
