"""Everything at once on a real node: real users, the shipped manifests, and what may break.

The tests share one cluster and follow each other as a day in it would: each leaves the app serving.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.pages import KUBERNETES_PAGE, commands, run_shell
from tests.lab.live_cluster import NAMESPACE, OWN
from tests.lab.processes import wait_until
from tests.lab.websocket_user import User
from tests.node.apps import shipped_app
from tests.node.shipped import APP, DAEMON, KUBELET_SYNC, PROMETHEUS, SOON, Shipped, policy

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(600)]

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
MEBI = 1024**2
LIMIT = 384 * MEBI
# A session of this app takes as many MiB as its page is asked for.
HUNGRY = """
from bokeh.io import curdoc
from bokeh.models import Div

wanted = curdoc().session_context.request.arguments.get("eat", [b"0"])[0]
curdoc().eaten = bytearray(int(wanted) * 1024**2)
curdoc().add_root(Div(text="full"))
"""
MEMORY = """
cd /sys/fs/cgroup
if [ -f memory.current ]; then cat memory.current; grep ^inactive_file memory.stat
else cat memory/memory.usage_in_bytes; grep ^total_inactive_file memory/memory.stat; fi
"""


@pytest.fixture
def guests(shipped: Shipped) -> Iterator[list[User]]:
    """Users that leave when the test ends."""
    present: list[User] = []
    yield present
    for user in present:
        shipped.users.leave(user)


def test_users_arrive_through_the_service_and_pods_come(
    shipped: Shipped, guests: list[User], show: Callable[[str], None]
) -> None:
    shipped.await_ready(2)
    wait_until(lambda: shipped.scraped() == 0, SOON, "Prometheus to know both pods")
    began = time.monotonic()

    guests += shipped.join(45)
    arrived = time.monotonic()
    shipped.await_replicas(3)
    asked = time.monotonic()
    shipped.await_ready(3)
    ready = time.monotonic()

    shipped.await_connected(45)
    wait_until(lambda: shipped.scraped() == 45, SOON, "Prometheus to count 45 users")
    assert "SuccessfulRescale" in shipped.reasons()
    show(
        f"45 users arrived in {arrived - began:.1f} s; a third pod was asked for "
        f"{asked - arrived:.1f} s later and Ready {ready - asked:.1f} s after that"
    )


def test_users_who_arrive_one_by_one_cost_one_session_each(
    shipped: Shipped, guests: list[User]
) -> None:
    # A pod that is cordoned between a page and its WebSocket leaves a session that nobody uses.
    with shipped.paused("users are counted"):
        wait_until(shipped.all_open, SOON, "full pods to be open again")
        before = shipped.created()

        guests += shipped.join(20)

        shipped.await_connected(20)
        assert shipped.created() == before + 20, "20 sessions, not 40"


def test_two_workers_in_a_pod_count_as_one_pod(shipped: Shipped, guests: list[User]) -> None:
    shipped.apply(shipped_app("two-workers", None, "--num-procs=2"))
    shipped.await_service("two-workers")
    (pod,) = shipped.ready_pods("two-workers")

    guests += shipped.join(12, "two-workers")
    shipped.await_connected(12, "two-workers")

    state = shipped.state(pod)
    assert state is not None
    assert (len(state["workers"]), state["sessions"]["connected"]) == (2, 12)
    wait_until(lambda: shipped.scraped("two-workers") == 12, SOON, "Prometheus to count 12")


def test_an_image_that_nobody_may_change_is_counted_and_drained(
    shipped: Shipped, guests: list[User]
) -> None:
    objects = shipped_app("untouched", components=["zero-touch"])
    shipped.apply(objects)
    shipped.await_service("untouched")
    (pod,) = shipped.ready_pods("untouched")
    first = ("exec", pod.metadata.name, "-c", "app", "--", "cat", "/proc/1/cmdline")
    assert "/bokeh-exporter\0launch" in shipped.kubectl(*first), "the copied launcher"

    guests += shipped.join(3, "untouched")
    shipped.await_connected(3, "untouched")

    state = shipped.state(pod)
    assert state is not None
    assert (state["quality"], state["sessions"]["connected"]) == ("exact", 3)
    shipped.remove(objects)
    wait_until(lambda: (shipped.state(pod) or {}).get("draining"), SOON, "the launcher to drain")
    assert shipped.all_connected(guests)
    for user in guests:
        shipped.users.leave(user)
    guests.clear()
    wait_until(lambda: not shipped.all_pods("untouched"), SOON, "the pod to end")


def test_an_app_waits_for_the_key_that_signs_its_sessions(
    shipped: Shipped, guests: list[User]
) -> None:
    objects = shipped_app("keyless")
    for each in objects:
        if each["kind"] == "Deployment":
            [source] = each["spec"]["template"]["spec"]["containers"][0]["envFrom"]
            source["secretRef"]["name"] = "keyless"
    shipped.apply(objects)

    def waits() -> bool:
        statuses = [pod.status.container_statuses for pod in shipped.pods("keyless")]
        waiting = [found[0].state.waiting for found in statuses if found]
        return any(each and each.reason == "CreateContainerConfigError" for each in waiting)

    wait_until(waits, SOON, "the pod to wait")
    [line] = [each for each in commands(KUBERNETES_PAGE) if f"generic {APP} " in each]
    run_shell(line.replace(f"generic {APP} ", "generic keyless "), Path())
    shipped.await_service("keyless")
    guests += shipped.join(1, "keyless")
    shipped.await_connected(1, "keyless")
    shipped.kubectl("delete", "secret", "keyless")
    shipped.remove(objects)


def test_the_daemons_token_is_for_half_an_hour(shipped: Shipped) -> None:
    read = ("exec", f"deployment/{DAEMON}", "--", "cat", TOKEN)

    payload = shipped.kubectl(*read, namespace=OWN).split(".")[1]

    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims["exp"] - claims["iat"] == 1800
    assert claims["sub"] == f"system:serviceaccount:{OWN}:{DAEMON}"


def test_memory_is_what_the_cgroup_of_the_container_says(shipped: Shipped) -> None:
    pod = shipped.ready_pods()[0]
    state = shipped.state(pod)
    assert state is not None

    inside = shipped.kubectl("exec", pod.metadata.name, "-c", "app", "--", "sh", "-c", MEMORY)

    used, inactive = (int(line.split()[-1]) for line in inside.splitlines())
    assert state["memory"]["limit_bytes"] == LIMIT
    assert state["memory"]["working_set_bytes"] == pytest.approx(used - inactive, rel=0.05)
    limit = f'bokeh_memory_limit_bytes{{pod="{pod.metadata.name}"}}'
    assert wait_until(lambda: shipped.prometheus(limit), SOON, "the limit") == LIMIT


def test_a_pod_that_the_kernel_ended_for_its_memory_serves_again(
    shipped: Shipped, guests: list[User]
) -> None:
    shipped.apply(shipped_app("hungry", HUNGRY))
    shipped.await_service("hungry")
    guests += shipped.join(3, "hungry")

    with pytest.raises(Exception, match=r"closed|599|Timeout|reset"):
        shipped.join(1, "hungry", eat="500")

    def status() -> Any:
        (pod,) = shipped.pods("hungry")
        seen = pod.status.container_statuses[0]
        return seen if seen.restart_count else None

    ended = wait_until(status, SOON, "the container's restart").last_state.terminated
    assert ended.reason == "OOMKilled"
    shipped.await_service("hungry")
    wait_until(lambda: shipped.scraped("hungry") == 0, SOON, "their sessions to be gone")
    guests += shipped.join(2, "hungry")
    shipped.await_connected(2, "hungry")


def test_pods_that_are_deleted_while_they_start_end_soon(shipped: Shipped) -> None:
    """A first process hears no signal before it has asked for it, and the grace is an hour."""
    objects = shipped_app("cancelled")
    for each in objects:
        if each["kind"] == "Deployment":
            each["spec"]["replicas"] = 6

    def starts() -> bool:
        statuses = [pod.status.init_container_statuses for pod in shipped.all_pods("cancelled")]
        return any(found and found[0].state.running for found in statuses)

    shipped.apply(objects)
    wait_until(starts, SOON, "the first sidecar to start")
    shipped.remove(objects)

    wait_until(lambda: not shipped.all_pods("cancelled"), SOON, "all pods to end")


def test_a_killed_sidecar_comes_back_and_knows_its_users(
    shipped: Shipped, guests: list[User]
) -> None:
    if not shipped.ours:
        pytest.skip("NO WAY TO KILL A CONTAINER in a cluster that is not ours")
    guests += shipped.join(10)
    shipped.await_connected(10)
    replicas = shipped.replicas()
    pod = shipped.ready_pods()[0]
    sidecar = pod.status.init_container_statuses[0]

    shipped.kill_container(pod, sidecar)

    def another() -> bool:
        (seen,) = [p for p in shipped.pods() if p.metadata.uid == pod.metadata.uid]
        restarts = seen.status.init_container_statuses[0].restart_count
        return bool(restarts == sidecar.restart_count + 1)

    wait_until(another, SOON, "another sidecar")
    shipped.await_connected(10)
    assert shipped.all_connected(guests)
    assert shipped.replicas() == replicas


def test_an_edit_of_the_config_map_is_followed_and_a_broken_one_is_not(
    shipped: Shipped, show: Callable[[str], None]
) -> None:
    began = time.monotonic()
    shipped.write_policy("bokeh-app", policy(replicas={"min": 4, "max": 10}))
    shipped.await_replicas(4, within=KUBELET_SYNC)
    show(f"an edit of the ConfigMap took effect after {time.monotonic() - began:.0f} s")
    shipped.await_ready(4)

    shipped.write_policy("bokeh-app", "name: bokeh-app\nreplicas: {min: 9}\n")
    wait_until(lambda: "PolicyFileRejected" in shipped.reasons(), KUBELET_SYNC, "the Event")
    assert "bokeh-app.yaml" in shipped.daemon_log()
    assert shipped.replicas() == 4

    shipped.write_policy("bokeh-app", policy())
    shipped.await_replicas(2, within=KUBELET_SYNC + SOON)
    shipped.await_ready(2)


def test_a_restart_of_the_daemon_loses_no_cooldown(shipped: Shipped, guests: list[User]) -> None:
    shipped.write_policy("bokeh-app", policy(cooldown={"down": "20m"}))
    guests += shipped.join(45)
    shipped.await_replicas(3, within=KUBELET_SYNC)
    for user in guests:
        shipped.users.leave(user)
    guests.clear()
    wait_until(
        lambda: "the cooldown lasts" in shipped.daemon_log(), SOON, "the rest after the change"
    )
    holder = shipped.lease().spec.holder_identity

    shipped.restart(DAEMON)
    shipped.rolled_out(DAEMON)

    wait_until(
        lambda: shipped.lease().spec.holder_identity not in (None, "", holder), SOON, "the new one"
    )
    wait_until(
        lambda: "the cooldown lasts" in shipped.daemon_log(), SOON, "the new daemon to rest too"
    )
    assert shipped.replicas() == 3
    shipped.write_policy("bokeh-app", policy())
    shipped.await_replicas(2, within=KUBELET_SYNC + SOON)


def test_the_daemon_goes_on_after_its_pod_was_deleted(shipped: Shipped, guests: list[User]) -> None:
    shipped.delete_pod(DAEMON)

    guests += shipped.join(45)

    shipped.await_replicas(3)
    shipped.await_ready(3)
    assert shipped.all_connected(guests)


def test_the_count_is_held_while_prometheus_restarts(shipped: Shipped, guests: list[User]) -> None:
    guests += shipped.join(15)
    wait_until(lambda: shipped.scraped() == 15, SOON, "Prometheus to count 15")
    replicas = shipped.replicas()

    shipped.delete_pod(PROMETHEUS)

    wait_until(lambda: shipped.scraped() == 15, SOON, "Prometheus to count them again")
    assert "FailedGetSessionsMetric" in shipped.daemon_log()
    assert shipped.replicas() >= replicas
    assert shipped.all_connected(guests)
    guests += shipped.join(40)
    shipped.await_replicas(4)


def test_all_of_it_runs_under_pod_security_restricted(shipped: Shipped) -> None:
    for namespace in (NAMESPACE, OWN):
        labels = shipped.cluster.core.read_namespace(namespace).metadata.labels
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"

        pods = shipped.cluster.core.list_namespaced_pod(namespace).items

        assert {pod.spec.security_context.run_as_non_root for pod in pods} == {True}
