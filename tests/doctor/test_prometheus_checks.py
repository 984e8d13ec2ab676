"""Whether a real Prometheus has each pod once, and as often as the daemon expects."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml

from autoscaler.adapters.prometheus.http import PrometheusSettings
from autoscaler.adapters.prometheus.scrapes import scrapes
from autoscaler.doctor.findings import Severity
from tests.doctor.set_ups import facts, found, right
from tests.lab.prometheus_server import PrometheusServer, Series, series

pytestmark = [pytest.mark.slow, pytest.mark.prometheus]

PODS = ("bokeh-app-0", "bokeh-app-1")
INTERVAL = 5.0


def sessions(pod: str, job: str = "pods", **labels: str) -> Series:
    where = {"namespace": "bokeh", "pod": pod, "quality": "exact", **labels}
    return series("bokeh_sessions", state="connected", app="/app", job=job, **where)


def every(interval: float, ago: float = 0.0) -> list[tuple[float, float]]:
    now = time.time() - ago
    return [(now - interval * number, 1.0) for number in range(4, 0, -1)]


def target(pod: str, *, up: float = 1.0, exporter: bool = True) -> dict[Series, Any]:
    """What Prometheus records of each target of a pod, and what each exporter exports."""
    where = {"namespace": "bokeh", "pod": pod, "job": "pods", "instance": f"{pod}:9550"}
    samples = {series("up", **where): [(time.time(), up)]}
    if exporter:
        samples[series("bokeh_exporter_build_info", version="1", **where)] = [(time.time(), 1.0)]
    return samples


def findings(prometheus: PrometheusServer) -> Any:
    seen = scrapes(PrometheusSettings(prometheus.url), "bokeh")
    return found(facts(right(), scrapes=seen, scrape_interval=INTERVAL))


def test_nothing_is_found_if_each_pod_is_there_once(prometheus: PrometheusServer) -> None:
    prometheus.push({sessions(pod): every(INTERVAL) for pod in PODS})

    assert findings(prometheus) == {}


def test_two_workers_of_a_pod_are_not_twice_the_same(prometheus: PrometheusServer) -> None:
    prometheus.push({sessions(pod, worker=w): every(INTERVAL) for pod in PODS for w in ("0", "1")})

    assert findings(prometheus) == {}


def test_a_pod_that_is_not_scraped_is_named(prometheus: PrometheusServer) -> None:
    prometheus.push({sessions(PODS[0]): every(INTERVAL)})

    said = findings(prometheus)

    assert list(said) == ["not-scraped"]
    assert PODS[1] in said["not-scraped"].where


def test_a_pod_whose_exporter_is_up_and_counts_nothing_is_told_apart_with_the_fix(
    prometheus: PrometheusServer,
) -> None:
    prometheus.push({**target(PODS[0]), **target(PODS[1])})

    said = findings(prometheus)

    assert list(said) == ["nothing-counted"]
    only = said["nothing-counted"]
    assert f"of 2 pods whose exporter is up, such as {PODS[0]}" in only.where
    assert f"kubectl -n bokeh logs {PODS[0]} -c exporter" in only.fix
    assert "--trusted-uids=UID" in only.fix


@pytest.mark.parametrize(("up", "exporter"), [(0.0, True), (1.0, False)])
def test_a_target_that_is_down_or_of_another_program_is_no_exporter_that_is_up(
    prometheus: PrometheusServer, up: float, *, exporter: bool
) -> None:
    recorded = target(PODS[1], up=up, exporter=exporter)
    prometheus.push({sessions(PODS[0]): every(INTERVAL), **recorded})

    assert list(findings(prometheus)) == ["not-scraped"]


def test_series_that_lost_their_labels_are_named_with_the_rule(
    prometheus: PrometheusServer,
) -> None:
    lost = series("bokeh_sessions", state="connected", kubernetes_pod_name=PODS[0], job="pods")
    prometheus.push({lost: every(INTERVAL)})

    said = findings(prometheus)

    assert list(said) == ["not-scraped"]
    assert "kubernetes_pod_name" in said["not-scraped"].where
    assert "target_label: pod" in said["not-scraped"].where


def test_a_pod_that_two_jobs_scrape_is_found(prometheus: PrometheusServer) -> None:
    jobs = ("kubernetes-pods", "podMonitor/bokeh/app")
    prometheus.push({sessions(pod, job): every(INTERVAL) for pod in PODS for job in jobs})

    said = findings(prometheus)

    assert list(said) == ["scraped-twice"]
    assert 'job="kubernetes-pods" and job="podMonitor/bokeh/app"' in said["scraped-twice"].where
    assert "relabel_configs" in said["scraped-twice"].fix


def test_a_pod_whose_users_are_estimated_is_named_with_the_sidecar_to_change(
    prometheus: PrometheusServer,
) -> None:
    counted = sessions(PODS[0], quality="exact")
    guessed = sessions(PODS[1], quality="estimated")
    prometheus.push({counted: every(INTERVAL), guessed: every(INTERVAL)})

    said = findings(prometheus)

    assert list(said) == ["counts-estimated"]
    assert f"of 1 pod, such as {PODS[1]}" in said["counts-estimated"].where
    assert f"kubectl -n bokeh exec {PODS[1]} -c app -- id -u" in said["counts-estimated"].fix
    fix = yaml.safe_load(said["counts-estimated"].fix.partition("--trusted-uids=UID:")[2])
    [sidecar] = fix["spec"]["template"]["spec"]["initContainers"]
    assert sidecar == {"name": "exporter", "securityContext": {"runAsUser": "UID"}}


def test_an_estimate_from_before_the_agent_answered_is_not_found(
    prometheus: PrometheusServer,
) -> None:
    first = {sessions(pod, quality="estimated"): every(INTERVAL, ago=60) for pod in PODS}
    prometheus.push({**first, **{sessions(pod): every(INTERVAL) for pod in PODS}})

    assert findings(prometheus) == {}


def test_copies_of_two_replicas_of_prometheus_are_told_apart(prometheus: PrometheusServer) -> None:
    replicas = ("a", "b")
    prometheus.push({sessions(pod, replica=r): every(INTERVAL) for pod in PODS for r in replicas})

    said = findings(prometheus)

    assert list(said) == ["scraped-twice"]
    assert 'replica="a" and replica="b"' in said["scraped-twice"].where
    assert """--prometheus-match=replica="a\"""" in said["scraped-twice"].fix


@pytest.mark.parametrize(
    ("interval", "severity"), [(9.0, Severity.WARNING), (30.0, Severity.ERROR)]
)
def test_an_interval_that_the_daemon_does_not_know_is_found(
    prometheus: PrometheusServer, interval: float, severity: Severity
) -> None:
    prometheus.push({sessions(pod): every(interval) for pod in PODS})

    said = findings(prometheus)

    assert list(said) == ["scrape-interval-too-short"]
    assert said["scrape-interval-too-short"].severity is severity
    assert f"every {interval:g}s" in said["scrape-interval-too-short"].where


def test_a_prometheus_that_does_not_answer_is_no_finding_and_is_said() -> None:
    seen = scrapes(PrometheusSettings("http://127.0.0.1:1"), "bokeh")
    about = facts(right(), scrapes=seen)

    assert found(about) == {}
    assert len(about.unexamined) == 1
    assert "http://127.0.0.1:1" in about.unexamined[0]
