"""The Prometheus adapter against real servers, and against real ones that misbehave."""

from __future__ import annotations

import time
from math import inf, nan
from typing import Any

import pytest

from autoscaler.adapters.prometheus.source import PrometheusSettings, PrometheusSource
from autoscaler.model import Sample, Unavailable
from tests.lab.prometheus_server import PrometheusServer, series

SESSIONS = ("sessions", "exporter")
CPU = ("cpu", "exporter")
MEMORY = ("memory", "exporter")


def source(url: str, **settings: Any) -> PrometheusSource:
    return PrometheusSource(PrometheusSettings(url, **settings))


def sessions(namespace: str, pod: str, app: str = "/app", state: str = "connected") -> Any:
    labels = {"namespace": namespace, "pod": pod, "app": app, "state": state}
    return series("bokeh_sessions", quality="exact", **labels)


@pytest.mark.slow
@pytest.mark.prometheus
def test_samples_of_all_pods_come_with_their_own_times(prometheus: PrometheusServer) -> None:
    now = time.time()
    pod = {"namespace": "bokeh", "pod": "a"}
    prometheus.push(
        {
            sessions("bokeh", "a"): [(now - 20, 1.0), (now - 5, 3.0)],
            sessions("bokeh", "a", app="/other"): [(now - 6, 4.0)],
            sessions("bokeh", "a", state="lingering"): [(now - 5, 9.0)],
            sessions("other", "b"): [(now - 29, 8.0)],
            sessions("bokeh", "old"): [(now - 40, 8.0)],
            series("bokeh_cpu_seconds_total", **pod): [(now - 45, 10.0), (now - 15, 25.0)],
            series("bokeh_memory_working_set_bytes", **pod): [(now - 5, 1024.0)],
        }
    )

    readings = source(prometheus.url).read([SESSIONS, CPU, MEMORY], [], now)

    assert readings.failed == {}
    found = readings.samples[SESSIONS]
    assert set(found) == {("bokeh", "a"), ("other", "b")}, "older than two scrapes is missing"
    assert found["bokeh", "a"].value == 7
    assert found["bokeh", "a"].at == pytest.approx(now - 6, abs=0.01)
    assert readings.samples[CPU]["bokeh", "a"].value == 500
    assert readings.samples[CPU]["bokeh", "a"].window == pytest.approx(30, abs=0.01)
    assert readings.samples[MEMORY]["bokeh", "a"].value == 1_024_000


@pytest.mark.slow
@pytest.mark.prometheus
def test_the_seats_that_sessions_take_come_with_their_count(prometheus: PrometheusServer) -> None:
    now = time.time()

    def taken(pod: str, *, app: str = "/app", quality: str = "exact") -> Any:
        labels = {"namespace": "bokeh", "pod": pod, "app": app}
        return series("bokeh_seats_taken", quality=quality, **labels)

    prometheus.push(
        {
            **{sessions("bokeh", pod): [(now - 5, 3.0)] for pod in "abcdef"},
            taken("a"): [(now - 20, 1.0), (now - 5, 4.25)],
            taken("a", app="/other"): [(now - 5, 0.5)],
            taken("b"): [(now - 40, 9.0)],
            taken("c"): [(now - 5, nan)],
            taken("d"): [(now - 5, 1e300)],
            taken("e", quality="estimated"): [(now - 4, 7.0)],
            taken("e"): [(now - 5, 6.0)],
            taken("nobody"): [(now - 5, 5.0)],
        }
    )

    samples = source(prometheus.url).read([SESSIONS], [], now).samples

    assert {pod: each.value for (_, pod), each in samples[SESSIONS].items()} == dict.fromkeys(
        "abcdef", 3
    )
    seats = {pod: each.value for (_, pod), each in samples["seats", "exporter"].items()}
    assert seats == {"a": 5, "e": 6, "nobody": 5}


@pytest.mark.slow
@pytest.mark.prometheus
def test_cadvisor_tells_the_memory_of_each_container(prometheus: PrometheusServer) -> None:
    now = time.time()

    def container(name: str, metric: str = "container_memory_working_set_bytes") -> Any:
        return series(metric, namespace="bokeh", pod="a", container=name)

    parts = {"app": 1000.0, "sidecar": 24.0, "POD": 5.0, "": 1029.0}
    prometheus.push({container(name): [(now - 5, value)] for name, value in parts.items()})
    cpu = "container_cpu_usage_seconds_total"
    prometheus.push({container(name, cpu): [(now - 35, 0), (now - 5, 3.0)] for name in parts})

    readings = source(prometheus.url).read([("memory", "cadvisor"), ("cpu", "cadvisor")], [], now)

    memory = readings.containers["bokeh", "a"]
    assert {name: sample.value for name, sample in memory.items()} == {
        "app": 1_000_000,
        "sidecar": 24_000,
    }
    assert readings.samples["cpu", "cadvisor"]["bokeh", "a"].value == 200, "the pod's add up"


