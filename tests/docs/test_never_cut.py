"""The page of the claim says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autoscaler.control import actor
from autoscaler.core import decide, lease, standing
from autoscaler.core.drain import plan, sightings
from autoscaler.core.hpa import behavior
from autoscaler.model import Reason
from autoscaler.policy import Drain
from autoscaler.reporting.events import HOLDS
from autoscaler.reporting.metrics import DaemonMetrics
from autoscaler.units import duration_text
from exporter import launch, wire
from exporter.agent import admission, visits
from exporter.cli import parser as exporter_parser
from tests.builders import NOW, observation, pods, policy

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "never-cut.md"
TEXT = PAGE.read_text()


def test_links_lead_somewhere_and_the_readme_leads_here() -> None:
    for link in re.findall(r"\]\((?!https:)([^)#]+)[^)]*\)", TEXT):
        assert (PAGE.parent / link).exists(), link
    first_claim = (ROOT / "README.md").read_text().split("\n\n")[1]
    assert "[only pods that are known to hold no session](docs/never-cut.md)" in first_claim


def test_every_hold_has_a_row() -> None:
    for reason in HOLDS:
        assert f"`{re.sub('Get.*Metric', 'Get…Metric', reason)}`" in TEXT


def test_the_diagram_is_the_one_above_the_code() -> None:
    (diagram,) = re.findall(r"```\n(serving.*?)```", TEXT, re.DOTALL)
    assert [line.strip() for line in diagram.splitlines()] == [
        line.strip() for line in (plan.__doc__ or "").splitlines()[2:5]
    ]


def test_the_metrics_are_there() -> None:
    metrics = DaemonMetrics()
    metrics.show_caches(lambda: ())
    there = {metric.name for metric in metrics.registry.collect()}
    for name in re.findall(r"`(bokeh_autoscaler_\w+)", TEXT):
        assert name.removesuffix("_total") in there


def test_the_defaults_are_the_ones_of_the_policy() -> None:
    times = (duration_text(Drain().settle), duration_text(Drain().reconnect))
    assert f"| `{times[0]}`, `{times[1]}` |" in TEXT


LAUNCH = exporter_parser().parse_args(["launch", "--", "bokeh", "serve"])
COSTS = {
    "`drain.settle`": Drain().settle,
    "`drain.reconnect`": Drain().reconnect,
    "a page that is loading": visits.OPENING_SECONDS,
    "marks, readiness and pods seen unchanged": sightings.INFORMER_LAG,
    "an answer of a sidecar is too old for a scale-down": actor.ANSWERS_WITHIN,
    "`drain.tell`": Drain().tell,
    "the launcher's `--reconnect`": LAUNCH.reconnect,
    "the launcher's `--drain-deadline`": LAUNCH.drain_deadline,
    "from the launcher's stop signal to SIGKILL": launch.KILL_SECONDS,
}


@pytest.mark.parametrize(("what", "seconds"), COSTS.items(), ids=COSTS)
def test_what_it_costs_in_seconds_is_what_the_code_waits(what: str, seconds: float) -> None:
    assert f"| {what} | {seconds:,.0f} |" in TEXT


def test_launcher_and_daemon_wait_for_the_same_reconnect_window() -> None:
    assert LAUNCH.reconnect == Drain().reconnect == wire.RECONNECT_SECONDS


def test_every_reason_is_on_the_page() -> None:
    missing = [
        reason
        for reason in Reason
        if f"`{re.sub('Get.*Metric', 'Get…Metric', reason)}`" not in TEXT
        and reason is not Reason.IDLE_SESSIONS
    ]
    assert not missing
    assert "`IdleSessions` is not a hold" in TEXT


def test_a_takeover_costs_what_the_page_says() -> None:
    assert f"within {lease.LOOK_EVERY:.0f} s; if the leader died, {lease.DURATION:.0f} s" in TEXT
    assert f"`behavior.scaleDown`, {behavior.DOWN_WINDOW} s by default" in TEXT
    assert standing.MAX_GAP == 60.0  # "a gap of more than a minute"
    rules, state, second, desired = policy(drain="none"), None, -2, 3
    while desired == 3 and second <= 2 * behavior.DOWN_WINDOW:
        second += 2
        seen = observation(pods=pods(0, 0, 0, at=NOW + second))
        decision, state = decide.decide(rules, seen, state, NOW + second)
        desired = decision.desired
    assert behavior.DOWN_WINDOW <= second <= behavior.DOWN_WINDOW + 2


def test_a_pod_that_terminates_answers_as_the_page_says() -> None:
    assert f"`Retry-After: {admission.RETRY_AFTER}`" in TEXT
    assert admission.STATUS == 503
    assert all(f"`{name}`" in TEXT for name in admission.COOKIES.split(","))


def test_the_grace_period_is_the_sum_that_the_page_says() -> None:
    app = (ROOT / "deploy" / "kubernetes" / "base" / "app.yaml").read_text()
    assert "preStop: {sleep: {seconds: 10}}" in app
    grace = 10 + LAUNCH.drain_deadline + 30
    assert f"terminationGracePeriodSeconds: {grace:.0f}" in app
    assert f"({grace:.0f} in app.yaml)" in TEXT
    assert "--keep-alive=10000" in app
