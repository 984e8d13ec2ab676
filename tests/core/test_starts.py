"""How long new pods take is learnt from those that were seen to start."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core import starts
from autoscaler.core.checkpoint import from_text, to_text
from autoscaler.core.decide import decide
from autoscaler.core.starts import FEWEST, KEPT
from autoscaler.model import Average, PodState, Sample, Starts, State, Traffic
from tests.builders import NOW, observation, pod, policy
from tests.core.drains import serving

seconds = st.floats(0, 890, allow_nan=False)
REFUSE = {"type": "sessions", "seats": 10, "spare": {"refuse": "0.1%", "forecast": "none"}}


def started(name: str, took: float, waited: float = 0.0) -> list[PodState]:
    """A pod as it was seen when it was new, and when it had become Ready."""
    new = pod(name, phase="Pending", ready=None, ready_since=None, created_at=NOW)
    ready = pod(name, created_at=NOW, scheduled_at=NOW + waited, ready_since=NOW + took)
    return [new, ready]


def learnt(*lives: list[PodState]) -> Starts:
    known = Starts()
    for life in lives:
        for look in life:
            known = starts.follow(known, [look])
    return known


@given(st.lists(seconds, min_size=FEWEST, max_size=2 * KEPT))
def test_of_the_last_pods_only_one_took_longer(times: list[float]) -> None:
    found = starts.lead_time(learnt(*(started(str(n), took) for n, took in enumerate(times))))

    last = [ceil(NOW + took - NOW) for took in times[-KEPT:]]
    assert found == sorted(last)[-2]


def test_a_start_that_took_an_hour_was_a_fault_and_says_nothing() -> None:
    usual = [started(f"usual-{n}", 20.0) for n in range(FEWEST)]
    broken = [started(f"broken-{n}", 3_600.0) for n in range(FEWEST)]

    assert starts.lead_time(learnt(*broken, *usual, *broken)) == 20.0


@given(st.lists(st.tuples(st.floats(0, 400), st.floats(6, 400)), max_size=KEPT))
def test_a_pod_that_waited_for_a_node_says_nothing_about_the_others(
    waits: list[tuple[float, float]],
) -> None:
    usual = learnt(*(started(f"usual-{n}", 20.0) for n in range(FEWEST)))
    known = usual
    for number, (took, waited) in enumerate(waits):
        for look in started(f"late-{number}", waited + took, waited):
            known = starts.follow(known, [look])

    assert starts.lead_time(known) == starts.lead_time(usual) == 20.0
    assert len(known.waited) == len(waits)


@given(st.lists(seconds, max_size=9), st.integers(1, 3), st.randoms())
def test_neither_more_looks_nor_their_order_count(
    times: list[float], looks: int, random: Any
) -> None:
    lives = [started(str(number), took) for number, took in enumerate(times)]
    known = Starts()
    for now in range(2):
        seen = [life[now] for life in lives]
        for _ in range(looks):
            random.shuffle(seen)
            known = starts.follow(known, seen)

    assert sorted(known.at_once) == sorted(ceil(NOW + took - NOW) for took in times)
    assert not known.new


@given(st.lists(seconds, max_size=KEPT), st.lists(seconds, max_size=KEPT))
def test_the_next_daemon_knows_it_too(at_once: list[float], waited: list[float]) -> None:
    known = Starts(at_once=tuple(at_once), waited=tuple(waited))
    key = ("bokeh", "dashboards", "uid")

    told = from_text(to_text({key: State(starts=known)}, NOW), NOW)

    assert told.get(key, State()).starts == known


LIVES: dict[str, tuple[list[PodState], Starts]] = {
    "a pod that was seen new": (started("a", 30), Starts(at_once=(30.0,))),
    "one that runs before it is Ready": (
        [*started("a", 30)[:1], pod("a", ready=False, created_at=NOW), started("a", 30)[1]],
        Starts(at_once=(30.0,)),
    ),
    "not one that was Ready when it was seen first": (started("a", 30)[1:], Starts()),
    "nor one that only recovers": (
        [pod("a"), pod("a", ready=False), pod("a", ready_since=NOW)],
        Starts(),
    ),
    "one that waited for a node": (started("a", 200, 170), Starts(waited=(200.0,))),
    "clocks that differ by a second": (started("a", -1), Starts(at_once=(0.0,))),
}


@pytest.mark.parametrize(("looks", "expected"), LIVES.values(), ids=LIVES.keys())
def test_which_pods_count(looks: list[PodState], expected: Starts) -> None:
    assert learnt(looks) == expected


def test_a_pod_that_is_gone_before_it_was_ready_is_forgotten() -> None:
    known = starts.follow(learnt(started("a", 30)[:1]), [])
    assert starts.follow(known, started("a", 30)[1:]) == Starts()


@pytest.mark.parametrize(
    ("took", "expected"),
    [
        ((), "10 connected + 5 spare) / 10 seats"),
        ((5.0,) * (FEWEST - 1), "10 connected + 5 spare) / 10 seats"),
        ((5.0,) * FEWEST, "10 connected + 3 spare) / 10 seats, for new pods take 5s"),
        ((600.0,) * FEWEST, "10 connected + 14 spare) / 10 seats, for new pods take 10m"),
    ],
    ids=["as the policy says at first", "while few are known", "soon Ready", "late Ready"],
)
def test_seats_are_kept_free_for_as_long_as_pods_take(
    took: tuple[float, ...], expected: str
) -> None:
    average = Average(0.01, 0.01, NOW - 60)
    traffic = Traffic(NOW - 5, average, average, known=True)
    state = State(seen_at=NOW - 5, traffic=traffic, starts=Starts(at_once=took))
    rate = Sample(10, NOW, 60.0)
    each = replace(serving("a", 10), arrivals=rate, departures=rate)

    decision, _ = decide(policy(metrics=[REFUSE]), observation(pods=(each,)), state, NOW)

    assert decision.recommendations[0].detail == f"sessions: ({expected}"
