"""What is in front of the pods: placement, full pods, and users who come back."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.model import Cause, Cordon, PodMarks
from autoscaler.simulation.engine import Assumptions, Run, simulate
from autoscaler.simulation.fleet import SimulatedPod
from autoscaler.simulation.front import Front, Placement, WhenFull
from autoscaler.simulation.score import score
from autoscaler.simulation.timeline import Phase, pieces
from autoscaler.simulation.trace import Session, Trace, trace_of
from tests.builders import policy

SEATS = 3
ONE_POD = policy(replicas={"min": 1, "max": 1})


def pods(*counts: int) -> list[SimulatedPod]:
    """Pods with so many sessions each."""
    return [
        SimulatedPod(number, f"uid-{number}", 0.0, 0.0, sessions=set(range(count)))
        for number, count in enumerate(counts)
    ]


def chosen(placement: Placement, counts: tuple[int, ...], when_full: WhenFull) -> int | None:
    pod = Front(placement, when_full, SEATS, Random(1)).choose(pods(*counts))
    return None if pod is None else pod.number


REFUSE, WAIT, OVERFILL = WhenFull.REFUSE, WhenFull.WAIT, WhenFull.OVERFILL


@pytest.mark.parametrize(
    ("placement", "counts", "when_full", "expected"),
    [
        pytest.param(Placement.LEASTCONN, (2, 1, 2), REFUSE, 1, id="leastconn takes the emptiest"),
        pytest.param(Placement.PACKED, (1, 2, 0), REFUSE, 1, id="packed takes the fullest"),
        pytest.param(Placement.PACKED, (1, 3, 0), REFUSE, 0, id="packed leaves out full pods"),
        pytest.param(Placement.SERVICE, (3, 3, 1), REFUSE, 2, id="a limit leaves out full pods"),
        pytest.param(Placement.ROUND_ROBIN, (0, 0), REFUSE, 0, id="round-robin begins first"),
        pytest.param(Placement.LEASTCONN, (3, 3), REFUSE, None, id="all are full"),
        pytest.param(Placement.LEASTCONN, (3, 4), WAIT, None, id="all are full, so it waits"),
        pytest.param(Placement.LEASTCONN, (4, 3), OVERFILL, 1, id="full, without a limit"),
        pytest.param(Placement.PACKED, (4, 3), OVERFILL, 1, id="packed and full"),
        pytest.param(Placement.PACKED, (4, 2, 1), OVERFILL, 1, id="packed fills seats first"),
        pytest.param(Placement.SERVICE, (), OVERFILL, None, id="there is no pod at all"),
    ],
)
def test_a_session_goes_to(
    placement: Placement, counts: tuple[int, ...], when_full: WhenFull, expected: int | None
) -> None:
    assert chosen(placement, counts, when_full) == expected


def test_round_robin_takes_one_after_the_other_and_begins_anew() -> None:
    front = Front(Placement.ROUND_ROBIN, OVERFILL, SEATS, Random(1))
    three = pods(0, 0, 0)

    found = [front.choose(each) for each in (three, three, three, three, three[2:], three)]

    assert [pod.number for pod in found if pod] == [0, 1, 2, 0, 2, 0]


def test_a_service_takes_each_pod_now_and_then() -> None:
    front = Front(Placement.SERVICE, OVERFILL, SEATS, Random(1))

    found = {pod.number for _ in range(100) if (pod := front.choose(pods(9, 0, 0)))}

    assert found == {0, 1, 2}


def crowd(*sessions: tuple[float, float]) -> Trace:
    return trace_of("made up", [Session(*session) for session in sessions])


def run_of(visits: Trace, **assumed: Any) -> Run:
    return simulate(ONE_POD, visits, Assumptions(seats=1, tick=5.0, **assumed))


def test_who_waits_gets_the_next_free_seat_and_stays_as_long_as_in_the_trace() -> None:
    visits = crowd((0, 60), (30, 90), (300, 310))
    run = run_of(visits, when_full=WAIT)

    assert run.timeline.sessions.times[:3] == (0, 120, 300), "from 60 to 120 the second one stays"
    result = score(run, visits, 1)
    assert (result.refused, result.waited, result.waiting_minutes) == (0, 1, 0.5)


def test_without_a_limit_two_share_a_seat_and_that_time_is_told() -> None:
    visits = crowd((0, 60), (30, 90))
    result = score(run_of(visits, when_full=OVERFILL), visits, 1)

    assert (result.refused, result.waited, result.crowded_minutes) == (0, 0, 0.5)


SHRINKING = policy(
    replicas={"min": 1, "max": 4},
    metrics=[{"type": "prometheus", "query": "sum(x)", "perReplica": 10}],
    behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
    drain="none",
)
# Half of them leave after ten minutes.
HALF_LEAVE = crowd(*((n * 10.0, 600.0 if n % 2 else 3_600.0) for n in range(40)))


def test_a_user_whose_session_is_cut_comes_back() -> None:
    assumed = Assumptions(seats=20, placement=Placement.SERVICE, when_full=OVERFILL)
    run = simulate(SHRINKING, HALF_LEAVE, assumed)

    assert run.cut > 0
    assert run.timeline.sessions.values[-1] == 0
    assert run.served == len(HALF_LEAVE.sessions), "all came back"


def test_some_pods_take_longer_than_others() -> None:
    visits = crowd(*((float(n * 20), n * 20 + 3_000.0) for n in range(60)))
    rules = policy(
        metrics=[{"type": "sessions", "seats": 1, "spare": 5}], replicas={"min": 1, "max": 100}
    )
    run = simulate(rules, visits, Assumptions(seats=1, lead_time=60.0, slow_lead_time=180.0))

    ready_at = {at % 5.0 for at in run.timeline.ready.times}
    assert len(ready_at) > 20, "decisions come every 5 s, and each pod takes a time of its own"


sessions = st.lists(
    st.builds(
        lambda start, stay: Session(float(start), float(start + stay)),
        st.integers(0, 3_000),
        st.integers(1, 2_000),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=30)
@given(
    sessions,
    st.sampled_from(Placement),
    st.sampled_from(WhenFull),
    st.integers(1, 5),
    st.booleans(),
)
def test_each_user_is_served_refused_still_there_or_waits(
    found: list[Session], placement: Placement, when_full: WhenFull, seats: int, drains: bool
) -> None:
    visits = trace_of("any", found)
    rules = policy(
        metrics=[{"type": "sessions", "seats": seats, "spare": 1}],
        replicas={"min": 1, "max": 4},
        drain={"deadline": "never"} if drains else "none",
    )
    run = simulate(rules, visits, Assumptions(seats, placement=placement, when_full=when_full))

    left = run.timeline.sessions.values[-1] + (run.timeline.waiting.values or (0,))[-1]
    gone = run.cut if not drains else 0  # who is cut comes back, unless their time is over then
    ended = run.served + len(run.timeline.refused) + left
    assert ended <= len(visits.sessions) + gone
    assert ended >= len(visits.sessions) - gone
    assert drains is False or run.cut == 0
    assert when_full is OVERFILL or max(run.timeline.crowded.values, default=0) == 0


@pytest.mark.parametrize(
    ("cause", "with_a_session", "without"),
    [
        pytest.param(Cause.FULL, Phase.BUSY, Phase.SPARE, id="full is busy"),
        pytest.param(Cause.RESERVE, Phase.RESERVE, Phase.SPARE, id="in reserve"),
        pytest.param(Cause.SCALE_DOWN, Phase.DRAINING, Phase.DRAINED, id="to be deleted"),
    ],
)
def test_what_a_cordoned_replica_does(cause: Cause, with_a_session: Phase, without: Phase) -> None:
    marks = PodMarks(routable=False, cordon=Cordon(cause, 0.0))
    pod = SimulatedPod(0, "uid-0", 0.0, 0.0, ready=True, sessions={1: 0.0}, marks=marks)

    assert pod.phase is with_a_session
    assert replace(pod, sessions={}).phase is without


def test_each_replica_is_in_one_phase_at_a_time_from_its_start_to_its_end() -> None:
    rules = policy(
        metrics=[{"type": "sessions", "seats": 5, "spare": 1}], replicas={"min": 1, "max": 9}
    )
    visits = crowd(*((n * 10.0, 600.0) for n in range(20)), (0, 3_600))
    timeline = simulate(rules, visits, Assumptions(seats=5, lead_time=30.0)).timeline

    counts = pieces([*timeline.phases.values(), timeline.billed], timeline.start, timeline.end)
    assert all(sum(phases) == billed for _, (*phases, billed) in counts)
    first, *others = timeline.lives
    assert first.phases[:2] == [(-86_400.0, Phase.STARTING), (-86_400.0, Phase.SPARE)]
    for life in others:
        (_, starting), (ready_at, _), *_ = life.phases
        assert starting is Phase.STARTING
        assert ready_at == life.phases[0][0] + 30.0
    drained = [life for life in timeline.lives if life.ended_at is not None]
    assert drained
    assert {life.phase for life in drained} == {Phase.DRAINED}, "the last phase before its end"
