"""`autoscaler check --prometheus-url`: what queries and signals would read, and exit codes."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from autoscaler.cli import main
from tests.lab.processes import free_ports
from tests.lab.prometheus_server import PrometheusServer, series
from tests.policies.files import GOOD

POD = {"namespace": "bokeh", "pod": "bokeh-app-6d4cf56db6-x2x9z"}


def check(*words: object) -> int:
    return main(["check", *map(str, words)])


def push(prometheus: PrometheusServer, **more: Any) -> None:
    """Two pods of the target with sessions, and one of a Deployment with a similar name."""
    now = time.time()
    labels = {"app": "/app", "state": "connected", "quality": "exact", "namespace": "bokeh"}
    pods = {POD["pod"]: 5, "bokeh-app-6d4cf56db6-abcde": 12, "bokeh-app-other-5f-abcde": 20}
    prometheus.push(
        {
            series("bokeh_sessions", **labels, pod=pod): [(now - age, 3.0)]
            for pod, age in pods.items()
        }
    )
    prometheus.push({series("load", job=name): [(now - 40, 2.5)] for name in ("a", "b")})


def metric(query: str) -> str:
    return f"  - type: prometheus\n    perReplica: 50\n    query: |-\n      {query}\n"


@pytest.mark.slow
@pytest.mark.prometheus
def test_each_query_and_signal_is_read_once(
    write: Any, prometheus: PrometheusServer, capsys: pytest.CaptureFixture[str]
) -> None:
    push(prometheus)
    queries = ["sum(load)  # of all", 'load{job="a"}', "load", "42", "load[5m]", '"42"', "sum(load"]
    path = write(GOOD + "".join(map(metric, queries)))

    assert check(path, "--prometheus-url", prometheus.url) == 1

    out = capsys.readouterr().out
    lines = re.sub(r"\b(4\d|1[2-9]|[0-9])s old", "SECONDS old", out).splitlines()
    assert lines[0].startswith(f"{path}: ok, policy dashboards for bokeh/bokeh-app")
    assert lines[1:6] == [
        "  query sum(load) # of all: 5 (vector, 1 series, SECONDS old)",
        '  query load{job="a"}: 2.5 (vector, 1 series, SECONDS old)',
        "  query load: PROBLEM: the query returned 2 series, expected 1; wrap it in sum(...)",
        "  query 42: 42 (scalar, SECONDS old)",
        "  query load[5m]: PROBLEM: the query returned 2 series, expected 1; wrap it in sum(...)",
    ]
    assert re.search(r'query load\{job="a"\}: 2\.5 \(vector, 1 series, 4\ds old\)', out), (
        "of the data"
    )
    assert lines[6] == '  query "42": PROBLEM: the query returned a string, expected a number'
    assert "query sum(load: PROBLEM: Prometheus at" in lines[7]
    assert "the query is invalid" in lines[7]
    assert lines[8] == (
        "  signal sessions (exporter) of bokeh/bokeh-app: 2 pods, the oldest sample is SECONDS old"
    )
    assert len(lines) == 9


@pytest.mark.slow
@pytest.mark.prometheus
def test_all_that_can_be_read_is_0_and_json(
    write: Any, prometheus: PrometheusServer, capsys: pytest.CaptureFixture[str]
) -> None:
    push(prometheus)
    path = write(GOOD + metric("sum(load)"))

    assert check(path, "--json", "--prometheus-url", prometheus.url) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    query, sessions = document["files"][0]["prometheus"]
    assert query.pop("age_s") < 30
    assert query == {
        "ok": True,
        "kind": "query",
        "subject": "sum(load)",
        "type": "vector",
        "series": 1,
        "value": 5,
    }
    assert 12 <= sessions.pop("age_s") < 30
    assert sessions == {
        "ok": True,
        "kind": "signal",
        "subject": "sessions (exporter) of bokeh/bokeh-app",
        "pods": 2,
    }


@pytest.mark.slow
@pytest.mark.prometheus
def test_signals_that_no_pod_has_are_told_with_their_cure(
    write: Any, prometheus: PrometheusServer, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    prometheus.push(
        {
            series("bokeh_sessions", state="connected", kubernetes_pod_name="x"): [(now - 5, 3.0)],
            series("bokeh_memory_working_set_bytes", **POD): [(now - 5, 3.0)],
        }
    )
    path = write(GOOD + "  - {type: memory, utilization: 80%}\n")

    assert check(path, "--json", "--prometheus-url", prometheus.url) == 1

    found = json.loads(capsys.readouterr().out)["files"][0]["prometheus"]
    problems = {each["subject"].split()[0]: each.get("problem") for each in found}
    assert problems["memory"] is None
    assert (
        "no pod named bokeh-app-* has this signal: 1 series of bokeh_sessions lack the label pod"
        in (problems["sessions"])
    )
    assert problems["memory_limit"].endswith(
        "set resources.limits.memory on the container that serves the app"
    )


@pytest.mark.slow
@pytest.mark.prometheus
def test_one_cluster_of_several(
    write: Any, prometheus: PrometheusServer, capsys: pytest.CaptureFixture[str]
) -> None:
    push(prometheus)
    address = ("--prometheus-url", prometheus.url)

    assert check(write(GOOD), *address, "--prometheus-match", 'cluster="west"') == 1
    assert "no pod named bokeh-app-* has this signal" in capsys.readouterr().out
    assert check(write(GOOD), *address, "--prometheus-match", '{cluster="", app=~"/.+"}') == 0


def test_a_wrong_file_is_2_whatever_prometheus_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "wrong.yaml").write_text("")

    assert check(tmp_path, "--prometheus-url", f"http://127.0.0.1:{port}") == 2

    out = capsys.readouterr().out
    assert "PROBLEM: Prometheus at http://127.0.0.1" in out
    assert "cannot connect" in out


@pytest.mark.parametrize(
    "matchers", ["cluster", "cluster=a", 'cluster="a', 'up{cluster="a"}', "", 'a="b" or c="d"']
)
def test_what_is_no_label_matcher_is_refused(
    matchers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        check("x.yaml", "--prometheus-match", matchers)

    assert ended.value.code == 2
    assert "expected label matchers of PromQL" in capsys.readouterr().err
