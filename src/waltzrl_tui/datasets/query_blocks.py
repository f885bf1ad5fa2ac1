"""A file as blocks of whole lines, whatever its bytes: what a query is fed with."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from waltzrl_tui.datasets.parse import MAX_LINE

BLOCK: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Block:
    """Lines `first`, `first + 1`, … (from 0) with "\\n" between them.

    A line that is not UTF-8, or longer than `MAX_LINE`, stands there as an empty one, so that
    each line keeps its number.
    """

    first: int
    text: str
    end: int
    """Bytes of the file up to here."""


def blocks(file: BinaryIO, size: int = BLOCK) -> Iterator[Block]:
    """The file from where it is read, in blocks of about `size` bytes."""
    number = at = 0
    rest = b""  # The beginning of a line that goes on in the next read.
    dropped = False
    while chunk := file.read(size):
        at += len(chunk)
        end = chunk.rfind(b"\n")
        if end < 0:
            rest += chunk if not dropped else b""
            if len(rest) > MAX_LINE:
                rest, dropped = b"", True
            continue
        first = chunk.find(b"\n")
        if dropped or len(rest) + first > MAX_LINE:
            rest, chunk, end = b"", chunk[first:], end - first
        whole = rest + chunk[:end]
        yield Block(number, _decoded(whole, number == 0), at)
        number += whole.count(b"\n") + 1
        rest, dropped = chunk[end + 1 :], False
    if rest:
        yield Block(number, _decoded(rest, number == 0), at)


def _decoded(raw: bytes, first: bool) -> str:
    if first:
        raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = "\n".join(map(_line, raw.split(b"\n")))
    # Neither is allowed in JSON, and this one can be handed on.
    return text.replace("\0", "\1") if "\0" in text else text


def _line(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return ""
