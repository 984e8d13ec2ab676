"""The collector's memory: workers that answer, hang, die and come back, over real sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from exporter import collect
from exporter.agent import pod
from exporter.estimate import Sockets
from exporter.ledger import Collected, Ledger
from exporter.metrics import LAG_BUCKETS
from exporter.observe import PodObserver
from exporter.port_watch import PortView, PortWatch
from exporter.wire import HistogramTotal, parse
from tests.exporter.agents import Agent, answer, app, patient
from tests.lab.bokeh_servers import PATIENCE

CREATED = ("bokeh_sessions_created_total", ("/app",))
LAG = ("bokeh_event_loop_lag_seconds", ())
SILENCE_SECONDS = 3.0  # after which an agent does not answer; others do so on a busy machine too
REST = [0] * (len(LAG_BUCKETS) - 1)  # the buckets that no lag of these tests falls into
Start = Callable[..., Agent]


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


def observer_of(instance: str) -> PodObserver:
    """Of agents alone, as patient as a ledger: no port of this machine is looked at."""
    observer = PodObserver(instance, None)
    observer.peers.deadline = PATIENCE
    observer._watch = NoPorts(None)
    return observer


class NoPorts(PortWatch):
    def look(self, before: Sockets, collected: Collected) -> PortView:
        return PortView(watched=bool(collected.workers))


def counted(created: int, lags: list[int]) -> dict[str, Any]:
    return answer(
        counters=[[CREATED[0], ["/app"], created]],
        histograms=[[LAG[0], [], [*lags, *REST], float(sum(lags))]],
    )


def test_nobody_there_is_no_worker_and_no_error(instance: str) -> None:
    assert Ledger(instance).collect().workers == ()


def test_only_the_own_instance_is_found(instance: str, start: Start) -> None:
    start(0, answer())
    other = Agent(f"{instance}-b", 0, answer())
    assert [name.slot for name in pod.listening(instance)] == ["0"]
    other.die()


def test_totals_grow_over_a_workers_death_and_restart(instance: str, start: Start) -> None:
    ledger = patient(instance)
    first, _ = start(0, counted(5, [1, 0])), start(1, counted(2, [0, 1]))
    assert ledger.collect().counters[CREATED] == 7
    first.die()
    after = ledger.collect()
    assert [worker.name.slot for worker in after.workers] == ["1"]
    assert after.counters[CREATED] == 7
    start(0, counted(1, [2, 0]))
    restarted = ledger.collect()
    assert restarted.counters[CREATED] == 8
    assert restarted.histograms[LAG] == HistogramTotal((3, 1, *REST), 4.0)


def test_a_hanging_worker_keeps_its_last_value_and_is_flagged(instance: str, start: Start) -> None:
    ledger = patient(instance)
    agent = start(0, answer(apps={"/app": app(connected=4, live=4)}, stalled_s=1.0))
    start(1, answer())
    ledger.collect()
    agent.values = None
    assert Ledger(instance).peers.deadline == collect.DEADLINE_SECONDS
    ledger.peers.deadline = SILENCE_SECONDS
    began = time.monotonic()
    seen = ledger.collect()
    assert time.monotonic() - began < 2 * SILENCE_SECONDS
    hanging, well = seen.workers
    assert (hanging.ok, well.ok) == (False, True)
    assert hanging.report is not None
    assert hanging.report.apps["/app"].connected == 4
    assert hanging.stalled_s > 1.0
    assert seen.silent == 1


def test_a_worker_that_never_answered_is_there_and_counts_as_full(
    instance: str, start: Start
) -> None:
    start(0, answer()).values = None
    seen = Ledger(instance).collect()
    assert [(worker.ok, worker.report) for worker in seen.workers] == [(False, None)]
    assert seen.silent == 1


@pytest.mark.parametrize(
    "broken",
    [b"", b'{"at": 1.0, "apps', b"[]", b"null", b"\xff\xfe", b'{"at": 1.0}', b'{"surprise": 1}'],
    ids=["nothing", "cut short", "a list", "null", "no text", "half a report", "another thing"],
)
def test_a_broken_answer_is_no_answer(instance: str, start: Start, broken: bytes) -> None:
    assert parse(broken) is None
    ledger = patient(instance)
    agent = start(0, counted(3, [1, 0]))
    ledger.collect()
    agent.values = broken
    seen = ledger.collect()
    assert [worker.ok for worker in seen.workers] == [False]
    assert seen.counters[CREATED] == 3


def test_a_worker_that_dies_with_users_is_a_disconnect(instance: str, start: Start) -> None:
    ledger = patient(instance)
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
    ledger = patient(instance)
    launcher = start(pod.LAUNCHER, {"draining": draining})
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
    age = patient(instance).collect().last_disconnect_age_s
    assert age == pytest.approx(40.0, abs=2)


@pytest.mark.parametrize(
    ("counts", "held_by"),
    [
        ({}, ()),
        ({"lingering": 2}, ()),
        ({"lingering": 1, "stale": 1}, ()),
        ({"blocked": 1}, ("sessions that block their expiration: 1",)),
        ({"connected": 1, "live": 2}, ("connections: 2",)),
        ({"pending": 1}, ("sessions being created: 1",)),
        ({"lingering": 1, "opening": 1}, ("pages being loaded: 1",)),
    ],
    ids=["nobody", "lingering", "stale", "blocked", "live", "pending", "a page still loading"],
)
def test_a_server_is_empty_when_nobody_is_connected_or_about_to_be(
    instance: str, start: Start, counts: dict[str, int], held_by: tuple[str, ...]
) -> None:
    start(0, answer())
    start(1, answer(apps={"/app": app(**counts)}))
    seen = observer_of(instance).observe()
    assert seen.held_by == held_by
    assert (seen.empty_for_s is None) == bool(held_by)


def test_a_worker_that_does_not_answer_is_somebody(instance: str, start: Start) -> None:
    observer = observer_of(instance)
    start(0, answer())
    silent = start(1, answer())
    assert observer.observe().empty_for_s is not None
    silent.values = None
    observer.peers.deadline = SILENCE_SECONDS
    assert observer.observe().held_by == ("workers that do not answer: 1",)


def test_an_http_request_in_flight_is_somebody(instance: str, start: Start) -> None:
    start(0, answer(requests=0))
    start(1, answer(requests=2))
    seen = observer_of(instance).observe()
    assert (seen.requests, seen.held_by) == (2, ("HTTP requests: 2",))


def test_behind_an_event_loop_that_stands_still_somebody_may_wait(
    instance: str, start: Start
) -> None:
    agent = start(0, answer(stalled_s=1.0))
    assert observer_of(instance).observe().empty_for_s is not None
    agent.values = answer(stalled_s=40.0)
    seen = observer_of(instance).observe()
    assert (seen.empty_for_s, seen.held_by) == (None, ("blocked event loops: 1",))


def test_the_last_who_left_decides_for_how_long_a_server_is_empty(
    instance: str, start: Start
) -> None:
    now = time.time()
    observer = observer_of(instance)
    observer._began -= 1000.0
    start(0, answer(at=now, last_disconnect_age_s=500.0, started_age_s=900.0))
    start(1, answer(at=now, last_disconnect_age_s=40.0, started_age_s=20.0))
    assert observer.observe().empty_for_s == pytest.approx(40.0, abs=2)


def test_a_server_that_nobody_ever_saw_is_empty_since_it_serves(
    instance: str, start: Start
) -> None:
    observer = observer_of(instance)
    observer._began -= 1000.0
    start(0, answer(started_age_s=300.0))
    seen = observer.observe()
    assert seen.empty_for_s == pytest.approx(300.0, abs=2)
    assert seen.never_used


def test_an_observer_that_just_began_knows_nothing_of_workers_that_died_before(
    instance: str, start: Start
) -> None:
    start(0, answer(started_age_s=300.0))
    assert observer_of(instance).observe().empty_for_s == pytest.approx(0.0, abs=2)


def test_a_worker_that_died_with_users_is_a_sign_of_them(instance: str, start: Start) -> None:
    observer = observer_of(instance)
    observer._began -= 1000.0
    start(0, answer(started_age_s=300.0))
    with_users = start(1, answer(apps={"/app": app(connected=1, live=1)}))
    assert observer.observe().empty_for_s is None
    with_users.die()
    seen = observer.observe()
    assert seen.empty_for_s == pytest.approx(0.0, abs=2)
    assert not seen.never_used


@pytest.mark.parametrize("step", [3600.0, -3600.0], ids=["forward", "back"])
def test_a_step_of_the_clock_changes_no_age(
    instance: str, start: Start, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    observer, now = observer_of(instance), time.time()
    observer._began -= 1000.0
    start(0, answer(at=now, started_age_s=300.0))
    left = start(1, answer(at=now, last_disconnect_age_s=20.0))
    silent = start(2, answer(at=now))
    assert observer.observe().empty_for_s == pytest.approx(20.0, abs=2)
    left.die()
    silent.values = b""
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + step)
    seen = observer.observe()
    assert seen.collected.last_disconnect_age_s == pytest.approx(20.0, abs=5)
    assert seen.collected.served_s == pytest.approx(300.0, abs=5)
    assert [worker.stalled_s for worker in seen.collected.workers] == [0.0, pytest.approx(0, abs=5)]


def test_before_a_loop_runs_nobody_says_that_a_server_is_empty(instance: str, start: Start) -> None:
    start(0, answer(serving=False))
    seen = observer_of(instance).observe()
    assert (seen.ready, seen.empty_for_s, seen.held_by) == (False, None, ())


def test_the_launcher_is_no_worker_and_says_whether_it_drains(instance: str, start: Start) -> None:
    launcher = start(pod.LAUNCHER, {"draining": False})
    ledger = patient(instance)
    assert (ledger.collect().workers, ledger.collect().draining) == ((), False)
    launcher.values = {"draining": True}
    assert ledger.collect().draining
