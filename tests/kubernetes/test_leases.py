"""Two daemons on a real API server: one acts, the other one takes over with what it knew."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes import client

from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.leases import POLICIES, STATE, KubernetesLeases, micro_time
from autoscaler.control import leadership
from autoscaler.control.leadership import LeaseLeadership
from autoscaler.control.old_leases import MARK
from autoscaler.control.shard_lease import ShardLease
from autoscaler.control.state_store import StateStore
from autoscaler.core.lease import LONGEST_SILENCE, OLD_DURATION, Lease, Place
from autoscaler.errors import ConflictError, LeaseError, TargetNotFoundError
from tests.fakes import FakeClock
from tests.lab.access import Access
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import wait_until
from tests.lab.world import WITHIN, World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.control_plane,
    pytest.mark.mostly_idle,
    pytest.mark.timing_sensitive,
    pytest.mark.timeout(120),
]
with_daemons = pytest.mark.parametrize("prometheus_program", ["current"], indirect=True)

NAME = "bokeh-autoscaler"
SHARD = f"{NAME}-0"


def nothing() -> None:
    """There is no clock to set."""


@pytest.fixture
def leases(control_plane: Access, namespace: str) -> KubernetesLeases:
    api = KubernetesCluster.connect(control_plane.admin).api
    return KubernetesLeases(api, namespace, NAME)


@pytest.fixture
def place(namespace: str) -> Place:
    return Place(namespace, SHARD)


def leases_of(world: World, name: str) -> Any:
    coordination = client.CoordinationV1Api(world.access.api)
    return coordination.read_namespaced_lease(name, world.namespace)


def stored(access: Access, namespace: str) -> Any:
    coordination = client.CoordinationV1Api(access.api)
    return coordination.read_namespaced_lease(SHARD, namespace)


def test_a_lease_is_made_kept_and_given_back(
    leases: KubernetesLeases, control_plane: Access, namespace: str, place: Place
) -> None:
    assert leases.read(place) is None
    made = leases.write(place, Lease("me", state="{}"), taken=True)
    assert leases.read(place) == made

    kept = leases.write(place, made._replace(state='{"a/b":{"up":1.0}}'), taken=False)
    assert kept.version != made.version
    assert leases.read(place) == kept
    spec = stored(control_plane, namespace).spec
    assert spec.renew_time > spec.acquire_time

    given = leases.write(place, kept._replace(holder=""), taken=False)
    assert (given.holder, given.state) == ("", kept.state)


def test_what_the_holder_evaluates_is_known_to_others_until_one_from_before_takes_over(
    leases: KubernetesLeases, control_plane: Access, namespace: str, place: Place
) -> None:
    names = frozenset({"dashboards/bokeh/bokeh-app"})
    leases.write(place, Lease("me", evaluated=names), taken=True)
    seen = leases.read(place)
    assert seen is not None
    assert seen.evaluated == names

    older = {"metadata": {"annotations": {STATE: "{}"}}, "spec": {"holderIdentity": "older"}}
    coordination = client.CoordinationV1Api(control_plane.api)
    coordination.patch_namespaced_lease(SHARD, namespace, older)
    seen = leases.read(place)
    assert seen is not None
    assert (seen.holder, seen.evaluated) == ("older", None)


def test_two_that_write_at_once_are_told_apart(leases: KubernetesLeases, place: Place) -> None:
    made = leases.write(place, Lease("me"), taken=True)
    with pytest.raises(ConflictError):
        leases.write(place, Lease("other"), taken=True)

    leases.write(place, made, taken=False)
    with pytest.raises(ConflictError, match=f"{place} has changed since it was read"):
        leases.write(place, made._replace(holder="other"), taken=True)


def test_what_others_keep_on_a_lease_stays(
    leases: KubernetesLeases, control_plane: Access, namespace: str, place: Place
) -> None:
    leases.write(place, Lease("me"), taken=True)
    coordination: Any = client.CoordinationV1Api(control_plane.api)
    labels = {"metadata": {"labels": {"team": "bokeh"}}}
    coordination.patch_namespaced_lease(SHARD, namespace, labels)

    found = leases.read(place)
    assert found is not None
    leases.write(place, found, taken=False)

    assert stored(control_plane, namespace).metadata.labels == {"team": "bokeh"}


def test_a_lease_that_was_deleted_is_not_made_anew_by_a_renewal(
    leases: KubernetesLeases, control_plane: Access, namespace: str, place: Place
) -> None:
    made = leases.write(place, Lease("me"), taken=True)
    client.CoordinationV1Api(control_plane.api).delete_namespaced_lease(SHARD, namespace)

    with pytest.raises(TargetNotFoundError):
        leases.write(place, made, taken=False)


def test_what_a_stranger_wrote_keeps_no_daemon_out_for_longer_than_a_minute(
    leases: KubernetesLeases, control_plane: Access, namespace: str, place: Place
) -> None:
    spec = {
        "holderIdentity": "a stranger",
        "leaseDurationSeconds": 2**31 - 1,
        "leaseTransitions": 2**31 - 1,
    }
    notes = {STATE: "x" * 250_000, POLICIES: "[" * 10_000}
    lease = {"metadata": {"name": SHARD, "annotations": notes}, "spec": spec}
    client.CoordinationV1Api(control_plane.api).create_namespaced_lease(namespace, lease)
    now = [0.0]
    tenure = ShardLease(
        place, lambda _: True, leases, StateStore(FakeClock()), lambda: now[0], "me"
    )
    tenure.policies = frozenset({"dashboards/bokeh/bokeh-app"})

    tenure.attempt()
    assert tenure.begin_pass().is_standby
    now[0] = LONGEST_SILENCE
    tenure.attempt()

    assert tenure.begin_pass().is_leader
    found = stored(control_plane, namespace)
    assert found.spec.holder_identity == "me"
    assert found.spec.lease_transitions == 0
    assert found.metadata.annotations[STATE] == ""


def test_a_daemon_whose_pass_hangs_is_followed_by_another_one(
    leases: KubernetesLeases, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "HUNG_AFTER", 3.0)
    stores = [StateStore(FakeClock()) for _ in range(2)]
    first, second = (LeaseLeadership(leases, store, time.monotonic) for store in stores)
    wanted: dict[str, frozenset[str]] = {namespace: frozenset()}
    try:
        with first.watched():
            assert first.seek(wanted, nothing)[namespace].is_leader
            assert second.seek(wanted, nothing)[namespace].is_standby
            wait_until(
                lambda: second.seek(wanted, nothing)[namespace].is_leader, WITHIN, "a takeover"
            )
            with pytest.raises(LeaseError, match="nothing more was changed"):
                first.confirm(namespace)
        wait_until(
            lambda: first.seek(wanted, nothing)[namespace].is_standby, WITHIN, "it to stand by"
        )
    finally:
        first.release()
        second.release()


def test_a_time_without_a_fraction_has_one() -> None:
    assert micro_time(datetime(2027, 1, 15, 8, tzinfo=UTC)) == "2027-01-15T08:00:00.000001+00:00"


def saved(world: World) -> Any:
    """What the Lease says of the only policy."""
    [entry] = json.loads(stored(world.access, world.namespace).metadata.annotations[STATE]).values()
    return entry


def changes(world: World) -> int:
    """How often the Deployment's spec was changed since it was made."""
    found = world.access.apps.read_namespaced_deployment("bokeh-app", world.namespace)
    return int(found.metadata.generation) - 1


