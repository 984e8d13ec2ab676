"""Spare seats by `refuse`: who comes is what exporters count, never what data gaps look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autoscaler.core.decide import decide
from autoscaler.core.now import Now
from autoscaler.core.sessions import averages, follow_traffic
from autoscaler.core.staleness import is_arriving
from autoscaler.model import Cause, Cordon, Decision, PodState, Sample, State
from tests.builders import NOW, observation, pod, policy

RULES = policy(
    metrics=[{"type": "sessions", "seats": 20, "spare": {"refuse": "0.1%"}}],
    replicas={"min": 2, "max": 100},
)
TOLD = {"arrivals", "departures"}


def seated(name: str, at: float, came: float = 0.0, left: float = 0.0, **more: Any) -> PodState:
    """A pod with ten users, to which so many came and from which so many left each second."""
    rates = {
        "arrivals": Sample(round(1000 * came), at, 60.0),
        "departures": Sample(round(1000 * left), at, 60.0),
    }
    return pod(name, **{"sessions": 10, "at": at, "node": "n", **rates, **more})


def silent(name: str) -> PodState:
    return pod(name, node="n")


def drive(
    fleet: Callable[[int, float], list[PodState]], passes: int = 900
) -> tuple[Decision, State]:
    """Passes of 2 s over what the function says of each."""
    state, now = None, NOW
    for number in range(passes):
        seen = fleet(number, now)
        decision, state = decide(RULES, observation(pods=tuple(seen), replicas=20), state, now)
        now += 2.0
    return decision, state


@pytest.mark.parametrize("missing", [1, 5, 10, 19])
def test_pods_without_data_for_a_moment_are_no_arrivals(missing: int) -> None:
    def fleet(number: int, now: float) -> list[PodState]:
        gap = missing if number % 15 == 0 else 0
        return [silent(f"p{k}") if k < gap else seated(f"p{k}", now) for k in range(20)]

    decision, state = drive(fleet)

    assert state.traffic is not None
    assert averages(state.traffic) == (0.0, 0.0)
    assert decision.recommendations[0].detail.startswith("sessions: (200 connected + 1 spare)")


def test_cordons_and_pods_that_come_back_are_no_arrivals() -> None:
    apart = Cordon(Cause.FULL, NOW)

    def fleet(number: int, now: float) -> list[PodState]:
        odd: dict[str, Any] = {"routable": False, "cordon": apart} if number % 20 < 10 else {}
        return [seated(f"p{k}", now, **(odd if k < 5 else {})) for k in range(20)]

    _, state = drive(fleet)

    assert state.traffic is not None
    assert averages(state.traffic)[0] == 0.0


def test_a_daemon_that_was_away_takes_what_the_exporters_say_now() -> None:
    _, state = drive(lambda _, now: [seated(f"p{k}", now, came=0.1) for k in range(20)], passes=5)
    later = NOW + 7_200.0
    pods = tuple(seated(f"p{k}", later, came=0.01) for k in range(40))

    _, state = decide(RULES, observation(pods=pods), state, later)

    assert state.traffic is not None
    assert averages(state.traffic)[0] == pytest.approx(0.4, rel=0.01)


def test_a_steady_stream_is_known_at_once_and_staffed_for() -> None:
    decision, state = drive(
        lambda _, now: [seated(f"p{k}", now, 0.005) for k in range(20)], passes=1
    )

    assert state.traffic is not None
    assert averages(state.traffic)[0] == pytest.approx(0.1)
    assert "200 connected + 16 spare" in decision.recommendations[0].detail


def test_while_a_pod_is_silent_arrivals_may_rise_and_not_fall() -> None:
    def fleet(number: int, now: float) -> list[PodState]:
        there = [seated(f"p{k}", now, came=0.1, left=0.1) for k in range(10)]
        rest = [
            seated(f"p{k}", now, 0.1, 0.1) if number < 2 else silent(f"p{k}") for k in range(10, 20)
        ]
        return there + rest

    _, state = drive(fleet, passes=300)

    assert state.traffic is not None
    assert averages(state.traffic)[0] == pytest.approx(2.0)
    assert averages(state.traffic)[1] < 1.6


def test_while_nobody_has_told_who_came_nothing_shrinks() -> None:
    pods = tuple(pod(f"p{k}", sessions=1, node="n") for k in range(20))
    decision, state = decide(RULES, observation(pods=pods), State(seen_at=NOW), NOW)

    metric = decision.recommendations[0]
    assert metric.replicas == 2
    assert not metric.complete
    assert metric.detail.endswith(
        "spare seats by `refuse` are not known: no exporter has told yet how many users came"
    )
    assert decision.desired == 20
    assert state.traffic is None


@pytest.mark.parametrize(
    ("fresh_for", "age", "arriving"),
    [(30.0, 29.0, True), (30.0, 31.0, False), (4.0, 5.0, False), (120.0, 90.0, True)],
)
def test_a_pod_may_be_without_data_for_two_scrapes_whatever_their_interval(
    fresh_for: float, age: float, arriving: bool
) -> None:
    young = pod("young", ready_since=NOW - age, started_at=NOW - age - 20)
    assert is_arriving(young, Now(NOW), fresh_for) is arriving

    seen = observation(pods=(pod("a", sessions=10), young), fresh_for=fresh_for)
    decision, _ = decide(policy(), seen, State(seen_at=NOW), NOW)
    assert decision.recommendations[0].complete is arriving


def test_what_may_be_why_nobody_tells_their_sessions_is_told() -> None:
    seen = observation(
        None, None, hints={"sessions": "2 series of bokeh_sessions lack the label pod"}
    )
    decision, _ = decide(RULES, seen, State(seen_at=NOW), NOW)

    assert decision.recommendations[0].detail == (
        "sessions: no session count from any of 2 pods: "
        "2 series of bokeh_sessions lack the label pod"
    )


def test_how_long_sessions_last_counts_from_the_first_pass() -> None:
    rate = Sample(100, NOW, 60.0)
    each = pod("a", sessions=6, arrivals=rate, departures=rate)
    first = follow_traffic(None, (each,), Now(NOW), 30.0)
    later = follow_traffic(first, (each,), Now(NOW + 5), 30.0)

    assert first.stays is not None
    assert (first.stays.sessions.rate, first.stays.arrivals.rate) == (6, 0.1)
    assert later.stays == first.stays
