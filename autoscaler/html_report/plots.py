"""What all plots of the report share: colors, the axis of time, steps, and tooltips."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from bokeh.models import BasicTicker, ColumnDataSource, DataRange1d, HoverTool, Range1d
from bokeh.plotting import figure

from autoscaler.simulation.timeline import Steps, Timeline

# The palette of Okabe and Ito, whose colors differ for every kind of color vision, and in gray.
BLUE, SKY, ORANGE, RED = "#0072B2", "#56B4E9", "#E69F00", "#D55E00"
GREEN, YELLOW, PURPLE = "#009E73", "#F0E442", "#CC79A7"
BLACK, GRAY, SILVER = "#222222", "#999999", "#CCCCCC"
MAX_POINTS = 5_000
TOOLS = "xpan,xwheel_zoom,xbox_zoom,reset,save"

# The times of a trace that ends within a year of second 0 are elapsed times, not dates in 1970.
ELAPSED = 366 * 86_400.0


class TimeAxis(NamedTuple):
    """How times are shown.

    to_axis: converts Unix seconds to the axis's milliseconds. pointed: format of times in tooltips.
    told: returns a time as text.
    """

    kind: Literal["datetime", "timedelta"]
    label: str
    to_axis: Callable[[float], float]
    pointed: str
    told: Callable[[float], str]


def axis_of(timeline: Timeline) -> TimeAxis:
    """Return the axis of times; Bokeh has no time zones, so times are shifted by their offset."""
    if timeline.end < ELAPSED:
        return TimeAxis(
            "timedelta",
            "time from second 0",
            lambda at: at * 1_000,
            "day %-d, %H:%M:%S",
            lambda at: str(timedelta(seconds=round(at))),
        )
    zone = ZoneInfo(timeline.timezone) if timeline.timezone else None
    name = timeline.timezone or datetime.now(UTC).astimezone().tzname()

    def to_axis(at: float) -> float:
        offset = datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
        return (at + (offset.total_seconds() if offset else 0.0)) * 1_000

    def told(at: float) -> str:
        return f"{datetime.fromtimestamp(at, UTC).astimezone(zone):%a %d %b %H:%M:%S}"

    return TimeAxis("datetime", f"time ({name})", to_axis, "%a %d %b %H:%M:%S", told)


def time_plot(title: str, unit: str, height: int, span: Range1d, axis: TimeAxis) -> figure:
    """Return an empty plot over time. span: the range of times, which all plots share."""
    plot = figure(
        title=title,
        height=height,
        sizing_mode="stretch_width",
        x_axis_type=axis.kind,
        x_range=span,
        y_range=DataRange1d(start=0),
        x_axis_label=axis.label,
        y_axis_label=unit,
        tools=TOOLS,
        active_scroll=None,
        toolbar_location="above",
        min_border_left=58,
    )
    plot.toolbar.logo = None
    plot.grid.grid_line_color = "#e6e6e6"
    plot.yaxis[0].ticker = BasicTicker(min_interval=1, num_minor_ticks=0)
    return plot


def put_legend_above(plot: figure) -> None:
    """Put the legend above the plot, where it covers no curve and fits on a phone."""
    legend = plot.legend[0]
    legend.update(
        orientation="horizontal",
        ncols=3,
        location="left",
        click_policy="hide",
        border_line_color=None,
        margin=0,
        padding=4,
        spacing=6,
        glyph_width=14,
        label_standoff=3,
        label_text_font_size="11px",
    )
    plot.add_layout(legend, "above")


def source_of(
    steps: Steps, end: float, axis: TimeAxis, gaps: float | None = None
) -> ColumnDataSource:
    """Return the steps, thinned out for a browser and extended to the end of the run.

    gaps: what to draw where nothing is known: 0 for areas, which Bokeh draws obliquely from a gap
    to the first value after it. None leaves the gaps.
    """
    times, values = steps.thinned(MAX_POINTS)
    if times:
        times, values = (*times, end), (*values, values[-1])
    if gaps is not None:
        values = tuple(gaps if isnan(value) else value for value in values)
    return ColumnDataSource({"x": [axis.to_axis(at) for at in times], "y": list(values)})


def tell(renderer: Any, tooltips: list[tuple[str, str]], *, nearest: bool = False) -> HoverTool:
    """Return the tool that shows these texts beside the pointer.

    nearest: whether a line tells its value at the pointer's time, wherever the pointer is.
    """
    return HoverTool(
        renderers=[renderer],
        mode="vline" if nearest else "mouse",
        line_policy="prev" if nearest else "nearest",
        visible=False,
        tooltips=tooltips,
        formatters={"@x": "datetime", "@left": "datetime", "@right": "datetime"},
    )