def leads(world: World, value: float) -> None:
    """The last daemon started says so by its metric, and is Ready in any case."""
    line = f'bokeh_autoscaler_leader{{shard="0"}} {value}'
    wait_until(lambda: world.metric(line), WITHIN, line)
    wait_until(lambda: is_ready(world), WITHIN, "the daemon to be Ready")


def is_ready(world: World) -> bool:
    try:
        with urllib.request.urlopen(f"{world.url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as refused:
        refused.close()
        return False


@with_daemons
def test_one_acts_and_the_other_one_takes_over_when_it_is_killed(
    world: World, show: Callable[[str], None]
) -> None:
    two_a_minute = {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}
    world.write_policy(behavior={"scaleUp": two_a_minute})
    world.users.per_pod = lambda index: 12 if index < 2 else 0
    world.deploy(2)
    first = world.start(name="first")
    world.says("leading: ")
    world.start(name="second")
    world.says(f"holds Lease {world.namespace}/{SHARD}")
    world.reaches(3)
    leads(world, 0.0)

    first.kill()
    began = time.monotonic()
    world.users.per_pod = lambda index: 16 if index < 3 else 0
    world.reaches(4)

    show(f"a daemon was killed, another one scaled {time.monotonic() - began:.1f} s later")
    leads(world, 1.0)
    assert world.log.read_text().count("standby: ") == 1
    world.says("ScaleUpLimit: 5 replicas wanted, the rate policy allows 4")
    assert (world.replicas(), changes(world)) == (4, 2)
    assert [size for size, _ in saved(world)["ups"]] == [1, 1]


@with_daemons
def test_one_that_is_told_to_end_hands_over_at_once_with_its_cooldowns(
    world: World, show: Callable[[str], None]
) -> None:
    world.write_policy(cooldown={"down": "1h"})
    world.users.per_pod = lambda index: 25 if index == 0 else 0
    world.deploy(1)
    first = world.start(name="first")
    world.reaches(3)
    world.users.per_pod = lambda _: 0
    world.start(name="second")
    world.says("standby: ")

    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    began = time.monotonic()
    world.says("leading: ")
    show(f"a daemon ended, another one led {time.monotonic() - began:.1f} s later")

    world.says("CooldownDown: 1 replica wanted, the cooldown lasts 59m")
    assert (world.replicas(), changes(world)) == (3, 1)
    assert stored(world.access, world.namespace).spec.lease_transitions == 1


@with_daemons
def test_where_a_daemon_before_shards_leads_the_new_one_waits_and_then_goes_on_with_its_cooldowns(
    world: World, leases: KubernetesLeases
) -> None:
    world.write_policy(cooldown={"up": "1h"})
    world.users.per_pod = lambda index: 25 if index == 0 else 0
    world.deploy(1)
    found = world.access.apps.read_namespaced_deployment("bokeh-app", world.namespace)
    old = Place(world.namespace, NAME)
    state = json.dumps({f"dashboards/{found.metadata.uid}": {"up": time.time()}})
    held = leases.write(old, Lease("old", duration=OLD_DURATION, state=state), taken=True)
    world.start()
    world.says(f"standby: old, of an earlier version, holds Lease {old}")
    held = leases.write(old, held, taken=False)
    assert (world.replicas(), changes(world)) == (1, 0)

    leases.write(old, held._replace(holder=""), taken=False)
    world.says("leading: ")
    world.says("CooldownUp: 3 replicas wanted, the cooldown lasts 59m")
    kept = leases.read(old)
    assert kept is not None
    assert kept.holder.endswith(MARK)
    assert (world.replicas(), changes(world)) == (1, 0)


@with_daemons
def test_two_daemons_share_the_shards_and_each_acts_in_its_own(world: World) -> None:
    world.users.per_pod = lambda index: 12 if index < 2 else 0
    world.deploy(2)
    world.kubeconfig = world.access.admin  # our Role names the Lease of a single shard
    first = world.start("--shards", "2", name="first")
    world.reaches(3)
    world.start("--shards", "2", name="second")

    def holders() -> set[str]:
        found = [leases_of(world, f"{NAME}-{number}") for number in range(2)]
        return {each.spec.holder_identity for each in found} - {""}

    wait_until(lambda: len(holders()) == 2, WITHIN, "each of them to lead in a shard")
    assert (world.replicas(), changes(world)) == (3, 1)
    first.kill()
    wait_until(lambda: len(holders()) == 1, WITHIN, "the second one to lead in both")
    world.users.per_pod = lambda index: 12 if index < 3 else 0
    world.reaches(4)


@with_daemons
def test_a_takeover_by_a_clock_that_is_ahead_neither_cuts_nor_goes_blind(world: World) -> None:
    world.write_policy(drain={"settle": "1s", "reconnect": "1s", "hardDeadline": "4m"})
    world.users.per_pod = lambda index: 1 if index < 3 else 0
    world.deploy(3)
    first = world.start(name="first")
    wait_until(lambda: world.cordoned() == 2, WITHIN, "two pods to be cordoned")
    first.kill()

    world.start(name="second", ahead=300)
    world.says("s ahead of the clock of the Kubernetes API server, which is used instead")
    world.says("leading: ")
    time.sleep(15)  # a mark, and ten seconds for a ReplicaSet's controller to know of it
    assert (world.replicas(), world.cordoned()) == (3, 2)
    wait_until(lambda: world.metric("autoscaler_clock_offset_seconds 29"), WITHIN, "the metric")

    world.users.per_pod = lambda index: 12 if index < 3 else 0
    world.reaches(4)
    assert "no session count" not in world.log.read_text()


@with_daemons
def test_while_the_api_is_silent_nobody_acts_and_then_the_leader_goes_on(world: World) -> None:
    control_plane = world.access
    if not isinstance(control_plane, ControlPlane):
        pytest.skip("THE API SERVER OF A REAL CLUSTER CANNOT BE PAUSED: unset KUBECONFIG")
    world.users.per_pod = lambda index: 12 if index < 2 else 0
    world.deploy(2)
    daemon = world.start()
    world.reaches(3)

    with control_plane.outage():
        world.says(
            f"cannot patch leases {world.namespace}/{SHARD}: no answer from the Kubernetes API"
        )
        gone = 'bokeh_autoscaler_leader{shard="0"} 0.0'
        wait_until(lambda: world.metric(gone), WITHIN, "the daemon to lead no more")

    world.users.per_pod = lambda index: 12 if index < 3 else 0
    world.reaches(4)
    assert daemon.poll() is None
    assert "Traceback" not in world.log.read_text()
