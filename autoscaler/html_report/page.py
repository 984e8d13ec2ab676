"""The page: its plots, the table of scores, and a note; it needs no network.

The import of Bokeh takes a third of a second, so callers import this module where they use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from bokeh.embed import file_html
from bokeh.models import Range1d
from bokeh.plotting import figure
from bokeh.resources import INLINE

from autoscaler.html_report.files import replace_file
from autoscaler.html_report.plots import axis_of
from autoscaler.html_report.replicas import decisions_plot, lives_plot, replicas_plot
from autoscaler.html_report.users import users_plot
from autoscaler.html_report.weeks import refused_map, spare_map
from autoscaler.simulation.summary import MEANINGS
from autoscaler.simulation.timeline import Table, Timeline
from autoscaler.simulation.weekly import week
from exporter.texts import visible

# A map of the hours of a week says nothing of a shorter run.
LEAST_FOR_MAPS = 86_400.0
NO_RIVALS: Mapping[str, Timeline] = {}
NOTHING_MORE: Mapping[str, str] = {}
# Changes in the list below the plots, which a long run has thousands of.
MOST_CHANGES = 500
STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; color: #222; }
main { max-width: 1280px; margin: 0 auto; padding: 0 12px 24px; }
h1 { font-size: 1.3rem; margin: 16px 0 8px; } h2 { font-size: 1.1rem; margin: 16px 0 4px; }
.table { overflow-x: auto; margin: 8px 0 16px; }
table { border-collapse: collapse; }
th, td { padding: 3px 14px 3px 0; text-align: right; border-bottom: 1px solid #ddd; }
th { font-weight: 600; } th:first-child, td:first-child { text-align: left; }
td { font-variant-numeric: tabular-nums; }
summary { font-weight: 600; padding: 8px 0; } dt { font-weight: 600; } dd { margin: 0 0 8px; }
details th, details td { text-align: left; vertical-align: top; overflow-wrap: anywhere; }
@media (max-width: 600px) { body { font-size: 13px; } th, td { padding-right: 8px; } }
"""
HEAD = f"""\
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
{STYLE}</style>
"""
# Blocks of Bokeh's template, which lacks support of phones and a table without a script.
TEMPLATE = (
    "{% block preamble %}"
    + HEAD
    + """\
{% endblock %}
{% block contents %}
<main>
<h1>{{ title | e }}</h1>
{% if verdict %}<p><strong>{{ verdict | e }}</strong></p>{% endif %}
{% for doc in docs %}{% for root in doc.roots %}{{ embed(root) }}{% endfor %}{% endfor %}
<div class="table">{{ summary }}</div>
<p>{{ note | e }}</p>
{% if changes %}
<details><summary>{{ changes_title | e }}</summary><div class="table">{{ changes }}</div></details>
{% endif %}
{% if meanings %}
<details><summary>What the figures mean</summary><dl>{{ meanings }}</dl></details>
{% endif %}
</main>
{% endblock %}
"""
)


def write_report(
    path: Path,
    timeline: Timeline,
    summary: Table,
    title: str,
    note: str = "",
    rivals: Mapping[str, Timeline] = NO_RIVALS,
    verdict: str = "",
) -> None:
    """Write the page, which needs no network. Raises OSError if the file cannot be written.

    note: a paragraph below the table. rivals: runs of the same trace to compare with, by name.
    verdict: a sentence above the plots.
    """
    replace_file(path, report_html(timeline, summary, title, note, rivals, verdict))


def report_html(
    timeline: Timeline,
    summary: Table,
    title: str,
    note: str = "",
    rivals: Mapping[str, Timeline] = NO_RIVALS,
    verdict: str = "",
) -> str:
    """Return the page of a run as HTML."""
    changes = timeline.changes
    title_of_changes = f"Why the replicas changed ({min(len(changes), MOST_CHANGES):,}"
    title_of_changes += f" of {len(changes):,})" if len(changes) > MOST_CHANGES else ")"
    more = {
        "verdict": visible(verdict),
        "changes": table_html(_changes(timeline)) if changes else "",
        "changes_title": title_of_changes,
    }
    return page_html(_plots(timeline, rivals), summary, title, note, more)


def page_html(
    plots: Sequence[figure],
    summary: Table,
    title: str,
    note: str,
    more: Mapping[str, str] = NOTHING_MORE,
) -> str:
    """Return plots, a table and a note as HTML, for a browser of any width.

    more: further parts of the page, by their names in the template.
    """
    variables = {"summary": table_html(summary), "note": visible(note), **more}
    variables["meanings"] = _meanings_html(summary)
    return file_html(plots, INLINE, visible(title), template=TEMPLATE, template_variables=variables)


def _changes(timeline: Timeline) -> Table:
    """Return the changes as a table: a touch screen has no pointer for the plots' tooltips."""
    axis = axis_of(timeline)
    rows = [
        (axis.told(each.at), f"{each.before} → {each.after}", f"{each.reason}: {each.detail}")
        for each in timeline.changes[:MOST_CHANGES]
    ]
    return Table(("when", "replicas", "why"), tuple(rows))


def _meanings_html(summary: Table) -> str:
    """Return the meaning of each row of the table that has a name of its own."""
    found = [(title, MEANINGS[title]) for title, *_ in summary.rows if title in MEANINGS]
    return "".join(f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>" for title, text in found)


def _plots(timeline: Timeline, rivals: Mapping[str, Timeline]) -> list[figure]:
    axis = axis_of(timeline)
    span = Range1d(
        start=axis.to_axis(timeline.start), end=axis.to_axis(timeline.end), bounds="auto"
    )
    plots = [
        users_plot(timeline, span, axis),
        replicas_plot(timeline, rivals, span, axis),
        decisions_plot(timeline, span, axis),
    ]
    if timeline.lives:
        plots.append(lives_plot(timeline, span, axis))
    if axis.kind == "datetime" and timeline.end - timeline.start >= LEAST_FOR_MAPS:
        hours = week(timeline)
        plots += [refused_map(hours), spare_map(hours)]
    return plots


def table_html(table: Table) -> str:
    """Return a table as HTML, whatever its texts contain."""
    head = "".join(f"<th>{escape(visible(column))}</th>" for column in table.columns)
    rows = ("".join(f"<td>{escape(visible(cell))}</td>" for cell in row) for row in table.rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
