"""The pipeline's promises, a table a step. Time is an argument; nothing here waits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.decide import decide, record_scaling
from autoscaler.core.holds import blocking
from autoscaler.core.now import Now
from autoscaler.model import Observation, Reason, Sample, State, Unavailable
from autoscaler.policy import Policy
from tests.builders import NOW, observation, pod, pods, policy

SETTLED = State(seen_at=NOW - 5)
"""A target that has been watched for long, with no recommendation in any window."""


def desired(chosen: Policy, seen: Observation, state: State | None = SETTLED) -> tuple[int, Reason]:
    decision, _ = decide(chosen, seen, state, NOW)
    return decision.desired, decision.reason


def sessions(seats: int = 10, spare: Any = 0, **overrides: Any) -> Policy:
    metric = {"type": "sessions", "seats": seats, "spare": spare}
    return policy(metrics=[metric], **overrides)


@pytest.mark.parametrize(
    ("chosen", "seen", "expected"),
    [
        pytest.param(sessions(), observation(10, 10), 2, id="full pods without spare stay"),
        pytest.param(sessions(), observation(11, 10), 3, id="one session too many adds a pod"),
        pytest.param(sessions(spare=5), observation(10, 6), 3, id="spare seats are added"),
        pytest.param(sessions(spare="50%"), observation(10, 10), 3, id="spare as a share"),
        pytest.param(sessions(spare="0%"), observation(10, 10), 2, id="no share, no spare"),
        pytest.param(sessions(), observation(300), 20, id="max bounds the growth"),
        pytest.param(
            sessions(drain="none"), observation(0, 0, 0), 1, id="three empty pods shrink to min"
        ),
    ],
)
def test_sessions_need_seats(chosen: Policy, seen: Observation, expected: int) -> None:
    assert desired(chosen, seen)[0] == expected


@pytest.mark.parametrize("ended", [{"phase": "Failed"}, {"phase": "Succeeded"}, {"deleting": True}])
def test_where_all_pods_ended_there_is_no_pod(ended: dict[str, Any]) -> None:
    metric = {"type": "prometheus", "query": "load", "value": 1}
    seen = observation(
        pods=(replace(pod("ended"), ready=False, **ended),),
        replicas=5,
        status_replicas=5,
        external={"load": Sample(0, NOW)},
    )
    decision, _ = decide(policy(metrics=[metric]), seen, SETTLED, NOW)

    assert decision.desired == 5
    assert "no pods returned" in decision.recommendations[0].detail


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
@pytest.mark.parametrize(
    ("metrics", "load"),
    [
        pytest.param([{"type": "sessions", "seats": 10}], {"sessions": 1}, id="sessions"),
        pytest.param([{"type": "cpu", "utilization": "70%"}], {"cpu": 50}, id="CPU"),
        pytest.param([{"type": "memory", "utilization": "70%"}], {"memory": 50}, id="memory"),
        pytest.param([{"type": "prometheus", "query": "load", "perReplica": 1}], {}, id="a query"),
        pytest.param([{"type": "prometheus", "query": "load", "value": 10}], {}, id="a ratio"),
    ],
)
def test_what_is_left_of_a_pod_that_ended_holds_nothing(
    metrics: list[dict[str, Any]], load: dict[str, int], phase: str
) -> None:
    """An evicted pod of an older template, whose cost somebody wrote and which we once marked."""
    live = [pod(f"p{index}", **load, node="a") for index in range(6)]
    for alone in ({}, {"labelled": False}, {"deletion_cost": -9}, {"replica_set": "older"}):
        ended = pod("ended", phase=phase, ready=False, ready_since=NOW - 3_600, **alone)
        seen = observation(
            pods=(*live, ended),
            replicas=6,
            status_replicas=6,
            external={"load": Sample(1_000, NOW)},
        )
        decision, _ = decide(policy(metrics=metrics), seen, SETTLED, NOW)
        assert decision.drain is not None
        assert len([note for _, note in decision.drain.marks if not note.routable]) == 5, alone
        assert decision.reason is Reason.SESSIONS_STILL_OPEN, "5 go when they are empty"


def test_without_drains_a_shrink_is_patched_at_once_as_hpa_does() -> None:
    assert desired(sessions(drain="none"), observation(3, 3, 3))[0] == 1


@pytest.mark.parametrize(
    ("seen", "expected", "reason"),
    [
        pytest.param(
            observation(10, None),
            2,
            Reason.DESIRED_WITHIN_RANGE,
            id="a pod without data is full",
        ),
        pytest.param(
            observation(12, None), 3, Reason.METRIC_ABOVE_TARGET, id="partial data may add replicas"
        ),
        pytest.param(
            observation(0, 0, 0, None),
            4,
            Reason.PARTIAL_DATA,
            id="partial data never removes replicas",
        ),
        pytest.param(
            observation(None, None),
            2,
            Reason.FAILED_GET_SESSIONS_METRIC,
            id="no data from any pod holds",
        ),
        pytest.param(
            observation(0, 0, unavailable={"sessions": "Prometheus answered 401"}),
            2,
            Reason.FAILED_GET_SESSIONS_METRIC,
            id="a failing source holds",
        ),
    ],
)
def test_missing_is_never_zero(seen: Observation, expected: int, reason: Reason) -> None:
    assert desired(sessions(), seen) == (expected, reason)


def test_pods_that_are_still_starting_do_not_count_as_full() -> None:
    starting = pod("new", ready=False, ready_since=NOW - 9, started_at=NOW - 10)
    just_ready = pod("newer", ready=True, ready_since=NOW - 2, started_at=NOW - 10)
    seen = observation(pods=(*pods(10, 10), starting, just_ready))

    assert decide(sessions(spare=10), seen, SETTLED, NOW)[0].recommendations[0].replicas == 3


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(None, 3, id="at first sight the present number is kept for a window"),
        pytest.param(State(seen_at=NOW - 3600), 3, id="after an outage of ours likewise"),
        pytest.param(SETTLED, 1, id="a target that was watched all along shrinks"),
    ],
)
def test_a_fresh_start_shrinks_nothing(state: State | None, expected: int) -> None:
    assert desired(sessions(drain="none"), observation(0, 0, 0), state)[0] == expected


def test_the_first_shrink_after_missing_data_waits_a_full_window() -> None:
    chosen, state = sessions(drain="none"), SETTLED
    _, state = decide(chosen, observation(None, None, None), state, NOW)

    trail = {}
    for seconds in range(5, 320, 5):
        decision, state = decide(chosen, observation(0, 0, 0), state, NOW + seconds)
        trail[seconds] = decision.desired

    assert {trail[seconds] for seconds in range(5, 305, 5)} == {3}
    assert trail[305] == 1


def test_blind_for_longer_than_the_fallback_grows_to_it_and_never_below_the_present() -> None:
    chosen = sessions(fallback={"after": "10m", "replicas": 6})
    blind = SETTLED._replace(blind_since=NOW - 601)

    assert desired(chosen, observation(None, None), blind) == (6, Reason.FALLBACK)
    assert desired(chosen, observation(*[None] * 8), blind)[0] == 8
    assert desired(chosen, observation(None, None), blind._replace(blind_since=NOW - 9))[0] == 2


def test_during_a_rollout_only_growth_is_allowed() -> None:
    shrinking = observation(0, 0, 0, rollout_in_progress=True)
    growing = observation(10, 15, rollout_in_progress=True)

    assert desired(sessions(), shrinking) == (3, Reason.ROLLOUT_IN_PROGRESS)
    stopped = replace(shrinking, paused=True)
    assert desired(sessions(), stopped) == (3, Reason.ROLLOUT_PAUSED)
    idle = observation(0, 0, 0, paused=True)
    assert desired(sessions(drain="none"), idle)[0] == 1, "without a rollout it scales as ever"
    assert desired(sessions(), growing)[0] == 3


@pytest.mark.parametrize(
    ("sessions_of_pods", "age", "last_scale_up", "expected"),
    [
        pytest.param((1, 1, 1), 44, None, (1, Reason.METRIC_BELOW_TARGET), id="fresh enough"),
        pytest.param((1, 1, 1), 46, None, (3, Reason.STALE_CACHE), id="stale, and too many pods"),
        pytest.param((10, 10, 9), 46, None, (3, Reason.DESIRED_WITHIN_RANGE), id="just enough"),
        pytest.param((20, 20), 46, None, (4, Reason.METRIC_ABOVE_TARGET), id="the first scale-up"),
        pytest.param((20, 20), 46, 50, (4, Reason.METRIC_ABOVE_TARGET), id="one from before"),
        pytest.param((20, 20), 46, 40, (2, Reason.STALE_CACHE), id="the second scale-up"),
        pytest.param((20, 20), 30, 20, (4, Reason.METRIC_ABOVE_TARGET), id="fresh enough for two"),
    ],
)
def test_a_stale_cache_holds_scale_downs_and_all_scale_ups_but_one(
    sessions_of_pods: tuple[int, ...],
    age: float,
    last_scale_up: float | None,
    expected: tuple[int, Reason],
) -> None:
    """Times in seconds before now."""
    seen = observation(*sessions_of_pods, confirmed_at=NOW - age)
    last = None if last_scale_up is None else NOW - last_scale_up
    state = SETTLED._replace(last_scale_up=last)

    assert desired(sessions(drain="none"), seen, state) == expected


@pytest.mark.parametrize("drain", [{}, "none"], ids=["with drains", "without"])
def test_a_lowered_maximum_waits_for_the_end_of_a_rollout(drain: object) -> None:
    seen = observation(10, 10, 10, rollout_in_progress=True)
    lowered = sessions(replicas={"min": 1, "max": 2}, drain=drain)

    assert desired(lowered, seen) == (3, Reason.ROLLOUT_IN_PROGRESS)


@pytest.mark.parametrize(
    ("current", "load", "expected"),
    [
        pytest.param(2, 80, 8, id="too few, and load for more: HPA would first set 5"),
        pytest.param(2, 30, 5, id="too few, and load for fewer"),
        pytest.param(2, None, 5, id="too few, and no metric"),
        pytest.param(12, 80, 8, id="too many, and load for fewer: HPA would first set 10"),
        pytest.param(12, 300, 10, id="too many, and load for more"),
        pytest.param(12, None, 10, id="too many, and no metric"),
    ],
)
def test_a_count_outside_the_bounds_is_decided_by_the_metrics_in_the_same_pass(
    current: int, load: int | None, expected: int
) -> None:
    """The one deliberate difference from HPA in a sync (docs/decisions/0002-pure-core.md)."""
    rules = policy(
        replicas={"min": 5, "max": 10},
        metrics=[{"type": "prometheus", "query": "load", "perReplica": 10}],
        drain="none",
    )
    external = {} if load is None else {"load": Sample(1_000 * load, NOW)}
    assert desired(rules, Observation(current, external=external))[0] == expected


def test_a_target_scaled_to_0_by_hand_is_left_alone() -> None:
    assert desired(sessions(), Observation(replicas=0)) == (0, Reason.SCALING_DISABLED)


@pytest.mark.parametrize(
    ("overrides", "state", "seen", "expected"),
    [
        pytest.param(
            {"cooldown": {"up": "1m"}},
            SETTLED._replace(last_scale_up=NOW - 30),
            observation(15),
            (1, Reason.COOLDOWN_UP),
            id="growth rests after growth",
        ),
        pytest.param(
            {"cooldown": {"up": "1m"}},
            SETTLED._replace(last_scale_up=NOW - 60),
            observation(15),
            (2, Reason.METRIC_ABOVE_TARGET),
            id="and goes on when the rest is over",
        ),
        pytest.param(
            {"cooldown": {"down": "5m"}},
            SETTLED._replace(last_scale_up=NOW - 30),
            observation(0, 0),
            (2, Reason.COOLDOWN_DOWN),
            id="a shrink rests after growth too",
        ),
        pytest.param(
            {"cooldown": {"down": "5m"}},
            SETTLED._replace(last_scale_down=NOW - 30),
            observation(15),
            (2, Reason.METRIC_ABOVE_TARGET),
            id="growth does not wait for the shrink's rest",
        ),
    ],
)
def test_cooldowns(
    overrides: dict[str, Any], state: State, seen: Observation, expected: tuple[int, Reason]
) -> None:
    assert desired(sessions(**overrides), seen, state) == expected


CPU = {"type": "cpu", "utilization": "50%"}
MEMORY = {"type": "memory", "utilization": "50%"}
SEATS = {"type": "sessions", "seats": 10}


@pytest.mark.parametrize(
    ("metrics", "seen", "expected"),
    [
        pytest.param([CPU], observation(1, 1, pods=pods(1, 1, cpu=1000)), 4, id="cpu doubles"),
        pytest.param(
            [SEATS, CPU],
            observation(pods=pods(10, 10, 10, cpu=100)),
            3,
            id="the maximum of several metrics wins",
        ),
        pytest.param(
            [SEATS, MEMORY],
            observation(pods=pods(10, 10, memory=800_000)),
            4,
            id="memory adds replicas",
        ),
        pytest.param(
            [SEATS, MEMORY],
            observation(pods=pods(8, 0, 0, memory=500_000)),
            1,
            id="memory never keeps replicas that sessions let go",
        ),
        pytest.param(
            [MEMORY], observation(pods=pods(0, 0, memory=500_000)), 2, id="memory alone holds"
        ),
        pytest.param(
            [SEATS, CPU],
            observation(0, 0, 0),
            3,
            id="a metric without data blocks the way down",
        ),
        pytest.param(
            [SEATS, CPU], observation(10, 15), 3, id="a metric without data does not block growth"
        ),
    ],
)
def test_several_metrics(metrics: list[Any], seen: Observation, expected: int) -> None:
    assert desired(policy(metrics=metrics, drain="none"), seen)[0] == expected


@pytest.mark.parametrize(
    ("target", "sample", "expected"),
    [
        ({"perReplica": 50}, Sample(240_000, NOW), 5),
        ({"value": 100}, Sample(150_000, NOW), 3),
        ({"perReplica": 50}, Unavailable("the query returned no series"), 2),
    ],
    ids=["shared out over replicas", "one figure for all", "nothing holds"],
)
def test_a_query_of_the_users_own(target: dict[str, Any], sample: Any, expected: int) -> None:
    chosen = policy(metrics=[{"type": "prometheus", "query": "q", **target}])
    seen = observation(0, 0, external={"q": sample})

    assert desired(chosen, seen)[0] == expected


def test_one_figure_for_all_says_nothing_while_the_target_has_no_pods() -> None:
    chosen = policy(metrics=[{"type": "prometheus", "query": "q", "value": 100}], drain="none")
    seen = observation(replicas=4, external={"q": Sample(150_000, NOW)})

    assert desired(chosen, seen) == (4, Reason.FAILED_GET_EXTERNAL_METRIC)


def test_a_pasted_behavior_stanza_means_what_hpa_means_by_it() -> None:
    chosen = sessions(behavior={"scaleDown": {"stabilizationWindowSeconds": 300}})

    assert desired(chosen, observation(200, 0, 0)) == (7, Reason.SCALE_UP_LIMIT)
    assert desired(sessions(), observation(200, 0, 0))[0] == 20, "without one, growth is free"


STANZA = {"scaleDown": {"stabilizationWindowSeconds": 0}}
BY_TWO = [{"type": "Pods", "value": 2, "periodSeconds": 60}]


@pytest.mark.parametrize(
    ("stanza", "bounds", "load", "told"),
    [
        pytest.param(
            STANZA,
            (2, 20),
            [0, 0, 0],
            "TooFewReplicas: 1 replica wanted, the minimum is 2",
            id="the minimum, where no rate policy is set",
        ),
        pytest.param(
            STANZA,
            (1, 4),
            [10, 10, 10, 10],
            "TooManyReplicas: 5 replicas wanted, the maximum is 4",
            id="the maximum, where the count is there already",
        ),
        pytest.param(
            {"scaleUp": {"policies": BY_TWO}},
            (1, 4),
            [30, 30],
            "TooManyReplicas: 7 replicas wanted, the maximum is 4",
            id="the maximum, which the rate policy would just allow",
        ),
        pytest.param(
            {"scaleUp": {"policies": BY_TWO}},
            (1, 20),
            [30, 30],
            "ScaleUpLimit: 7 replicas wanted, the rate policy allows 4",
            id="the rate policy, where it has the last word",
        ),
    ],
)
def test_a_limit_says_which_one_it_is(
    stanza: dict[str, Any], bounds: tuple[int, int], load: list[int], told: str
) -> None:
    least, most = bounds
    chosen = sessions(spare=1, behavior=stanza, replicas={"min": least, "max": most}, drain="none")

    decision, _ = decide(chosen, observation(*load), SETTLED, NOW)

    assert f"{decision.reason}: {decision.detail}" == told


def test_a_change_is_remembered_for_the_rate_policies() -> None:
    stanza = {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}
    chosen = sessions(behavior=stanza)
    state = record_scaling(SETTLED, chosen, 1, 3, NOW - 30)

    assert desired(chosen, observation(90, 0, 0), state) == (3, Reason.SCALE_UP_LIMIT)
    later = state._replace(scale_ups=tuple(e._replace(at=NOW - 61) for e in state.scale_ups))
    assert desired(chosen, observation(90, 0, 0), later)[0] == 5


def test_a_change_takes_the_place_of_one_older_than_its_own_directions_periods() -> None:
    """Seen in the real HPA: 14 - 14 + 14 less 10 % is 12, although 7 were added 55 s ago too."""
    down = {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]}
    stanza = {"scaleDown": {"stabilizationWindowSeconds": 0, **down}}
    chosen = sessions(behavior=stanza, drain="none")
    state = SETTLED
    for before, after, age in ((7, 14, 55), (14, 28, 39), (28, 14, 25)):
        state = record_scaling(state, chosen, before, after, NOW - age)

    assert [entry.replicas for entry in state.scale_ups] == [14]
    assert desired(chosen, observation(*[1] * 14), state) == (12, Reason.SCALE_DOWN_LIMIT)


def test_every_move_leaves_a_reason_a_person_can_read() -> None:
    decision, _ = decide(sessions(spare=5), observation(10, 16), SETTLED, NOW)

    assert [step.reason for step in decision.steps] == [Reason.METRIC_ABOVE_TARGET]
    assert decision.detail == "sessions: (26 connected + 5 spare) / 10 seats"


def test_cpu_of_a_pod_that_is_warming_up_does_not_count() -> None:
    hot = pod("hot", sessions=0, cpu=1000, started_at=NOW - 20, ready_since=NOW - 10)
    seen = observation(pods=(*pods(0, 0, cpu=500), hot))

    assert desired(policy(metrics=[CPU]), seen)[0] == 3


def test_all_that_blocks_a_scale_down_is_named_and_not_only_what_the_decision_came_to() -> None:
    metrics = [
        {"type": "sessions", "seats": 10},
        {"type": "prometheus", "query": "load", "perReplica": 1},
    ]
    troubled = [
        pod("bare", sessions=0, labelled=False),
        pod("silent"),
        pod("foreign", sessions=0, deletion_cost=-9, cost_writer="karpenter"),
    ]
    seen = observation(
        pods=tuple(troubled), rollout_in_progress=True, other_autoscaler="the HPA web"
    )
    state = SETTLED._replace(mismatch_at=NOW - 60)

    decision, _ = decide(policy(metrics=metrics), seen, state, NOW)
    blocks = list(
        blocking(policy(metrics=metrics), seen, decision.recommendations, state, Now(NOW))
    )

    assert [step.reason for step in blocks] == [
        Reason.FAILED_GET_EXTERNAL_METRIC,
        Reason.PARTIAL_DATA,
        Reason.ROLLOUT_IN_PROGRESS,
        Reason.VICTIM_MISMATCH,
        Reason.NOT_CORDONABLE,
        Reason.OTHER_AUTOSCALER,
        Reason.FOREIGN_DELETION_COST,
    ]
    assert {step.reason for step in decision.steps} < {step.reason for step in blocks}
    label = blocks[4].detail
    order = [label.index(each) for each in ("pod template", "rollout", "Service's selector")]
    assert order == sorted(order)


def test_nothing_blocks_a_scale_down_of_a_target_in_order() -> None:
    seen, chosen = observation(0, 0, 5), sessions()
    decision, _ = decide(chosen, seen, SETTLED, NOW)

    assert not list(blocking(chosen, seen, decision.recommendations, SETTLED, Now(NOW)))
