"""The plots of replicas: what they do, why their number changes, and the life of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bokeh.models import ColumnDataSource, FixedTicker, Range1d
from bokeh.plotting import figure

from autoscaler.html_report.plots import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    MAX_POINTS,
    ORANGE,
    PURPLE,
    RED,
    SILVER,
    SKY,
    YELLOW,
    TimeAxis,
    put_legend_above,
    source_of,
    tell,
    time_plot,
)
from autoscaler.simulation.lanes import bars
from autoscaler.simulation.timeline import Change, Phase, Steps, Timeline, stacked
from exporter.texts import visible

COLORS = {
    Phase.BUSY: BLUE,
    Phase.RESERVE: YELLOW,
    Phase.SPARE: SKY,
    Phase.STARTING: ORANGE,
    Phase.DRAINING: GRAY,
    Phase.DRAINED: SILVER,
}
RIVAL_COLORS = (RED, PURPLE, GREEN, BLACK)
# Phases shorter than a pixel of a wide screen are joined.
PIXELS = 1_500
# Pixels of height in the chart of lives: for each replica, and for all that is around them.
ROW, AROUND, LARGEST_CHART = 12, 165, 600


def replicas_plot(
    timeline: Timeline, rivals: Mapping[str, Timeline], span: Range1d, axis: TimeAxis
) -> figure:
    """Return the plot of replicas by what they do, with the replicas of the rivals as lines."""
    plot = time_plot("Replicas", "replicas", 300, span, axis)
    if timeline.phases:
        _add_phases(plot, timeline, axis)
    else:
        ready = source_of(timeline.ready, timeline.end, axis)
        plot.step(
            "x", "y", source=ready, mode="after", color=GREEN, line_width=2, legend_label="ready"
        )
    desired = source_of(timeline.desired, timeline.end, axis)
    plot.step(
        "x", "y", source=desired, mode="after", color=BLACK, line_width=1.5, legend_label="desired"
    )
    for number, (name, rival) in enumerate(rivals.items()):
        plot.step(
            "x",
            "y",
            source=source_of(rival.billed, rival.end, axis),
            mode="after",
            color=RIVAL_COLORS[number % len(RIVAL_COLORS)],
            line_width=1.5,
            line_dash="dashed",
            legend_label=visible(name),
        )
    put_legend_above(plot)
    return plot


def _add_phases(plot: figure, timeline: Timeline, axis: TimeAxis) -> None:
    """Add an area for each phase, one upon the other."""
    low: Steps | None = None
    for phase, high in stacked(timeline.phases, MAX_POINTS // 2).items():
        times, upper = (*high.times, timeline.end), (*high.values, high.values[-1])
        lower = (0.0,) * len(times) if low is None else (*low.values, low.values[-1])
        data = {"x": [axis.to_axis(at) for at in times], "low": lower, "high": upper}
        plot.varea_step(
            "x",
            "low",
            "high",
            source=ColumnDataSource(data),
            step_mode="after",
            color=COLORS[phase],
            alpha=0.75,
            legend_label=str(phase),
        )
        low = high


def decisions_plot(timeline: Timeline, span: Range1d, axis: TimeAxis) -> figure:
    """Return the lane of changes, whose tooltips tell the reason and the numbers behind it."""
    plot = time_plot("Decisions", "", 130, span, axis)
    plot.y_range = Range1d(start=-0.6, end=1.6)
    plot.yaxis[0].ticker = FixedTicker(ticks=[0, 1])
    plot.yaxis[0].major_label_overrides = {0: "down", 1: "up"}
    ups = [change for change in timeline.changes if change.after > change.before]
    downs = [change for change in timeline.changes if change.after < change.before]
    _add_changes(plot, ups, axis, 1, "triangle")
    _add_changes(plot, downs, axis, 0, "inverted_triangle")
    return plot


def _add_changes(
    plot: figure, changes: Sequence[Change], axis: TimeAxis, height: int, marker: str
) -> None:
    source = ColumnDataSource(
        {
            "x": [axis.to_axis(change.at) for change in changes],
            "y": [height] * len(changes),
            "move": [f"{change.before} → {change.after} replicas" for change in changes],
            "reason": [str(change.reason) for change in changes],
            "detail": [visible(change.detail) for change in changes],
        }
    )
    markers = plot.scatter("x", "y", source=source, marker=marker, size=9, color=BLACK, alpha=0.6)
    texts = [
        ("change", "@move"),
        ("reason", "@reason"),
        ("detail", "@detail"),
        ("at", f"@x{{{axis.pointed}}}"),
    ]
    plot.add_tools(tell(markers, texts))


def lives_plot(timeline: Timeline, span: Range1d, axis: TimeAxis) -> figure:
    """Return a chart with a bar for each replica, colored by what it does."""
    length = timeline.end - timeline.start
    chart = bars(timeline.lives, timeline.start, timeline.end, length / PIXELS)
    rows = 1 + max((bar.lane for bar in chart), default=0)
    height = min(LARGEST_CHART, AROUND + ROW * rows)
    plot = time_plot("The life of each replica", "replica", height, span, axis)
    plot.y_range = Range1d(start=-0.2, end=rows + 0.2)
    for phase in Phase:
        chosen = [bar for bar in chart if bar.phase is phase]
        source = ColumnDataSource(
            {
                "left": [axis.to_axis(bar.start) for bar in chosen],
                "right": [axis.to_axis(bar.end) for bar in chosen],
                "bottom": [bar.lane + 0.1 for bar in chosen],
                "top": [bar.lane + 0.9 for bar in chosen],
                "name": [bar.name for bar in chosen],
                "phase": [str(phase)] * len(chosen),
                "served": [bar.served for bar in chosen],
            }
        )
        quads = plot.quad(
            "left",
            "right",
            "top",
            "bottom",
            source=source,
            color=COLORS[phase],
            line_color=None,
            legend_label=str(phase),
        )
        texts = [
            ("pod", "@name"),
            ("is", "@phase"),
            ("from", f"@left{{{axis.pointed}}}"),
            ("to", f"@right{{{axis.pointed}}}"),
            ("sessions in its life", "@served"),
        ]
        plot.add_tools(tell(quads, texts))
    put_legend_above(plot)
    return plot
