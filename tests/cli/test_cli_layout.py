from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from waltzrl_tui.cli.evaluate_text import rate_text
from waltzrl_tui.cli.layout import bar, cut, table, width
from waltzrl_tui.cli.output import Status


@given(st.text(max_size=60), st.integers(min_value=1, max_value=40))
def test_cut_text_fits(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns
    if width(text) <= columns:
        assert cut(text, columns) == text


def test_columns_line_up_under_wide_characters() -> None:
    shown = table(("a", "b"), [("数据", "1"), ("x", "23")], right={1})
    assert shown.splitlines() == ["a      b", "数据   1", "x     23"]
    # A cell is one line, whatever is in it.
    assert len(table(("a",), [("one\ntwo\rthree",)]).splitlines()) == 2


def test_rates_and_bars_of_nothing() -> None:
    assert rate_text({"rate": None, "low": 0.0, "high": 1.0, "n": 0}) == "–"
    assert rate_text({"rate": 0.125, "low": 0.07, "high": 0.2, "n": 64}) == "12 % (7–20)"
    assert bar(0, 0, unicode=True, size=4) == "░░░░"
    assert bar(9, 8, unicode=False, size=4) == "####"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_that_stays_leaves_nothing_of_the_one_that_changes() -> None:
    stream = _Terminal()
    status = Status(stream)
    status.set("working on it\x1b[2J")
    status.line("done")
    assert "\x1b" not in stream.getvalue()
    shown = [" "] * 40
    column = 0
    lines = []
    for char in stream.getvalue():
        if char == "\n":
            lines.append("".join(shown).rstrip())
            shown, column = [" "] * 40, 0
        elif char == "\r":
            column = 0
        else:
            shown[column] = char
            column += 1
    assert lines == ["done"]


def test_a_terminal_that_was_closed_stops_nothing() -> None:
    stream = _Terminal()
    status = Status(stream)
    stream.close()
    status.set("still at work")
    status.line("done")
