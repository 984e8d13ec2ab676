"""What a pass tells: an Event and a log line each time that something begins, and no more."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from autoscaler.commands.decide import as_text
from autoscaler.control.pass_result import Outcome
from autoscaler.model import Cause, Cordon, PodMarks, TargetRef
from autoscaler.reporting.events import mark_messages, pod_messages
from tests.builders import NOW, pod, policy
from tests.control.test_controller import APP, DASHBOARDS, World, cordoned
from tests.fakes import FakeCluster
from tests.lab.processes import wait_until


@pytest.fixture
def world() -> World:
    return World()


def test_each_cordon_and_uncordon_is_one_event_with_pod_cause_and_numbers(world: World) -> None:
    world.cluster.deploy(APP, 5, 2, 1)
    world.run(passes=63)
    world.cluster.sessions[APP.namespace, "pod-0"] = 25
    world.run(passes=3)

    marks = [text for _, reason, text in world.cluster.events if reason.endswith("ordoned")]
    waits = "to be deleted once it has no session"
    full = "full: new sessions go to other pods until it has room"
    assert [mark for mark in marks if "pod-1" not in mark] == [
        f"dashboards: cordoned pod pod-2 ({waits}): 1 session, 10 seats",
        "dashboards: uncordoned pod pod-2 (it is needed again): 1 session, 10 seats",
        f"dashboards: cordoned pod pod-0 ({full}): 25 sessions, 10 seats",
    ]


def test_the_numbers_of_a_cordon_tell_of_memory_where_it_is_known() -> None:
    full = pod(sessions=3, memory=910_000)
    note = PodMarks(False, Cordon(Cause.FULL, NOW))

    [message] = mark_messages(full, note, policy())

    assert message.text.endswith("3 sessions, 10 seats, memory at 91 % of its limit")


def test_what_is_taken_back_from_a_policy_that_is_gone_is_told(world: World) -> None:
    world.cluster.deploy(APP, 5, 1, 0)
    world.run(passes=66)
    names = cordoned(world)
    world.cluster.events.clear()

    world.policies.policies = ()
    world.run()

    assert [(reason, text) for _, reason, text in world.cluster.events] == [
        ("Uncordoned", f"uncordoned pod {name} (it is no longer drained): no session count")
        for name in sorted(names)
    ]


def test_the_cause_is_not_load_where_pods_are_not_drained_any_more(world: World) -> None:
    world.cluster.deploy(APP, 5, 1, 0)
    world.run(passes=66)
    names = cordoned(world)
    world.cluster.events.clear()

    state = world.cluster.targets[APP]
    world.cluster.targets[APP] = replace(state, other_autoscaler="HorizontalPodAutoscaler app")
    world.run()

    told = [text for _, reason, text in world.cluster.events if reason == "Uncordoned"]
    assert [text.partition(":")[2].partition(":")[0] for text in told] == [
        f" uncordoned pod {name} (it is no longer drained)" for name in sorted(names)
    ]


def test_a_hold_is_told_again_after_an_hour_and_not_at_each_of_its_flickers(world: World) -> None:
    world.cluster.deploy(APP, 5, 0, 0)
    del world.cluster.sessions[APP.namespace, "pod-2"]
    world.run(passes=62)
    assert world.told() == ["PartialData"]

    for _ in range(20):
        world.cluster.sessions[APP.namespace, "pod-2"] = 5
        world.run(passes=3)
        del world.cluster.sessions[APP.namespace, "pod-2"]
        world.run(passes=3)
    assert world.told() == ["PartialData"]

    world.run(passes=720)
    assert world.told() == ["PartialData"] * 2


def test_an_api_server_that_is_slow_to_take_events_holds_no_pass_up() -> None:
    class SlowEvents(FakeCluster):
        def __init__(self) -> None:
            super().__init__()
            self.go_on = threading.Event()

        def announce(
            self, ref: TargetRef, uid: str, reason: str, message: str, *, warning: bool
        ) -> None:
            self.go_on.wait(60)
            super().announce(ref, uid, reason, message, warning=warning)

    cluster = SlowEvents()
    cluster.deploy(APP, 10, 12)
    world = World(cluster=cluster)
    began = time.monotonic()
    world.run(passes=3)

    assert time.monotonic() - began < 20
    assert cluster.replicas(APP) == 3
    cluster.go_on.set()
    wait_until(lambda: world.told() == ["SuccessfulRescale"], 10, "the Event")


def test_pods_that_wait_for_idle_sessions_are_named_once_a_period(world: World) -> None:
    world.cluster.deploy(APP, *[1] * 4)
    world.run(passes=60 + 2 * 725)

    told = [text for _, reason, text in world.cluster.events if reason == "IdleSessions"]
    assert len(told) == 2
    assert told[0].startswith("dashboards: 3 pods have been draining for 1h or longer: pod-")
    assert told[0].count("(1 session, idle for an unknown time, cordoned for 1h)") == 3


def test_a_pod_cordoned_by_hand_is_counted_as_such(world: World) -> None:
    world.cluster.deploy(APP, 5, 2)
    state = world.cluster.targets[APP]
    byhand = replace(state.pods[1], routable=False)
    world.cluster.targets[APP] = replace(state, pods=(state.pods[0], byhand))
    world.run(passes=2)

    assert world.metric("cordoned_pods", cause="hand", **DASHBOARDS) == 1
    assert world.metric("cordoned_pod", pod="pod-1", cause="hand", **DASHBOARDS) == 1
    assert world.metric("cordoned_pod", pod="pod-0", cause="hand", **DASHBOARDS) is None
    assert world.metric("cordoned_pods", cause="scale-down", **DASHBOARDS) is None
    assert "pod-1" in world.cluster.asked


def test_pods_that_are_put_in_reserve_and_opened_again_are_told_by_no_event() -> None:
    reserve = Cordon(Cause.RESERVE, NOW - 60)
    closed = (pod("a"), PodMarks(False, reserve))
    opened = (pod("b", routable=False, cordon=reserve), PodMarks(True))
    drained = (opened[0], PodMarks(False, Cordon(Cause.SCALE_DOWN, NOW)))

    told = list(pod_messages(Outcome(policy(), marked=(closed, opened, drained))))

    assert [(each.name, message.reason) for each, message in told] == [("b", "Cordoned")]


def test_how_long_new_pods_take_is_a_metric(world: World) -> None:
    world.cluster.deploy(APP, 5, 2)
    state = world.cluster.targets[APP]
    old, other = state.pods
    new = replace(other, phase="Pending", ready=None, ready_since=None, created_at=NOW)
    for seen in (new, replace(other, created_at=NOW, ready_since=NOW + 30)):
        world.cluster.targets[APP] = replace(state, pods=(old, seen))
        world.run(passes=1)

    assert world.metric("lead_time_seconds", node="at_once", **DASHBOARDS) == 30
    assert world.metric("lead_time_seconds", node="waited", **DASHBOARDS) is None


def test_what_a_target_costs_is_a_metric_beside_the_bounds_of_its_sessions(world: World) -> None:
    world.cluster.deploy(APP, 9, 1, 1)
    world.run(passes=1)

    assert world.metric("cost_replicas", kind="billed", **DASHBOARDS) == 3
    assert world.metric("cost_replicas", kind="sticky_bound", **DASHBOARDS) == 2
    assert world.metric("cost_replicas", kind="fluid_bound", **DASHBOARDS) == 2

    world.cluster.sessions[APP.namespace, "pod-0"] = 8
    world.run(passes=1)
    assert world.metric("cost_replicas", kind="sticky_bound", **DASHBOARDS) == 2, "nobody moves"
    assert world.metric("cost_replicas", kind="fluid_bound", **DASHBOARDS) == 1

    world.policies.policies = ()
    world.run(passes=1)
    assert world.metric("cost_replicas", kind="billed", **DASHBOARDS) is None


def test_with_other_seats_the_sessions_of_the_bound_are_packed_anew(world: World) -> None:
    world.cluster.deploy(APP, 9, 9)
    world.run(passes=1)

    few = [{"type": "sessions", "seats": 3}]
    world.policies.policies = (policy(metrics=few),)
    world.run(passes=1)
    assert world.metric("cost_replicas", kind="sticky_bound", **DASHBOARDS) == 6


def test_without_seats_there_are_no_bounds() -> None:
    world = World(policy(metrics=[{"type": "cpu", "utilization": "70%"}]))
    world.cluster.deploy(APP, 9, 1)
    world.run(passes=1)

    assert world.metric("cost_replicas", kind="billed", **DASHBOARDS) == 2
    assert world.metric("cost_replicas", kind="sticky_bound", **DASHBOARDS) is None


def test_the_price_of_a_replica_hour_is_a_metric_if_it_is_known(world: World) -> None:
    assert world.metric("replica_hour_price") is None

    world.telemetry.show_price(0.12)
    assert world.metric("replica_hour_price") == 0.12


def test_decide_prints_every_hold_a_line_each_and_not_only_the_first(world: World) -> None:
    world.cluster.deploy(APP, 5, 1)
    [outcome] = world.run().outcomes
    assert outcome.decided is not None
    assert outcome.observed is not None
    pods = tuple(replace(each, labelled=False) for each in outcome.observed.pods)
    seen = replace(outcome.observed, pods=pods, rollout_in_progress=True)
    decided = outcome.decided._replace(observed=seen)

    printed = as_text(replace(outcome, decided=decided)).splitlines()

    blocks = printed[printed.index("A scale-down is blocked by") + 1 :]
    assert [line.split(":")[0].strip() for line in blocks] == ["RolloutInProgress", "NotCordonable"]
    assert "A scale-down is blocked by" not in as_text(outcome)
