"""Heat maps over the hours of a week: refused users, and seats that nobody used."""

from __future__ import annotations

from collections.abc import Callable

from bokeh.models import ColumnDataSource, FactorRange, Range1d
from bokeh.palettes import Blues9, Reds9
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

from autoscaler.html_report.plots import tell
from autoscaler.simulation.weekly import Cell, Week

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def refused_map(week: Week) -> figure:
    """Return the map of users who found no free seat, in all weeks together."""
    return _map("Refused users by hour", week, lambda cell: cell.refused, Reds9, "refused")


def spare_map(week: Week) -> figure:
    """Return the map of free ready seats, on average."""
    return _map("Free seats by hour, on average", week, lambda cell: cell.spare, Blues9, "free")


def _map(
    title: str, week: Week, value: Callable[[Cell], float], colors: tuple[str, ...], unit: str
) -> figure:
    plot = figure(
        title=title,
        height=210,
        sizing_mode="stretch_width",
        x_range=Range1d(start=-0.5, end=23.5),
        y_range=FactorRange(factors=list(DAYS[::-1])),
        x_axis_label="hour",
        tools="",
        toolbar_location=None,
        min_border_left=58,
    )
    hours = sorted(week)
    source = ColumnDataSource(
        {
            "hour": [hour for _, hour in hours],
            "day": [DAYS[day] for day, _ in hours],
            "value": [round(value(week[hour]), 1) for hour in hours],
        }
    )
    high = max([*map(value, week.values()), 1.0])
    cells = plot.rect(
        "hour",
        "day",
        1,
        1,
        source=source,
        fill_color=linear_cmap("value", palette=colors[::-1], low=0, high=high),
        line_color="white",
    )
    plot.grid.grid_line_color = None
    plot.add_layout(cells.construct_color_bar(width=8, padding=4), "right")
    plot.add_tools(tell(cells, [("hour", "@day @hour:00"), (unit, "@value")]))
    return plot
