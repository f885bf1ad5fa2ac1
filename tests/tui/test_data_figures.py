from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from waltzrl_tui.datasets.reading.rows import Mapping
from waltzrl_tui.tui.data.figures import bar, levels
from waltzrl_tui.tui.tables.columns import GAP, columns, fit


@pytest.mark.parametrize(
    ("made", "shown"),
    [
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
