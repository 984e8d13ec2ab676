"""Begins and ends each fault, by the key of its row."""

from __future__ import annotations

import json
import resource
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from kubernetes import client

from autoscaler.core.staleness import CACHE_FRESH_FOR
from tests.faults.scene import PODS, WITHIN, Scene
from tests.lab.http_proxy import Request, reply
from tests.lab.processes import wait_until

Fault = Callable[[Scene], AbstractContextManager[None]]
HOUR = 3_600.0
KINDS = 4  # of objects, each with a list and a watch of its own
APP = "bokeh-app"


def asked_answers(answer: Callable[[Scene, Request], bytes]) -> Fault:
    """Something answers in place of Prometheus."""

    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        scene.asked.reply = lambda request: answer(scene, request)
        yield
        scene.asked.behave()

    return fault


def partial(scene: Scene, request: Request) -> bytes:
    """What Thanos answers where one of its stores does not: real data, with a warning."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = urllib.request.Request(
        scene.world.prometheus.url + request.target, request.body or None, form
    )
    with urllib.request.urlopen(asked, timeout=5) as answer:
        told = json.load(answer)
    told["warnings"] = ["No StoreAPIs matched for this query"]
    return reply(200, json.dumps(told).encode())


@contextmanager
def prometheus_down(scene: Scene) -> Iterator[None]:
    scene.asked.down()
    yield
    scene.asked.up()


@contextmanager
def prometheus_slow(scene: Scene) -> Iterator[None]:
    scene.asked.delay = 3.0
    yield
    scene.asked.behave()


def told(what: Callable[[int], int | None]) -> Fault:
    """Prometheus is told something else than the sidecars. what: by the age of the pod."""

    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        scene.world.users.told = what
        yield
        scene.world.users.told = None

    return fault


@contextmanager
def one_pod_unseen(scene: Scene) -> Iterator[None]:
    """From the moment on at which it counts as full, and so another pod has been added."""
    users = scene.world.users
    users.told = lambda index: users.per_pod(index) if index else None
    wait_until(lambda: scene.world.replicas() == PODS + 1, WITHIN, "one more replica")
    yield
    users.told = None


@contextmanager
def zeros(scene: Scene) -> Iterator[None]:
    """Prometheus is gone for some passes, and then has series that begin at 0."""
    with prometheus_down(scene):
        scene.passes(3, scene.page())
        scene.world.users.told = lambda _: 0
        time.sleep(1)  # some have been pushed
    yield
    scene.world.users.told = None


@contextmanager
def api_down(scene: Scene) -> Iterator[None]:
    scene.api.down()
    yield
    scene.api.up()


@contextmanager
def api_hung(scene: Scene) -> Iterator[None]:
    scene.api.hung = True
    yield
    scene.api.behave()
    scene.api.cut()


def is_scale(request: Request) -> bool:
    return request.verb == "patch" and request.path.endswith("/scale")


def refused(status: int, reason: str) -> Fault:
    """The API server refuses to scale."""
    body = json.dumps({"kind": "Status", "code": status, "message": reason}).encode()
    answer = reply(status, body)

    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        scene.api.reply = lambda request: answer if is_scale(request) else None
        yield
        scene.api.behave()

    return fault


@contextmanager
def answer_lost(scene: Scene) -> Iterator[None]:
    scene.api.passes = lambda request: not is_scale(request)
    yield
    scene.api.behave()


def broken(*verbs: str) -> Fault:
    """The API server answers 500 to these requests."""
    answer = reply(500, b'{"kind": "Status", "code": 500, "message": "etcdserver: no leader"}')

    def begin(scene: Scene) -> None:
        scene.api.reply = lambda request: answer if request.verb in verbs else None
        scene.api.cut()

    return watches_fail(begin, lists="list" not in verbs)


def watches_fail(begin: Callable[[Scene], None], *, lists: bool = True) -> Fault:
    """From the moment on at which everything was listed again, or else the caches are too old."""

    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        begin(scene)
        if lists:
            seen = scene.api.count("list")
            wait_until(lambda: scene.api.count("list") >= seen + KINDS, 90, "lists")
        else:
            age = 'bokeh_autoscaler_cache_age_seconds{resource="pods"}'
            scene.until(age, CACHE_FRESH_FOR + 1)
        yield
        scene.api.behave()

    return fault


def silence(scene: Scene) -> None:
    scene.api.silent = True


@contextmanager
def watch_replays(scene: Scene) -> Iterator[None]:
    """Every watch begins with all that has happened since the Deployment was made."""
    apps = scene.plane.apps
    first = apps.read_namespaced_deployment(APP, scene.world.namespace).metadata.resource_version
    scene.api.edit = lambda line: _with_version(line, first)
    scene.api.cut()
    yield
    scene.api.behave()


def _with_version(line: bytes, version: str) -> bytes:
    head, sign, rest = line.partition(b"resourceVersion=")
    number = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
    return head + sign + version.encode() + rest[len(number) :] if sign and number else line


@contextmanager
def sidecars_unreachable(scene: Scene) -> Iterator[None]:
    """Prometheus still has what they say."""
    sidecars = scene.world.users.sidecars
    scene.world.users.answers = False
    sidecars.refuse()
    yield
    scene.world.users.answers = True


@contextmanager
def half_a_policy(scene: Scene) -> Iterator[None]:
    whole = scene.world.policy_file.read_text()
    scene.world.policy_file.write_text(whole[: len(whole) // 2])
    yield
    scene.world.policy_file.write_text(whole)


@contextmanager
def disk_full(scene: Scene) -> Iterator[None]:
    """The daemon cannot write beyond the size that its journal has; its log is smaller."""
    wait_until(lambda: scene.journal.stat().st_size > 0, 30, "the journal")
    pid = scene.daemons[-1].pid
    assert pid is not None
    size = scene.journal.stat().st_size
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def clock(ahead: float) -> Fault:
    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        scene.set_clock(ahead)
        yield
        scene.set_clock(0.0)

    return fault


@contextmanager
def deleted(scene: Scene) -> Iterator[None]:
    scene.plane.apps.delete_namespaced_deployment(APP, scene.world.namespace)
    yield
    scene.world.deploy(PODS)


@contextmanager
def scaled_by_hand(scene: Scene) -> Iterator[None]:
    by = {"spec": {"replicas": PODS + 2}}
    patch = scene.plane.apps.patch_namespaced_deployment
    patch(APP, scene.world.namespace, by, field_manager="kubectl-scale")
    yield


@contextmanager
def hpa(scene: Scene) -> Iterator[None]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": APP}
    spec = {"scaleTargetRef": target, "minReplicas": PODS, "maxReplicas": PODS}
    hpas: Any = client.AutoscalingV2Api(scene.plane.api)
    body = {"metadata": {"name": "by-cpu"}, "spec": spec}
    hpas.create_namespaced_horizontal_pod_autoscaler(scene.world.namespace, body)
    yield
    hpas.delete_namespaced_horizontal_pod_autoscaler("by-cpu", scene.world.namespace)


FAULTS: dict[str, Fault] = {
    "prometheus-down": prometheus_down,
    "prometheus-slow": prometheus_slow,
    "prometheus-500": asked_answers(lambda *_: reply(500, b"out of memory", "text/plain")),
    "prometheus-html": asked_answers(lambda *_: reply(200, b"<html>Log in</html>", "text/html")),
    "prometheus-partial": asked_answers(partial),
    "prometheus-one-pod": one_pod_unseen,
    "prometheus-stale": told(lambda _: None),
    "prometheus-zeros": zeros,
    "api-down": api_down,
    "api-hung": api_hung,
    "api-conflict": refused(409, "the object has been modified"),
    "api-forbidden": refused(403, "it is forbidden"),
    "api-too-many": refused(429, "too many requests"),
    "api-answer-lost": answer_lost,
    "watch-silent": watches_fail(silence),
    "watch-refused": broken("watch"),
    "reads-refused": broken("watch", "list"),
    "watch-replays": watch_replays,
    "sidecars-unreachable": sidecars_unreachable,
    "policy-half-written": half_a_policy,
    "journal-disk-full": disk_full,
    "clock-ahead": clock(HOUR),
    "clock-behind": clock(-HOUR),
    "deployment-deleted": deleted,
    "scaled-by-hand": scaled_by_hand,
    "hpa": hpa,
}
