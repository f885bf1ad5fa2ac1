"""Split a JSON file of any size into its records without parsing it as a whole.

Only quotes, brackets and commas matter, so a record that is broken inside does not affect the
others as long as its brackets match. Memory: one record, at most `MAX_LINE`.

Both walks (`elements`, `next_list`) search the buffer for the next token. Outside a string that is
a whole string, a bracket or a comma; inside a string that goes beyond the buffer, a quote or a
backslash. Brackets move `depth`; a record ends at a comma or a closing bracket at depth 0. When
the buffer is used up, `_forget` drops what is done and `_more` reads the next chunk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from waltzrl_tui.datasets.reading.parse import MAX_LINE

_CHUNK = 256 * 1024
# A string that is whole in the buffer is one match; else only its quote is.
_OUTSIDE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\],]', re.DOTALL)
_INSIDE = re.compile(rb'["\\]')
_CONTENT = re.compile(rb"\S")
_QUOTE, _COMMA, _BACKSLASH = b'",\\'
_OPENING = frozenset(b"{[")
_BRACE, _BRACKET = b"{["


class Record(NamedTuple):
    """The bytes of one record; `raw` is None when it is longer than `MAX_LINE`.

    `line` is its first line, from 1; `whole` is False when the file ends inside it.
    """

    line: int
    raw: bytes | None
    whole: bool = True


class JsonSplitter:
    """Walks once through the JSON text from `read`, a binary file's `read` or the like."""

    def __init__(self, read: Callable[[int], bytes], *, limit: int = MAX_LINE) -> None:
        self._read = read
        self._limit = limit
        self._data = b""
        self._at = 0  # where the search continues; one past the end after a final backslash
        self._start = 0  # everything before it is done
        self._line = 1  # the line that self._start is on
        self.ended = False
        """Whether the list has its closing bracket."""

    def peek(self) -> bytes:
        """The next byte that is not white space, without consuming it; empty at the end."""
        while True:
            match = _CONTENT.search(self._data, self._at)
            if match is not None:
                self._at = match.start()
                return match.group()
            self._at = len(self._data)
            self._forget()
            if not self._more():
                return b""

    def skip(self) -> None:
        """Consume the byte that `peek` returned."""
        self._at += 1

    def elements(self, *, separated: bool) -> Iterator[Record]:
        """The values from here on.

        Args:
            separated: Read a list with commas up to its end; otherwise consecutive objects up to
                the end of the file.
        """
        self._forget()
        depth = 0
        inside = long = False
        while True:
            match = (_INSIDE if inside else _OUTSIDE).search(self._data, self._at)
            if match is None:
                self._at = max(self._at, len(self._data))
                if len(self._data) - self._start > self._limit:
                    long = True
                    self._forget()
                if not self._more():
                    break
                continue
            token = self._data[match.start()]
            self._at = match.end()
            if inside:
                if token == _BACKSLASH:
                    self._at += 1
                else:
                    inside = False
                continue
            if token == _QUOTE:
                inside = match.end() - match.start() == 1
            elif token == _COMMA:
                if separated and not depth:
                    yield self._record(match.start(), long)
                    long = False
            elif token in _OPENING:
                depth += 1
            elif depth:
                depth -= 1
                if not depth and not separated:
                    yield self._record(self._at, long)
                    long = False
            elif separated:
                self.ended = True
                if long or self._data[self._start : match.start()].strip():
                    yield self._record(match.start(), long)
                self._forget()
                return
        if long or self._data[self._start :].strip():
            yield self._record(len(self._data), long)._replace(whole=False)

    def next_list(self) -> str | None:
        """Inside an object, move past the `[` of its next list of objects.

        Returns:
            The name of the list, or None when there are no more.
        """
        depth = 0
        name = b""
        begin: int | None = None
        while True:
            match = (_OUTSIDE if begin is None else _INSIDE).search(self._data, self._at)
            if match is None:
                self._at = max(self._at, len(self._data))
                if begin is not None:
                    # Keep only the beginning of an endless string: it is not a name.
                    name = (name + self._data[begin:])[:200]
                    begin = 0
                self._forget()
                if not self._more():
                    return None
                continue
            token = self._data[match.start()]
            self._at = match.end()
            if begin is not None:
                if token == _BACKSLASH:
                    self._at += 1
                else:
                    name = (name + self._data[begin : match.start()])[:200]
                    begin = None
            elif token == _QUOTE and match.end() - match.start() > 1:
                name = match.group()[1:-1][:200]
            elif token == _QUOTE:
                name, begin = b"", self._at
            elif token == _BRACKET and not depth and self.peek() == b"{":
                return name.decode("utf-8", "replace")
            elif token in _OPENING:
                depth += 1
            elif token != _COMMA:
                depth -= 1
                if depth < 0:
                    self.ended = True
                    return None

    def _record(self, end: int, long: bool) -> Record:
        content = _CONTENT.search(self._data, self._start, end)
        first = content.start() if content else self._start
        line = self._line + self._data.count(b"\n", self._start, first)
        long = long or end - first > self._limit
        record = Record(line, None if long else self._data[first:end].rstrip())
        self._forget()
        return record

    def _forget(self) -> None:
        """Drop everything before the place of the search."""
        self._line += self._data.count(b"\n", self._start, self._at)
        self._start = min(self._at, len(self._data))

    def _more(self) -> bool:
        chunk = self._read(_CHUNK)
        self._data = self._data[self._start :] + chunk
        self._at -= self._start
        self._start = 0
        return bool(chunk)
