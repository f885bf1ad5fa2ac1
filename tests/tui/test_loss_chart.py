from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.geometry import Region

from waltzrl_tui.tui.chart.curves import Curve, Point, pieces, smoothed
from waltzrl_tui.tui.chart.loss_chart import LossChart
from waltzrl_tui.tui.chart.plot import MARKERS, draw
from waltzrl_tui.tui.chart.scale import fit
from waltzrl_tui.tui.jobs.model import LossHistory

BRAILLE = {chr(code) for code in range(0x2801, 0x2900)}


def text(curves: list[Curve], width: int = 60, height: int = 16, **ways: bool) -> list[str]:
    """The rows of a chart as they read without colour."""
    log, smooth = ways.get("log", False), ways.get("smooth", False)
    drawn = draw(curves, width, height, log=log, smooth=smooth)
    return ["".join(piece for piece, _ in row) for row in drawn]


def curve(train: list[Point], valid: list[Point] | None = None, **more: int) -> Curve:
    return Curve("k3f-conv", more.get("slot", 0), train, valid or [], more.get("total", 0))


def plotted(rows: list[str]) -> dict[int, list[int]]:
    """The rows with dots of a line, by column, of the part right of the axis."""
    found: dict[int, list[int]] = {}
    for number, row in enumerate(rows[1:]):
        for column, character in enumerate(row):
            if character in BRAILLE:
                found.setdefault(column, []).append(number)
    return found


def test_a_falling_loss_falls_and_stops_where_the_run_is_now() -> None:
    rows = text([curve([(step, 3.0 - step / 20) for step in range(31)], total=60)])
    dots = plotted(rows)
    columns = sorted(dots)
    heights = [min(dots[column]) for column in columns]
    assert heights == sorted(heights) and heights[0] == 0
    left = rows[1].index("│") if "│" in rows[1] else rows[1].index("┤")
    # Half of the 60 steps that it will have.
    assert columns[-1] - left == pytest.approx((60 - left) / 2, abs=1.5)
    assert rows[-1].split() == ["0", "20", "40", "60"]


def test_levels_are_round_and_stand_beside_their_height() -> None:
    rows = text([curve([(step, 2.5 - step / 30) for step in range(61)])])
    labels = {float(row.split("┤")[0]): number for number, row in enumerate(rows) if "┤" in row}
    assert set(labels) >= {1.0, 1.5, 2.0}
    assert labels[2.0] < labels[1.5] < labels[1.0]


@pytest.mark.parametrize("missing", [[(20, None)], [(20, math.inf)], []])
def test_a_curve_is_broken_where_points_are_missing(missing: list[Point]) -> None:
    before: list[Point] = [(step, 1.0 + step / 40) for step in range(20)]
    after: list[Point] = [(step, 1.0 + step / 40) for step in range(30, 61)]
    rows = text([curve([*before, *missing, *after])])
    columns = sorted(plotted(rows))
    gaps = [b - a for a, b in itertools.pairwise(columns) if b - a > 1]
    assert len(gaps) == 1 and gaps[0] > 5
    assert ("×" in "".join(rows)) == bool(missing)


def test_runs_and_validations_can_be_told_apart_without_colour() -> None:
    steps = range(61)
    curves = [
        Curve(f"run-{slot}", slot, [(step, 1.0 + slot) for step in steps], [(30, 1.5 + slot)])
        for slot in range(6)
    ]
    rows = text(curves, width=200, height=40)
    top = next(number for number, row in enumerate(rows) if "│" in row or "┤" in row)
    lines = ["".join(c for c in row if c in BRAILLE or c == " ").strip() for row in rows[top:]]
    patterns = {line for line in lines if len(line) > 100}
    assert len(patterns) == 6
    assert all(marker in "".join(rows[top:]) for marker in MARKERS)
    legend = "".join(rows[:top])
    for slot, each in enumerate(curves):
        assert f"{each.name} {1 + slot:.3f}  {MARKERS[slot]} valid {1.5 + slot:.3f}" in legend


