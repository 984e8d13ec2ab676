"""The plots of the page: those of the simulation's report, with the costs and the forecast."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure

from autoscaler.core.forecast import SLOT
from autoscaler.html_report.plots import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    SKY,
    TimeAxis,
    axis_of,
    put_legend_above,
    source_of,
    time_plot,
)
from autoscaler.html_report.replicas import decisions_plot, lives_plot, replicas_plot
from autoscaler.html_report.users import users_plot
from autoscaler.simulation.foreseen import Foreseen
from autoscaler.simulation.live import BILLED, FLUID, STICKY, Recorded, cost_steps
from autoscaler.simulation.timeline import Timeline

COSTS = {BILLED: (BLUE, "billed"), STICKY: (GREEN, "sticky bound")}
COSTS |= {FLUID: (GRAY, "fluid bound")}


def live_plots(
    timeline: Timeline, recorded: Recorded, slots: Sequence[Foreseen], span: Range1d
) -> list[figure]:
    """Return all plots of a target. slots: of the forecast; empty: there is none."""
    axis = axis_of(timeline)
    return [
        users_plot(timeline, span, axis, refused=False),
        replicas_plot(timeline, {}, span, axis),
        decisions_plot(timeline, span, axis),
        lives_plot(timeline, span, axis),
        costs_plot(recorded, span, axis),
        arrivals_plot(slots, span, axis),
    ]


def costs_plot(recorded: Recorded, span: Range1d, axis: TimeAxis) -> figure:
    """Return the plot of the replicas that are billed, and of those that the sessions need."""
    plot = time_plot("Cost: replicas billed, and the least ones", "replicas", 240, span, axis)
    for kind, (color, name) in COSTS.items():
        plot.step(
            "x",
            "y",
            source=source_of(cost_steps(recorded, kind), recorded.end, axis),
            mode="after",
            color=color,
            line_width=1.5,
            legend_label=name,
        )
    put_legend_above(plot)
    return plot


def arrivals_plot(slots: Sequence[Foreseen], span: Range1d, axis: TimeAxis) -> figure:
    """Return the plot of the users who come in five minutes, and of the forecast with its band."""
    plot = time_plot("Forecast: users who come in 5 minutes", "users", 240, span, axis)
    columns = {
        "x": [axis.to_axis(at) for slot in slots for at in (slot.at, slot.at + SLOT)],
        "came": _twice([slot.came for slot in slots]),
        "expected": _twice([slot.expected for slot in slots]),
        "allowed": _twice([slot.allowed for slot in slots]),
    }
    source = ColumnDataSource(columns)
    plot.varea(
        "x",
        "expected",
        "allowed",
        source=source,
        color=SKY,
        alpha=0.4,
        legend_label="99.9 % band",
    )
    plot.line("x", "expected", source=source, color=ORANGE, line_width=2, legend_label="forecast")
    plot.line("x", "came", source=source, color=BLUE, line_width=1.5, legend_label="came")
    put_legend_above(plot)
    return plot


def _twice(values: Sequence[float | None]) -> list[float]:
    """Return each value for both ends of its slot; what is not known is a gap."""
    return [nan if value is None else value for value in values for _ in range(2)]


def refresh(shown: Sequence[figure], newer: Sequence[figure]) -> bool:
    """Draw what newer plots draw, and leave what the reader chose. Return whether it can be."""
    pairs = [*zip(shown, newer, strict=False)]
    fits = len(shown) == len(newer)
    if not fits or any(len(old.renderers) != len(new.renderers) for old, new in pairs):
        return False
    for old, new in pairs:
        _refresh(old, new)
    return True


def _refresh(shown: Any, newer: Any) -> None:
    for old, new in zip(shown.renderers, newer.renderers, strict=True):
        old.data_source.data = dict(new.data_source.data)
    if isinstance(newer.y_range, Range1d):
        shown.y_range.update(start=newer.y_range.start, end=newer.y_range.end)
    if shown.height != newer.height:
        shown.height = newer.height
