"""What a pause does in passes: who sees it, what is told, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.builders import policy
from tests.control.test_controller import APP, DASHBOARDS, World, cordoned


@pytest.fixture
def world() -> World:
    """Three pods, of which two are cordoned."""
    world = World()
    world.cluster.deploy(APP, 5, 1, 1)
    world.run(passes=66)
    assert len(cordoned(world)) == 2
    world.cluster.events.clear()
    return world


def annotate(world: World, pause: str | None) -> None:
    world.cluster.targets[APP] = replace(world.cluster.targets[APP], pause=pause)


def edit(world: World, pause: str | None) -> None:
    world.policies.policies = (policy(paused=pause is not None),)


@pytest.mark.parametrize("set_pause", [annotate, edit], ids=["the annotation", "the policy"])
def test_one_event_tells_that_a_pause_begins_and_one_that_it_has_ended(
    world: World, set_pause: Callable[[World, str | None], None]
) -> None:
    set_pause(world, "INC-7")
    world.run()
    assert not cordoned(world), "within one pass"
    assert world.told() == ["Paused"]
    assert world.metric("paused", **DASHBOARDS) == 1

    world.cluster.sessions[APP.namespace, "pod-0"] = 60
    world.run(passes=1_500)  # more than two hours
    assert (world.told(), world.cluster.replicas(APP)) == (["Paused"], 3)

    set_pause(world, None)
    world.run(passes=3)
    assert [each for each in world.told() if each != "SuccessfulRescale"] == ["Paused", "Resumed"]
    assert world.cluster.replicas(APP) > 3
    assert world.metric("paused", **DASHBOARDS) is None


def test_the_words_of_the_events_name_the_reason_and_why_pods_serve_again(world: World) -> None:
    annotate(world, "INC-7: no scaling")
    world.run()
    annotate(world, None)
    world.run()

    told = {reason: text for _, reason, text in world.cluster.events}
    assert told["Paused"] == (
        "dashboards: not scaling: the annotation bokeh-autoscaler/paused of the Deployment pauses "
        "it: INC-7: no scaling"
    )
    assert told["Resumed"] == "dashboards: the pause has ended: the Deployment is scaled again"
    assert "(scaling is paused)" in told["Uncordoned"]


def test_a_second_reason_for_a_pause_is_no_second_beginning(world: World) -> None:
    annotate(world, "true")
    world.run()
    annotate(world, "INC-7")
    world.run(passes=3)
    edit(world, "too")
    world.run()
    annotate(world, None)
    world.run(passes=3)

    assert world.told() == ["Paused"]


def test_a_pause_that_is_not_seen_to_end_while_the_target_cannot_be_read(world: World) -> None:
    annotate(world, "true")
    world.run()
    target = world.cluster.targets.pop(APP)
    world.run(passes=3)
    assert "Resumed" not in world.told()

    world.cluster.targets[APP] = replace(target, pause=None)
    world.run()
    assert world.told()[-1] == "Resumed"


def test_a_dry_run_uncordons_nothing() -> None:
    world = World(dry_run=True)
    world.cluster.deploy(APP, 5, 1, 1)
    state = world.cluster.targets[APP]
    pods = tuple(replace(pod, protected=True) for pod in state.pods)
    world.cluster.targets[APP] = replace(state, pods=pods, pause="true")
    world.run(passes=3)

    assert world.cluster.targets[APP].pods == pods
