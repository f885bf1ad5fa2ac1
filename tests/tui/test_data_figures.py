from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from waltzrl_tui.datasets.reading.rows import Mapping
from waltzrl_tui.tui.data.figures import bar, duration, levels, short_count, size_of
from waltzrl_tui.tui.tables.columns import GAP, columns, fit


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (size_of(0), "0 B"),
        (size_of(999), "999 B"),
        (size_of(1000), "1.0 kB"),
        (size_of(9_960), "10 kB"),
        (size_of(999_600), "1.0 MB"),
        (size_of(2_147_483_648), "2.1 GB"),
        (short_count(9_999), "9,999"),
        (short_count(41_234), "41.2k"),
        (short_count(999_960), "1.0M"),
        (duration(0.2), "1 s"),
        (duration(59.4), "59 s"),
        (duration(61), "1 min"),
        (duration(3_599), "1 h"),
        (duration(7_800), "2 h 10 min"),
        (levels([0, 0, 1, 0, 8, 0]), "▂ █"),
        (levels([0, 0]), ""),
        (bar(0, 8), ""),
        (bar(0.0001, 8), "▏"),
        (bar(1, 3), "███"),
    ],
)
def test_figures_read_as_they_should(made: str, shown: str) -> None:
    assert made == shown


@given(st.text(st.sampled_from("ab漢é🎉 "), max_size=30), st.integers(0, 20))
def test_a_fitted_text_has_exactly_that_width(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) == width


@given(
    st.sampled_from(["", "harm"]),
    st.sampled_from(["", "category"]),
    st.sampled_from(["", "reply"]),
    st.integers(20, 300),
    st.integers(0, 10**9),
)
def test_columns_fill_the_width_and_the_prompt_is_never_lost(
    harm: str, category: str, reply: str, width: int, rows: int
) -> None:
    mapping = Mapping(shape="rows", prompts=("prompt",), reply=reply, harm=harm, category=category)
    found = columns(mapping, width, rows)
    names = [column.name for column in found]
    assert "prompt" in names
    assert all(column.width > 0 for column in found)
    assert sum(column.width + GAP for column in found) - GAP == width
    assert ("harm" in names) <= bool(harm)
    assert ("reply" in names) <= bool(reply)
