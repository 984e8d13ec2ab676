"""The page of a daemon whose policies come and go, without a browser and without Prometheus."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.models.widgets import Select, TextAreaInput

from autoscaler.dashboard.kept import Latest
from autoscaler.dashboard.page import Page, Services
from autoscaler.reporting.status_report import StatusReport
from tests.status.test_status_page import APP, Daemon


class Heard:
    """What was read last, as `Kept` has it."""

    def __init__(self) -> None:
        self.last: Latest[Any] | None = None

    def latest(self, _: object) -> Latest[Any] | None:
        return self.last


class NoSimulations:
    """Simulates nothing, as nothing is typed."""

    def forget(self, _: object) -> None:
        pass


@dataclass
class Shown:
    """A page in no browser, and what its daemon says."""

    status: Heard = field(default_factory=Heard)
    recent: Heard = field(default_factory=Heard)
    arrivals: Heard = field(default_factory=Heard)

    def __post_init__(self) -> None:
        self.document = Document()
        services: Any = Services(self, NoSimulations())  # type: ignore[arg-type]
        self.page = Page(self.document, services, None)

    def hears(self, report: StatusReport | None, problem: str = "") -> None:
        self.status.last = Latest(report, 0.0, 1, problem)
        self.page.look()

    def text(self, name: str) -> str:
        return str(self.document.get_model_by_name(name).text)  # type: ignore[union-attr]

    @property
    def targets(self) -> list[Any]:
        target: Any = self.document.select_one({"type": Select, "title": "Deployment"})
        return [target.value, *target.options]


@pytest.fixture
def shown() -> Shown:
    return Shown()


def report_of_one() -> StatusReport:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 10, 12)
    daemon.passes()
    report = daemon.page.report()
    assert report is not None
    return report


def test_a_daemon_that_has_answered_is_not_waited_for(shown: Shown) -> None:
    assert "Waiting for the daemon." in shown.text("now")

    shown.hears(StatusReport())

    assert "The daemon has no policy, so it scales nothing." in shown.text("now")


def test_a_daemon_that_has_never_answered_is_waited_for_and_the_reason_is_told(
    shown: Shown,
) -> None:
    shown.hears(None, "cannot ask the daemon")

    assert "Waiting for the daemon." in shown.text("now")
    assert "cannot ask the daemon" in shown.text("problems")


def test_the_last_policy_leaves_the_page_and_comes_back(shown: Shown) -> None:
    report = report_of_one()
    shown.hears(report)
    assert shown.targets == ["bokeh/bokeh-app", "bokeh/bokeh-app"]
    assert "sessions" in shown.text("now")

    shown.hears(StatusReport())
    assert shown.targets == [""]
    assert "no policy" in shown.text("now")
    assert shown.text("decision") == ""

    shown.hears(report)
    assert shown.targets == ["bokeh/bokeh-app", "bokeh/bokeh-app"]
    assert "sessions" in shown.text("now")


def test_the_editor_has_the_active_policy_before_prometheus_has_answered(shown: Shown) -> None:
    shown.hears(report_of_one())

    editor: Any = shown.document.select_one({"type": TextAreaInput})
    assert "deployment: bokeh-app" in editor.value
