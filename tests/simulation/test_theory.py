"""What queueing theory says of a simulation: Erlang's loss formula, and Poisson occupancy."""

from __future__ import annotations

from math import sqrt
from random import Random

import pytest

from autoscaler.simulation.engine import Assumptions, Run, simulate
from autoscaler.simulation.front import Placement, WhenFull
from autoscaler.simulation.score import score
from autoscaler.simulation.timeline import Steps, pieces
from autoscaler.simulation.trace import Session, Trace, trace_of
from tests.builders import policy

MEAN_STAY = 600.0
COUNT = 5_000
# The first sessions fill the fleet, which is empty when the trace begins.
WARM_UP = 5 * MEAN_STAY
# A correct simulation is outside this many standard errors once in 16,000 runs; seeds are fixed.
ERRORS = 4.0


def arrivals(erlangs: float, seed: int, stay: str) -> Trace:
    """Poisson arrivals that keep `erlangs` sessions busy on average."""
    random = Random(seed)
    lengths = {
        "exponential": lambda: random.expovariate(1 / MEAN_STAY),
        "constant": lambda: MEAN_STAY,
        "log-normal": lambda: MEAN_STAY * random.lognormvariate(-0.5, 1.0),
    }
    at, sessions = 0.0, []
    for _ in range(COUNT):
        at += random.expovariate(erlangs / MEAN_STAY)
        sessions.append(Session(at, at + lengths[stay]()))
    return trace_of("Poisson", sessions)


def run(visits: Trace, replicas: int, seats: int, **assumed: object) -> Run:
    fixed = policy(replicas={"min": replicas, "max": replicas})
    return simulate(fixed, visits, Assumptions(seats=seats, tick=60.0, **assumed))


def erlang_b(servers: int, erlangs: float) -> float:
    """Return the share of calls that find all servers busy (Erlang, 1917)."""
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = erlangs * blocked / (number + erlangs * blocked)
    return blocked


@pytest.mark.parametrize("stay", ["exponential", "constant", "log-normal"])
@pytest.mark.parametrize(
    ("replicas", "seats", "erlangs"),
    [
        pytest.param(1, 10, 6.0, id="one replica of 10 seats"),
        pytest.param(4, 5, 18.0, id="four replicas of 5 seats"),
    ],
)
def test_a_fixed_fleet_refuses_as_many_as_erlang_says(
    replicas: int, seats: int, erlangs: float, stay: str
) -> None:
    refused = run(arrivals(erlangs, 1, stay), replicas, seats).timeline.refused

    expected = erlang_b(replicas * seats, erlangs)
    # Refusals come in clusters, so their variance is larger than that of independent ones.
    error = 2 * sqrt(expected / COUNT)
    assert abs(len(refused) / COUNT - expected) < ERRORS * error


@pytest.mark.parametrize("stay", ["exponential", "constant", "log-normal"])
def test_with_enough_seats_the_occupancy_is_poisson(stay: str) -> None:
    erlangs = 12.0
    visits = arrivals(erlangs, 2, stay)
    occupied = run(visits, 10, 20).timeline.sessions

    mean, variance = moments(occupied, WARM_UP, visits.sessions[-1].start)
    assert mean == pytest.approx(erlangs, rel=0.1)
    assert variance == pytest.approx(erlangs, rel=0.25)


def moments(steps: Steps, start: float, end: float) -> tuple[float, float]:
    shares = [(seconds / (end - start), value) for seconds, (value,) in pieces([steps], start, end)]
    mean = sum(share * value for share, value in shares)
    return mean, sum(share * (value - mean) ** 2 for share, value in shares)


@pytest.mark.parametrize("placement", Placement)
def test_where_sessions_go_does_not_change_how_many_find_all_seats_taken(
    placement: Placement,
) -> None:
    visits = arrivals(18.0, 3, "exponential")
    found = len(run(visits, 4, 5, placement=placement).timeline.refused)

    assert found == len(run(visits, 4, 5).timeline.refused)


def test_the_replica_hours_of_a_fixed_fleet_are_its_size_times_the_time() -> None:
    visits = arrivals(6.0, 4, "exponential")
    result = score(run(visits, 3, 10, when_full=WhenFull.WAIT), visits, 3)

    hours = (visits.end - visits.start) / 3_600
    assert result.replica_hours == pytest.approx(3 * hours)
    assert result.regret == pytest.approx(0.0)
