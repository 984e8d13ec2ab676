"""Young pods, and pods that run and do not become Ready: what doctor says of each."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.adapters.kubernetes.pods import rfc3339
from autoscaler.adapters.prometheus.scrapes import Scrapes
from autoscaler.doctor.facts import Facts
from tests.doctor.set_ups import Seen, app, facts, found, right

NOW = 1_800_000_000.0
NAMES = ("bokeh-app-0", "bokeh-app-1")


def started(pod: Any, ago: float) -> None:
    """Let all containers of a pod run since then."""
    at = rfc3339(NOW - ago)
    pod["status"]["startTime"] = at
    for kind in ("containerStatuses", "initContainerStatuses"):
        for each in pod["status"][kind]:
            each["state"] = {"running": {"startedAt": at}}


def aged(*ages: float) -> Seen:
    """The right set-up, whose pods started so many seconds ago."""
    seen = right()
    for pod, ago in zip(seen["pods"], ages, strict=True):
        started(pod, ago)
    return seen


def unready(pod: Any, ago: float) -> None:
    message = "containers with unready status: [app]"
    since = rfc3339(NOW - ago)
    pod["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "lastTransitionTime": since, "message": message}
    ]
    pod["status"]["containerStatuses"][0]["ready"] = False


def at(seen: Seen, scrapes: Scrapes | None = None) -> Facts:
    return facts(seen, now=NOW, scrapes=scrapes)


AGES: dict[str, tuple[tuple[float, float], Scrapes, list[str]]] = {
    "both are young": ((5, 119), Scrapes(), []),
    "one is old": ((5, 120), Scrapes(), ["not-scraped"]),
    "the old one is scraped": ((5, 900), Scrapes(pods=frozenset(NAMES[1:])), []),
    "the young one is not counted yet": (
        (5, 900),
        Scrapes(pods=frozenset(NAMES[1:]), up=frozenset(NAMES)),
        [],
    ),
    "the old one is not counted": (
        (5, 900),
        Scrapes(pods=frozenset(NAMES[:1]), up=frozenset(NAMES)),
        ["nothing-counted"],
    ),
}


@pytest.mark.parametrize("case", AGES)
def test_pods_that_have_just_started_are_not_missed_by_prometheus(case: str) -> None:
    ages, scrapes, wanted = AGES[case]

    assert list(found(at(aged(*ages), scrapes))) == wanted


def test_a_pod_that_is_not_ready_because_nothing_is_counted_is_no_pod_that_is_not_scraped() -> None:
    seen = aged(900, 900)
    for pod in seen["pods"]:
        unready(pod, 890)

    said = found(at(seen, Scrapes(up=frozenset(NAMES))))

    assert list(said) == ["pod-not-ready", "nothing-counted"]
    assert said["pod-not-ready"].fix.endswith(said["nothing-counted"].fix)


def test_a_pod_that_runs_and_is_not_ready_for_minutes_is_found_with_the_reason() -> None:
    seen = aged(900, 900)
    unready(seen["pods"][1], 300)

    only = found(at(seen))["pod-not-ready"]

    assert only.where == (
        "Pod bokeh/bokeh-app-1, status.conditions, not Ready for 5m "
        "(containers with unready status: [app])"
    )
    assert "kubectl -n bokeh describe pod bokeh-app-1" in only.fix
    assert "kubectl -n bokeh logs bokeh-app-1 -c exporter" in only.fix


def test_without_a_probe_of_the_exporter_the_logs_are_those_of_the_container() -> None:
    seen = aged(900, 900)
    app(seen)["readinessProbe"] = {"tcpSocket": {"port": 5006}}
    unready(seen["pods"][0], 300)

    fix = found(at(seen))["pod-not-ready"].fix

    assert fix.endswith("kubectl -n bokeh logs bokeh-app-0 -c app")


def test_a_pod_that_still_starts_or_crashes_is_not_one_that_runs() -> None:
    seen = aged(900, 900)
    unready(seen["pods"][0], 60)
    unready(seen["pods"][1], 600)
    crash = {"waiting": {"reason": "CrashLoopBackOff"}}
    seen["pods"][1]["status"]["containerStatuses"][0]["state"] = crash

    assert list(found(at(seen))) == ["pod-not-starting"]
