"""Lines of styled text: wrapped by words to a number of cells, padded, put side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, chop_cells

Span = tuple[str, str]
"""A piece of text and the name of its style."""

Line = tuple[Span, ...]

_WORD = re.compile(r"\s*\S+")


def breaks(text: str, width: int) -> list[tuple[int, int]]:
    """Where each line of `text` begins and ends when it is at most `width` cells wide.

    Breaks are at newlines, else before the word that does not fit (the spaces there belong to
    no line), else inside a word that is longer than a line. `text` has no tabs.
    """
    out: list[tuple[int, int]] = []
    start = 0
    for paragraph in text.split("\n"):
        end = start + len(paragraph)
        if cell_len(paragraph) <= width:
            out.append((start, end))
        else:
            out += [(start + a, start + b) for a, b in _folded(paragraph, width)]
        start = end + 1
    return out


def _folded(paragraph: str, width: int) -> Iterator[tuple[int, int]]:
    begin = end = used = 0
    for match in _WORD.finditer(paragraph):
        size = cell_len(match.group())
        if used + size > width:
            if end > begin:
                yield begin, end
                begin = match.end() - len(match.group().lstrip())
            # The word, or at the very beginning the word with its indent, may need many lines.
            *full, last = chop_cells(paragraph[begin : match.end()], width)
            for piece in full:
                yield begin, begin + len(piece)
                begin += len(piece)
            used, size = 0, cell_len(last)
        end, used = match.end(), used + size
    # At least one line, even for a paragraph of spaces.
    yield begin, end


def plain(text: str, width: int, style: str) -> list[Line]:
    """`text` in one style, wrapped."""
    return [((text[start:end], style),) for start, end in breaks(text, width)]


def styled(spans: Sequence[Span], width: int) -> list[Line]:
    """Pieces of text that follow each other, wrapped as one text."""
    text = "".join(piece for piece, _ in spans)
    out: list[Line] = []
    for start, end in breaks(text, width):
        line: list[Span] = []
        at = 0
        for piece, style in spans:
            part = piece[max(0, start - at) : max(0, end - at)]
            if part:
                line.append((part, style))
            at += len(piece)
        out.append(tuple(line))
    return out


def cells(line: Line) -> int:
    return sum(cell_len(text) for text, _ in line)


def padded(line: Line, width: int) -> Line:
    gap = width - cells(line)
    return (*line, (" " * gap, "")) if gap > 0 else line


def indented(lines: Sequence[Line], first: Line, width: int) -> list[Line]:
    """`lines` behind a gutter of `width` cells, which shows `first` beside the first line."""
    blank: Line = ((" " * width, ""),)
    head = padded(first, width)
    return [(*(blank if number else head), *line) for number, line in enumerate(lines or [()])]


def beside(left: Sequence[Line], right: Sequence[Line], width: int, rule: Span) -> list[Line]:
    """Two columns with `rule` between them; the left one is `width` cells wide."""
    out: list[Line] = []
    for number in range(max(len(left), len(right))):
        one = left[number] if number < len(left) else ()
        other = right[number] if number < len(right) else ()
        out.append((*padded(one, width), rule, *other) if other else one)
    return out
