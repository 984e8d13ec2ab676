"""The daemon as it is shipped: a process with our Role's rights, a real API server, Prometheus."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import redirect_stderr, suppress
from functools import partial
from io import StringIO
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from autoscaler.cli import main
from tests.lab.processes import wait_until
from tests.lab.role import single_rights, without
from tests.lab.world import WITHIN, Usage, World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.control_plane,
    pytest.mark.mostly_idle,
    pytest.mark.prometheus,
    pytest.mark.timeout(180),
]
# One test asks every Prometheus that we promise to work with; the others would say it twice.
once = pytest.mark.parametrize("prometheus_program", ["current"], indirect=True)


def test_it_scales_up_and_down_with_the_sessions_and_ends_on_sigterm(world: World) -> None:
    world.users.per_pod = lambda index: 12 if index < 2 else 0
    world.deploy(2)
    daemon = world.start("--price", "0.12/h")
    world.reaches(3)
    wait_until(lambda: "SuccessfulRescale" in world.events(), WITHIN, "the Event")
    assert "24 connected" in world.events()["SuccessfulRescale"]

    world.users.per_pod = lambda index: 3 if index == 0 else 0
    world.reaches(1)
    assert world.metric("bokeh_autoscaler_changes_total{")
    assert world.metric("bokeh_autoscaler_replica_hour_price 0.12")

    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == 0
    assert "Traceback" not in world.log.read_text()


@once
def test_on_sigterm_it_does_not_wait_for_an_api_server_that_does_not_answer(world: World) -> None:
    world.users.per_pod = lambda _index: 1
    world.deploy(2)
    daemon = world.start()
    world.says("2 replicas")
    with world.access.outage():
        time.sleep(2)  # The pass that now runs waits up to 8 s for each answer.
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
    assert "ending before the last pass" in world.log.read_text()


@once
def test_a_shrink_stops_at_the_pods_that_have_sessions(world: World) -> None:
    world.users.per_pod = lambda index: 1 if index < 3 else 0
    world.deploy(5)
    world.start()

    world.reaches(3)
    wait_until(
        lambda: "deleting drained pods" in world.events().get("SuccessfulRescale", ""),
        WITHIN,
        "the Event",
    )
    time.sleep(4)
    assert world.replicas() == 3
    wait_until(lambda: world.cordoned() == 2, WITHIN, "the two pods to be left out for new users")

    world.users.per_pod = lambda index: 11 if index < 3 else 0
    back = "load increased: no longer draining"
    wait_until(lambda: back in world.log.read_text(), WITHIN, "a cordoned pod to come back")
    assert "3 -> 4 replicas" not in world.log.read_text().partition(back)[0]


@once
def test_beside_an_hpa_it_holds_and_takes_back_what_pods_carry(world: World) -> None:
    world.users.per_pod = lambda index: 1 if index < 3 else 0
    world.deploy(3)
    world.start()
    wait_until(lambda: world.cordoned() == 2, WITHIN, "two pods to be left out for new users")

    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "bokeh-app"}
    hpa = {"metadata": {"name": "by-cpu"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}
    hpas = client.AutoscalingV2Api(world.access.api)
    hpas.create_namespaced_horizontal_pod_autoscaler(world.namespace, hpa)

    wait_until(lambda: "OtherAutoscaler" in world.events(), WITHIN, "the Event")
    assert "HorizontalPodAutoscaler by-cpu" in world.events()["OtherAutoscaler"]
    wait_until(lambda: world.cordoned() == 0, WITHIN, "all pods to be open again")
    assert world.replicas() == 3


def busy(index: int, now: float) -> dict[str, float]:
    """Two pods at 900m of CPU, of the 500m that they request; others idle."""
    return {"bokeh_cpu_seconds_total": (0.9 if index < 2 else 0.0) * (now % 100_000)}


def full(index: int, now: float) -> dict[str, float]:
    """Two pods at 460 of the 512 MiB that they may have; others at 100."""
    return {"bokeh_memory_working_set_bytes": (460 if index < 2 else 100) * 1024.0**2}


@once
@pytest.mark.parametrize(
    ("metric", "usage"),
    [
        pytest.param({"type": "cpu", "utilization": "90%"}, busy, id="CPU: 2 x 180% / 90%"),
        pytest.param({"type": "memory", "utilization": "50%"}, full, id="memory: 2 x 90% / 50%"),
    ],
)
def test_it_scales_by_what_pods_use_too(world: World, metric: Any, usage: Usage) -> None:
    world.users.usage = usage
    world.write_policy(metrics=[metric])
    world.deploy(2)
    world.start()

    world.reaches(4)
    wait_until(lambda: "SuccessfulRescale" in world.events(), WITHIN, "the Event")
    assert metric["type"] in world.events()["SuccessfulRescale"]


def leaky(index: int, _: float) -> dict[str, float]:
    """The oldest pod at 90 % of its limit; others at 20."""
    return {"bokeh_memory_working_set_bytes": (460 if index == 0 else 100) * 1024.0**2}


@once
def test_a_pod_whose_memory_leaked_is_replaced_when_its_users_have_left(world: World) -> None:
    def pods() -> list[str]:
        """The oldest first, as `leaky` counts them: the name of the first one may come later."""
        found = world.access.core.list_namespaced_pod(world.namespace).items
        found.sort(key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name))
        return [pod.metadata.name for pod in found if not pod.metadata.deletion_timestamp]

    world.users.per_pod = lambda index: 3 if index < 2 else 0
    world.users.usage = leaky
    world.write_policy(replicas={"min": 2, "max": 8}, recycle={"memory": "85%"})
    world.deploy(2)
    wait_until(lambda: len(pods()) == 2, WITHIN, "two pods")
    worn, other = pods()
    world.start()

    world.reaches(3)
    wait_until(lambda: world.cordoned() == 1, WITHIN, "the worn pod to be left out")
    time.sleep(4)
    assert world.replicas() == 3, "its users stay, and nobody asks for a fourth pod"

    world.users.usage = lambda *_: {"bokeh_memory_working_set_bytes": 100 * 1024.0**2}
    world.users.per_pod = lambda index: 3 if index == 1 else 0
    world.reaches(2)
    wait_until(lambda: worn not in pods(), WITHIN, "the worn pod to go")
    assert other in pods()
    assert "Recycling: adding one replica to replace" in world.log.read_text()


@once
def test_a_dry_run_says_what_it_would_do_and_changes_nothing(world: World) -> None:
    world.users.per_pod = lambda _: 25
    world.deploy(1)
    world.start("--dry-run")

    wait_until(lambda: "1 would become 3 replicas" in world.log.read_text(), WITHIN, "the words")
    assert world.replicas() == 1
    assert world.events() == {}


@once
def test_an_edit_takes_effect_and_a_broken_one_keeps_the_last_good(world: World) -> None:
    world.users.per_pod = lambda index: 10 if index < 2 else 0
    world.deploy(2)
    world.start()
    wait_until(lambda: "2 replicas" in world.log.read_text(), WITHIN, "the first decision")

    world.write_policy(metrics=[{"type": "sessions", "seats": 10, "spare": 10}])
    world.reaches(3)

    world.write_policy(metrics=[{"type": "sessions", "seats": 0}])
    wait_until(lambda: "PolicyFileRejected" in world.events(), WITHIN, "the Event")
    assert "metrics[0].seats" in world.events()["PolicyFileRejected"]
    wait_until(lambda: "metrics[0].seats" in world.log.read_text(), WITHIN, "the log")
    errors = "bokeh_autoscaler_policy_file_errors{file="
    wait_until(lambda: world.metric(errors), WITHIN, "the metric, which comes after the log")
    assert world.replicas() == 3

    world.write_policy(metrics=[{"type": "sessions", "seats": 10, "spare": 20}])
    world.reaches(4)


@once
def test_one_pass_and_one_decision_from_the_command_line(world: World) -> None:
    world.users.per_pod = lambda _: 25
    world.deploy(1)
    decide = world.command("decide", "--policy", str(world.policy_file), "--json")

    def decided() -> dict[str, Any] | None:
        run = subprocess.run(decide, capture_output=True, text=True, check=False)
        answer: dict[str, Any] = json.loads(run.stdout or "{}")
        return answer if answer.get("desired") == 3 else None

    answer = wait_until(decided, WITHIN, "the decision")
    assert answer["reason"] == "MetricAboveTarget"
    assert world.replicas() == 1, "decide changes nothing"

    single = world.command("run", "--policies", str(world.policy_file), "--once")
    assert subprocess.run(single, capture_output=True, check=False).returncode == 0
    assert world.replicas() == 3


@once
def test_the_daemon_names_the_verb_that_its_role_lacks(world: World) -> None:
    """One pass needs every right: a Lease to take, users to protect, a pod to add, an Event."""
    world.users.per_pod = lambda _: 25
    world.deploy(1)
    rights = [right for right in single_rights() if right[0] != "watch"]  # a single pass lists
    for number, (verb, resource) in enumerate(rights):
        account = f"lacks-{number}"
        rules = without(verb, resource)
        world.kubeconfig = world.access.service_account(world.namespace, account, rules)
        wait_until(partial(said, world, verb, resource), WITHIN, f"{verb} {resource} to be named")
        world.access.apps.patch_namespaced_deployment_scale(
            "bokeh-app", world.namespace, {"spec": {"replicas": 1}}
        )
        unprotect(world)
        coordination = client.CoordinationV1Api(world.access.api)
        for each in ("daemons", "0"):
            with suppress(ApiException):  # it was never made
                coordination.delete_namespaced_lease(f"bokeh-autoscaler-{each}", world.namespace)


def said(world: World, verb: str, resource: str) -> bool:
    """Whether a single pass complains of the right that is missing, and how to mend it.

    In this process: to import a daemon takes longer than its pass, and there are 20 of them.
    """
    _, *words = world.command("run", "--policies", str(world.policy_file), "--once")
    with redirect_stderr(StringIO()) as log:
        main(words)
    return f"add {verb} on {resource} to the Role" in log.getvalue()


def unprotect(world: World) -> None:
    """The pods carry nothing of ours again."""
    for pod in world.access.core.list_namespaced_pod(world.namespace).items:
        notes = dict.fromkeys(pod.metadata.annotations or {})
        with suppress(ApiException):  # it is just being removed
            world.access.core.patch_namespaced_pod(
                pod.metadata.name, world.namespace, {"metadata": {"annotations": notes}}
            )
