"""A chart of training and validation losses of several runs, drawn with braille dots.

Why not textual-plotext: it builds and paints the whole plot at every change, where several runs
that report each second must stay cheap over a slow connection: here only the lines that differ are
painted. Its lines differ by colour or character; these have dashes, so that runs can be told apart
without colour. What else a loss curve needs would have to be computed here all the same: gaps where
a loss is not a number, bounds that rarely move, and markers for validations on top of the curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chart.curves import Curve
from waltzrl_tui.tui.chart.plot import SLOTS, Row, draw


class LossChart(Widget):
    """Curves over steps. Only lines that have changed are painted.

    `logarithmic` and `smoothed` switch the axis of losses and the training curves.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "loss-chart--text",
        "loss-chart--axis",
        "loss-chart--gap",
        *(f"loss-chart--run-{slot}" for slot in range(SLOTS)),
    }
    DEFAULT_CSS = """
    LossChart {
        height: 1fr;
        .loss-chart--axis { color: $text-muted; }
        .loss-chart--gap { color: $text-error; }
        .loss-chart--run-0 { color: $text-primary; }
        .loss-chart--run-1 { color: $text-accent; }
        .loss-chart--run-2 { color: $text-success; }
        .loss-chart--run-3 { color: $text-secondary; }
        .loss-chart--run-4 { color: $foreground; }
        .loss-chart--run-5 { color: $text-muted; }
    }
    """

    logarithmic: reactive[bool] = reactive(False, repaint=False)
    smoothed: reactive[bool] = reactive(False, repaint=False)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._curves: tuple[Curve, ...] = ()
        self._empty = ""
        self._rows: list[Row] | None = None
        self._styles: dict[str, Style] = {}
        self._drawn_for = Size(0, 0)

    def show(self, curves: Sequence[Curve], empty: str = "") -> None:
        """Draw `curves` (the first on top, six at most), or show `empty` if there is no point."""
        self._curves, self._empty = tuple(curves[:SLOTS]), one_line(empty)
        self._redraw()

    def watch_logarithmic(self) -> None:
        self._redraw()

    def watch_smoothed(self) -> None:
        self._redraw()

    def render_line(self, y: int) -> Strip:
        if self._rows is None or self._drawn_for != self.content_size:
            self._rows = self._draw()
        width = self.content_size.width
        row = self._rows[y] if y < len(self._rows) else []
        segments = [Segment(text, self._style(name)) for text, name in row]
        return Strip(segments).adjust_cell_length(width, self._style(""))

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = {}

    def _draw(self) -> list[Row]:
        self._drawn_for = size = self.content_size
        if not any(curve.train or curve.valid for curve in self._curves):
            lines = Content(self._empty).wrap(max(8, size.width - 4)) if self._empty else []
            above: list[Row] = [[] for _ in range(max(0, size.height - len(lines)) // 2)]
            return above + [[(line.plain.center(size.width), "axis")] for line in lines]
        return draw(
            self._curves,
            size.width,
            size.height,
            log=self.logarithmic,
            smooth=self.smoothed,
        )

    def _redraw(self) -> None:
        before = self._rows
        if before is None or self._drawn_for != self.content_size:
            self._rows = None
            self.refresh()
            return
        self._rows = self._draw()
        height, width = self._drawn_for.height, self._drawn_for.width
        after = self._rows
        changed = [
            y
            for y in range(height)
            if (before[y] if y < len(before) else []) != (after[y] if y < len(after) else [])
        ]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def _style(self, name: str) -> Style:
        style = self._styles.get(name)
        if style is None:
            component = f"loss-chart--{name}"
            style = self.get_component_rich_style(component) if name else self.rich_style
            self._styles[name] = style
        return style
