"""A policy with `seats: auto` follows what its pods had to do, slowly, and says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from autoscaler.commands.decide import as_text
from autoscaler.control.actor import key_of
from autoscaler.control.learned_seats import LearnedSeats
from autoscaler.control.pass_result import Outcome
from autoscaler.control.state_store import StateStore
from autoscaler.core.seating import RISE
from autoscaler.errors import MetricsError
from autoscaler.model import PodLoad, Seats, State, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import Readings
from autoscaler.reporting.logs import LogRecorder
from autoscaler.reporting.status_page import StatusPage, policy_status
from tests.builders import policy
from tests.control.test_controller import APP, DASHBOARDS, World
from tests.fakes import FakeCluster
from tests.lab.processes import wait_until

LEARN = {"first": 10, "min": 5, "max": 40}
AUTO = policy(metrics=[{"type": "sessions", "seats": "auto", "learn": LEARN}])


def loads(each: float, sessions: float = 9.0) -> list[PodLoad]:
    """A day of a pod whose event loop is busy for so much with each session."""
    return [PodLoad(300.0 * i, sessions, busy=each * sessions) for i in range(288)]


@dataclass
class FakeLoads:
    """What is recorded of each pod. opened: answers wait for it."""

    pods: Mapping[str, Sequence[PodLoad]] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    asked: list[tuple[TargetRef, float, int]] = field(default_factory=list)
    opened: threading.Event = field(default_factory=threading.Event)

    def loads(
        self, ref: TargetRef, end: float, span: float, step: int
    ) -> Mapping[str, Sequence[PodLoad]]:
        self.asked.append((ref, span, step))
        self.opened.wait(30)
        if self.failures:
            raise self.failures.pop(0)
        return self.pods


class Learner(World):
    """A controller with loads to read, whose five pods have four sessions each."""

    def __init__(self, *policies: Policy, history: FakeLoads | None = None) -> None:
        cluster = FakeCluster()
        self.history = history or FakeLoads({"app-1-a": loads(0.05)})
        self.store = StateStore(cluster.clock)
        self.page = StatusPage(cluster.clock.steady)
        recorders = [LogRecorder(), self.page]
        more = {"store": self.store, "loads": self.history, "recorders": recorders}
        super().__init__(*(policies or (AUTO,)), cluster=cluster, **more)
        cluster.deploy(APP, *[4] * 5)

    def read(self) -> None:
        """Let what is wanted be read, and have a pass take it over."""
        self.history.opened.set()
        wait_until(
            lambda: all(each.name != "learned-seats" for each in threading.enumerate()),
            20,
            "the loads",
        )
        self.run()

    def seats(self) -> int:
        [outcome] = self.run().outcomes
        assert outcome.policy.sessions is not None
        return outcome.policy.sessions.seats

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)


def test_seats_begin_with_the_first_guess_and_no_pass_waits_for_more() -> None:
    world = Learner()
    assert world.seats() == world.seats() == 10
    assert world.history.asked == [(APP, 7 * 86_400.0, 300)]
    assert world.metric("seats_per_pod", **DASHBOARDS) == 10
    world.read()


def test_seats_follow_the_estimate_and_are_told(caplog: pytest.LogCaptureFixture) -> None:
    world = Learner()
    world.run()
    world.read()
    assert world.seats() == 10, "not before an hour"

    with caplog.at_level(logging.INFO):
        world.wait(RISE)
        assert world.seats() == 11
    for expected in (12, 13, 14, 14):
        world.wait(RISE)
        assert world.seats() == expected

    events = [text for _, reason, text in world.cluster.events if reason == "SeatsLearned"]
    assert len(events) == 4
    assert events[0] == (
        "dashboards: 10 -> 11 seats for each pod: at 14 sessions the event loop is busy for 70% of"
        " the time; a session costs 5.00% of an event loop, by 216 session-hours"
    )
    assert f"dashboards: {events[0].removeprefix('dashboards: ')}" in caplog.messages
    assert world.metric("seats_per_pod", **DASHBOARDS) == 14


def outcome_of(world: World) -> Outcome:
    [outcome] = world.run().outcomes
    return outcome


def test_the_status_says_what_seats_were_learned_and_why() -> None:
    world = Learner()
    assert policy_status(outcome_of(world)).learned == (
        "10 seats for each pod: no load of its pods has been read yet"
    )
    world.read()
    assert (policy_status(outcome_of(world)).learned or "").startswith(
        "10 seats for each pod: at 14 sessions the event loop is busy for 70% of the time"
    )


def test_the_settings_in_the_status_are_a_policy_that_begins_with_the_learned_seats() -> None:
    world = Learner()
    world.run()
    world.read()
    world.wait(RISE)
    assert world.seats() == 11

    report = world.page.report()
    assert report is not None
    [told] = report.policies
    assert told.settings is not None
    assert told.settings["metrics"] == [
        {"type": "sessions", "seats": "auto", "learn": LEARN | {"first": 11}}
    ]
    assert Policy.model_validate(told.settings) == AUTO.with_first(11)


def test_one_decision_says_that_it_takes_the_first_guess() -> None:
    world = Learner()
    [_, line, *_] = as_text(outcome_of(world)).splitlines()
    world.read()
    assert line.split(maxsplit=3) == [
        "seats",
        "10",
        "seats",
        "the first guess; `autoscaler status` has those that the daemon has learned",
    ]


def test_replicas_follow_the_seats_in_use() -> None:
    world = Learner(history=FakeLoads({"app-1-a": loads(0.1, sessions=6)}))
    world.cluster.deploy(APP, *[7] * 5)
    [outcome] = world.run().outcomes
    assert outcome.decision is not None
    assert "/ 10 seats" in outcome.decision.recommendations[0].detail
    world.read()
    world.wait(RISE)
    [outcome] = world.run().outcomes
    assert outcome.decision is not None
    assert "/ 9 seats" in outcome.decision.recommendations[0].detail


@pytest.mark.parametrize(
    ("sessions", "expected"), [(9, 9), (10, 10), (4, 9)], ids=["as many", "all seats", "fewer"]
)
def test_seats_never_sink_below_the_sessions_of_the_fullest_pod(
    sessions: int, expected: int
) -> None:
    world = Learner(history=FakeLoads({"app-1-a": loads(0.2)}))
    world.cluster.deploy(APP, sessions, 4, 4, 4, 4)
    world.run()
    world.read()
    world.wait(RISE)
    assert world.seats() == expected


def test_a_session_that_takes_several_seats_counts_as_those() -> None:
    world = Learner(history=FakeLoads({"app-1-a": loads(0.2)}))
    world.cluster.seats["bokeh", "pod-0"] = 10
    world.run()
    world.read()
    world.wait(RISE)
    assert world.seats() == 10


def test_seats_do_not_sink_while_the_sessions_of_a_pod_are_unknown() -> None:
    world = Learner(history=FakeLoads({"app-1-a": loads(0.2)}))
    world.run()
    world.read()
    del world.cluster.sessions["bokeh", "pod-3"]
    world.wait(RISE)
    assert world.seats() == 10


def test_the_next_leader_goes_on_with_the_seats_in_use() -> None:
    world = Learner()
    world.run()
    world.read()
    world.wait(RISE)
    assert world.seats() == 11

    text = world.store.text(lambda _: True)
    world.store.recall(lambda _: True, text)
    assert world.seats() == 11


def test_an_edit_of_the_bounds_applies_at_once_and_one_to_a_number_ends_the_learning() -> None:
    world = Learner()
    world.run()
    world.read()
    more = {**LEARN, "first": 20, "min": 20}
    world.policies.policies = (
        policy(metrics=[{"type": "sessions", "seats": "auto", "learn": more}]),
    )
    assert world.seats() == 20

    world.policies.policies = (policy(metrics=[{"type": "sessions", "seats": 7}]),)
    assert world.seats() == 7
    assert outcome_of(world).seats is None
    assert world.metric("seats_per_pod", **DASHBOARDS) is None


def test_loads_are_read_again_after_an_hour_and_not_before() -> None:
    world = Learner()
    world.run()
    world.read()
    world.wait(3_500)
    world.run()
    assert len(world.history.asked) == 1
    world.wait(100)
    world.run()
    world.read()
    assert len(world.history.asked) == 2


def test_loads_that_cannot_be_read_leave_the_seats_and_are_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problem = MetricsError("Prometheus at http://p:9090: no answer within 30 s")
    world = Learner(history=FakeLoads(failures=[problem, problem]))
    world.run()
    with caplog.at_level(logging.WARNING):
        world.read()
        world.wait(RISE)
        world.run()
        world.read()
    assert world.seats() == 10
    [message] = caplog.messages
    assert message == (
        "dashboards: cannot read the loads of the last 7 days, so the seats stay as they are; the"
        f" next attempt is in 1m: {problem}"
    )


def test_pods_of_another_image_do_not_teach() -> None:
    world = Learner(history=FakeLoads({"app-1-aaaaa": loads(0.1), "app-2-bbbbb": loads(0.05)}))
    target = world.cluster.targets[APP]
    world.cluster.targets[APP] = replace(target, same_image=frozenset({"app-2"}))
    world.run()
    world.read()
    world.wait(RISE)
    assert world.seats() == 11


def test_what_the_last_image_taught_moves_nothing_under_another_one() -> None:
    world = Learner(history=FakeLoads({"app-1-aaaaa": loads(0.05)}))
    target = world.cluster.targets[APP]
    world.cluster.targets[APP] = replace(target, same_image=frozenset({"app-1"}))
    world.run()
    world.wait(RISE - 100)
    world.read()
    world.cluster.targets[APP] = replace(target, same_image=frozenset({"app-2"}))
    world.wait(100)
    assert world.seats() == 10
    assert policy_status(outcome_of(world)).learned == (
        "10 seats for each pod: no load of its pods has been read yet"
    )
    world.cluster.targets[APP] = replace(target, same_image=frozenset({"app-2", "app-1"}))
    assert world.seats() == 11, "after a return to the image"


def test_a_change_is_told_once_although_the_first_passes_tell_of_no_outcome() -> None:
    world = Learner()
    target = world.cluster.targets[APP]
    key = key_of(AUTO, target)
    world.store.keep(key, State(seats=Seats(50, 0.0)))
    seats = LearnedSeats(None, world.store, world.clock)
    told = []
    for outcomes in ([], [], [Outcome(AUTO)], [Outcome(AUTO)]):
        seats.effective([AUTO], {APP: target}, Readings())
        told += [each.seats and each.seats.before for each in seats.told(outcomes)]
    assert told == [50, None]


def test_a_policy_with_a_number_reads_no_loads() -> None:
    world = Learner(policy())
    world.run(passes=3)
    assert world.history.asked == []
