"""A pod that says on purpose what no exporter says: its neighbours are decided in the same pass."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable
from dataclasses import replace

import pytest

from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.control.controller import Controller
from autoscaler.model import Cause, Cordon, TargetRef
from tests.adapters.hostile import Serve, drips, pours, says, server
from tests.builders import NOW, policy
from tests.fakes import FakeCluster, FakePolicies
from tests.lab.scripted_sidecars import state

GOOD, EVIL = TargetRef("good", "app"), TargetRef("evil", "app")
LONG_BEFORE = 20.0
BOMB = gzip.compress(bytes(50 << 20))
EMPTY = json.dumps(state(0, empty_for=90.0))


def http(body: bytes, headers: bytes = b"") -> Serve:
    head = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n"
    return says(head % (headers, len(body)) + body)


def spoiled(old: str, new: str) -> Serve:
    assert old in EMPTY
    return http(EMPTY.replace(old, new).encode())


def world(pods: int) -> FakeCluster:
    """A Deployment that is full, and another one whose pods say that they are to leave."""
    cluster = FakeCluster()
    cluster.deploy(GOOD, 20, 20, 20)
    cluster.deploy(EVIL, *[1] * pods, uid="uid-2")
    target, cordon = cluster.targets[EVIL], Cordon(Cause.SCALE_DOWN, NOW - 5)
    leaving = (
        replace(pod, uid=f"evil-{pod.uid}", ip="127.0.0.1", routable=False, cordon=cordon)
        for pod in target.pods
    )
    cluster.targets[EVIL] = replace(target, pods=tuple(leaving))
    return cluster


def decided(cluster: FakeCluster, port: int) -> Iterable[tuple[str, str | None, int | None]]:
    names = ("good", "evil")
    policies = [policy(name=n, target={"namespace": n, "deployment": "app"}) for n in names]
    sidecars = HttpSidecars(port)
    controller = Controller(
        FakePolicies(tuple(policies)), cluster, cluster, sidecars, cluster.clock
    )
    for outcome in controller.run_pass().outcomes:
        replicas = outcome.decision.desired if outcome.decision else None
        yield outcome.policy.name, outcome.problem, replicas


@pytest.mark.parametrize(
    "serve",
    [
        pytest.param(http(b"[" * 200_000), id="JSON without a bottom"),
        pytest.param(http(b"[" * 60_000), id="JSON without a bottom in 60 KiB"),
        pytest.param(spoiled("90.0", "Infinity"), id="Infinity"),
        pytest.param(spoiled("90.0", '"x"'), id="a word for a number"),
        pytest.param(spoiled("90.0", "9" * 5_000), id="a number of five thousand digits"),
        pytest.param(http(BOMB, b"Content-Encoding: gzip\r\n"), id="a gzip bomb"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % (b"9" * 5_000)),
            id="a length of five thousand digits",
        ),
        pytest.param(drips(b"HTTP/1.1 200 OK\r\nX: y"), id="it drips its head"),
        pytest.param(pours, id="it pours"),
    ],
)
@pytest.mark.parametrize("pods", [1, 20], ids=["one pod", "a whole Deployment"])
def test_its_neighbour_is_scaled_in_the_same_pass(serve: Serve, pods: int) -> None:
    cluster = world(pods)
    with server(serve) as page:
        began = time.monotonic()
        outcomes = list(decided(cluster, page.port))
        took = time.monotonic() - began

    assert outcomes[0] == ("good", None, 6)
    assert cluster.replicas(GOOD) == 6
    assert outcomes[1][:2] == ("evil", None)
    assert cluster.replicas(EVIL) >= pods, "no pod is removed by an answer that is none"
    assert took < LONG_BEFORE
