"""The plot of sessions and seats, with the users who found none."""

from __future__ import annotations

from bokeh.models import Range1d
from bokeh.plotting import figure

from autoscaler.html_report.plots import (
    BLUE,
    GREEN,
    MAX_POINTS,
    RED,
    SKY,
    TimeAxis,
    put_legend_above,
    source_of,
    tell,
    time_plot,
)
from autoscaler.simulation.timeline import Timeline


def users_plot(
    timeline: Timeline, span: Range1d, axis: TimeAxis, *, refused: bool = True
) -> figure:
    """Return the plot of sessions, and of ready and billed seats.

    refused: whether it is known who found no seat.
    """
    plot = time_plot("Sessions and seats", "sessions, seats", 360, span, axis)
    paid = source_of(timeline.billed.scaled(timeline.seats), timeline.end, axis, gaps=0.0)
    ready = source_of(timeline.ready.scaled(timeline.seats), timeline.end, axis)
    sessions = source_of(timeline.sessions, timeline.end, axis)
    plot.varea_step(
        "x",
        0,
        "y",
        source=paid,
        step_mode="after",
        color=SKY,
        alpha=0.3,
        legend_label="billed seats",
    )
    if timeline.demand.times:
        wanted = source_of(timeline.demand, timeline.end, axis)
        plot.step(
            "x",
            "y",
            source=wanted,
            mode="after",
            color=RED,
            line_width=1.5,
            line_dash="dotted",
            legend_label="demand",
        )
    plot.step(
        "x", "y", source=ready, mode="after", color=GREEN, line_width=2, legend_label="ready seats"
    )
    plot.step(
        "x", "y", source=sessions, mode="after", color=BLUE, line_width=1.5, legend_label="sessions"
    )
    # Bokeh's tooltips do not work on steps, so an invisible line has it.
    line = plot.line("x", "y", source=sessions, alpha=0)
    texts = [("sessions", "@y"), ("since", f"@x{{{axis.pointed}}}")]
    plot.add_tools(tell(line, texts, nearest=True))
    if refused:
        _add_refused(plot, timeline, axis)
    put_legend_above(plot)
    return plot


def _add_refused(plot: figure, timeline: Timeline, axis: TimeAxis) -> None:
    """Add a red tick for each refused user, at most 5,000."""
    refused = timeline.refused
    step = -(-len(refused) // MAX_POINTS) or 1
    plot.scatter(
        [axis.to_axis(at) for at in refused[::step]],
        0,
        marker="dash",
        angle=1.5708,
        size=26,
        line_width=1.5,
        color=RED,
        legend_label=f"refused ({len(refused)})",
    )
