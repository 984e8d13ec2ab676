"""A new leader's forecast begins with what Prometheus has recorded, and no pass waits for that."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from autoscaler.control.state_store import Key, StateStore
from autoscaler.core import forecast
from autoscaler.core.forecast import DAY, SLOT, WEEK
from autoscaler.core.now import Now
from autoscaler.errors import MetricsError
from autoscaler.model import Profile, Sample, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import Readings, Signal
from tests.builders import NOW, policy
from tests.control.test_controller import APP, DASHBOARDS, OTHER, World
from tests.fakes import FakeCluster
from tests.lab.processes import wait_until

SEATS: dict[str, Any] = {"type": "sessions", "seats": 10}
RULES = policy(metrics=[{**SEATS, "spare": {"refuse": "0.1%"}}])
RUSH = 0.5
SLOTS = range(int(NOW // SLOT) - 2 * WEEK, int(NOW // SLOT))
FORTNIGHT = dict.fromkeys(SLOTS, RUSH)
KEY = Key("bokeh", "dashboards", "uid-1")


@dataclass
class FakeHistory:
    """What is recorded of each target. opened: answers wait for it."""

    rates: Mapping[int, float] = field(default_factory=lambda: FORTNIGHT)
    failures: list[Exception] = field(default_factory=list)
    asked: list[tuple[TargetRef, float, float, int]] = field(default_factory=list)
    answered: int = 0
    opened: threading.Event = field(default_factory=threading.Event)

    def arrivals(self, ref: TargetRef, end: float, span: float, slot: int) -> Mapping[int, float]:
        self.asked.append((ref, end, span, slot))
        self.opened.wait(30)
        self.answered += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.rates


class Counting(FakeCluster):
    """Its exporters tell who came: nobody."""

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        found = super().read(signals, queries, now)
        nobody = dict.fromkeys(self.sessions, Sample(0, now, 60.0))
        moves: dict[tuple[Signal, str], Mapping[tuple[str, str], Sample]] = {
            ("arrivals", "exporter"): nobody,
            ("departures", "exporter"): nobody,
        }
        return Readings({**found.samples, **moves})


class Learner(World):
    """A controller with a history to read, and what it remembers."""

    def __init__(self, *policies: Policy, history: FakeHistory) -> None:
        cluster = Counting()
        self.store, self.history = StateStore(cluster.clock), history
        super().__init__(*policies, cluster=cluster, store=self.store, history=history)
        cluster.deploy(APP, 5)

    def read(self, times: int = 1) -> None:
        """Let so many histories be read to their end, altogether, and a pass take them over."""
        self.history.opened.set()
        wait_until(self.is_idle, 20, "the histories")
        assert self.history.answered == times
        self.run()

    @staticmethod
    def is_idle() -> bool:
        return all(thread.name != "learning" for thread in threading.enumerate())

    @property
    def profile(self) -> Profile:
        state = self.store.of(KEY)
        assert state is not None
        assert state.traffic is not None
        assert state.traffic.profile is not None
        return state.traffic.profile


def spare(world: World) -> str:
    decision = world.run().outcomes[0].decision
    assert decision is not None
    return decision.recommendations[0].detail.split(") / ")[0]


def test_a_new_leader_expects_the_users_of_the_weeks_before_after_two_passes() -> None:
    world = Learner(RULES, history=FakeHistory())
    for _ in range(2):
        assert spare(world) == "sessions: (5 connected + 1 spare"
    world.read()

    assert forecast.expected(world.profile, 77.0, Now(world.clock.at)) == RUSH
    assert spare(world) == "sessions: (5 connected + 49 spare"
    assert world.history.asked == [(APP, NOW + 10, 14 * 86_400, 300)]
    assert world.metric("forecast_used", profile="week", **DASHBOARDS) == 1
    assert world.metric("forecast_error_ratio", profile="day", **DASHBOARDS) == 0
    assert world.metric("forecast_coverage_ratio", **DASHBOARDS) == 1


def test_passes_go_on_while_a_history_is_read() -> None:
    world = Learner(RULES, history=FakeHistory())

    for _ in range(3):
        assert spare(world) == "sessions: (5 connected + 1 spare"

    assert len(world.history.asked) == 1
    world.read()


def test_one_history_is_read_at_a_time() -> None:
    target = {"namespace": "bokeh", "deployment": "other"}
    more = policy(name="other", target=target, metrics=[SEATS])
    world = Learner(RULES, more, history=FakeHistory())
    world.cluster.deploy(OTHER, 5, uid="uid-2")
    world.run(passes=3)

    assert [ref for ref, *_ in world.history.asked] == [APP]
    world.read(times=2)
    assert [ref for ref, *_ in world.history.asked] == [APP, OTHER]


@pytest.mark.parametrize(
    "rules",
    [
        policy(metrics=[{**SEATS, "spare": {"refuse": "0.1%", "forecast": "none"}}]),
        policy(placement="spread"),
        policy(metrics=[{"type": "cpu", "utilization": "70%"}]),
    ],
    ids=["that wants no forecast", "that counts no arrivals", "without sessions"],
)
def test_nothing_is_read_for_a_policy(rules: Policy) -> None:
    world = Learner(rules, history=FakeHistory())
    world.run(passes=3)
    assert world.history.asked == []


def test_what_could_not_be_read_is_read_later_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problem = MetricsError("Prometheus at http://p:9090: no answer within 30 s")
    world = Learner(RULES, history=FakeHistory(failures=[problem, problem]))
    world.run(passes=2)
    with caplog.at_level(logging.WARNING):
        world.read(times=1)
        world.run(passes=10)
        assert len(world.history.asked) == 1
        world.run(passes=2)
        world.read(times=2)
        world.run(passes=18)
        assert len(world.history.asked) == 2
        world.run(passes=6)
        world.read(times=3)

    (message,) = caplog.messages
    assert message == (
        "dashboards: cannot read the arrivals of the last 14 days, so the forecast is learnt"
        f" from what comes; the next attempt is in 1m: {problem}"
    )
    assert world.profile.week


def test_a_target_without_a_past_is_not_asked_for_again_and_again() -> None:
    world = Learner(RULES, history=FakeHistory(rates={}))
    world.run(passes=2)
    world.read()
    world.run(passes=200)

    assert len(world.history.asked) == 1


def test_what_a_daemon_knows_is_not_read_again_until_it_leads_anew() -> None:
    world = Learner(RULES, history=FakeHistory())
    world.run(passes=2)
    world.read()
    world.run(passes=20)
    assert len(world.history.asked) == 1

    world.store.recall(lambda _: True, "")
    world.run(passes=2)
    world.read(times=2)

    assert world.profile.week


def test_a_policy_that_begins_to_forecast_has_its_history_read() -> None:
    without = policy(metrics=[{**SEATS, "spare": {"refuse": "0.1%", "forecast": "none"}}])
    world = Learner(without, history=FakeHistory())
    for users in range(200):
        world.cluster.sessions["bokeh", "pod-0"] = users % 2
        world.run()
    assert world.profile.week
    assert world.history.asked == []

    world.policies.policies = (RULES,)
    world.run(passes=2)
    world.read()
    assert spare(world) == "sessions: (1 connected + 49 spare"
    world.run(passes=20)
    assert len(world.history.asked) == 1


def test_a_window_that_forecasts_has_the_history_read_and_told_of() -> None:
    window = {"from": "03:00", "to": "04:00", "spare": {"refuse": "0.1%"}}
    base = {"refuse": "0.1%", "forecast": "none"}
    world = Learner(
        policy(metrics=[{**SEATS, "spare": base}], schedule=[window]), history=FakeHistory()
    )
    world.run(passes=2)
    world.read()
    assert world.metric("forecast_used", profile="week", **DASHBOARDS) == 1


def test_a_history_of_a_policy_that_is_gone_is_dropped() -> None:
    world = Learner(RULES, history=FakeHistory())
    world.run(passes=2)
    world.policies.policies = ()
    world.run(passes=2)
    world.read()
    world.policies.policies = (RULES,)
    world.run(passes=2)

    wait_until(lambda: len(world.history.asked) == 2, 20, "the second reading")
    world.read(times=2)


def test_a_forecast_of_a_holiday_is_known_to_be_wrong_from_the_beginning() -> None:
    slots = range(int(NOW // SLOT) - DAY, int(NOW // SLOT))
    world = Learner(RULES, history=FakeHistory(FORTNIGHT | dict.fromkeys(slots, 0.0)))
    world.run(passes=2)
    world.read()

    decision = world.run().outcomes[0].decision
    assert decision is not None
    assert decision.recommendations[0].detail.endswith(
        ", the forecast is ignored: its error of the last day is larger than without one"
    )
    assert world.metric("forecast_used", profile="week", **DASHBOARDS) == 0
