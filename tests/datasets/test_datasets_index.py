"""The line index: every page of any file, also while it is built or the file changes."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waltzrl_tui.datasets.reading import line_index as index_module
from waltzrl_tui.datasets.reading.line_index import LineIndex
from waltzrl_tui.errors import DatasetError


def lines_of(content: bytes) -> list[bytes]:
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few bytes, so that lines cross their borders in every way."""
    monkeypatch.setattr(index_module, "CHUNK", 8)
    monkeypatch.setattr(index_module, "_BLOCK", 24)


@given(
    st.lists(st.binary(max_size=40), max_size=30).map(b"\n".join),
    st.integers(0, 32),
    st.integers(0, 32),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("small_chunks")
def test_any_page_of_any_file(tmp_path: Path, content: bytes, first: int, count: int) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(content)
    lines = lines_of(content)
    if lines:
        lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
    with LineIndex(path) as index:
        assert index.page(0, count) == lines[:count]
        index.build()
        assert index.done
        assert index.rows == len(lines)
        assert index.page(first, count) == lines[first : first + count]


@pytest.mark.usefixtures("small_chunks")
def test_a_long_line_is_cut_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"a\n" + b"x" * 500 + b"\nb\n" + b"y" * 300)
    with LineIndex(path) as index:
        for _ in range(2):
            assert index.page(0, 9, limit=10) == [b"a", b"x" * 10, b"b", b"y" * 10]
            index.build()
        assert index.line(1) == b"x" * 500
        assert index.line(4) is None


def test_what_is_known_can_be_read_before_the_end_is(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(300_000)))
    with LineIndex(path) as index:
        assert index.page(0, 2) == [b"0", b"1"]
        assert index.page(200_000, 1) == []
        index.start()
        assert index.wait(30)
        assert index.rows == 300_000
        assert index.page(200_000, 2) == [b"200000", b"200001"]
        assert index.progress == 1.0


def test_a_file_that_is_cut_or_grows_is_noticed_and_breaks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"line\n" * 100_000)
    with LineIndex(path) as index:
        index.build()
        assert not index.changed()
        os.truncate(path, 50)
        assert index.changed()
        assert index.page(90_000, 5) == []
        assert index.page(8, 5) == [b"line", b"line"]
    with LineIndex(path) as index:
        index.build()
        assert index.rows == 10
        with path.open("ab") as file:
            file.write(b"more\n")
        assert index.changed()
        path.unlink()
        assert index.changed()
        assert index.page(9, 1) == [b"line"]


def test_its_memory_is_a_few_bytes_a_chunk(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes((b"x" * 99 + b"\n") * 200_000)
    with LineIndex(path) as index:
        index.build()
        kept = index._ends
        assert len(kept) * kept.itemsize <= 8 * 200_000 / 16


def test_a_byte_order_mark_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"\xef\xbb\xbf{}\r\n{}")
    with LineIndex(path) as index:
        assert index.page(0, 5) == [b"{}", b"{}"]


def test_closing_ends_the_counting(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"x\n" * 10)
    index = LineIndex(path)
    index.start()
    index.close()
    index.close()
    assert index.page(0, 1) == []


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(DatasetError, match="not a regular file"):
            LineIndex(other)
    with pytest.raises(DatasetError, match="cannot be read"):
        LineIndex(tmp_path / "no.jsonl")