def test_a_logarithmic_axis_makes_an_exponential_straight_and_drops_what_it_cannot_show() -> None:
    points: list[Point] = [(step, 10.0 ** (-step / 30)) for step in range(61)]
    dots = plotted(text([curve([*points, (61, 0.0), (62, -1.0)])], height=24, log=True))
    columns = sorted(dots)
    middle = dots[columns[len(columns) // 2]]
    ends = dots[columns[0]][0], dots[columns[-1]][-1]
    assert sum(middle) / len(middle) == pytest.approx(sum(ends) / 2, abs=1)


def test_smoothing_flattens_noise_without_lag_and_keeps_gaps() -> None:
    falling: list[Point] = [(step, 5.0 - step / 50) for step in range(200)]
    assert smoothed(falling)[100][1] == pytest.approx(falling[100][1])
    noisy: list[Point] = [(step, 1.0 + (0.5 if step % 2 else -0.5)) for step in range(200)]
    noisy[100] = (100, None)
    flat = smoothed(noisy)
    assert flat[100] == (100, None)
    tail = [value for _, value in flat[150:] if value is not None]
    assert max(tail) - min(tail) < 0.15
    assert sum(tail) / len(tail) == pytest.approx(1.0, abs=0.02)


values = st.one_of(st.none(), st.floats(width=32), st.floats(0.1, 5))
points = st.lists(st.tuples(st.integers(0, 5000), values), max_size=60, unique_by=lambda p: p[0])


@settings(deadline=None)
@given(
    st.lists(st.tuples(points, points, st.integers(0, 9000)), min_size=1, max_size=6),
    st.integers(1, 90),
    st.integers(1, 30),
    st.booleans(),
    st.booleans(),
)
def test_whatever_is_measured_the_chart_fits_its_place(
    runs: list[tuple[list[Point], list[Point], int]],
    width: int,
    height: int,
    log: bool,
    smooth: bool,
) -> None:
    curves = [
        Curve(f"job-{slot}", slot, sorted(train), sorted(valid), total)
        for slot, (train, valid, total) in enumerate(runs)
    ]
    rows = text(curves, width, height, log=log, smooth=smooth)
    assert len(rows) <= height
    assert all(len(row) <= width for row in rows)


@settings(deadline=None)
@given(points, st.floats(0.001, 2))
def test_thinning_keeps_ends_and_extremes(measured: list[Point], columns: float) -> None:
    whole = pieces(sorted(measured))
    thin = pieces(sorted(measured), columns=columns)
    assert len(thin) == len(whole)
    for short, long in zip(thin, whole, strict=True):
        assert (short[0], short[-1]) == (long[0], long[-1])
        losses = [value for _, value in long]
        assert min(value for _, value in short) == min(losses)
        assert max(value for _, value in short) == max(losses)
        assert short == sorted(short) and set(short) <= set(long)


@settings(deadline=None)
@given(st.lists(values, min_size=1), st.booleans(), st.integers(1, 8))
def test_every_value_lies_on_the_scale(measured: list[float | None], log: bool, count: int) -> None:
    least = 0.0 if log else -math.inf
    shown = [value for value in measured if value is not None and least < value < math.inf]
    scale = fit(measured, log=log, ticks=count)
    assert (scale is None) == (not shown)
    if scale is not None:
        assert all(-1e-6 <= scale.at(value) <= 1 + 1e-6 for value in shown)
        assert len(scale.ticks(count)) >= 2


def test_a_row_for_its_validation_alone_is_no_gap() -> None:
    losses = LossHistory()
    losses.take({1: (2.0, None), 2: (None, 1.9), 3: (None, None), 4: (1.5, None)})
    assert losses.train == [(1, 2.0), (3, None), (4, 1.5)]
    assert losses.valid == [(2, 1.9)]


class ChartApp(App[None]):
    def compose(self) -> ComposeResult:
        yield LossChart()


async def test_only_lines_that_changed_are_painted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[Region] = []
    whole = LossChart.refresh

    def refresh(chart: LossChart, *regions: Region, **more: bool) -> LossChart:
        painted.extend(regions)
        return whole(chart, *regions, **more)

    train: list[Point] = [(step, 3.0 * 0.95**step) for step in range(40)]
    async with ChartApp().run_test(size=(80, 24)) as pilot:
        chart = pilot.app.query_one(LossChart)
        chart.show([curve(train, total=60)])
        await pilot.pause()
        monkeypatch.setattr(LossChart, "refresh", refresh)
        chart.show([curve(list(train), total=60)])
        assert painted == []
        chart.show([curve([*train, (40, train[-1][1])], total=60)])
        # The end of the line, and perhaps the figure in the legend.
        assert 1 <= len(painted) <= 2
        assert all(region.height == 1 for region in painted)


async def test_without_a_point_the_chart_says_why() -> None:
    async with ChartApp().run_test(size=(60, 9)) as pilot:
        chart = pilot.app.query_one(LossChart)
        chart.show([curve([])], "k3f-conv waits for \x1b[31mk3f-prep")
        await pilot.pause()
        lines = [chart.render_line(y).text for y in range(chart.size.height)]
    assert "".join(lines).strip() == "k3f-conv waits for ␛[31mk3f-prep"
