"""/metrics as text and as OpenMetrics, held to prometheus_client's own parsers and to the table."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.agent.cgroup import CgroupReading
from exporter.agent.pod import Name
from exporter.exposition import OPENMETRICS, TEXT, prefers_openmetrics, render
from exporter.ledger import Collected, WorkerView
from exporter.metrics import BY_NAME, TABLE, MetricSpec
from exporter.observe import PodView, sum_apps
from exporter.port_watch import PortView
from exporter.state import state
from exporter.wire import AppReport, HistogramTotal, Report

INFO = {
    "mode": "tornado",
    "bokeh_version": "3.9.2",
    "panel_version": "",
    "python_version": "3.11.7",
}
# What Prometheus 2.42 and 3.x send.
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;"
    "escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def report(at: float = 100.0, key: str = "1:1", **more: object) -> Report:
    cgroup = CgroupReading(key, 2048, 1024, 4096, 1, 7.5, 0.5, 2, 10)
    apps = {"/app": AppReport(connected=3, lingering=1, live=4, oldest_age_s=60, last_activity=99)}
    values = {"serving": True, "apps": apps, "rss_bytes": 512, "cgroup": cgroup, "info": INFO}
    return Report(at, **{**values, **more})  # type: ignore[arg-type]


def observation(*reports: Report, **more: object) -> PodView:
    workers = tuple(
        WorkerView(Name(f"x/{slot}/1/n", str(slot), 10 + slot), True, each, 0.0)
        for slot, each in enumerate(reports)
    )
    histogram = HistogramTotal((1, 2, *[0] * 10), 0.5)
    collected = Collected(
        at=101.0,
        workers=workers,
        counters={
            ("bokeh_sessions_created_total", ("/app",)): 5,
            ("bokeh_cpu_seconds_total", ()): 3.0,
            ("unknown_to_the_table_total", ()): 1,
        },
        histograms={("bokeh_request_duration_seconds", ("/app", "2xx")): histogram},
        **more,  # type: ignore[arg-type]
    )
    return PodView(collected, sum_apps(reports), PortView((5006,), open=True), (11, 22))


def families(seen: PodView, accept: str) -> dict[str, Metric]:
    body, content_type = render(seen, accept)
    parse: Callable[[str], Iterable[Metric]] = (
        parse_openmetrics if content_type == OPENMETRICS else parse_text
    )
    return {family.name: family for family in parse(body.decode())}


def value(found: dict[str, Metric], name: str, **labels: str) -> float:
    samples = [s for family in found.values() for s in family.samples if s.name == name]
    (wanted,) = [s.value for s in samples if s.labels == labels]
    return float(wanted)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        ("application/openmetrics-text", True),
        ("", False),
        ("*/*", False),
        ("text/html,*/*;q=0.8", False),
        ("text/plain,application/openmetrics-text;q=0.5", False),
        ("application/openmetrics-text;q=x", False),
    ],
    ids=[
        "Prometheus 2",
        "Prometheus 3",
        "OpenMetrics alone",
        "nothing",
        "curl",
        "a browser",
        "text preferred",
        "nonsense",
    ],
)
def test_openmetrics_is_sent_to_those_who_prefer_it(accept: str, wanted: bool) -> None:
    assert prefers_openmetrics(accept) is wanted
    assert render(observation(report()), accept)[1] == (OPENMETRICS if wanted else TEXT)


@pytest.mark.parametrize("accept", ["", PROMETHEUS_3], ids=["text", "OpenMetrics"])
def test_both_formats_parse_and_say_the_same(accept: str) -> None:
    found = families(observation(report(), report(at=99.0)), accept)
    assert value(found, "bokeh_workers") == 2
    sessions = {"app": "/app", "state": "connected", "quality": "exact"}
    assert value(found, "bokeh_sessions", **sessions) == 6
    assert value(found, "bokeh_sessions_created_total", app="/app") == 5
    assert value(found, "bokeh_memory_rss_bytes") == 1024
    assert value(found, "bokeh_memory_working_set_bytes") == 1024  # one cgroup, seen twice
    assert value(found, "bokeh_cpu_seconds_total") == 7.5
    bucket = {"app": "/app", "code": "2xx", "le": "0.01"}
    assert value(found, "bokeh_request_duration_seconds_bucket", **bucket) == 3
    assert value(found, "bokeh_server_info", **INFO) == 1


@pytest.mark.parametrize(
    ("created", "used", "awaited", "expected"),
    [
        pytest.param(5, 5, 0, 1.0, id="each session has had a client"),
        pytest.param(8, 4, 0, 2.0, id="one for the page and one for its WebSocket"),
        pytest.param(8, 4, 3, 1.25, id="three pages are still loading"),
        pytest.param(5, 5, 1, 1.0, id="a page has opened its WebSocket during the report"),
        pytest.param(3, 0, 1, None, id="nobody has come yet"),
    ],
)
def test_sessions_per_user_are_those_created_for_each_that_was_used(
    created: int, used: int, awaited: int, expected: float | None
) -> None:
    apps = {"/app": AppReport(awaited=awaited)}
    seen = observation(report(apps=apps))
    counters = {
        ("bokeh_sessions_created_total", ("/app",)): created,
        ("bokeh_sessions_used_total", ("/app",)): used,
    }
    seen = replace(seen, collected=replace(seen.collected, counters=counters))
    found = families(seen, "")
    if expected is None:
        assert "bokeh_sessions_per_user_ratio" not in found
    else:
        assert value(found, "bokeh_sessions_per_user_ratio", app="/app") == expected


@pytest.mark.parametrize(
    ("used", "limit", "expected"),
    [
        pytest.param(100, None, (1024, 4096), id="one without a limit is not killed first"),
        pytest.param(900, 1000, (900, 1000), id="the one nearest to its limit counts"),
        pytest.param(9000, 100_000, (1024, 4096), id="however much another one uses"),
    ],
)
def test_memory_is_of_the_container_that_is_killed_first_and_cpu_of_all(
    used: int, limit: int | None, expected: tuple[int, int]
) -> None:
    other = CgroupReading("2:2", used, used, limit, 0, 1.0, 0.0, 0, 0)
    seen = observation(report(), report(cgroup=other))
    found, told = families(seen, ""), state(seen)["memory"]
    memory = ("bokeh_memory_working_set_bytes", "bokeh_memory_limit_bytes")
    assert tuple(value(found, name) for name in memory) == expected
    assert (told["working_set_bytes"], told["limit_bytes"]) == expected
    assert value(found, "bokeh_cpu_seconds_total") == 8.5


def test_without_any_limit_the_containers_add_up() -> None:
    one, other = (CgroupReading(f"2:{n}", 100, 100, None, 0, 1.0, 0.0, 0, 0) for n in (1, 2))
    found = families(observation(report(cgroup=one), report(cgroup=other)), "")
    assert value(found, "bokeh_memory_working_set_bytes") == 200
    assert "bokeh_memory_limit_bytes" not in found


def test_without_a_cgroup_the_processes_own_values_serve_and_there_is_no_limit() -> None:
    found = families(observation(report(cgroup=None)), "")
    assert value(found, "bokeh_memory_working_set_bytes") == 512
    assert value(found, "bokeh_cpu_seconds_total") == 3.0
    assert "bokeh_memory_limit_bytes" not in found


def test_the_estimate_is_labelled_and_says_nothing_that_it_cannot_know() -> None:
    users = {"": AppReport(connected=4, live=4)}
    port = PortView((5006,), open=True, watched=False, unwatched=4)
    seen = PodView(Collected(at=1.0), users, port, (0, 0))
    found = families(seen, PROMETHEUS_3)
    sessions = {"app": "", "state": "connected", "quality": "estimated"}
    assert value(found, "bokeh_sessions", **sessions) == 4
    assert value(found, "bokeh_up") == 1
    absent = ("bokeh_memory_rss_bytes", "bokeh_cpu_seconds", "bokeh_session_oldest_age_seconds")
    assert not set(absent) & set(found)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(PodView(Collected(1.0), {"": AppReport()}, PortView(), (0, 0)), id="nobody"),
        pytest.param(
            PodView(Collected(1.0), {"": AppReport(1, live=1)}, PortView(unwatched=1), (0, 0)),
            id="a port that was closed",
        ),
        pytest.param(observation(report(serving=False)), id="a worker without an event loop"),
    ],
)
def test_before_a_server_is_seen_no_number_of_sessions_is_told(seen: PodView) -> None:
    assert state(seen)["ready"] is False
    found = families(seen, "")
    assert not {"bokeh_sessions", "bokeh_connections"} & set(found)
    assert "bokeh_up" in found


def test_state_has_the_keys_that_the_daemon_reads() -> None:
    values = state(observation(report(), last_disconnect_age_s=4.0, draining=True))
    assert values["quality"] == "exact"
    assert values["draining"] is True
    assert values["sessions"] == {
        "connected": 3, "lingering": 1, "blocked": 0, "pending": 0, "opening": 0,
    }  # fmt: skip
    assert values["connections"] == {"live": 4, "stale": 0}
    assert values["last_disconnect_age_s"] == 4.0
    assert values["memory"] == {"working_set_bytes": 1024, "limit_bytes": 4096, "rss_bytes": 512}
    assert values["cpu"] == {"seconds_total": 7.5, "throttled_seconds_total": 0.5}
    assert values["loop"] == {"utilization": 0.0, "lag_s": 0.0}
    assert [(w["slot"], w["pid"], w["ok"]) for w in values["workers"]] == [(0, 10, True)]
    assert values["apps"]["/app"]["connected"] == 3


@pytest.mark.parametrize("spec", TABLE, ids=lambda spec: spec.name)
def test_the_table_keeps_the_naming_rules(spec: MetricSpec) -> None:
    assert re.fullmatch(r"bokeh_[a-z_]+", spec.name)
    assert spec.name.endswith("_total") == (spec.type == "counter")
    assert spec.name.endswith("_info") == (spec.type == "info")
    assert not spec.unit or spec.name.removesuffix("_total").endswith(f"_{spec.unit}")
    assert bool(spec.buckets) == (spec.type == "histogram")
    assert list(spec.buckets) == sorted(spec.buckets)
    assert all(math.isfinite(bound) for bound in spec.buckets)
    assert spec.help.endswith(".")
    assert not set(spec.labels) & {"pod", "namespace", "instance", "job", "session", "user"}


def test_no_name_is_declared_twice() -> None:
    assert len(BY_NAME) == len(TABLE)
