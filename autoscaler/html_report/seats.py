"""The picture of `autoscaler seats`: what pods had to do, by their sessions."""

from __future__ import annotations

from collections.abc import Sequence

from bokeh.models import ColumnDataSource, Range1d
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from autoscaler.core.seating import BUSY, MEMORY, described
from autoscaler.html_report.page import page_html
from autoscaler.html_report.plots import BLACK, BLUE, GREEN, ORANGE, put_legend_above
from autoscaler.model import Line, PodLoad, SeatEstimate
from autoscaler.simulation.timeline import Table

# Points that a browser draws at once.
MOST_POINTS = 5_000


def seats_html(
    loads: Sequence[PodLoad], found: SeatEstimate, summary: Table, title: str, note: str
) -> str:
    """Return the page, which needs no network."""
    busy = [(each.sessions, 100 * each.busy) for each in loads if each.busy is not None]
    memory = [(each.sessions, each.memory / 1e6) for each in loads if each.memory is not None]
    line = found.busy and Line(100 * found.busy.base, 100 * found.busy.each)
    plots = [_plot("Event loop, busy in % of the time", busy, line, 100 * BUSY, found)]
    if memory:
        line = found.memory and Line(found.memory.base / 1e6, found.memory.each / 1e6)
        limit = None if found.limit is None else MEMORY * found.limit / 1e6
        plots.append(_plot("Memory in MB", memory, line, limit, found))
    return page_html(plots, summary, title, note, {"verdict": described(found)})


def _plot(
    title: str,
    points: Sequence[tuple[float, float]],
    line: Line | None,
    limit: float | None,
    found: SeatEstimate,
) -> figure:
    """Return the plot of one cost. limit: that a pod with all seats taken shall not exceed."""
    shown = points[:: len(points) // MOST_POINTS + 1]
    most = max([1.0, found.seats or 1.0, *(sessions for sessions, _ in shown)])
    highest = max([limit or 0.0, 1.0, *(cost for _, cost in shown)])
    plot = figure(
        title=title,
        height=340,
        sizing_mode="stretch_width",
        x_axis_label="sessions of a pod",
        x_range=Range1d(start=-0.02 * most, end=1.1 * most),
        y_range=Range1d(start=0, end=1.1 * highest),
        tools="pan,wheel_zoom,box_zoom,reset,save",
        active_scroll=None,
        toolbar_location="above",
    )
    plot.toolbar.logo = None
    plot.grid.grid_line_color = "#e6e6e6"
    sessions, costs = zip(*shown, strict=True) if shown else ((), ())
    source = ColumnDataSource({"x": list(sessions), "y": list(costs)})
    plot.scatter("x", "y", source=source, size=5, alpha=0.4, color=BLUE, legend_label="pods")
    if line is not None:
        ends = [0.0, 1.1 * most]
        costs_at = [line.base + line.each * each for each in ends]
        plot.line(ends, costs_at, color=ORANGE, line_width=2, legend_label="nine tenths are below")
    if limit is not None:
        plot.add_layout(
            Span(location=limit, dimension="width", line_color=BLACK, line_dash="dashed")
        )
    if found.seats is not None:
        seats = Span(location=found.seats, dimension="height", line_color=GREEN, line_width=2)
        plot.add_layout(seats)
    put_legend_above(plot)
    return plot
