"""Watches against a real API server, through a proxy that does what bad networks do."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.kubernetes import watched_cluster
from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.watched_cluster import WatchedCluster
from autoscaler.adapters.kubernetes.watching import Pace
from autoscaler.errors import ConflictError, ForbiddenError, TargetNotFoundError
from autoscaler.model import Cause, Cordon, PodMarks, TargetRef
from autoscaler.ports import TargetState
from tests.lab.access import Access
from tests.lab.api_proxy import ApiProxy
from tests.lab.control_plane import ControlPlane
from tests.lab.http_proxy import Request, reply
from tests.lab.objects import deployment
from tests.lab.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]
WITHIN = 20.0
# Watches that end, and so are confirmed, every 3 s.
SHORT = Pace(round=3, first_round=3, grace=1.0)
KINDS = 4
READING = {
    "apiGroups": ["", "apps", "autoscaling"],
    "resources": ["*"],
    "verbs": ["list", "watch"],
}


@pytest.fixture
def app(control_plane: Access, namespace: str) -> TargetRef:
    """A Deployment with two Ready pods."""
    ref = TargetRef(namespace, "bokeh-app")
    control_plane.apps.create_namespaced_deployment(namespace, deployment(ref.deployment, 2))
    control_plane.settle(namespace, ref.deployment, 2)
    return ref


@pytest.fixture
def watched(control_plane: Access, proxy: ApiProxy) -> Iterator[WatchedCluster]:
    api = KubernetesCluster.connect(proxy.kubeconfig(control_plane.admin))
    with closing(WatchedCluster(api, SystemClock(), SHORT)) as watched:
        yield watched


def seen(cluster: WatchedCluster, ref: TargetRef) -> TargetState:
    state = cluster.observe([ref])[ref]
    assert isinstance(state, TargetState), state
    return state


def sees(cluster: WatchedCluster, ref: TargetRef, pods: int) -> None:
    def serving() -> bool:
        state = seen(cluster, ref)
        return state.replicas == pods == sum(pod.serving for pod in state.pods)

    wait_until(serving, WITHIN, f"{pods} pods to be seen")


def age(cluster: WatchedCluster) -> float:
    return max(each.seconds for each in cluster.ages())


def failures(cluster: WatchedCluster) -> int:
    return sum(each.failures for each in cluster.ages())


def hand(access: Access, ref: TargetRef, replicas: int) -> None:
    """Somebody else scales the Deployment."""
    patch = {"spec": {"replicas": replicas}}
    access.apps.patch_namespaced_deployment_scale(ref.deployment, ref.namespace, patch)


def test_what_was_watched_is_what_a_list_says(
    control_plane: Access, watched: WatchedCluster, app: TargetRef
) -> None:
    by_watch = seen(watched, app)
    by_list = watched.read_target(app)

    assert isinstance(by_list, TargetState)
    assert by_list.confirmed_at is None
    assert by_watch.confirmed_at is not None
    assert by_list.pods == by_watch.pods
    assert (by_list.uid, by_list.replicas) == (by_watch.uid, by_watch.replicas)


def test_creations_changes_and_deletions_are_followed_without_another_list(
    control_plane: Access, watched: WatchedCluster, proxy: ApiProxy, app: TargetRef
) -> None:
    sees(watched, app, 2)
    lists = proxy.count("list")
    other = TargetRef(app.namespace, "other")
    assert isinstance(watched.observe([other])[other], TargetNotFoundError)

    control_plane.apps.create_namespaced_deployment(app.namespace, deployment("other", 1))
    hand(control_plane, app, 3)
    sees(watched, app, 3)
    control_plane.settle(app.namespace, "other", 1)
    sees(watched, other, 1)

    hand(control_plane, app, 1)
    sees(watched, app, 1)
    control_plane.apps.delete_namespaced_deployment("other", app.namespace)
    gone = lambda: isinstance(watched.observe([other])[other], TargetNotFoundError)  # noqa: E731
    wait_until(gone, WITHIN, "the deletion to be seen")
    assert proxy.count("list") == lists


def test_an_hpa_is_seen_come_change_its_target_and_go(
    control_plane: Access, watched: WatchedCluster, app: TargetRef
) -> None:
    hpas: Any = client.AutoscalingV2Api(control_plane.api)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": app.deployment}
    hpa = {"metadata": {"name": "by-cpu"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}

    def rival(words: str | None) -> None:
        is_seen = lambda: seen(watched, app).other_autoscaler == words  # noqa: E731
        wait_until(is_seen, WITHIN, f"{words} to be seen")

    hpas.create_namespaced_horizontal_pod_autoscaler(app.namespace, hpa)
    rival("HorizontalPodAutoscaler by-cpu")
    hpa["spec"]["scaleTargetRef"] = {**target, "name": "another"}
    hpas.patch_namespaced_horizontal_pod_autoscaler("by-cpu", app.namespace, hpa)
    rival(None)


def test_a_watch_that_is_cut_is_made_again_and_misses_nothing(
    control_plane: Access, watched: WatchedCluster, proxy: ApiProxy, app: TargetRef
) -> None:
    sees(watched, app, 2)
    lists = proxy.count("list")

    proxy.cut()
    hand(control_plane, app, 4)

    sees(watched, app, 4)
    assert proxy.count("list") == lists
    wait_until(lambda: failures(watched) >= KINDS, WITHIN, "each watch to have failed")


def test_a_watch_that_falls_silent_ages_and_is_made_again(
    control_plane: Access, watched: WatchedCluster, proxy: ApiProxy, app: TargetRef
) -> None:
    """It is accepted, and confirms nothing: what the store says grows old until it speaks."""
    sees(watched, app, 2)
    watches = proxy.count("watch")

    proxy.silent = True
    hand(control_plane, app, 3)
    control_plane.settle(app.namespace, app.deployment, 3)
    limit = SHORT.round + SHORT.grace
    wait_until(lambda: age(watched) > 2 * limit, 4 * limit, "the caches to be stale")
    wait_until(lambda: proxy.count("watch") >= watches + KINDS, WITHIN, "each to be made again")
    state = seen(watched, app)
    assert len(state.pods) == 2
    assert state.confirmed_at is not None
    read = watched.read_target(app)
    assert isinstance(read, TargetState)
    assert (len(read.pods), len(seen(watched, app).pods)) == (3, 3)

    proxy.silent = False
    wait_until(lambda: age(watched) < limit, WITHIN, "the caches to be fresh")


@pytest.mark.parametrize("broken", ["refused", "silent"])
def test_a_watch_that_keeps_failing_is_replaced_by_lists_until_it_works(
    control_plane: Access, proxy: ApiProxy, app: TargetRef, broken: str
) -> None:
    api = KubernetesCluster.connect(proxy.kubeconfig(control_plane.admin))
    answer = reply(500, b"no watch cache")
    with closing(WatchedCluster(api, SystemClock(), SHORT._replace(list_after=2.0))) as watched:
        sees(watched, app, 2)
        if broken == "refused":
            proxy.reply = lambda request: answer if request.verb == "watch" else None
            proxy.cut()
        else:
            proxy.silent = True
        hand(control_plane, app, 3)
        control_plane.settle(app.namespace, app.deployment, 3)
        wait_until(lambda: len(seen(watched, app).pods) == 3, 3 * WITHIN, "lists")
        wait_until(lambda: failures(watched) >= 3 * KINDS, WITHIN, "each watch to keep failing")

        lists = proxy.count("list")
        proxy.behave()
        is_watched = lambda: age(watched) < SHORT.round  # noqa: E731
        wait_until(is_watched, 2 * WITHIN, "the watches to work")
        hand(control_plane, app, 2)
        sees(watched, app, 2)
        assert proxy.count("list") <= lists + 2 * KINDS


def test_a_watch_that_works_again_while_lists_fail_is_followed(
    control_plane: Access, proxy: ApiProxy, app: TargetRef
) -> None:
    api = KubernetesCluster.connect(proxy.kubeconfig(control_plane.admin))
    answer = reply(500, b"no leader")
    with closing(WatchedCluster(api, SystemClock(), SHORT._replace(list_after=1.0))) as watched:
        sees(watched, app, 2)
        lists = proxy.count("list")
        broken = {"list", "watch"}
        proxy.reply = lambda request: answer if request.verb in broken else None
        proxy.cut()
        wait_until(lambda: proxy.count("list") >= lists + KINDS, 2 * WITHIN, "lists")

        broken.remove("watch")
        hand(control_plane, app, 3)
        sees(watched, app, 3)


@pytest.mark.parametrize("status", [401, 403])
def test_a_watch_that_is_refused_once_makes_no_target_unknown(
    control_plane: Access, watched: WatchedCluster, proxy: ApiProxy, app: TargetRef, status: int
) -> None:
    sees(watched, app, 2)
    refused: set[str] = set()

    def refuse_once(request: Request) -> bytes | None:
        if request.verb != "watch" or request.path in refused:
            return None
        refused.add(request.path)
        return reply(status, b"{}")

    proxy.reply = refuse_once
    proxy.cut()
    hand(control_plane, app, 3)
    sees(watched, app, 3)

    def all_were_refused() -> bool:
        return bool(seen(watched, app)) and len(refused) == KINDS

    wait_until(all_were_refused, WITHIN, "each watch to be refused once")
    sees(watched, app, 3)


def test_a_target_is_known_again_as_soon_as_its_watches_are_accepted(
    control_plane: Access, proxy: ApiProxy, app: TargetRef
) -> None:
    api = KubernetesCluster.connect(proxy.kubeconfig(control_plane.admin))
    later = Pace(first_round=600)  # nothing happens until then, and no watch ends
    with closing(WatchedCluster(api, SystemClock(), later)) as watched:
        sees(watched, app, 2)
        proxy.reply = lambda request: reply(403, b"{}") if request.verb == "watch" else None
        proxy.cut()
        is_unknown = lambda: isinstance(watched.observe([app])[app], ForbiddenError)  # noqa: E731
        wait_until(is_unknown, WITHIN, "the target to be unknown")

        proxy.behave()
        wait_until(lambda: not is_unknown(), 2 * WITHIN, "the target to be known")


def test_a_version_that_is_too_old_leads_to_another_list(
    control_plane: Access, tmp_path: Path
) -> None:
    """As the API server that has just started knows no event from before."""
    if not isinstance(control_plane, ControlPlane):
        pytest.skip("A REAL API SERVER IS NOT RESTARTED: unset KUBECONFIG")
    app = TargetRef("default", "bokeh-app")
    with ControlPlane(control_plane.programs, tmp_path) as plane, ApiProxy(plane) as proxy:
        plane.apps.create_namespaced_deployment(app.namespace, deployment(app.deployment, 2))
        plane.settle(app.namespace, app.deployment, 2)
        api = KubernetesCluster.connect(proxy.kubeconfig(plane.admin))
        with closing(WatchedCluster(api, SystemClock(), SHORT)) as watched:
            sees(watched, app, 2)
            lists = proxy.count("list")

            # Its list is from after this; no watch has heard of it.
            plane.core.create_namespaced_config_map("default", {"metadata": {"name": "new"}})
            plane.restart_api_server()
            hand(plane, app, 3)

            sees(watched, app, 3)
            is_listed = lambda: proxy.count("list") > lists  # noqa: E731
            wait_until(is_listed, WITHIN, "the objects to be listed again")
            wait_until(lambda: age(watched) < SHORT.round, WITHIN, "the caches to be fresh")


def _with_version(line: bytes, version: str) -> bytes:
    head, sign, rest = line.partition(b"resourceVersion=")
    number = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
    return head + sign + version.encode() + rest[len(number) :] if sign and number else line


def test_a_watch_that_repeats_old_objects_does_not_go_back(
    control_plane: Access, watched: WatchedCluster, proxy: ApiProxy, app: TargetRef
) -> None:
    first = seen(watched, app).resource_version
    for replicas in (3, 1):
        hand(control_plane, app, replicas)
        sees(watched, app, replicas)
    watches, told = proxy.count("watch"), set[int]()

    proxy.edit = lambda line: _with_version(line, first)
    proxy.cut()
    while proxy.count("watch") < watches + 2 * KINDS:
        told.add(seen(watched, app).replicas)

    assert told == {1}


def test_our_own_change_is_never_followed_by_an_older_object(
    watched: WatchedCluster, proxy: ApiProxy, app: TargetRef
) -> None:
    state = seen(watched, app)
    proxy.silent = True

    cordon = PodMarks(routable=False, cordon=Cordon(Cause.SCALE_DOWN, 1_800_000_000.0))
    watched.mark_pod(state, state.pods[0], cordon)
    assert [pod.routable for pod in seen(watched, app).pods] == [False, True]
    watched.scale(state, 4)
    assert [seen(watched, app).replicas for _ in range(3)] == [4, 4, 4]
    with pytest.raises(ConflictError):
        watched.scale(state, 5)


def test_a_write_that_failed_has_the_target_read_anew(
    control_plane: Access, watched: WatchedCluster, proxy: ApiProxy, app: TargetRef
) -> None:
    state = seen(watched, app)
    proxy.silent = True
    hand(control_plane, app, 3)

    with pytest.raises(ConflictError):
        watched.scale(state, 5)

    assert seen(watched, app).replicas == 3


def test_all_namespaces_are_watched_at_once_where_the_daemon_may(
    control_plane: Access, watched: WatchedCluster, proxy: ApiProxy, app: TargetRef, caplog: Any
) -> None:
    with caplog.at_level("INFO", "autoscaler"):
        others = [TargetRef("default", "none"), TargetRef("kube-system", "none")]
        found = watched.observe([app, *others])

    assert isinstance(found[app], TargetState)
    assert {each.namespace for each in watched.ages()} == {""}
    assert proxy.count("watch") == KINDS
    assert "HorizontalPodAutoscalers of all namespaces" in caplog.text


@pytest.fixture
def other(control_plane: Access) -> Iterator[TargetRef]:
    """A Deployment in another namespace."""
    name = f"test-{secrets.token_hex(4)}"
    control_plane.create_namespace(name)
    control_plane.apps.create_namespaced_deployment(name, deployment("other"))
    control_plane.settle(name, "other", 1)
    yield TargetRef(name, "other")
    control_plane.delete_namespace(name)


def test_a_namespace_that_is_added_is_listed_alone(
    control_plane: Access,
    watched: WatchedCluster,
    proxy: ApiProxy,
    app: TargetRef,
    other: TargetRef,
) -> None:
    first = [app, TargetRef("default", "none")]
    assert isinstance(watched.observe(first)[app], TargetState)
    proxy.requests.clear()

    found = watched.observe([*first, other])

    assert isinstance(found[other], TargetState), found[other]
    assert isinstance(found[app], TargetState)
    lists = [each.path for each in proxy.requests if each.verb == "list"]
    assert len(lists) == KINDS
    assert all(f"/namespaces/{other.namespace}/" in path for path in lists)
    assert failures(watched) == 0
    for ref, replicas in ((other, 3), (app, 3), (other, 1)):
        hand(control_plane, ref, replicas)
        sees(watched, ref, replicas)
    assert proxy.count("list") == KINDS


def test_a_namespace_whose_list_hangs_keeps_the_others_waiting_for_a_moment_only(
    watched: WatchedCluster, proxy: ApiProxy, app: TargetRef, other: TargetRef
) -> None:
    first = [app, TargetRef("default", "none")]
    assert isinstance(watched.observe(first)[app], TargetState)
    new = f"/namespaces/{other.namespace}/"
    proxy.reply = lambda request: reply(500, b"{}") if new in request.path else None

    found = watched.observe([*first, other])

    assert isinstance(found[app], TargetState)
    assert "cannot list" in str(found[other])
    proxy.behave()
    is_seen = lambda: isinstance(watched.observe([*first, other])[other], TargetState)  # noqa: E731
    wait_until(is_seen, WITHIN, "the namespace to be listed")


class Reader:
    """A ServiceAccount that may read one or two namespaces, and all of them while it is granted."""

    def __init__(self, access: Access, *namespaces: str) -> None:
        self.name = f"reader-{namespaces[0]}"
        self.kubeconfig = access.service_account(namespaces[0], "reader", [READING])
        self._rbac: Any = client.RbacAuthorizationV1Api(access.api)
        metadata = {"name": self.name}
        self._rbac.create_cluster_role({"metadata": metadata, "rules": [READING]})
        account = {"kind": "ServiceAccount", "name": "reader", "namespace": namespaces[0]}
        role = {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": self.name,
        }
        self._binding = {"metadata": metadata, "subjects": [account], "roleRef": role}
        for each in namespaces[1:]:
            self._rbac.create_namespaced_role_binding(each, self._binding)

    def grant(self) -> None:
        self._rbac.create_cluster_role_binding(self._binding)

    def revoke(self) -> None:
        self._rbac.delete_cluster_role_binding(self.name)


def test_rights_in_all_namespaces_may_be_granted_and_revoked_while_it_runs(
    control_plane: Access,
    proxy: ApiProxy,
    app: TargetRef,
    other: TargetRef,
    caplog: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watched_cluster, "ASK_EVERY", 1.0)
    reader = Reader(control_plane, app.namespace, other.namespace)
    api = KubernetesCluster.connect(proxy.kubeconfig(reader.kubeconfig))
    alone = {app.namespace, other.namespace}

    def watches(namespaces: set[str]) -> bool:
        """Whether these are watched; no target is unknown meanwhile."""
        found = watched.observe([app, other])
        assert [each for each in found.values() if not isinstance(each, TargetState)] == []
        return {each.namespace for each in watched.ages()} == namespaces

    with closing(WatchedCluster(api, SystemClock(), SHORT)) as watched, caplog.at_level("INFO"):
        assert watches(alone)

        reader.grant()
        wait_until(lambda: watches({""}), WITHIN, "one watch of all namespaces")
        hand(control_plane, app, 3)
        sees(watched, app, 3)

        reader.revoke()
        wait_until(lambda: watches(alone), WITHIN, "a watch of each namespace")
        assert re.search(r"in all namespaces; add \w+ on \w+ to the ClusterRole", caplog.text)
        hand(control_plane, app, 1)
        sees(watched, app, 1)


def test_whoever_may_nothing_any_more_is_told_so_and_goes_on_once_it_may(
    control_plane: Access, proxy: ApiProxy, watched: WatchedCluster, app: TargetRef, caplog: Any
) -> None:
    both = [app, TargetRef("default", "none")]
    assert isinstance(watched.observe(both)[app], TargetState)

    proxy.reply = lambda _: reply(401, b"{}")
    proxy.cut()
    is_unknown = lambda: isinstance(watched.observe(both)[app], ForbiddenError)  # noqa: E731
    wait_until(is_unknown, WITHIN, "the target to be unknown")
    assert {each.namespace for each in watched.ages()} == {""}
    assert "watched on its own" not in caplog.text

    proxy.behave()
    wait_until(lambda: not is_unknown(), WITHIN, "the target to be known")


def test_each_namespace_is_watched_alone_where_it_may_not(
    control_plane: Access, proxy: ApiProxy, app: TargetRef, caplog: Any
) -> None:
    account = control_plane.service_account(app.namespace, "reader", [READING])
    api = KubernetesCluster.connect(proxy.kubeconfig(account))
    other = TargetRef("default", "none")
    with closing(WatchedCluster(api, SystemClock(), SHORT)) as watched, caplog.at_level("INFO"):
        found = watched.observe([app, other])

        assert isinstance(found[app], TargetState)
        assert "not allowed to list deployments in namespace default" in str(found[other])
        assert {each.namespace for each in watched.ages()} == {app.namespace}
    assert "may not list those of all namespaces" in caplog.text
