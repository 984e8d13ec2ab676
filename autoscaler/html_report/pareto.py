"""The page of `tune`: the cost of policies against their users without a seat."""

from __future__ import annotations

from collections.abc import Sequence

from bokeh.models import ColumnDataSource, Range1d
from bokeh.models.annotations import Span, TeeHead, Whisker
from bokeh.plotting import figure

from autoscaler.html_report.page import page_html
from autoscaler.html_report.plots import BLACK, BLUE, GRAY, GREEN, ORANGE, put_legend_above, tell
from autoscaler.simulation.intervals import refused_interval
from autoscaler.simulation.recommendation import Recommendation
from autoscaler.simulation.timeline import Table
from autoscaler.simulation.tuning import Finalist
from autoscaler.simulation.tuning_summary import values_text

# The look of the points by their role, the most important ones on top.
OTHER, CURRENT, RECOMMENDED = "other policies", "current policy", "recommended"
LOOKS = {
    OTHER: ("circle", BLUE, 9),
    CURRENT: ("diamond", ORANGE, 17),
    RECOMMENDED: ("star", GREEN, 20),
}


def pareto_html(found: Recommendation, summary: Table, title: str, note: str) -> str:
    """Return the page, which needs no network."""
    return page_html([pareto_plot(found)], summary, title, note)


def pareto_plot(found: Recommendation) -> figure:
    """Return the plot; the policies that no other one beats in both are joined."""
    goal = found.goal.number
    highest = max(goal, *(refused_interval(each.outcome.days).high for each in found.finalists))
    plot = figure(
        title="Cost and users without a seat, with 95 % intervals; dashed: the goal",
        height=460,
        sizing_mode="stretch_width",
        x_axis_label="replica-hours",
        y_axis_label="users without a seat in %",
        y_range=Range1d(start=-0.03 * highest, end=1.05 * highest),  # points at 0 are whole
        tools="pan,wheel_zoom,box_zoom,reset,save",
        active_scroll=None,
        toolbar_location="above",
    )
    plot.toolbar.logo = None
    plot.grid.grid_line_color = "#e6e6e6"
    front = [each.outcome.figures for each in found.front]
    plot.line(
        [each.cost for each in front],
        [each.refused for each in front],
        color=GRAY,
        line_width=1.5,
        legend_label="Pareto front",
    )
    plot.add_layout(
        Span(location=goal, dimension="width", line_dash="dashed", line_color=BLACK, line_width=1)
    )
    for role in LOOKS:
        if chosen := [each for each in found.finalists if _role(each, found) == role]:
            _add(plot, role, chosen, found.current)
    put_legend_above(plot)
    return plot


def _role(each: Finalist, found: Recommendation) -> str:
    if each is found.recommended:
        return RECOMMENDED
    return CURRENT if each is found.current else OTHER


def _add(plot: figure, role: str, chosen: Sequence[Finalist], current: Finalist) -> None:
    marker, color, size = LOOKS[role]
    intervals = [refused_interval(each.outcome.days) for each in chosen]
    source = ColumnDataSource(
        {
            "x": [each.outcome.figures.cost for each in chosen],
            "y": [each.outcome.figures.refused for each in chosen],
            "low": [interval.low for interval in intervals],
            "high": [interval.high for interval in intervals],
            "cut": [each.outcome.cut for each in chosen],
            "values": [values_text(each.candidate, current.candidate) for each in chosen],
            "role": [role] * len(chosen),
        }
    )
    heads = (TeeHead(size=6, line_color=color) for _ in range(2))
    whisker = Whisker(base="x", lower="low", upper="high", source=source, line_color=color)
    whisker.upper_head, whisker.lower_head = heads
    plot.add_layout(whisker)
    shown = plot.scatter(
        "x", "y", source=source, marker=marker, size=size, color=color, legend_label=role
    )
    texts = [
        ("policy", "@role"),
        ("values", "@values"),
        ("replica-hours", "@x{0,0.0}"),
        ("without a seat", "@y{0.000} % (@low{0.000} to @high{0.000} %)"),
        ("cut", "@cut"),
    ]
    plot.add_tools(tell(shown, texts))
