from __future__ import annotations

from collections.abc import Iterable
from math import inf
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.simulation.engine import Assumptions, Run, simulate
from autoscaler.simulation.score import score, static_fleet
from autoscaler.simulation.trace import Session, Trace, trace_of
from autoscaler.simulation.workloads import office_week
from tests.builders import policy

GOLDEN = Path(__file__).parent / "data" / "morning.txt"
TWO_SPARE = [{"type": "sessions", "seats": 10, "spare": 2}]
DRAINING, PATCHING_AT_ONCE = {"deadline": "4h"}, "none"


def trace(*sessions: tuple[float, float]) -> Trace:
    return trace_of("made up", [Session(*session) for session in sessions])


def rush(count: int, start: float = 0.0, every: float = 10.0, stay: float = 600.0) -> Trace:
    """`count` users, one `every` so many seconds, each for `stay` seconds."""
    return trace(*((start + n * every, start + n * every + stay) for n in range(count)))


def test_the_first_users_find_the_minimum_ready():
    run = simulate(policy(replicas={"min": 3, "max": 5}), trace((0, 60)), Assumptions())
    assert run.timeline.ready == ((0,), (3,))
    assert run.timeline.refused == ()


def test_a_pod_takes_sessions_only_after_its_lead_time():
    run = simulate(policy(metrics=TWO_SPARE), rush(20), Assumptions(seats=10, lead_time=60.0))
    first = run.timeline.changes[0]
    assert (first.before, first.after) == (1, 2)
    assert run.timeline.billed.times[1] == first.at
    assert run.timeline.ready.times[1] == first.at + 60.0


def test_whoever_finds_no_free_seat_is_refused():
    one_pod = policy(replicas={"min": 1, "max": 1})
    run = simulate(one_pod, rush(12, every=1.0), Assumptions(seats=10))
    assert run.timeline.refused == (10.0, 11.0)
    assert run.timeline.sessions.peak == 10


def test_a_seat_that_becomes_free_is_taken_at_the_same_moment():
    one_seat = Assumptions(seats=1)
    run = simulate(policy(replicas={"min": 1, "max": 1}), trace((0, 10), (10, 20)), one_seat)
    assert run.timeline.refused == ()


def test_every_change_says_why():
    run = simulate(policy(metrics=TWO_SPARE), rush(20), Assumptions(seats=10))
    change = run.timeline.changes[0]
    assert change.reason == "MetricAboveTarget"
    assert change.detail == "sessions: (9 connected + 2 spare) / 10 seats"


def test_the_schedule_sets_the_first_minimum():
    window = {"days": "mon-sun", "from": "00:00", "to": "23:59", "min": 4}
    run = simulate(policy(schedule=[window]), trace((0, 60)), Assumptions())
    assert run.timeline.ready.values[0] == 4


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        pytest.param({"type": "cpu", "utilization": "50%"}, "cpu", id="cpu"),
        pytest.param({"type": "memory", "utilization": "60%"}, "memory", id="memory"),
        pytest.param(
            {"type": "prometheus", "query": "sum(x)", "perReplica": 12}, "prometheus", id="promql"
        ),
    ],
)
def test_policies_without_a_session_metric_follow_the_load_too(metric, name):
    run = simulate(policy(metrics=[metric]), rush(60, stay=1_200), Assumptions())
    assert run.timeline.changes[0].detail.startswith(f"{name}: ")
    assert run.timeline.billed.peak >= 4


@pytest.mark.parametrize("window", [15.0, 60.0])
def test_the_cpu_of_a_new_pod_counts_once_it_was_measured_over_a_whole_window(window):
    """The second pod is Ready after a minute; its ten users make a third one necessary."""
    by_cpu = policy(metrics=[{"type": "cpu", "utilization": "40%"}], behavior={}, interval="15s")
    users = trace(*((at, 900.0) for at in (0.0, 61.0) for _ in range(10)))

    assumed = Assumptions(
        tick=15.0, lead_time=60.0, cpu_window=window, scrape_interval=0.0, page_load=0.0
    )
    run = simulate(by_cpu, users, assumed)

    changes = [(change.at, change.after) for change in run.timeline.changes]
    assert changes[:2] == [(0.0, 2), (60.0 + window, 3)]


def test_a_policy_that_drains_cuts_nobody_while_it_shrinks():
    run = simulate(policy(drain=DRAINING, metrics=TWO_SPARE), rush(60), Assumptions(seats=10))
    assert any(change.after < change.before for change in run.timeline.changes)
    assert (run.cut, run.minutes_lost) == (0, 0.0)