@pytest.mark.slow
@pytest.mark.prometheus
def test_each_query_of_a_user_is_answered_by_itself(prometheus: PrometheusServer) -> None:
    now = time.time()
    prometheus.push({series("load", app=app): [(now - 1, 2.5)] for app in ("a", "b")})
    prometheus.push({series("huge"): [(now - 1, 1e306)], series("no_number"): [(now - 1, nan)]})
    expected = {
        "sum(load)  # with a comment": Sample(5000, 0),
        "sum(load) / 2": Sample(2500, 0),
        "load": Unavailable("the query returned 2 series, expected 1; wrap it in sum(...)"),
        "nothing_of_this_name": Unavailable("the query returned no series"),
        "scalar(sum(load))": Sample(5000, 0),
        "42": Sample(42000, 0),
        "-0": Sample(0, 0),
        "sum(load": "the query is invalid: ",
        '"42"': "the query returned a string, expected a number",
        "load[1m]": "expected 1; wrap it in sum(...)",
        "sum(load) - 100": Unavailable("the query returned -95, expected a number of at least 0"),
        "huge": "and below 9e+15",
        "no_number": Unavailable("the query returned NaN, expected a number of at least 0"),
        'label_replace(sum(load), "bokeh_autoscaler_query", "0", "", "")': Sample(5000, 0),
    }
    prom = source(prometheus.url)

    for _ in range(2):
        answers = prom.read([], expected, now).external
        for query, answer in answers.items():
            right = expected[query]
            if isinstance(right, str):
                assert isinstance(answer, Unavailable)
                assert right in answer.message
            else:
                assert _timeless(answer) == right, query


def _timeless(answer: Sample | Unavailable) -> Sample | Unavailable:
    return answer._replace(at=0) if isinstance(answer, Sample) else answer


@pytest.mark.slow
@pytest.mark.prometheus
def test_a_strangers_series_harm_only_their_own_pod(prometheus: PrometheusServer) -> None:
    now = time.time()
    memory = "bokeh_memory_working_set_bytes"
    prometheus.push(
        {
            series(memory, namespace="bokeh", pod="a"): [(now - 5, 1024.0)],
            series(memory, namespace="stranger", pod="huge"): [(now - 5, 1e306)],
            series(memory, namespace="stranger", pod="none"): [(now - 5, inf)],
            series(memory, namespace="stranger", pod="less"): [(now - 5, -1.0)],
            series(memory, job="nobody's"): [(now - 5, 3.0)],
            sessions("bokeh", "a"): [(now - 5, 3.0)],
            sessions("stranger", "huge"): [(now - 5, 1e306)],
        }
    )

    readings = source(prometheus.url).read([SESSIONS, MEMORY], [], now)

    assert readings.failed == {}
    assert set(readings.samples[SESSIONS]) == {("bokeh", "a")}
    assert set(readings.samples[MEMORY]) == {("bokeh", "a")}
    assert "1 series of bokeh_memory_working_set_bytes lack" in readings.hints[MEMORY]


@pytest.mark.slow
@pytest.mark.prometheus
def test_memory_comes_with_the_limit_of_its_own_container(prometheus: PrometheusServer) -> None:
    now = time.time()
    pod = {"namespace": "bokeh", "pod": "a"}
    prometheus.push(
        {
            series("bokeh_memory_working_set_bytes", **pod): [(now - 5, 1024.0)],
            series("bokeh_memory_limit_bytes", **pod): [(now - 5, 4096.0)],
        }
    )

    readings = source(prometheus.url).read([MEMORY, ("memory_limit", "exporter")], [], now)

    assert readings.samples["memory_limit", "exporter"]["bokeh", "a"].value == 4_096_000


@pytest.mark.slow
@pytest.mark.prometheus
def test_users_who_come_are_sessions_created_less_those_that_nobody_opened(
    prometheus: PrometheusServer,
) -> None:
    now = time.time()

    def counter(what: str, pod: str, *points: tuple[float, float]) -> Any:
        name = f"bokeh_sessions_{what}_total"
        labels = series(name, namespace="bokeh", pod=pod, app="/app")
        return {labels: [(now - age, value) for age, value in points]}

    def gauge(pod: str, quality: str, *points: tuple[float, float]) -> Any:
        labels = {"namespace": "bokeh", "pod": pod, "app": "", "state": "connected"}
        values = [(now - age, value) for age, value in points]
        return {series("bokeh_sessions", quality=quality, **labels): values}

    prometheus.push(
        {
            **counter("created", "a", (35, 100.0), (20, 110.0), (5, 115.0)),
            **counter("orphaned", "a", (35, 7.0), (20, 10.0), (5, 13.0)),
            **counter("destroyed", "a", (35, 20.0), (20, 20.0), (5, 32.0)),
            **gauge("a", "exact", (35, 80.0), (20, 90.0), (5, 83.0)),
            # Its exporter was restarted: 40 were counted before.
            **counter("created", "b", (35, 80.0), (20, 80.0), (5, 40.0)),
            # Without an agent only the number of connections is known.
            **gauge("c", "estimated", (35, 3.0), (20, 9.0), (5, 6.0)),
        }
    )
    arrivals, departures = ("arrivals", "exporter"), ("departures", "exporter")

    samples = source(prometheus.url).read([arrivals, departures], [], now).samples

    assert {pod: s.value for (_, pod), s in samples[arrivals].items()} == {
        "a": 300,
        "b": 0,
        "c": 200,
    }
    assert {pod: s.value for (_, pod), s in samples[departures].items()} == {"a": 200, "c": 100}


