"""A real daemon learns the seats of real pods, from a real Prometheus and for their image."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from itertools import accumulate
from typing import Any

from kubernetes import client

from tests.lab.processes import wait_until
from tests.lab.prometheus_server import series
from tests.lab.world import REAL_WORLD, WITHIN, World

pytestmark = REAL_WORLD
LEARN = {"first": 10, "min": 5, "max": 40}
AUTO = {"type": "sessions", "seats": "auto", "learn": LEARN}
DAY, STEP = 86_400, 15
STATE = "bokeh-autoscaler/state"


def pods(world: World) -> list[str]:
    found = world.access.core.list_namespaced_pod(world.namespace).items
    return [pod.metadata.name for pod in found if pod.metadata.deletion_timestamp is None]


def record_a_day(world: World, pod: str) -> None:
    """Have Prometheus know of a day of eight users, each of whom takes 5 % of an event loop."""
    began = int(time.time()) - DAY
    times = range(began, began + DAY - 600, STEP)
    users = [min(8, (at - began) // 3_600) for at in times]
    busy = list(accumulate(0.05 * STEP * count for count in users))
    here = {"namespace": world.namespace, "pod": pod}
    connected = series("bokeh_sessions", app="/app", state="connected", quality="exact", **here)
    world.prometheus.push(
        {
            connected: list(zip(times, users, strict=True)),
            series("bokeh_event_loop_busy_seconds_total", **here): list(
                zip(times, busy, strict=True)
            ),
            series("bokeh_workers", **here): [(at, 1) for at in times],
        }
    )


def learned(world: World) -> str:
    """What the daemon says of the seats; "" before it serves its page."""
    try:
        with urllib.request.urlopen(f"{world.url}/status", timeout=5) as answer:
            [told] = json.load(answer)["policies"]
    except OSError:
        return ""
    return str(told["learned"])


def roll(world: World, template: dict[str, Any]) -> None:
    """Change the template, and wait until only pods of the new one are there."""
    before = set(pods(world))
    body = {"spec": {"template": template}}
    world.access.apps.patch_namespaced_deployment("bokeh-app", world.namespace, body)
    wait_until(lambda: len(set(pods(world)) - before) == 2 == len(pods(world)), WITHIN, "the pods")


def test_seats_follow_the_pods_of_the_image_and_survive_the_daemon(world: World) -> None:
    world.write_policy(metrics=[AUTO], replicas={"min": 2, "max": 8})
    world.users.per_pod = lambda index: 9 if index < 2 else 0
    world.deploy(2)
    wait_until(lambda: len(pods(world)) == 2, WITHIN, "the pods")
    record_a_day(world, pods(world)[0])
    # Another ReplicaSet with the same image, as `kubectl rollout restart` makes one.
    roll(world, {"metadata": {"annotations": {"restarted": "now"}}})

    daemon = world.start()
    wait_until(
        lambda: learned(world).startswith("10 seats for each pod: at 14 sessions"),
        WITHIN,
        "the estimate",
    )
    daemon.terminate()
    assert daemon.wait(60) == 0

    age_the_seats(world, 3_600)
    daemon = world.start(name="second")
    wait_until(lambda: "SeatsLearned" in world.events(), WITHIN, "the Event")
    assert world.events()["SeatsLearned"].startswith("dashboards: 10 -> 11 seats for each pod: at")
    wait_until(lambda: world.metric("bokeh_autoscaler_seats_per_pod{"), WITHIN, "the metric")
    assert world.replicas() == 2, "18 users have 22 seats"
    daemon.terminate()
    assert daemon.wait(60) == 0

    [container] = world.access.apps.read_namespaced_deployment(
        "bokeh-app", world.namespace
    ).spec.template.spec.containers
    another = [{"name": container.name, "image": "registry.example.com/app:2"}]
    roll(world, {"spec": {"containers": another}})
    world.start(name="third")
    wait_until(
        lambda: learned(world).startswith("11 seats for each pod: 0.0 session-hours are known"),
        WITHIN,
        "the seats of the image before, until its own are known",
    )


def age_the_seats(world: World, seconds: float) -> None:
    """Move the last change of the seats to the past, as if the daemon had run for longer."""
    leases: Any = client.CoordinationV1Api(world.access.api)
    [lease] = [
        each
        for each in leases.list_namespaced_lease(world.namespace).items
        if '"seats"' in (each.metadata.annotations or {}).get(STATE, "")
    ]
    text = re.sub(
        r'"seats":\[(\d+),([\d.e+]+)\]',
        lambda found: f'"seats":[{found[1]},{float(found[2]) - seconds}]',
        lease.metadata.annotations[STATE],
    )
    body = {"metadata": {"annotations": {STATE: text}}}
    leases.patch_namespaced_lease(lease.metadata.name, world.namespace, body)
