"""Nobody stops anybody: one policy in each kind of trouble, others beside it in the same pass."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import pytest

from autoscaler.control import sidecar_rounds
from autoscaler.control.observation import queries_in_turn
from autoscaler.control.observer import Observer
from autoscaler.control.pass_result import PassResult
from autoscaler.errors import AutoscalerError, ClusterError
from autoscaler.model import (
    Cause,
    Cordon,
    Occupancy,
    PodMarks,
    PodState,
    Sample,
    TargetRef,
    Unavailable,
)
from autoscaler.policy import Policy
from autoscaler.ports import PolicySet, Readings, Signal, TargetState
from tests.builders import NOW, policy
from tests.control.test_controller import World
from tests.fakes import FakeCluster

BAD, GOOD, FINE = (TargetRef("bokeh", name) for name in ("bad", "good", "fine"))
QUERY = "sum(rate(http_requests_total[1m]))"


class Trouble(FakeCluster):
    """A world in which something goes wrong with the target `bad` only."""

    def is_bad(self, state: TargetState) -> bool:
        return state.ref == BAD


class Observing(Trouble):
    """The adapter falls on one Deployment, such as on a field that nobody thought of."""

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        asked = set(refs)
        if BAD in asked:
            raise KeyError("metadata")
        return super().observe(asked)


class Vanishing(Trouble):
    """The adapter forgets one Deployment."""

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        return super().observe(set(refs) - {BAD})


class Asking(Trouble):
    """The answer of one target's sidecar is something that the adapter falls on."""

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy | Unavailable]:
        if any(pod.name.startswith("bad") for pod in pods):
            raise OverflowError("int too large")
        return super().occupancy(pods)


class Deciding(Trouble):
    """A number of one pod that no arithmetic can hold."""

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        readings = super().read(signals, queries, now)
        counts = dict(readings.samples["sessions", "exporter"])
        counts[BAD.namespace, "bad-0"] = Sample(float("nan"), now)  # type: ignore[arg-type]
        return replace(readings, samples={("sessions", "exporter"): counts})


class Reading(Trouble):
    """The value of one policy's query makes the adapter fall over, for whoever asks with it."""

    def read(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
    ) -> Readings:
        if "sum(huge)" in set(queries):
            raise OverflowError("cannot convert float infinity to integer")
        return super().read(signals, queries, now)


class Noting(Trouble):
    """A write to one pod fails in a way that is no answer of the API."""

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        if self.is_bad(state):
            raise AttributeError("'NoneType' object has no attribute 'status'")
        super().mark_pod(state, pod, marks)


class Scaling(Trouble):
    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        if self.is_bad(state):
            raise TypeError("unhashable type")
        super().scale(state, replicas, dry_run=dry_run)


def deploy(cluster: FakeCluster, ref: TargetRef, *sessions: int) -> None:
    """Like FakeCluster.deploy, with pods of names of their own."""
    cluster.deploy(ref, *sessions, uid=f"uid-{ref.deployment}")
    state = cluster.targets[ref]
    pods = []
    for number, pod in enumerate(state.pods):
        name = f"{ref.deployment}-{number}"
        pods.append(replace(pod, name=name, uid=f"uid-{name}", ip="10.0.0.1"))
        cluster.sessions[ref.namespace, name] = sessions[number]
    cluster.targets[ref] = replace(state, pods=tuple(pods))


def cordon(cluster: FakeCluster, ref: TargetRef) -> None:
    """The first pod drains, so its sidecar is asked at each pass."""
    state = cluster.targets[ref]
    first = replace(state.pods[0], routable=False, cordon=Cordon(Cause.SCALE_DOWN, 0.0))
    cluster.targets[ref] = replace(state, pods=(first, *state.pods[1:]))


def of(ref: TargetRef, **more: object) -> Policy:
    target = {"namespace": ref.namespace, "deployment": ref.deployment}
    return policy(name=ref.deployment, target=target, **more)


TROUBLES: dict[str, Callable[[], Trouble]] = {
    "the Deployment cannot be parsed": Observing,
    "the Deployment is not in the answer": Vanishing,
    "a sidecar's answer cannot be parsed": Asking,
    "a decision raises": Deciding,
    "the value of a query cannot be parsed": Reading,
    "a write to a pod raises": Noting,
    "a write to the scale raises": Scaling,
}


