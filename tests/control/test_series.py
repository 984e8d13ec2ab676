"""What is gone leaves no series, no gauge and no text behind: policies of tenants come and go."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import generate_latest

from autoscaler.control.pass_result import Recorder
from autoscaler.model import TargetRef
from autoscaler.policy import Policy
from autoscaler.reporting.event_recorder import EventRecorder
from autoscaler.reporting.logs import LogRecorder
from autoscaler.reporting.status import TOLD_FOR
from tests.builders import policy
from tests.control.test_controller import APP, World


def tenant(number: int, **more: object) -> Policy:
    target = {"namespace": "bokeh", "deployment": f"app-{number}"}
    return policy(name=f"tenant-{number}", target=target, **more)


def lines(world: World) -> list[str]:
    """Of /metrics, each without its value."""
    text = generate_latest(world.telemetry.registry).decode().splitlines()
    return [line.rpartition(" ")[0] for line in text if not line.startswith("#")]


def test_a_hundred_tenants_leave_the_series_of_the_last_one() -> None:
    world = World()
    for number in range(100):
        world.cluster.deploy(TargetRef("bokeh", f"app-{number}"), 10, 12, uid=f"uid-{number}")
        world.policies.policies = (tenant(number),)
        world.policies.problems = {f"file-{number}.yaml": ("wrong",)}
        world.run()

    assert not [line for line in lines(world) if "tenant-98" in line or "file-98" in line]
    assert [line for line in lines(world) if "tenant-99" in line]
    alone = World(tenant(0))
    alone.cluster.deploy(TargetRef("bokeh", "app-0"), 10, 12)
    alone.policies.problems = {"file-0.yaml": ("wrong",)}
    alone.run()
    assert len(lines(world)) == len(lines(alone))


def test_a_policy_that_gets_another_target_begins_its_counters_anew() -> None:
    world = World(tenant(0))
    for number in (0, 1):
        world.cluster.deploy(TargetRef("bokeh", f"app-{number}"), 10, 12, uid=f"uid-{number}")
    world.run()
    moved = tenant(1).model_copy(update={"name": "tenant-0"})
    world.policies.policies = (moved,)
    world.run()

    assert not [line for line in lines(world) if "app-0" in line]
    labels = {"policy": "tenant-0", "namespace": "bokeh", "deployment": "app-1"}
    assert world.metric("changes_total", **labels) == 1


GAUGES = ("replicas", "seats", "policy_desired_replicas", "pods_without_data", "cordoned_pods")


def gauges(world: World) -> set[str]:
    """Those that tell of a target."""
    names = (line.partition("{")[0].removeprefix("bokeh_autoscaler_") for line in lines(world))
    return {name for name in names if name in GAUGES}


def test_a_target_that_can_no_longer_be_read_has_no_gauges_after_a_minute() -> None:
    world = World(tenant(0))
    ref = TargetRef("bokeh", "app-0")
    world.cluster.deploy(ref, 10, 12)
    world.run()
    seen = gauges(world)
    assert {"replicas", "seats"} <= seen

    target = world.cluster.targets.pop(ref)
    world.run(passes=2)
    assert gauges(world) == seen, "one pass that fails is no news"
    world.clock.advance(TOLD_FOR)
    world.run()
    assert gauges(world) == set()
    labels = {"policy": "tenant-0", "namespace": "bokeh", "deployment": "app-0"}
    assert world.metric("failures_total", **labels) == 3

    world.cluster.targets[ref] = target
    world.run(passes=2)
    assert {"replicas", "seats"} <= gauges(world)


def test_a_counter_goes_on_while_its_policy_is_there() -> None:
    world = World(tenant(0))
    ref = TargetRef("bokeh", "app-0")
    world.cluster.deploy(ref, 10, 12)
    world.run(passes=3)
    world.cluster.sessions["bokeh", "pod-0"] = 90
    world.run()

    labels = {"policy": "tenant-0", "namespace": "bokeh", "deployment": "app-0"}
    assert world.metric("changes_total", **labels) == 2


def test_a_file_that_is_right_again_or_gone_has_no_series() -> None:
    world = World(tenant(0))
    world.policies.problems = {"a.yaml": ("wrong",), "b.yaml": ("wrong", "and wrong")}
    world.run()
    assert world.metric("policy_file_errors", file="b.yaml") == 2

    world.policies.problems = {"a.yaml": ("wrong",)}
    world.run()
    assert world.metric("policy_file_errors", file="a.yaml") == 1
    assert world.metric("policy_file_errors", file="b.yaml") is None


def test_logs_and_events_remember_nothing_of_policies_that_are_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    journal, events = LogRecorder(), EventRecorder(world.cluster)
    recorders: tuple[Recorder, ...] = (journal, events)
    world.controller._recorders = recorders
    caplog.set_level(logging.ERROR, "autoscaler")
    for number in range(50):
        ref = TargetRef("bokeh", f"app-{number}")
        world.cluster.deploy(ref, 10, 12, uid=f"uid-{number}")
        del world.cluster.sessions["bokeh", "pod-1"]
        world.policies.policies = (tenant(number),)
        world.run()

    assert len(journal._said) == 1
    assert {name for name, _ in events._told} <= {"tenant-49"}


def test_the_log_tells_when_a_window_sets_other_values_and_when_no_longer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The window is open for ten minutes from 08:10 on, and nothing else happens."""
    window = {"from": "08:10", "to": "08:20", "spare": 3}
    world = World(policy(schedule=[window]))
    world.controller._recorders = (LogRecorder(),)
    caplog.set_level(logging.INFO, "autoscaler")
    world.cluster.deploy(APP, 5)
    world.run(passes=360)

    quiet = "dashboards: 1 replicas, DesiredWithinRange: nothing to change"
    assert [record.message for record in caplog.records if "replicas" in record.message] == [
        quiet,
        f"{quiet}; schedule[0] (08:10 to 08:20 UTC) sets spare 3",
        quiet,
    ]
