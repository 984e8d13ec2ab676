"""The history of a Deployment from a real Prometheus, rebuilt as sessions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from autoscaler.adapters.prometheus import ranges
from autoscaler.adapters.prometheus.history import PrometheusHistory
from autoscaler.adapters.prometheus.http import PrometheusSettings
from autoscaler.errors import MetricsError
from autoscaler.model import TargetRef
from autoscaler.simulation.history import trace_of_history
from autoscaler.simulation.measured import Measured
from autoscaler.simulation.workloads import class_of_200
from tests.adapters import hostile
from tests.lab.prometheus_server import PrometheusServer, Series, series

TARGET = ("bokeh", "bokeh-app")
SCRAPE = 15
HOUR = 3_600
PODS = ("bokeh-app-5d8f7c9b6d-x2x4z", "bokeh-app-5d8f7c9b6d-q9q9q")


def read(url: str, end: float, span: float, **settings: Any) -> Any:
    return PrometheusHistory(PrometheusSettings(url, **settings)).read(TARGET, end, span)


def exported(pod: str, name: str, **labels: str) -> Series:
    return series(name, namespace="bokeh", pod=pod, **labels)


def recorded(sessions: list[tuple[float, float]], start: int, end: int) -> dict[Series, Any]:
    """What the exporters of two pods report of sessions, each second one on the second pod."""
    samples: dict[Series, Any] = {}
    moments = range(start, end + 1, SCRAPE)
    for number, pod in enumerate(PODS):
        own = sessions[number::2]

        def there(at: float, own: Any = own) -> int:
            return sum(begin <= at < over for begin, over in own)

        app = {"app": "/app"}
        connected = exported(pod, "bokeh_sessions", **app, state="connected", quality="exact")
        samples[connected] = [(at, there(at)) for at in moments]
        lingering = exported(pod, "bokeh_sessions", **app, state="lingering", quality="exact")
        samples[lingering] = [(at, 50) for at in moments]
        created = exported(pod, "bokeh_sessions_created_total", **app)
        samples[created] = [(at, 9 + sum(begin <= at for begin, _ in own)) for at in moments]
        cpu = exported(pod, "bokeh_cpu_seconds_total")
        samples[cpu] = list(_running(moments, lambda at, there=there: 0.1 + 0.02 * there(at)))
        memory = exported(pod, "bokeh_memory_working_set_bytes")
        samples[memory] = [(at, 2e8 + 4e7 * there(at)) for at in moments]
        for bound in (60.0, 900.0, 5_400.0, float("inf")):
            name = "+Inf" if bound == float("inf") else f"{bound:g}"
            bucket = exported(pod, "bokeh_session_duration_seconds_bucket", **app, le=name)
            samples[bucket] = [
                (at, sum(over <= at and over - begin <= bound for begin, over in own))
                for at in moments
            ]
    return samples


def _running(moments: range, use: Any) -> Iterator[tuple[float, float]]:
    total = 0.0
    for at in moments:
        total += SCRAPE * use(at)
        yield at, total


def by_the_daemon(kind: str, values: dict[int, int], moments: range) -> dict[Series, Any]:
    """The replicas of one kind, each from its time on."""
    labels = {"policy": "p", "namespace": "bokeh", "deployment": "bokeh-app"}
    points = [(at, [n for since, n in values.items() if since <= at][-1]) for at in moments]
    return {series("bokeh_autoscaler_replicas", kind=kind, **labels): points}


@pytest.mark.slow
@pytest.mark.prometheus
def test_a_morning_is_rebuilt_with_what_was_measured(
    prometheus: PrometheusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "MOST_POINTS", 100)  # so that there are several chunks
    morning = class_of_200(1)
    end = int(time.time()) // SCRAPE * SCRAPE
    start = end - 4 * HOUR
    later = start - morning.start
    sessions = [(begin + later, over + later) for begin, over in morning.sessions]
    prometheus.push(recorded(sessions, start, end))
    prometheus.push(
        {
            series(
                "bokeh_sessions",
                namespace="bokeh",
                pod="bokeh-app2-a-b",
                app="/",
                state="connected",
                quality="exact",
            ): [(end - 60, 500)]
        }
    )
    moments = range(start, end + 1, SCRAPE)
    prometheus.push(by_the_daemon("desired", {start: 1, start + HOUR: 2}, moments))
    prometheus.push(by_the_daemon("ready", {start: 1, start + HOUR + 45: 2}, moments))

    history = read(prometheus.url, end, 4 * HOUR)
    trace = trace_of_history("x", history, 1)

    assert trace.start == start
    for at in range(start + 60, end - 60, 300):
        wanted = sum(begin <= at < over for begin, over in sessions)
        assert sum(b <= at < e for b, e in trace.sessions) == pytest.approx(wanted, abs=2), at
    assert len(trace.sessions) == pytest.approx(len(sessions), rel=0.05)
    hours = sum(over - begin for begin, over in sessions) / HOUR
    assert sum(over - begin for begin, over in trace.sessions) / HOUR == pytest.approx(
        hours, rel=0.02
    )
    assert history.lengths[60.0] < history.lengths[5_400.0] <= history.lengths[float("inf")]
    assert trace.measured.lead_time == 45
    assert trace.measured.seats == pytest.approx(104, abs=4)
    assert trace.measured.cpu_per_session == pytest.approx(0.02, rel=0.1)
    assert trace.measured.memory_per_session == pytest.approx(40, rel=0.01)


@pytest.mark.slow
@pytest.mark.prometheus
def test_without_data_the_query_and_what_to_check_are_named(prometheus: PrometheusServer) -> None:
    with pytest.raises(MetricsError) as caught:
        read(prometheus.url, time.time(), 14 * 86_400, match='cluster="a"')
    told = str(caught.value)
    assert told.startswith(f"Prometheus at {prometheus.url}: no data of the last 14d for `sum(max")
    assert 'pod=~"bokeh-app-[^-]+-[^-]+",state="connected",cluster="a"}' in told
    assert "check that the target bokeh/bokeh-app of the policy is right" in told


@pytest.mark.slow
@pytest.mark.prometheus
def test_what_was_not_recorded_is_unknown(prometheus: PrometheusServer) -> None:
    end = int(time.time())
    counts = exported(PODS[0], "bokeh_sessions", app="/", state="connected", quality="estimated")
    prometheus.push({counts: [(end - 15 * n, 3) for n in range(40)][::-1]})
    trace = trace_of_history("x", read(prometheus.url, end, HOUR), 1)
    assert {(s.start, s.end) for s in trace.sessions} == {(trace.start, trace.end)}
    assert trace.measured == Measured(seats=3)
    assert "Arrivals are unknown" in trace.note


@pytest.mark.slow
@pytest.mark.prometheus
def test_a_query_that_prometheus_rejects_is_named(prometheus: PrometheusServer) -> None:
    with pytest.raises(MetricsError, match=r"the query is invalid: .*; the query is `sum\(max"):
        read(prometheus.url, time.time(), HOUR, match="not a matcher")


@pytest.mark.slow
@pytest.mark.prometheus
def test_applications_are_summed_also_if_the_scrape_has_a_label_of_that_name(
    prometheus: PrometheusServer,
) -> None:
    end = int(time.time())
    for number, app in enumerate(("/one", "/two"), 3):
        state = {"state": "connected", "quality": "exact"}
        labels = {"app": "dashboards", "exported_app": app, **state}
        counts = exported(PODS[0], "bokeh_sessions", **labels)
        prometheus.push({counts: [(end - 15 * n, number) for n in range(40)][::-1]})
    history = read(prometheus.url, end, HOUR)
    assert set(history.sessions.values()) == {7}
    assert set(history.fullest.values()) == {7}


SLOT = 300
DAYS = 2


def counting(
    pod: str, came: dict[int, int], first: int, last: int, **more: str
) -> dict[Series, Any]:
    """What the exporter of a pod counts that is there from one time to another, each minute.

    came: how many came in each slot, evenly.
    """
    total, points = 0.0, []
    for at in range(first, last + 1, 60):
        points.append((at, total))
        total += came.get(at // SLOT, 0) / (SLOT / 60)
    return {exported(pod, "bokeh_sessions_created_total", app="/app", **more): points}


@pytest.mark.slow
@pytest.mark.prometheus
def test_who_came_in_each_slot_is_read_over_restarts_and_pods_that_come_and_go(
    prometheus: PrometheusServer,
) -> None:
    end = int(time.time()) // SLOT * SLOT
    start = end - DAYS * 86_400
    slots = range(start // SLOT, end // SLOT)
    busy = {slot: 30 for slot in slots if slot % 288 < 24}
    middle = start + 86_400
    prometheus.push(counting(PODS[0], busy, start, end))
    # A pod whose counter begins anew, one that goes for ever, and one that is somebody else's.
    restarted = counting(PODS[1], dict.fromkeys(slots, 15), start, middle)
    again = counting(PODS[1], dict.fromkeys(slots, 15), middle + 60, end)
    prometheus.push({each: restarted[each] + again[each] for each in restarted})
    gone = "bokeh-app-66b4c9d8f-abcde"
    prometheus.push(counting(gone, dict.fromkeys(slots, 60), start, start + 3_000))
    prometheus.push(counting("bokeh-app2-a-b", dict.fromkeys(slots, 900), start, end))
    probes = exported(PODS[0], "bokeh_sessions_orphaned_total", app="/app")
    prometheus.push({probes: [(at, (at - start) / 60) for at in range(start, end + 1, 60)]})

    rates = PrometheusHistory(PrometheusSettings(prometheus.url)).arrivals(
        TargetRef(*TARGET), end + 100, 14 * 86_400, SLOT
    )

    assert rates.keys() == set(slots)
    for slot in slots:
        users = busy.get(slot, 0) + 15 + (60 if slot < start // SLOT + 10 else 0) - 5
        assert rates[slot] * SLOT == pytest.approx(users, abs=4), slot - slots[0]


@pytest.mark.slow
@pytest.mark.prometheus
def test_a_gap_of_prometheus_and_what_others_export_are_unknown(
    prometheus: PrometheusServer,
) -> None:
    end = int(time.time()) // SLOT * SLOT
    slots = range(end // SLOT - 24, end // SLOT)
    early = counting(PODS[0], dict.fromkeys(slots, 30), end - 7_200, end - 4_800, cluster="a")
    late = counting(PODS[0], dict.fromkeys(slots, 30), end - 2_400, end, cluster="a")
    prometheus.push({each: early[each] + late[each] for each in early})

    def slots_of(match: str) -> set[int]:
        settings = PrometheusSettings(prometheus.url, match=match)
        found = PrometheusHistory(settings).arrivals(TargetRef(*TARGET), end, 86_400, SLOT)
        return {slot - slots[0] for slot in found}

    assert slots_of('cluster="a"') == {*range(8), *range(16, 24)}
    assert slots_of('cluster="b"') == set()


ARRIVALS = [
    ('[{"metric": {}, "values": [[600, "0.1"], [900, "-3"]]}]', {1: 0.1, 2: 0.0}),
    ('[{"metric": {}, "values": [[600, "1e300"], [900, "NaN"], [1e9, "1"], [0, "1"]]}]', {}),
    ("[]", {}),
]


@pytest.mark.parametrize(
    ("rows", "expected"), ARRIVALS, ids=["rates below 0", "what no rate can be", "nothing"]
)
def test_arrivals_are_those_of_the_slots_that_were_asked_for(
    rows: str, expected: dict[int, float]
) -> None:
    with answering(rows) as url:
        history = PrometheusHistory(PrometheusSettings(url))
        assert history.arrivals(TargetRef(*TARGET), 950, 600, SLOT) == expected


GOOD_ROW = '{"metric": {"le": "60"}, "values": [[100, "3"], [115, "4"]]}'
NOTHING = {"no list": '{"a": 1}', "no rows": "[1, null, []]", "no labels": '[{"metric": 3}]'}
SOMETHING = {
    "no values": f'[{GOOD_ROW}, {{"metric": {{}}, "values": 3}}, {{"metric": {{}}}}]',
    "no numbers": f'[{GOOD_ROW}, {{"metric": {{"le": "x"}}, "values": [["a", "b"], 7, [1]]}}]',
    "numbers that are none": f'[{GOOD_ROW}, {{"metric": {{"le": "nan"}}, "values": [[1, "NaN"]]}}]',
}


@contextmanager
def answering(rows: str) -> Iterator[str]:
    """The address of a server that answers every query with these rows."""
    body = f'{{"status": "success", "data": {{"resultType": "matrix", "result": {rows}}}}}'
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
    with hostile.server(hostile.says((head + body).encode())) as page:
        yield f"http://{page.host}"


@pytest.mark.parametrize("rows", NOTHING.values(), ids=NOTHING)
def test_what_is_no_row_is_no_data(rows: str) -> None:
    with answering(rows) as url, pytest.raises(MetricsError, match="no data of the last 1h"):
        read(url, time.time(), HOUR)


@pytest.mark.parametrize("rows", SOMETHING.values(), ids=SOMETHING)
def test_odd_rows_are_left_out(rows: str) -> None:
    with answering(rows) as url:
        found = read(url, time.time(), HOUR)
    assert found.sessions == {100: 3, 115: 4}
    assert set(found.lengths) == {60.0}