@pytest.mark.slow
@pytest.mark.prometheus
def test_two_scrapes_of_one_sidecar_are_one_pod(prometheus: PrometheusServer) -> None:
    now = time.time()
    pod = {"namespace": "bokeh", "pod": "a", "app": "/app", "state": "connected"}
    jobs = [
        {"job": "kubernetes-pods", "instance": "10.0.0.1:9550"},
        {"job": "bokeh/dash", "container": "exporter", "endpoint": "bokeh-metrics"},
        {"job": "bokeh/dash", "container": "exporter", "prometheus_replica": "prometheus-1"},
        {"job": "services", "service": "bokeh-app", "node": "n1"},
    ]
    prometheus.push(
        {
            series("bokeh_sessions", quality="exact", **pod, **job): [(now - 5 - i, 3.0)]
            for i, job in enumerate(jobs)
        }
    )
    estimate = {**pod, "app": "", "job": "old"}
    prometheus.push({series("bokeh_sessions", quality="estimated", **estimate): [(now - 4, 5.0)]})

    found = source(prometheus.url).read([SESSIONS], [], now).samples[SESSIONS]

    assert found["bokeh", "a"].value == 3


@pytest.mark.slow
@pytest.mark.prometheus
def test_a_store_of_several_clusters_is_narrowed_to_one(prometheus: PrometheusServer) -> None:
    now = time.time()
    pod = {"namespace": "bokeh", "pod": "a"}
    prometheus.push(
        {
            series(name, cluster=cluster, **pod): [(now - 20, value), (now - 5, value + 30)]
            for name in ("bokeh_memory_working_set_bytes", "bokeh_cpu_seconds_total")
            for cluster, value in (("east", 1000.0), ("west", 5000.0))
        }
    )
    prom = source(prometheus.url, match='cluster="east"')

    readings = prom.read(
        [MEMORY, CPU, ("arrivals", "exporter")], ["count(bokeh_cpu_seconds_total)"], now
    )

    assert readings.samples[MEMORY]["bokeh", "a"].value == 1_030_000
    assert readings.external["count(bokeh_cpu_seconds_total)"][0] == 2000, (
        "users' own are as they are"
    )
    assert readings.failed == {}


@pytest.mark.slow
@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        pytest.param(
            {"kubernetes_namespace": "bokeh", "kubernetes_pod_name": "a"},
            "1 series of bokeh_sessions lack the label pod and namespace (they have "
            "kubernetes_pod_name and kubernetes_namespace); add to relabel_configs of that scrape "
            "job: {source_labels: [__meta_kubernetes_pod_name], target_label: pod}, "
            "{source_labels: [__meta_kubernetes_namespace], target_label: namespace}",
            id="other names",
        ),
        pytest.param(
            {"namespace": "bokeh", "pod_name": "a"},
            "lack the label pod (they have pod_name); add to relabel_configs of that scrape job: "
            "{source_labels: [__meta_kubernetes_pod_name], target_label: pod}",
            id="only the pod",
        ),
        pytest.param(
            {"namespace": "monitoring", "pod": "collector", "exported_pod": "a"},
            "have the name of their pod in exported_pod, because another pod exports them; set "
            "honor_labels: true in that scrape job",
            id="through a collector",
        ),
    ],
)
def test_series_that_do_not_name_their_pod_are_told(
    prometheus: PrometheusServer, labels: dict[str, str], said: str
) -> None:
    now = time.time()
    name = series("bokeh_sessions", app="/app", state="connected", quality="exact", **labels)
    prometheus.push({name: [(now - 5, 7.0)]})

    assert said in source(prometheus.url).read([SESSIONS], [], now).hints[SESSIONS]


@pytest.mark.slow
@pytest.mark.prometheus
def test_nothing_scraped_yet_is_no_failure(prometheus: PrometheusServer) -> None:
    readings = source(prometheus.url + "/").read([SESSIONS], [], time.time())

    assert readings.samples[SESSIONS] == {}
    assert readings.failed == {}
