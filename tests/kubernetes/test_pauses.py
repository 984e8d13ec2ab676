"""A pause as people make it: with kubectl, on a real API server, beside the daemon as shipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from tests.deploy.pages import PAUSE_PAGE, blocks, commands
from tests.lab.processes import wait_until
from tests.lab.world import REAL_WORLD, WITHIN, World

pytestmark = REAL_WORLD
PAUSED = "bokeh_autoscaler_paused{"


def drains_two_of_three(world: World) -> None:
    """A daemon has cordoned two pods, which still have users."""
    world.users.per_pod = lambda index: 1 if index < 3 else 0
    world.deploy(3)
    world.start()
    wait_until(lambda: world.cordoned() == 2, WITHIN, "two pods to be left out for new users")


def protected(world: World) -> int:
    pods = world.access.core.list_namespaced_pod(world.namespace).items
    notes = [pod.metadata.annotations or {} for pod in pods]
    return sum(each.get("karpenter.sh/do-not-disrupt") == "true" for each in notes)


def is_paused(world: World, words: str) -> None:
    """All pods serve, those with users are protected, and what told of it says who paused it."""
    wait_until(lambda: world.cordoned() == 0, WITHIN, "all pods to be open again")
    wait_until(lambda: "Paused" in world.events(), WITHIN, "the Event")
    assert words in world.events()["Paused"]
    world.says(f"3 replicas, Paused: not scaling: {words}")
    wait_until(lambda: world.metric(PAUSED), WITHIN, "the metric, which comes after the log")
    assert (world.replicas(), protected(world)) == (3, 3)

    world.users.per_pod = lambda _: 30
    target = f'namespace="{world.namespace}",policy="dashboards"'
    nine = f'_desired_replicas{{deployment="bokeh-app",metric="sessions",{target}}} 9.0'
    wait_until(lambda: world.metric(nine), WITHIN, "the metric to ask for nine pods")
    assert world.replicas() == 3


def goes_on(world: World) -> None:
    world.reaches(8)
    wait_until(lambda: "Resumed" in world.events(), WITHIN, "the Event")
    wait_until(lambda: not world.metric(PAUSED), WITHIN, "the metric to be gone")


def test_the_printed_commands_pause_a_deployment_and_end_the_pause(
    world: World, shell: Callable[[str], str]
) -> None:
    pause, end = commands(PAUSE_PAGE)
    drains_two_of_three(world)

    shell(pause)
    is_paused(world, "the annotation bokeh-autoscaler/paused of the Deployment pauses it: INC-7")

    shell(end)
    goes_on(world)


def test_a_policy_that_says_so_pauses_too(world: World) -> None:
    [text] = blocks(PAUSE_PAGE, "yaml")
    edit: dict[str, Any] = yaml.safe_load(text)
    drains_two_of_three(world)

    world.write_policy(**edit)
    is_paused(world, "the policy says paused: true")

    world.write_policy(paused="maybe")
    wait_until(lambda: "PolicyFileRejected" in world.events(), WITHIN, "the Event")
    assert "paused: got" in world.events()["PolicyFileRejected"]
    assert world.replicas() == 3, "the last valid version stays active"

    world.write_policy()
    goes_on(world)
