"""Laws of the core that hold for every input, searched for counter-examples by hypothesis."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.decide import decide, record_scaling
from autoscaler.core.drain.deletion_order import deletion_order, first_to_go
from autoscaler.core.drain.fleet import remaining
from autoscaler.core.drain.pods import LOWEST_COST, is_drained, is_marked
from autoscaler.core.hpa.behavior import DOWN_WINDOW, stabilize_down
from autoscaler.core.now import Now
from autoscaler.core.staleness import is_cache_stale
from autoscaler.model import (
    Cause,
    Cordon,
    Logged,
    Observation,
    Occupancy,
    PodState,
    Reason,
    Sample,
    State,
)
from autoscaler.policy import Drain, Policy
from tests.builders import NOW, pod, policy

counts = st.none() | st.integers(0, 60)
ages = st.floats(0, 4_000, allow_nan=False)
logs = st.lists(st.builds(Logged, st.integers(1, 30), ages.map(lambda age: NOW - age)), max_size=8)
windows = st.none() | st.integers(0, 3_600)


CORDON = Cordon(Cause.SCALE_DOWN, NOW - 60)
NOTES: list[dict[str, Any]] = [
    {},
    {},
    {"routable": False},
    {"routable": False, "cordon": CORDON},
    {"routable": False, "cordon": CORDON, "deletion_cost": LOWEST_COST, "cost_is_ours": True},
    {"routable": False, "cordon": Cordon(Cause.FULL, NOW - 60)},
    {"routable": False, "cordon": Cordon(Cause.RESERVE, NOW - 60)},
    {"deletion_cost": -7},
]
DRAIN = Drain()

# `builds` would infer what is not given: times without an end too, which no sidecar can tell.
occupancies = st.builds(
    Occupancy,
    st.integers(0, 3),
    st.integers(0, 1),
    empty_for=st.none(),
    idle_for=st.none() | ages,
) | st.builds(Occupancy, st.just(0), empty_for=st.floats(0, 600), idle_for=st.none() | ages)
# Thousandths a second of users who come and leave; an exporter tells both or neither.
rates = st.just({}) | st.fixed_dictionaries(
    dict.fromkeys(("arrivals", "departures"), st.integers(0, 900).map(lambda n: Sample(n, NOW)))
    | {"oldest_session": ages.map(lambda age: Sample(round(NOW - age), NOW))}
)


@st.composite
def a_pod(draw: st.DrawFn) -> PodState:
    since = NOW - draw(ages)
    return pod(
        f"pod-{draw(st.integers(0, 10**6))}",
        sessions=draw(counts),
        cpu=draw(st.none() | st.integers(0, 3_000)),
        memory=draw(st.none() | st.integers(0, 2_000_000)),
        ready=draw(st.sampled_from([True, True, True, False, None])),
        phase=draw(st.sampled_from(["Running", "Running", "Running", "Pending", "Failed"])),
        deleting=draw(st.booleans()) and draw(st.booleans()),
        started_at=since - draw(st.floats(0, 100)),
        ready_since=since,
        node="a",
        **draw(st.sampled_from(NOTES)),
        occupancy=draw(st.none() | occupancies),
        **draw(rates),
    )


@st.composite
def a_policy(draw: st.DrawFn) -> Policy:
    low = draw(st.integers(1, 8))
    metrics = [{"type": "sessions", "seats": draw(st.integers(1, 30)), "spare": draw(spares)}]
    if draw(st.booleans()):
        metrics.append({"type": "cpu", "utilization": f"{draw(st.integers(1, 150))}%"})
    if draw(st.booleans()):
        metrics.append({"type": "memory", "utilization": f"{draw(st.integers(1, 100))}%"})
    overrides: dict[str, object] = {}
    if draw(st.booleans()):
        down = {"stabilizationWindowSeconds": draw(windows)}
        overrides["behavior"] = {"scaleUp": {}, "scaleDown": down}
    if draw(st.booleans()):
        overrides["cooldown"] = {"up": "30s", "down": "2m"}
    bounds = {"min": low, "max": low + draw(st.integers(0, 20))}
    return policy(metrics=metrics, replicas=bounds, **overrides)


spares = st.integers(0, 30) | st.sampled_from(["0%", "25%", "150%"])
spares |= st.sampled_from([{"refuse": "0.1%"}, {"refuse": "10%", "leadTime": "5m"}])
# Fields by name: `builds` would infer those that are not given here from their types.
states = st.none() | st.fixed_dictionaries(
    {
        "recommendations": logs.map(tuple),
        "scale_ups": logs.map(tuple),
        "scale_downs": logs.map(tuple),
        "last_scale_up": st.none() | ages.map(lambda age: NOW - age),
        "last_scale_down": st.none() | ages.map(lambda age: NOW - age),
        "blind_since": st.none() | ages.map(lambda age: NOW - age),
        "seen_at": st.none() | ages.map(lambda age: NOW - age),
    }
).map(lambda fields: State(**fields))


@st.composite
def an_observation(draw: st.DrawFn) -> Observation:
    pods = tuple(draw(st.lists(a_pod(), max_size=8, unique_by=lambda pod: pod.uid)))
    replicas = draw(st.integers(0, 30)) if draw(st.booleans()) else len(pods)
    return Observation(
        replicas,
        pods,
        replicas,
        rollout_in_progress=draw(st.booleans()),
        confirmed_at=draw(st.none() | ages.map(lambda age: NOW - age)),
    )


@given(a_policy(), an_observation(), states)
def test_the_number_stays_within_the_bounds_unless_that_would_end_a_session(
    chosen: Policy, seen: Observation, state: State | None
) -> None:
    decision, _ = decide(chosen, seen, state, NOW)

    if seen.replicas == 0:
        assert decision.desired == 0
    else:
        assert decision.desired <= max(chosen.replicas.max, seen.replicas)
        is_held = any(step.reason is Reason.STALE_CACHE for step in decision.steps)
        assert is_held or decision.desired >= chosen.replicas.min


@given(a_policy(), an_observation(), states)
def test_a_shrink_takes_exactly_marked_pods_that_are_certain_to_go(
    chosen: Policy, seen: Observation, state: State | None
) -> None:
    decision, _ = decide(chosen, seen, state, NOW)

    assert decision.drain is not None or seen.replicas == 0
    remove = decision.drain.remove if decision.drain else ()
    assert max(0, decision.current - decision.desired) == len(remove)
    assert all(is_marked(pod) and is_drained(pod, DRAIN, inf, Now(NOW)) for pod in remove)
    if remove:
        assert first_to_go(seen.pods, len(remove), NOW) == {pod.uid for pod in remove}


@given(a_policy(), an_observation(), states)
def test_new_users_find_a_pod_if_one_serves_or_is_in_reserve(
    chosen: Policy, seen: Observation, state: State | None
) -> None:
    decision, _ = decide(chosen, seen, state, NOW)

    notes = {pod.uid: note for pod, note in decision.drain.marks} if decision.drain else {}
    stays = remaining(seen.pods, seen.replicas, Now(NOW)) if seen.replicas else ()
    warm = [pod for pod in stays if pod.serving and pod.is_available]
    before = [pod for pod in seen.pods if pod.serving and pod.routable] + warm
    after = [p for p in seen.pods if p.serving and notes.get(p.uid, p).routable]
    assert after or not before


@given(a_policy(), an_observation(), states)
def test_a_stale_cache_leads_to_one_scale_up_and_to_nothing_that_ends_a_session(
    chosen: Policy, seen: Observation, state: State | None
) -> None:
    decision, _ = decide(chosen, seen, state, NOW)

    if not is_cache_stale(seen.confirmed_at, Now(NOW)) or seen.other_autoscaler is not None:
        return
    assert decision.desired >= decision.current
    last = state.last_scale_up if state else None
    if last is not None and seen.confirmed_at is not None and last > seen.confirmed_at:
        assert decision.desired == decision.current
    for each, marks in decision.drain.marks if decision.drain else ():
        assert marks.cost in (None, each.deletion_cost)
        assert marks.cordon in (None, each.cordon) or marks.cordon.cause is not Cause.SCALE_DOWN


@given(a_policy(), an_observation(), states)
def test_every_change_has_a_reason(chosen: Policy, seen: Observation, state: State | None) -> None:
    decision, _ = decide(chosen, seen, state, NOW)

    assert decision.direction == "none" or decision.steps[-1].replicas == decision.desired
    assert all(step.detail for step in decision.steps)


@given(a_policy(), an_observation(), states, st.integers(-(10**6), 10**6))
def test_only_differences_of_time_matter(
    chosen: Policy, seen: Observation, state: State | None, shift: int
) -> None:
    at = seen.confirmed_at
    moved = replace(
        seen,
        pods=tuple(_moved(p, shift) for p in seen.pods),
        confirmed_at=None if at is None else at + shift,
    )
    later = None if state is None else state.shifted(shift)

    here, _ = decide(chosen, seen, state, NOW)
    there, _ = decide(chosen, moved, later, NOW + shift)

    assert (here.desired, [s.reason for s in here.steps]) == (
        there.desired,
        [s.reason for s in there.steps],
    )


def _moved(p: PodState, shift: float) -> PodState:
    def sample(s: Sample | None) -> Sample | None:
        return s and s._replace(at=s.at + shift)

    return replace(
        p,
        sessions=sample(p.sessions),
        cpu=sample(p.cpu),
        memory=sample(p.memory),
        started_at=None if p.started_at is None else p.started_at + shift,
        ready_since=None if p.ready_since is None else p.ready_since + shift,
        created_at=None if p.created_at is None else p.created_at + shift,
        cordon=p.cordon and p.cordon._replace(at=p.cordon.at + shift),
    )


@given(a_policy(), an_observation(), states, st.randoms())
def test_the_order_of_the_pods_does_not_matter(
    chosen: Policy, seen: Observation, state: State | None, random: object
) -> None:
    shuffled = list(seen.pods)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    here, _ = decide(chosen, seen, state, NOW)
    there, _ = decide(chosen, replace(seen, pods=tuple(shuffled)), state, NOW)

    assert here.desired == there.desired


@given(st.lists(a_pod(), max_size=8, unique_by=lambda pod: pod.uid), st.randoms())
def test_pods_that_the_controller_does_not_tell_apart_come_in_one_order(
    pods: list[PodState], random: object
) -> None:
    shuffled = list(pods)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert deletion_order(shuffled, NOW) == deletion_order(pods, NOW)


@given(a_policy(), an_observation(), states)
def test_deciding_twice_on_the_same_values_gives_the_same_answer(
    chosen: Policy, seen: Observation, state: State | None
) -> None:
    assert decide(chosen, seen, state, NOW) == decide(chosen, seen, state, NOW)


@given(a_policy(), st.lists(st.integers(0, 40), min_size=1, max_size=6), st.data())
def test_more_sessions_never_ask_for_fewer_pods(
    chosen: Policy, sessions: list[int], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(sessions) - 1))
    more = [count + (1 if i == index else 0) for i, count in enumerate(sessions)]

    assert _asked(chosen, more) >= _asked(chosen, sessions)


def _asked(chosen: Policy, sessions: list[int]) -> int:
    seen = Observation(
        len(sessions), tuple(pod(f"p{i}", sessions=count) for i, count in enumerate(sessions))
    )
    decision, _ = decide(chosen, seen, State(seen_at=NOW - 5), NOW)
    return decision.recommendations[0].replicas or 0


@given(logs, st.integers(1, 30))
def test_forgetting_what_is_out_of_the_window_changes_nothing(
    log: list[Logged], desired: int
) -> None:
    recent = tuple(entry for entry in log if entry.at >= NOW - DOWN_WINDOW)

    kept = stabilize_down(desired, tuple(log), Now(NOW)).replicas

    assert kept == stabilize_down(desired, recent, Now(NOW)).replicas


@settings(max_examples=50)
@given(a_policy(), st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12), max_size=80))
def test_the_memory_stays_as_long_as_a_window(chosen: Policy, history: list[list[int]]) -> None:
    state: State | None = None
    for index, sessions in enumerate(history):
        now = NOW + 60 * index
        seen = Observation(
            len(sessions), tuple(pod(str(i), sessions=s) for i, s in enumerate(sessions))
        )
        decision, state = decide(chosen, seen, state, now)
        if decision.desired != decision.current:
            state = record_scaling(state, chosen, decision.current, decision.desired, now)

    assert state is None or len(state.recommendations) <= 63
    assert state is None or len(state.scale_ups) + len(state.scale_downs) <= 62
