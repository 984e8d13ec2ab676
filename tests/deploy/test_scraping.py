"""What our scrape settings let a pod say, in a real Prometheus: nothing about other namespaces."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from autoscaler.model import TargetRef
from tests.conftest import StartPrometheus
from tests.deploy.manifests import Object, one
from tests.deploy.monitored import APPS, DAEMON, SETTINGS, configuration, scrape_target
from tests.lab.processes import wait_until
from tests.lab.prometheus_server import PrometheusServer

WITHIN = 60.0  # seconds; 6 on an idle machine
VICTIM = 'namespace="victim",pod="victim-1"'
# What a pod says that wants to be everybody: an app with users elsewhere, and the daemon.
FORGED = f"""
# TYPE bokeh_sessions gauge
bokeh_sessions{{{VICTIM},state="connected"}} 7
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total{{{VICTIM}}} 7
# TYPE bokeh_autoscaler_replicas gauge
bokeh_autoscaler_replicas{{namespace="victim",deployment="app",kind="current"}} 7
"""


class Page(BaseHTTPRequestHandler):
    """Says all of its text to whoever asks."""

    text = FORGED

    def do_GET(self) -> None:
        body = self.text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def forger(ref: TargetRef, port_name: str, text: str = FORGED) -> Iterator[dict[str, Any]]:
    """A pod that says all of it, as Kubernetes would tell Prometheus of its port."""
    page = type("PageOfText", (Page,), {"text": text})
    with ThreadingHTTPServer(("127.0.0.1", 0), page) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield scrape_target(ref, f"127.0.0.1:{server.server_address[1]}", port_name, 0)
        server.shutdown()


def stored(prometheus: PrometheusServer, job: str) -> dict[str, Mapping[str, str]]:
    """Labels by metric of what came from the pod of a job, without what Prometheus adds itself."""
    rows = prometheus.query(f'{{job="{job}", __name__!~"up|scrape_.*"}}', time.time())
    return {row["metric"]["__name__"]: row["metric"] for row in rows}


@pytest.fixture
def forged(start_prometheus: StartPrometheus) -> Iterator[PrometheusServer]:
    with ExitStack() as stack:
        app = stack.enter_context(forger(APPS, "bokeh-metrics"))
        daemon = stack.enter_context(forger(DAEMON, "metrics"))
        yield start_prometheus(configuration=configuration([app, daemon]))


@pytest.mark.slow
@pytest.mark.prometheus
def test_a_pod_speaks_for_no_other_one_and_only_the_daemon_for_other_namespaces(
    forged: PrometheusServer,
) -> None:
    by_app = wait_until(lambda: stored(forged, "bokeh"), WITHIN, "a scrape of the app")
    by_daemon = wait_until(lambda: stored(forged, "bokeh-autoscaler"), WITHIN, "one of the daemon")

    assert set(by_app) == {"bokeh_sessions", "process_cpu_seconds_total"}
    assert {labels["namespace"] for labels in by_app.values()} == {APPS.namespace}
    assert all(labels["pod"].startswith(APPS.deployment) for labels in by_app.values())
    assert set(by_daemon) == {"bokeh_autoscaler_replicas"}
    assert by_daemon["bokeh_autoscaler_replicas"]["namespace"] == "victim"
    assert forged.query('bokeh_sessions{namespace="victim"}', time.time()) == []


MANY = "".join(f'bokeh_sessions{{state="{n}"}} 1\n' for n in range(3000))
LABELS = ",".join(f'l{n}="1"' for n in range(40))
TOO_MUCH = {
    "more series than a sidecar has": MANY,
    "more labels than a sidecar has": f"bokeh_sessions{{{LABELS}}} 1\n",
    "a longer label than a sidecar has": f'bokeh_sessions{{state="{"x" * 9000}"}} 1\n',
}


@pytest.mark.slow
@pytest.mark.prometheus
def test_a_pod_that_says_too_much_fails_alone(start_prometheus: StartPrometheus) -> None:
    with ExitStack() as stack:
        texts = [*TOO_MUCH.values(), 'bokeh_sessions{state="connected"} 7\n']
        pods = [stack.enter_context(forger(APPS, "bokeh-metrics", text)) for text in texts]
        names = [f"pod-{number}" for number in range(len(pods))]
        for pod, name in zip(pods, names, strict=True):
            pod["labels"]["__meta_kubernetes_pod_name"] = name
        prometheus = start_prometheus(configuration=configuration(pods))

        def up() -> dict[str, str]:
            rows = prometheus.query('up{job="bokeh"}', time.time())
            return {row["metric"]["pod"]: row["value"][1] for row in rows}

        everyone = dict(zip(names, ["0", "0", "0", "1"], strict=True))
        wait_until(lambda: up() == everyone, WITHIN, "a scrape of each")
        sessions = prometheus.query("bokeh_sessions", time.time())

    assert [row["metric"]["pod"] for row in sessions] == names[-1:]


def test_the_operator_is_told_the_same(everything: list[Object]) -> None:
    """Its PodMonitors drop and keep what the jobs of prometheus.yml do."""
    jobs = {job["job_name"]: job for job in yaml.safe_load(SETTINGS.read_text())["scrape_configs"]}
    monitors = {"bokeh": "bokeh-autoscaler-apps", "bokeh-autoscaler": "bokeh-autoscaler"}

    for name, monitor in monitors.items():
        [endpoint] = one(everything, "PodMonitor", monitor)["spec"]["podMetricsEndpoints"]
        assert snake_case(endpoint["metricRelabelings"]) == jobs[name]["metric_relabel_configs"]
        assert endpoint.get("honorLabels", False) == jobs[name].get("honor_labels", False)

    apps = one(everything, "PodMonitor", monitors["bokeh"])["spec"]
    limits = {key: each for key, each in apps.items() if key.endswith("Limit")}
    assert len(limits) == 3
    assert snake_case([limits])[0].items() <= jobs["bokeh"].items()


def snake_case(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", key): each
            for key, each in r.items()
        }
        for r in rules
    ]


@pytest.mark.slow
@pytest.mark.prometheus
@pytest.mark.parametrize("prometheus_program", ["current"], indirect=True)
def test_a_job_of_one_more_namespace_needs_no_restart(
    start_prometheus: StartPrometheus, everything: list[Object]
) -> None:
    spec = one(everything, "Deployment", "prometheus")["spec"]["template"]["spec"]
    ours = [each for each in spec["containers"][0]["args"] if "auto-reload" in each]
    pattern = yaml.safe_load(SETTINGS.read_text())["scrape_config_files"]
    server = start_prometheus(
        configuration={"scrape_config_files": pattern},
        options=[*ours, "--config.auto-reload-interval=1s"],
    )
    job = {"job_name": "more", "static_configs": [{"targets": ["127.0.0.1:1"]}]}

    (server.folder / "jobs-team.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))

    def asked() -> list[str]:
        with urllib.request.urlopen(f"{server.url}/api/v1/scrape_pools", timeout=5) as answer:
            return list(json.load(answer)["data"]["scrapePools"])

    wait_until(lambda: asked() == ["more"], WITHIN, "the new job")


def test_the_volume_of_prometheus_is_bounded_and_it_keeps_below(everything: list[Object]) -> None:
    spec = one(everything, "Deployment", "prometheus")["spec"]["template"]["spec"]
    [volume] = [each for each in spec["volumes"] if each["name"] == "data"]

    assert volume["emptyDir"] == {"sizeLimit": "2Gi"}
    assert "--storage.tsdb.retention.size=1GB" in spec["containers"][0]["args"]
