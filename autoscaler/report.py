"""One offline HTML page that shows a run: sessions and seats, replicas and why they changed.

This is the only module that imports Bokeh. The import takes a third of a second, so callers import
this module where they use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from bokeh.embed import file_html
from bokeh.models import BasicTicker, ColumnDataSource, DataRange1d, HoverTool, Range1d
from bokeh.plotting import figure
from bokeh.resources import INLINE

from autoscaler.simulation.timeline import Change, Steps, Table, Timeline
from exporter.texts import visible

# The palette of Okabe and Ito, whose colors differ for every kind of color vision, and in gray.
BLUE, SKY, ORANGE, RED, GREEN, BLACK = (
    "#0072B2",
    "#56B4E9",
    "#E69F00",
    "#D55E00",
    "#009E73",
    "#222222",
)
MAX_POINTS = 5_000
TOOLS = "xpan,xwheel_zoom,xbox_zoom,reset,save"
# Blocks of Bokeh's template, which lacks support of phones and a table without a script.
TEMPLATE = """\
{% block preamble %}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  body { font: 15px/1.45 system-ui, sans-serif; color: #222; }
  main { max-width: 1280px; margin: 0 auto; padding: 0 12px 24px; }
  h1 { font-size: 1.3rem; margin: 16px 0 8px; }
  .table { overflow-x: auto; margin: 8px 0 16px; }
  table { border-collapse: collapse; }
  th, td { padding: 3px 14px 3px 0; text-align: right; border-bottom: 1px solid #ddd; }
  th { font-weight: 600; } th:first-child, td:first-child { text-align: left; }
  td { font-variant-numeric: tabular-nums; }
  @media (max-width: 600px) { body { font-size: 13px; } th, td { padding-right: 8px; } }
</style>
{% endblock %}
{% block contents %}
<main>
<h1>{{ title | e }}</h1>
{% for doc in docs %}{% for root in doc.roots %}{{ embed(root) }}{% endfor %}{% endfor %}
<div class="table">{{ summary }}</div>
<p>{{ note | e }}</p>
</main>
{% endblock %}
"""

# The times of a trace that ends within a year of second 0 are elapsed times, not dates in 1970.
ELAPSED = 366 * 86_400.0


class TimeAxis(NamedTuple):
    """How times are shown.

    to_axis: converts Unix seconds to the axis's milliseconds. pointed: format of times in tooltips.
    """

    kind: Literal["datetime", "timedelta"]
    label: str
    to_axis: Callable[[float], float]
    pointed: str


def write_report(
    path: Path, timeline: Timeline, summary: Table, title: str, note: str = ""
) -> None:
    """Write the page, which needs no network. Raises OSError if the file cannot be written.

    note: a paragraph below the table.
    """
    _replace(path, report_html(timeline, summary, title, note))


def _replace(path: Path, text: str) -> None:
    """Write a file completely, or leave what was there. Raises OSError."""
    if path.exists() and not path.is_file():  # such as /dev/null
        path.write_text(text, encoding="utf-8")
        return
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def report_html(timeline: Timeline, summary: Table, title: str, note: str = "") -> str:
    """Return the page as HTML, for a browser of any width."""
    axis = _axis(timeline)
    span = Range1d(
        start=axis.to_axis(timeline.start), end=axis.to_axis(timeline.end), bounds="auto"
    )
    plots = [_users_plot(timeline, span, axis), _replicas_plot(timeline, span, axis)]
    return file_html(
        plots,
        INLINE,
        visible(title),
        template=TEMPLATE,
        template_variables={"summary": _table_html(summary), "note": visible(note)},
    )


def _axis(timeline: Timeline) -> TimeAxis:
    """Return the axis of times; Bokeh has no time zones, so times are shifted by their offset."""
    if timeline.end < ELAPSED:
        return TimeAxis(
            "timedelta", "time from second 0", lambda at: at * 1_000, "day %-d, %H:%M:%S"
        )
    zone = ZoneInfo(timeline.timezone) if timeline.timezone else None
    name = timeline.timezone or datetime.now(UTC).astimezone().tzname()

    def to_axis(at: float) -> float:
        offset = datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
        return (at + (offset.total_seconds() if offset else 0.0)) * 1_000

    return TimeAxis("datetime", f"time ({name})", to_axis, "%a %d %b %H:%M:%S")


def _plot(title: str, unit: str, height: int, span: Range1d, axis: TimeAxis) -> figure:
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


def _put_legend_above(plot: figure) -> None:
    """Put the legend above the plot, where it covers no curve and fits on a phone."""
    legend = plot.legend[0]
    legend.update(
        orientation="horizontal",
        ncols=4,
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


def _users_plot(timeline: Timeline, span: Range1d, axis: TimeAxis) -> figure:
    plot = _plot("Sessions and seats", "sessions, seats", 360, span, axis)
    paid = _source(timeline.billed.scaled(timeline.seats), timeline.end, axis)
    ready = _source(timeline.ready.scaled(timeline.seats), timeline.end, axis)
    sessions = _source(timeline.sessions, timeline.end, axis)
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
    plot.step(
        "x", "y", source=ready, mode="after", color=GREEN, line_width=2, legend_label="ready seats"
    )
    plot.step(
        "x", "y", source=sessions, mode="after", color=BLUE, line_width=1.5, legend_label="sessions"
    )
    _add_tooltip(plot, sessions, axis)
    _add_refused(plot, timeline, axis)
    _put_legend_above(plot)
    return plot


def _add_tooltip(plot: figure, sessions: ColumnDataSource, axis: TimeAxis) -> None:
    """Add a tooltip with the sessions at the pointer.

    Bokeh's tooltips do not work on steps, so an invisible line is added.
    """
    line = plot.line("x", "y", source=sessions, alpha=0)
    plot.add_tools(
        HoverTool(
            renderers=[line],
            mode="vline",
            line_policy="prev",
            visible=False,
            tooltips=[("sessions", "@y"), ("since", f"@x{{{axis.pointed}}}")],
            formatters={"@x": "datetime"},
        )
    )


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


def _replicas_plot(timeline: Timeline, span: Range1d, axis: TimeAxis) -> figure:
    plot = _plot("Replicas and the reasons for changes", "replicas", 300, span, axis)
    desired = _source(timeline.desired, timeline.end, axis)
    ready = _source(timeline.ready, timeline.end, axis)
    plot.step(
        "x", "y", source=desired, mode="after", color=ORANGE, line_width=2, legend_label="desired"
    )
    plot.step("x", "y", source=ready, mode="after", color=GREEN, line_width=2, legend_label="ready")
    ups = [change for change in timeline.changes if change.after > change.before]
    downs = [change for change in timeline.changes if change.after < change.before]
    _add_changes(plot, ups, axis, "triangle", "scale-up")
    _add_changes(plot, downs, axis, "inverted_triangle", "scale-down")
    _put_legend_above(plot)
    return plot


def _add_changes(
    plot: figure, changes: Iterable[Change], axis: TimeAxis, marker: str, name: str
) -> None:
    """Add a marker for each change, whose tooltip shows the reason and the numbers behind it."""
    chosen = list(changes)
    source = ColumnDataSource(
        {
            "x": [axis.to_axis(change.at) for change in chosen],
            "y": [change.after for change in chosen],
            "move": [f"{change.before} → {change.after} replicas" for change in chosen],
            "reason": [str(change.reason) for change in chosen],
            "detail": [visible(change.detail) for change in chosen],
        }
    )
    markers = plot.scatter(
        "x", "y", source=source, marker=marker, size=8, color=BLACK, legend_label=name
    )
    plot.add_tools(
        HoverTool(
            renderers=[markers],
            visible=False,
            tooltips=[
                ("change", "@move"),
                ("reason", "@reason"),
                ("detail", "@detail"),
                ("at", f"@x{{{axis.pointed}}}"),
            ],
            formatters={"@x": "datetime"},
        )
    )


def _source(steps: Steps, end: float, axis: TimeAxis) -> ColumnDataSource:
    """Return the steps, thinned out for a browser and extended to the end of the run."""
    times, values = steps.thinned(MAX_POINTS)
    if times:
        times, values = (*times, end), (*values, values[-1])
    return ColumnDataSource({"x": [axis.to_axis(at) for at in times], "y": list(values)})


def _table_html(table: Table) -> str:
    head = "".join(f"<th>{escape(visible(column))}</th>" for column in table.columns)
    rows = ("".join(f"<td>{escape(visible(cell))}</td>" for cell in row) for row in table.rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