def test_a_policy_that_patches_at_once_cuts_sessions():
    long_stays = [(float(n), 7_200.0 if n % 2 else 600.0) for n in range(60)]
    rules = {"replicas": {"min": 6, "max": 6}}
    window = {"days": "mon-sun", "from": "00:20", "to": "23:00", "min": 1, "max": 3}
    run = simulate(
        policy(**rules, drain=PATCHING_AT_ONCE, schedule=[window]),
        trace(*long_stays),
        Assumptions(seats=10),
    )
    assert run.cut > 0
    assert run.minutes_lost > 0


def test_pods_that_still_start_are_removed_first():
    """The ReplicaSet deletes pods that are not Ready before any that is."""
    burst = trace(*((0.0, 20.0 if n else 4_000.0) for n in range(11)))
    run = simulate(policy(drain=PATCHING_AT_ONCE), burst, Assumptions(seats=11, lead_time=3_600.0))
    assert [(c.before, c.after) for c in run.timeline.changes] == [(1, 2), (2, 1)]
    assert run.cut == 0


def test_the_same_seed_gives_the_same_run():
    week = rush(100)
    rules = policy(drain=PATCHING_AT_ONCE, metrics=TWO_SPARE)
    assert simulate(rules, week, Assumptions(seed=3)) == simulate(rules, week, Assumptions(seed=3))


def test_progress_is_told_up_to_the_end():
    shares: list[float] = []
    simulate(policy(), rush(500), Assumptions(), shares.append)
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


VISITS = st.lists(
    st.tuples(st.integers(0, 1_800), st.integers(1, 1_800)), min_size=1, max_size=60
).map(lambda visits: trace(*((float(start), float(start + stay)) for start, stay in visits)))


@given(
    visits=VISITS,
    seats=st.integers(1, 8),
    lead_time=st.sampled_from([0.0, 5.0, 60.0, 900.0]),
    drain=st.sampled_from([DRAINING, PATCHING_AT_ONCE]),
    metric=st.sampled_from(
        [
            {"type": "sessions", "seats": 4, "spare": 1},
            {"type": "sessions", "seats": 4, "spare": "50%"},
            {"type": "cpu", "utilization": "20%"},
        ]
    ),
)
@settings(max_examples=60, deadline=None)
def test_every_session_is_served_refused_or_cut_exactly_once(
    visits, seats, lead_time, drain, metric
):
    rules = policy(
        metrics=[metric],
        drain=drain,
        behavior={"scaleDown": {"stabilizationWindowSeconds": 30}},
    )
    for_good = Assumptions(seats=seats, lead_time=lead_time, returns_after=inf)
    run = simulate(rules, visits, for_good)
    result = score(run, visits, 1)
    assert run.served + run.cut + len(run.timeline.refused) == len(visits.sessions)
    assert run.timeline.sessions.values[-1] == 0
    assert run.timeline.sessions.peak <= seats * run.timeline.ready.peak
    if drain is DRAINING:
        assert result.cut == 0
    if not result.refused and not result.cut:
        assert run.timeline.sessions == visits.concurrency
        assert result.replica_hours >= result.bounds.fluid - 1e-9


@given(visits=VISITS, seats=st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_a_fixed_fleet_at_the_peak_refuses_nobody(visits, seats):
    """The engine confirms what the baseline claims."""
    claimed = static_fleet(visits, seats).timeline
    size = int(claimed.ready.peak)
    rules = policy(replicas={"min": size, "max": size})
    run = simulate(rules, visits, Assumptions(seats=seats))
    assert run.timeline.refused == ()
    assert run.timeline.sessions == claimed.sessions


def test_an_office_morning_goes_as_recorded():
    """A golden run: renew `data/morning.txt` with the text that the failure shows, if it is right.

    500 users of the built-in week's first day under 20 seats a pod and 10 spare.
    """
    week = office_week(1)
    morning = trace_of("morning", week.sessions[:500])
    rules = policy(
        replicas={"min": 2, "max": 20}, metrics=[{"type": "sessions", "seats": 20, "spare": 10}]
    )
    run = simulate(rules, morning, Assumptions(seats=20, lead_time=120.0))
    assert "\n".join(told(run, morning)) + "\n" == GOLDEN.read_text()


def told(run: Run, morning: Trace) -> Iterable[str]:
    for change in run.timeline.changes:
        minute, second = divmod(int(change.at - morning.start), 60)
        yield f"{minute:4d}:{second:02d} {change.before:2d} -> {change.after:2d} {change.detail}"
    yield f"refused {len(run.timeline.refused)}, cut {run.cut}"