@pytest.fixture(params=TROUBLES)
def world(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> World:
    """Three policies: one in trouble between two that have too many users for their pods."""
    caplog.set_level(logging.INFO, "autoscaler")
    cluster = TROUBLES[request.param]()
    for ref in (BAD, GOOD, FINE):
        deploy(cluster, ref, 10, 12)
    cordon(cluster, BAD)
    metrics = [
        {"type": "sessions", "seats": 10},
        {"type": "prometheus", "query": "sum(huge)", "perReplica": 1.0},
    ]
    return World(of(GOOD), of(BAD, metrics=metrics), of(FINE), cluster=cluster)


def test_the_others_are_decided_and_carried_out_in_the_same_pass(world: World) -> None:
    for _ in range(3):
        result = world.run()
        good, bad, fine = result.outcomes

        assert (good.problem, fine.problem) == (None, None)
        assert [o.policy.name for o in result.outcomes] == ["good", "bad", "fine"]
        assert "nothing was changed" not in (bad.problem or "")

    assert world.cluster.replicas(GOOD) == 3
    assert world.cluster.replicas(FINE) == 3


@pytest.mark.parametrize("kind", [Deciding, Scaling, Noting])
def test_a_defect_is_told_with_its_policy_once_and_counted_as_a_failure(
    kind: Callable[[], Trouble], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = kind()
    deploy(cluster, BAD, 10, 12)
    world = World(of(BAD), cluster=cluster)

    results = [world.run() for _ in range(3)]

    problems = {result.outcomes[0].problem for result in results}
    [problem] = problems
    assert problem is not None
    assert problem.startswith("internal error (a bug, please report it) in policy bad: ")
    told = [r for r in caplog.records if "in policy bad" in r.getMessage()]
    assert len(told) == 1
    assert told[0].exc_info
    assert [reason for _, reason, _ in cluster.events if reason == "InternalError"]
    labels = {"policy": "bad", "namespace": "bokeh", "deployment": "bad"}
    assert world.metric("failures_total", **labels) == 3


def test_what_was_written_before_a_defect_is_still_told() -> None:
    cluster = Noting()
    deploy(cluster, BAD, 10, 12)

    [outcome] = World(of(BAD), cluster=cluster).run().outcomes

    assert cluster.replicas(BAD) == 3
    assert outcome.changed
    assert outcome.problem


class RaisingRecorder:
    def record(self, result: PassResult) -> None:
        raise ZeroDivisionError("a defect in a recorder")


def test_a_recorder_that_raises_keeps_no_other_from_being_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(of(GOOD))
    deploy(world.cluster, GOOD, 10, 12)
    world.controller._recorders = (RaisingRecorder(), *world.controller._recorders)

    world.run()

    assert [reason for _, reason, _ in world.cluster.events] == ["SuccessfulRescale"]
    assert world.metric("policies") == 1
    assert "RaisingRecorder failed" in caplog.text


def test_policies_that_cannot_be_loaded_leave_the_last_ones_active() -> None:
    world = World(of(GOOD))
    deploy(world.cluster, GOOD, 5)
    world.run()

    def load() -> PolicySet:
        raise RecursionError("a defect")

    world.policies.load = load  # type: ignore[method-assign]
    deploy(world.cluster, GOOD, 10, 12)
    world.run()

    assert world.cluster.replicas(GOOD) == 3


def test_a_deployment_that_vanishes_in_the_middle_of_a_pass_is_one_line() -> None:
    class Deleted(FakeCluster):
        def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
            del self.targets[state.ref]
            self.refusals = [self.failures.get(BAD) or ClusterError("gone")]
            super().scale(state, replicas, dry_run=dry_run)

    cluster = Deleted()
    deploy(cluster, BAD, 10, 12)
    world = World(of(BAD), cluster=cluster)

    assert world.run().outcomes[0].problem == "gone"
    world.run(passes=2)
    assert world.run().outcomes[0].problem == "bokeh/bad: no such Deployment"


class Slow(FakeCluster):
    """Sidecars of `bad` that take their time; when each policy was done."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()
        self.scaled = threading.Event()

    def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy | Unavailable]:
        if any(pod.name.startswith("bad") for pod in pods):
            assert self.release.wait(10), "the others were not carried out meanwhile"
        return super().occupancy(pods)

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        super().scale(state, replicas, dry_run=dry_run)
        if len(self.changes) == 2:
            self.release.set()


def test_sidecars_of_one_target_make_no_other_target_wait() -> None:
    """The slow ones answer only once the others have been scaled."""
    cluster = Slow()
    for ref in (BAD, GOOD, FINE):
        deploy(cluster, ref, 10, 25)
        cordon(cluster, ref)

    World(of(BAD), of(GOOD), of(FINE), cluster=cluster).run()

    assert cluster.release.is_set()


def test_forty_targets_that_wait_leave_a_place_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From their second pass on: which are slow is known by then."""
    monkeypatch.setattr(sidecar_rounds, "A_MOMENT", 0.05)

    class Forty(FakeCluster):
        """In the second pass the slow ones answer once the other target has been scaled."""

        scaled, waited_for = threading.Event(), 0.0
        in_vain = False

        def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy | Unavailable]:
            if any(pod.name.startswith("slow") for pod in pods):
                time.sleep(0.05)
                self.in_vain |= not self.scaled.wait(self.waited_for) and self.waited_for > 0
                return {pod.uid: Unavailable("no answer") for pod in pods}
            return super().occupancy(pods)

        def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
            super().scale(state, replicas, dry_run=dry_run)
            self.scaled.set()

    cluster = Forty()
    slow = [TargetRef("bokeh", f"slow-{number}") for number in range(40)]
    for ref in (*slow, GOOD):
        deploy(cluster, ref, 5)
        cordon(cluster, ref)
    world = World(*map(of, slow), of(GOOD), cluster=cluster)
    world.run()

    cluster.sessions[GOOD.namespace, "good-0"] = 25
    cluster.waited_for = 20.0
    world.run()

    assert cluster.replicas(GOOD) > 1
    assert not cluster.in_vain


def test_an_api_that_takes_seconds_for_each_pod_leaves_the_rest_for_the_next_pass() -> None:
    class SlowApi(FakeCluster):
        def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
            super().mark_pod(state, pod, marks)
            self.clock.advance(2)

    cluster = SlowApi()
    deploy(cluster, GOOD, *[5] * 9)
    world = World(of(GOOD), cluster=cluster)

    [outcome] = world.run().outcomes

    assert (
        outcome.problem == "the API server is slow: 3 pods were patched in 5 s, the others follow"
    )
    assert len(outcome.marked) == 3


def test_a_policy_with_many_queries_is_not_asked_for_before_the_others() -> None:
    many, few = (
        policy(metrics=[{"type": "prometheus", "query": query, "perReplica": 1} for query in each])
        for each in (["a", "b", "c"], ["z", "b"])
    )
    assert queries_in_turn([many, few]) == ("a", "z", "b", "c")
    assert queries_in_turn([]) == ()


def test_parts_that_were_read_alone_are_joined_without_loss() -> None:
    """After a defect each signal is read on its own: nothing that any of them says may get lost."""

    class Once:
        """Fails where more than one is read, as after a defect."""

        def read(
            self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], now: float
        ) -> Readings:
            parts = [*signals, *queries]
            if len(parts) > 1:
                raise ZeroDivisionError
            pair: tuple[Signal, str] = ("memory", "cadvisor")
            if parts == ["q"]:
                raise ZeroDivisionError
            if parts == [pair]:
                containers = {("bokeh", "a"): {"app": Sample(5, now)}}
                return Readings(containers=containers, hints={pair: "a hint"}, fresh_for=120.0)
            return Readings(fresh_for=120.0)

    world = World()
    observer = Observer(world.cluster, Once(), world.cluster, world.clock)
    found = observer.readings({("memory", "cadvisor"), ("sessions", "exporter")}, {"q"}, NOW)

    assert found.containers == {("bokeh", "a"): {"app": Sample(5, NOW)}}
    assert found.hints == {("memory", "cadvisor"): "a hint"}
    assert found.fresh_for == 120.0
