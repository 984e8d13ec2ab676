"""The page of other stores than Prometheus, against a real VictoriaMetrics where there is one."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from autoscaler.adapters.prometheus.history import PrometheusHistory
from autoscaler.adapters.prometheus.http import PrometheusSettings, address_of
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.commands import connect, run
from autoscaler.model import Sample, Unavailable
from autoscaler.simulation.history import trace_of_history
from tests.conftest import StartPrometheus
from tests.deploy.pages import STORES_PAGE, blocks, questions
from tests.lab.processes import wait_until
from tests.lab.prometheus_server import series
from tests.lab.victoria_metrics import HOW, VictoriaMetricsServer, program

SESSIONS, CPU = ("sessions", "exporter"), ("cpu", "exporter")
# Seconds: what others write can be queried after a while.
WITHIN = 60.0
ROWS = re.findall(
    r"^\| ([^|]+) \| (`--prometheus-url=[^|]+) \|", STORES_PAGE.read_text(), re.MULTILINE
)
NEW, OLD = 2500, 1000  # of the policy's query, in thousandths
SETTINGS = {"timeout": 3.0, "patience": 3.0}


def options(words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    run.add_arguments(parser)
    return parser.parse_args(["--policies", ".", *words.strip("`").split()])


def row(store: str) -> argparse.Namespace:
    [words] = [words for name, words in ROWS if name == store]
    return options(words)


@pytest.mark.parametrize(("store", "words"), ROWS, ids=[name for name, _ in ROWS])
def test_each_store_has_options_that_the_daemon_takes(store: str, words: str) -> None:
    settings = connect.prometheus_settings(options(words), patience=1.0)

    assert address_of(settings.url).base.startswith("http"), store


def test_what_a_store_needs_is_sent_with_each_query() -> None:
    assert len(ROWS) >= 5
    assert dict(row("Mimir, Cortex").prometheus_header) == {"X-Scope-OrgID": "team-a"}
    assert address_of(row("Thanos Query").prometheus_url).parameters == {"dedup": ["true"]}
    nocache = address_of(row("VictoriaMetrics, single node").prometheus_url).parameters
    assert nocache == {"nocache": ["1"]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VictoriaMetricsServer]:
    found = program()
    if found is None:
        pytest.skip(f"NO VICTORIAMETRICS: {HOW}")
    (folder := tmp_path / "victoria-metrics").mkdir()
    with VictoriaMetricsServer(found, folder) as started:
        yield started


def source(store: VictoriaMetricsServer, match: str = "") -> PrometheusSource:
    """The daemon's, with the parameters that the page tells."""
    words = address_of(row("VictoriaMetrics, single node").prometheus_url).parameters
    url = f"{store.url}?{'&'.join(f'{name}={value[0]}' for name, value in words.items())}"
    return PrometheusSource(PrometheusSettings(url, match=match, **SETTINGS))


def pod(name: str, cluster: str, metric: str = "bokeh_sessions", **labels: str) -> Any:
    return series(metric, namespace="bokeh", pod=name, cluster=cluster, **labels)


CONNECTED = {"app": "/app", "state": "connected", "quality": "exact"}


def known(store: VictoriaMetricsServer, samples: Any) -> float:
    """Write samples by their ages, and wait until they are found. The time that they count from."""
    now = time.time()
    store.push({each: [(now - age, value) for age, value in of] for each, of in samples.items()})
    names = {dict(each)["__name__"] for each in samples}

    def found() -> bool:
        return all(store.query(f"{name}[1m]", time.time()) for name in names)

    wait_until(found, WITHIN, "the samples to be found")
    return now


@pytest.mark.slow
def test_victoria_metrics_gives_sessions_and_rates_of_one_cluster(
    store: VictoriaMetricsServer,
) -> None:
    now = known(
        store,
        {
            pod("a", "east", **CONNECTED): [(20, 1.0), (5, 3.0)],
            pod("b", "west", **CONNECTED): [(4, 9.0)],
            pod("a", "east", "bokeh_cpu_seconds_total"): [(45, 10.0), (15, 25.0)],
        },
    )

    readings = source(store, 'cluster="east"').read([SESSIONS, CPU], [], now)

    assert readings.failed == {}
    assert {name: s.value for (_, name), s in readings.samples[SESSIONS].items()} == {"a": 3}
    assert readings.samples[CPU]["bokeh", "a"].value == 500


