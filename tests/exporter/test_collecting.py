"""The collector's memory: workers that answer, hang, die and come back, over real sockets."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from exporter import collect
from exporter.launch import is_empty
from exporter.ledger import Ledger
from exporter.report import HistogramTotal, parse
from tests.exporter.agents import Agent, answer, app

CREATED = ("bokeh_sessions_created_total", ("/app",))
LAG = ("bokeh_event_loop_lag_seconds", ())
Start = Callable[..., Agent]


@pytest.fixture
def instance() -> str:
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def start(instance: str) -> Iterator[Start]:
    """Starts agents that end with the test."""
    agents: list[Agent] = []

    def begin(slot: int | str, values: dict[str, Any] | bytes) -> Agent:
        agents.append(Agent(instance, slot, values))
        return agents[-1]

    yield begin
    for agent in agents:
        try:
            agent.die()
        except OSError:  # the test ended it already
            continue


def counted(created: int, lags: list[int]) -> dict[str, Any]:
    return answer(
        counters=[[CREATED[0], ["/app"], created]],
        histograms=[[LAG[0], [], lags, float(sum(lags))]],
    )


def test_nobody_there_is_no_worker_and_no_error(instance: str) -> None:
    assert Ledger(instance).collect().workers == ()


def test_only_the_own_instance_is_found(instance: str, start: Start) -> None:
    start(0, answer())
    other = Agent(f"{instance}-b", 0, answer())
    assert [name.slot for name in collect.find(instance)] == ["0"]
    other.die()


def test_totals_grow_over_a_workers_death_and_restart(instance: str, start: Start) -> None:
    ledger = Ledger(instance)
    first, _ = start(0, counted(5, [1, 0])), start(1, counted(2, [0, 1]))
    assert ledger.collect().counters[CREATED] == 7
    first.die()
    after = ledger.collect()
    assert [worker.name.slot for worker in after.workers] == ["1"]
    assert after.counters[CREATED] == 7
    start(0, counted(1, [2, 0]))
    restarted = ledger.collect()
    assert restarted.counters[CREATED] == 8
    assert restarted.histograms[LAG] == HistogramTotal((3, 1), 4.0)


def test_a_hanging_worker_keeps_its_last_value_and_is_flagged(instance: str, start: Start) -> None:
    ledger = Ledger(instance)
    agent = start(0, answer(apps={"/app": app(connected=4, live=4)}, stalled_s=1.0))
    start(1, answer())
    ledger.collect()
    agent.values = None
    began = time.monotonic()
    seen = ledger.collect()
    assert time.monotonic() - began < 2 * collect.DEADLINE_SECONDS
    hanging, well = seen.workers
    assert (hanging.ok, well.ok) == (False, True)
    assert hanging.report is not None
    assert hanging.report.apps["/app"].connected == 4
    assert hanging.stalled_s > 1.0
    assert not is_empty(seen)


def test_a_worker_that_never_answered_is_there_and_counts_as_full(
    instance: str, start: Start
) -> None:
    start(0, answer()).values = None
    seen = Ledger(instance).collect()
    assert [(worker.ok, worker.report) for worker in seen.workers] == [(False, None)]
    assert not is_empty(seen)


@pytest.mark.parametrize(
    "broken",
    [b"", b'{"at": 1.0, "apps', b"[]", b"null", b"\xff\xfe", b'{"at": 1.0}', b'{"surprise": 1}'],
    ids=["nothing", "cut short", "a list", "null", "no text", "half a report", "another thing"],
)
def test_a_broken_answer_is_no_answer(instance: str, start: Start, broken: bytes) -> None:
    assert parse(broken) is None
    ledger = Ledger(instance)
    agent = start(0, counted(3, [1, 0]))
    ledger.collect()
    agent.values = broken
    seen = ledger.collect()
    assert [worker.ok for worker in seen.workers] == [False]
    assert seen.counters[CREATED] == 3


def test_a_worker_that_dies_with_users_is_a_disconnect(instance: str, start: Start) -> None:
    ledger = Ledger(instance)
    agent = start(0, answer(apps={"/app": app(connected=1, live=1)}))
    assert ledger.collect().last_disconnect_age_s is None
    agent.die()
    age = ledger.collect().last_disconnect_age_s
    assert age is not None
    assert age < 5


@pytest.mark.parametrize(
    ("draining", "lost"), [(False, 3), (True, 0)], ids=["by accident", "in a drain"]
)
def test_users_of_a_worker_that_dies_are_lost_unless_the_server_drains(
    instance: str, start: Start, draining: bool, lost: int
) -> None:
    ledger = Ledger(instance)
    launcher = start(collect.LAUNCHER, {"draining": draining})
    agent = start(0, answer(apps={"/app": app(connected=3, live=3, lingering=1)}))
    series = "bokeh_sessions_lost_total", ("/app",)
    assert ledger.collect().counters[series] == 0
    agent.die()
    launcher.die()
    assert ledger.collect().counters[series] == lost
    start(0, answer())
    assert ledger.collect().counters[series] == lost


def test_the_latest_disconnect_of_all_workers_counts(instance: str, start: Start) -> None:
    now = time.time()
    start(0, answer(at=now, last_disconnect_age_s=500.0))
    start(1, answer(at=now, last_disconnect_age_s=40.0))
    start(2, answer(at=now))
    age = Ledger(instance).collect().last_disconnect_age_s
    assert age == pytest.approx(40.0, abs=2)


@pytest.mark.parametrize(
    ("counts", "empty"),
    [
        ({}, True),
        ({"lingering": 2}, True),
        ({"blocked": 1}, True),
        ({"lingering": 1, "stale": 1}, True),
        ({"connected": 1, "live": 1}, False),
        ({"pending": 1}, False),
        ({"lingering": 1, "opening": 1}, False),
    ],
    ids=["nobody", "lingering", "blocked", "stale", "live", "pending", "a page still loading"],
)
def test_a_server_is_empty_when_nobody_is_connected_or_about_to_be(
    instance: str, start: Start, counts: dict[str, int], empty: bool
) -> None:
    start(0, answer())
    start(1, answer(apps={"/app": app(**counts)}))
    assert is_empty(Ledger(instance).collect()) is empty


def test_the_launcher_is_no_worker_and_says_whether_it_drains(instance: str, start: Start) -> None:
    launcher = start(collect.LAUNCHER, {"draining": False})
    ledger = Ledger(instance)
    assert (ledger.collect().workers, ledger.collect().draining) == ((), False)
    launcher.values = {"draining": True}
    assert ledger.collect().draining
