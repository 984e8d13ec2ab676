"""The page in one browser: what it shows, and when that changes."""

from __future__ import annotations

from typing import Any, NamedTuple

from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models.widgets import Select

from autoscaler.adapters.workers.one_process import OneProcess
from autoscaler.dashboard import words
from autoscaler.dashboard.boxes import put, text_box
from autoscaler.dashboard.charts import Charts
from autoscaler.dashboard.editor import Editor
from autoscaler.dashboard.edits import Edit
from autoscaler.dashboard.kept import Latest
from autoscaler.dashboard.sources import STATUS, Sources
from autoscaler.html_report.page import HEAD
from autoscaler.model import TargetRef
from autoscaler.reporting.status_report import PolicyStatus, StatusReport

# Milliseconds between two looks at what was read.
LOOK_EVERY = 500
HOUR = 3_600.0
SPANS = {"1 hour": HOUR, "6 hours": 6 * HOUR, "24 hours": 24 * HOUR, "7 days": 168 * HOUR}
TITLE = "bokeh-autoscaler"
TEMPLATE = (
    "{% block preamble %}"
    + HEAD
    + """\
<link rel="icon" href="data:,">
{% endblock %}
{% block contents %}
<main>
<h1>{{ title | e }}</h1>
{{ embed(roots.controls) }}
{{ embed(roots.problems) }}
{{ embed(roots.now) }}
{{ embed(roots.decision) }}
{{ embed(roots.plots) }}
<h2>Why the replicas changed</h2>
{{ embed(roots.changes) }}
<h2>What held a scale-down</h2>
{{ embed(roots.holds) }}
<h2>What it cost</h2>
{{ embed(roots.costs) }}
<h2>What another policy would do</h2>
<p>The policy is simulated on the sessions of the last 7 days as you type. Nothing is applied.</p>
{{ embed(roots.editor) }}
</main>
{% endblock %}
"""
)


class Shown(NamedTuple):
    """What the plots show: of what, and the numbers of what was read."""

    target: str
    span: float
    recent: int
    arrivals: int


class Services(NamedTuple):
    """What all pages share: what they show, and the process that simulates what is typed."""

    sources: Sources
    simulations: OneProcess[Edit]


class Page:
    """What one browser shows. target: the first one to show, if there is such a one."""

    def __init__(
        self, document: Document, services: Services, timezone: str | None, target: str = ""
    ) -> None:
        self._sources = services.sources
        self._editor = Editor(document, services.simulations)
        self._wanted = target
        self._shown = Shown("", 0.0, 0, 0)
        self._charts = Charts(timezone)
        self._target = _select("Deployment", [])
        self._span = _select("Time", [*SPANS])
        self._span.value = "6 hours"
        self._problems, self._now = text_box("problems"), text_box("now")
        self._decision = text_box("decision")
        chosen = column(self._target, self._span, name="controls", sizing_mode="stretch_width")
        texts = (self._problems, self._now, self._decision)
        for root in (chosen, *texts, *self._charts.roots, self._editor.root):
            document.add_root(root)
        document.title = TITLE
        document.template = TEMPLATE  # type: ignore[assignment]
        document.add_periodic_callback(self.look, LOOK_EVERY)
        self.look()

    def look(self) -> None:
        """Show what was read since the last look. It never waits."""
        heard = self._sources.status.latest(STATUS)
        if heard is None:
            put(self._now, words.paragraph("Waiting for the daemon."))
            return
        report = heard.value or StatusReport()
        self._offer([each.target for each in report.policies])
        status = next((each for each in report.policies if each.target == self._target.value), None)
        found = [heard.problem, *words.notes(report, status)]
        if status is not None:
            put(self._now, words.now_html(status))
            put(self._decision, words.decision_html(status))
            found.append(self._draw(status))
        elif heard.value is not None:
            self._empty()
        put(self._problems, words.problems_html(filter(None, found)))

    def _empty(self) -> None:
        """Show that there is no policy, in place of what was known of the last one."""
        self._target.update(options=[], value="")
        put(self._now, words.paragraph("The daemon has no policy, so it scales nothing."))
        put(self._decision, "")
        self._charts.clear()
        self._shown = Shown("", 0.0, 0, 0)

    def _offer(self, targets: list[Any]) -> None:
        """Offer these targets, and choose the wanted one, else the first, if none is chosen."""
        if not targets or targets == self._target.options:
            return
        self._target.options = targets
        if self._target.value not in targets:
            self._target.value = self._wanted if self._wanted in targets else targets[0]

    def _draw(self, status: PolicyStatus) -> str:
        """Draw what Prometheus has, if it is newer than what is shown; return what is wrong.

        The active policy is shown without it, because the daemon tells it.
        """
        ref = TargetRef(status.namespace, status.deployment)
        span = SPANS[str(self._span.value)]
        recent = self._sources.recent.latest((ref, span))
        arrivals = self._sources.arrivals.latest(ref)
        self._editor.follow(status, recent.value.price if recent and recent.value else None)
        if recent is None or recent.value is None:
            self._charts.clear()
            return "" if recent is None else recent.problem
        shown = Shown(status.target, span, recent.number, _number(arrivals))
        if shown != self._shown and not recent.problem:
            is_other = shown[:2] != self._shown[:2]
            rates = (arrivals.value if arrivals else None) or {}
            told = self._sources.told(status.target)
            self._charts.show(status, recent.value, rates, told, is_other=is_other)
            self._shown = shown
        return recent.problem


def _select(title: str, options: list[Any]) -> Select:
    return Select(title=title, options=options, sizing_mode="stretch_width", max_width=420)


def _number(latest: Latest[Any] | None) -> int:
    return 0 if latest is None else latest.number