def number(asked: PrometheusSource) -> float:
    answer: Sample | Unavailable = asked.read([], ["sum(load)"], time.time()).external["sum(load)"]
    return answer.value if isinstance(answer, Sample) else 0


@pytest.mark.slow
def test_victoria_metrics_answers_a_policys_query_late_without_the_parameter(
    store: VictoriaMetricsServer,
) -> None:
    """Why the page tells it: by default it answers for the time 30 s ago."""
    known(store, {series("load"): [(45, OLD / 1000), (2, NEW / 1000)]})

    assert number(source(store)) == NEW
    assert number(PrometheusSource(PrometheusSettings(store.url, **SETTINGS))) == OLD


@contextmanager
def exporter(sessions: int) -> Iterator[str]:
    """The address of a page with so many sessions."""
    registry = CollectorRegistry()
    gauge = Gauge("bokeh_sessions", "Sessions.", list(CONNECTED), registry=registry)
    gauge.labels(**CONNECTED).set(sessions)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def writing(store: VictoriaMetricsServer, cluster: str, replica: str, page: str) -> Any:
    """A Prometheus with the labels of the page, which scrapes and sends every second."""
    [text] = blocks(STORES_PAGE, "yaml")
    whole: Any = yaml.safe_load(text)
    labels = whole["global"]["external_labels"]
    assert set(labels) == {"cluster", "replica"}
    labels.update(cluster=cluster, replica=replica)
    whole["global"]["scrape_interval"] = "1s"
    [remote] = whole["remote_write"]
    remote["url"] = store.url + urlsplit(remote["url"]).path
    remote["queue_config"] = {"batch_send_deadline": "1s"}
    target = {"targets": [page], "labels": {"namespace": "bokeh", "pod": "a"}}
    whole["scrape_configs"] = [{"job_name": "bokeh", "static_configs": [target]}]
    return whole


@pytest.mark.slow
@pytest.mark.prometheus
@pytest.mark.timeout(240)
@pytest.mark.parametrize("prometheus_program", ["current"], indirect=True)
def test_clusters_with_pods_of_one_name_and_replicas_of_prometheus_share_a_store(
    store: VictoriaMetricsServer, start_prometheus: StartPrometheus
) -> None:
    def seen(cluster: str) -> dict[str, float]:
        readings = source(store, f'cluster="{cluster}"').read([SESSIONS], [], time.time())
        return {name: sample.value for (_, name), sample in readings.samples[SESSIONS].items()}

    with exporter(4) as east, exporter(7) as west:
        for cluster, replica, page in (
            ("east", "a", east),
            ("east", "b", east),
            ("west", "a", west),
        ):
            start_prometheus(configuration=writing(store, cluster, replica, page))
        wait_until(lambda: seen("west") == {"a": 7}, WITHIN, "the sessions of one cluster")
        wait_until(lambda: seen("east") == {"a": 4}, WITHIN, "the sessions of the other")
        copies = "count(bokeh_sessions{cluster='east'})"
        wait_until(lambda: store.query(copies, time.time() - 1) != [], WITHIN, "both replicas")
        assert seen("east") == {"a": 4}


@pytest.mark.slow
def test_a_history_is_read_from_victoria_metrics(store: VictoriaMetricsServer) -> None:
    name = "bokeh-app-5d8f7c9b6d-x2x4z"
    samples = {pod(name, "east", **CONNECTED): [(15 * n, 3.0) for n in range(40, 0, -1)]}
    end = known(store, samples)

    found = PrometheusHistory(PrometheusSettings(store.url, **SETTINGS))
    trace = trace_of_history("x", found.read(("bokeh", "bokeh-app"), end, 3600), 1)

    assert len(trace.sessions) == 3


@pytest.mark.slow
@pytest.mark.parametrize("question", questions(STORES_PAGE))
def test_victoria_metrics_answers_the_questions_of_the_page(
    store: VictoriaMetricsServer, question: str
) -> None:
    known(store, {pod("a", "east", **CONNECTED): [(60, 1.0), (5, 3.0)]})

    [answer] = store.query(question, time.time() - 4)

    assert float(answer["value"][1]) < 60
