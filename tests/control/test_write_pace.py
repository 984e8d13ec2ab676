"""A storm: more writes are due than may be made at once, or one of them is slow to be answered."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.control.actor import Written
from autoscaler.control.state_store import Key, StateStore
from autoscaler.control.write_pace import BURST, RESERVED, WritePace
from autoscaler.errors import ClusterError, RefusedError, ThrottledError
from autoscaler.model import Cause, Cordon, PodMarks, PodState, Reason, State, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import TargetState
from tests.builders import policy
from tests.control.test_controller import World
from tests.fakes import FakeClock, FakeCluster
from tests.lab.processes import wait_until

RATE = 10.0
FULL = int(RATE * BURST)
LOW = int(FULL * RESERVED)
APP = TargetRef("a", "app")
APP_OF_POLICY = TargetRef("bokeh", "bokeh-app")


def of(namespace: str, number: int) -> Policy:
    target = {"namespace": namespace, "deployment": f"app-{number}"}
    return policy(name=f"{namespace}-{number}", target=target)


class Bucket:
    def __init__(self) -> None:
        self.now = 0.0
        self.pace = WritePace(RATE, lambda: self.now)

    def writes(self, *, urgent: bool, ref: TargetRef = APP) -> int:
        """How many it allows at once."""
        for number in range(1_000):
            try:
                self.pace.take(ref, urgent=urgent)
            except ThrottledError:
                return number
        raise AssertionError("it allows any number")


def test_scale_downs_leave_half_of_the_burst_to_scale_ups() -> None:
    bucket = Bucket()

    assert bucket.writes(urgent=False) == LOW
    assert bucket.writes(urgent=True) == FULL - LOW


def test_while_scale_ups_use_all_there_is_no_scale_down_is_written() -> None:
    bucket = Bucket()
    bucket.writes(urgent=True)
    for _ in range(5):
        bucket.now += 1.0
        assert bucket.writes(urgent=False) == 0
        assert bucket.writes(urgent=True) == RATE

    bucket.now += BURST
    assert bucket.writes(urgent=False) == LOW


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=60), st.integers(1, 100))
def test_it_never_allows_more_than_the_burst_and_the_rate(
    history: list[tuple[float, bool]], rate: int
) -> None:
    now, made = 0.0, 0
    pace = WritePace(rate, lambda: now)
    for pause, urgent in history:
        now += pause
        for _ in range(rate):
            try:
                pace.take(TargetRef("a", "b"), urgent=urgent)
            except ThrottledError:
                break
            made += 1
        assert made <= max(1.0, rate * BURST) + now * rate + 1e-6


def test_whoever_had_to_wait_comes_first_and_no_namespace_takes_the_turns_of_another() -> None:
    bucket = Bucket()
    many, few = [of("many", n) for n in range(4)], [of("few", n) for n in range(2)]
    assert [p.name for p in bucket.pace.in_turn([*many, *few])] == [
        "many-0",
        "few-0",
        "many-1",
        "few-1",
        "many-2",
        "many-3",
    ]

    bucket.writes(urgent=True, ref=few[1].target.ref)
    bucket.now = 0.01
    bucket.writes(urgent=True, ref=many[3].target.ref)
    assert [p.name for p in bucket.pace.in_turn([*many, *few])][:2] == ["few-1", "many-3"]

    bucket.now = 1.0
    bucket.pace.take(few[1].target.ref, urgent=True)
    bucket.pace.forget_all_but({few[1].target.ref})
    assert bucket.pace.in_turn([*many, *few])[0].name == "many-0"


def test_of_those_that_had_to_wait_scale_ups_come_first() -> None:
    bucket = Bucket()
    shrinks, grows, new = of("a", 0), of("b", 0), of("c", 0)
    bucket.writes(urgent=True, ref=new.target.ref)
    bucket.pace.forget_all_but(set())
    bucket.writes(urgent=False, ref=shrinks.target.ref)
    bucket.now = 0.05
    bucket.writes(urgent=True, ref=grows.target.ref)

    turns = [each.name for each in bucket.pace.in_turn([new, shrinks, grows])]
    assert turns == ["b-0", "a-0", "c-0"]


def test_growth_that_waits_gets_every_write_although_the_bucket_is_full_at_each_pass() -> None:
    shrinks = [
        policy(
            name=f"a-{n}",
            target={"namespace": "a", "deployment": f"app-{n}"},
            drain="none",
            behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
        )
        for n in range(30)
    ]
    grows = [of("b", n) for n in range(30)]
    world = World(*shrinks, *grows, writes_per_second=5.0)
    for each in shrinks:
        world.cluster.deploy(each.target.ref, 0, 0, 0, uid=each.name)
    for each in grows:
        world.cluster.deploy(each.target.ref, 10, 12, uid=each.name)
    for pod in ("pod-0", "pod-1"):
        world.cluster.sessions["a", pod] = 0

    world.run()
    before = len(world.cluster.changes)
    world.run()
    assert {ref.namespace for ref, _ in world.cluster.changes[before:]} == {"b"}


class Storm(World):
    """Forty targets in two namespaces that all have to grow, and a few writes a second."""

    def __init__(self) -> None:
        self.many = [*(of("many", n) for n in range(36)), *(of("few", n) for n in range(4))]
        super().__init__(*self.many, writes_per_second=2.0)
        for each in self.many:
            self.cluster.deploy(each.target.ref, 10, 12, uid=each.name)

    def grown(self) -> Counter[str]:
        refs = [each.target.ref for each in self.many]
        return Counter(ref.namespace for ref in refs if self.cluster.replicas(ref) == 3)


def test_when_all_targets_scale_at_once_the_rate_is_kept_and_small_namespaces_do_not_wait() -> None:
    world = Storm()

    first = world.run()
    held = [each.decision for each in first.outcomes if not each.changed]
    assert {d.reason for d in held if d is not None} == {Reason.WRITES_LIMITED}
    assert all("--writes-per-second" in d.steps[-1].detail for d in held if d is not None)
    assert not [each.problem for each in first.outcomes if each.problem]
    writes = [each.changed + len(each.marked) for each in first.outcomes]
    assert sum(writes) == 4, "the burst"
    assert sum(world.grown().values()) >= 2, "at least half of it is for scale-ups"

    world.run(passes=8)
    assert world.grown()["few"] == 4, "each namespace gets its turns"
    assert world.grown()["many"] < 36
    world.run(passes=30)
    assert sum(world.grown().values()) == 40


class Slow(FakeCluster):
    """One target whose scale is not answered until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.answer, self.asked = threading.Event(), threading.Event()

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        if state.ref.namespace == "slow":
            self.asked.set()
            assert self.answer.wait(60)
        super().scale(state, replicas, dry_run=dry_run)


def test_a_pass_does_not_wait_for_a_write_of_another_target() -> None:
    cluster, slow, other = Slow(), of("slow", 0), of("other", 0)
    world = World(slow, other, cluster=cluster, patience=1.0)
    for each in (slow, other):
        cluster.deploy(each.target.ref, 10, 12, uid=each.name)
    try:
        first = world.run()
        assert cluster.asked.wait(60)
        assert [each.policy.name for each in first.outcomes if each.changed] == ["other-0"]
        cluster.deploy(other.target.ref, 10, 12, 12, uid="other-0")
        assert [each.policy.name for each in world.run().outcomes] == ["other-0"]
        assert cluster.replicas(other.target.ref) == 4
    finally:
        cluster.answer.set()

    wait_until(lambda: cluster.replicas(slow.target.ref) == 3, 60.0, "the answer")
    wait_until(lambda: not world.controller._changes.namespaces(), 60.0, "the end of the write")
    told = {each.policy.name: each for each in world.run().outcomes}
    assert told["slow-0"].changed


def test_settling_waits_for_what_is_under_way() -> None:
    cluster, slow = Slow(), of("slow", 0)
    world = World(slow, cluster=cluster, patience=0.01)
    cluster.deploy(slow.target.ref, 10, 12, uid="slow-0")
    world.run()
    timer = threading.Timer(0.1, cluster.answer.set)
    timer.start()
    world.controller.settle()

    assert cluster.replicas(slow.target.ref) == 3


class SlowMarks(FakeCluster):
    """A cluster in which a cordon is not answered until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.answer, self.asked = threading.Event(), threading.Event()

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        if not marks.routable:
            self.asked.set()
            assert self.answer.wait(60)
        super().mark_pod(state, pod, marks)


def test_a_cordon_that_lands_after_its_policy_was_removed_does_not_stay() -> None:
    cluster = SlowMarks()
    world = World(policy(), cluster=cluster, patience=0.02)
    cluster.deploy(APP_OF_POLICY, 1, 1, 1)
    for _ in range(200):
        world.run()
        if cluster.asked.is_set():
            break
    world.policies.policies = ()
    world.run(passes=3)
    cluster.answer.set()
    wait_until(lambda: not world.controller._changes.namespaces(), 60.0, "the end of the write")
    world.run(passes=3)

    assert [pod.name for pod in cluster.targets[APP_OF_POLICY].pods if not pod.routable] == []


class Sluggish(FakeCluster):
    """Every scale takes a little."""

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        time.sleep(0.03)
        super().scale(state, replicas, dry_run=dry_run)


def test_a_pass_ends_although_slow_writes_end_all_the_time_and_the_rest_comes_first_next() -> None:
    many = [of("many", n) for n in range(160)]
    world = World(*many, cluster=Sluggish(), writes_per_second=1000.0, patience=0.06)
    for each in many:
        world.cluster.deploy(each.target.ref, 10, 12, uid=each.name)

    began = time.monotonic()
    while len({ref for ref, _ in world.cluster.changes}) < 160:
        assert len(world.run().outcomes) < 160, "a pass waits for all of them"
        assert time.monotonic() - began < 60
        for each in many:  # those that were served want more, and must not come before the others
            if world.cluster.replicas(each.target.ref) == 3:
                world.cluster.deploy(each.target.ref, 10, 12, uid=each.name)
    counts = Counter(ref for ref, _ in world.cluster.changes)
    assert max(counts.values()) <= 2


def test_a_change_of_a_policy_that_was_removed_meanwhile_is_not_made() -> None:
    store = StateStore(FakeClock())
    key, new = Key("bokeh", "app", "uid-1"), Key("bokeh", "app", "uid-2")
    store.keep(key, State())
    store.keep(new, State(last_scale_up=5.0))

    with pytest.raises(RefusedError, match="no longer has this target"), store.change(key, _same):
        raise AssertionError("it is made")
    with pytest.raises(ClusterError):
        _forgotten_meanwhile(store, new)
    assert store.of(new) is None


def _forgotten_meanwhile(store: StateStore, key: Key) -> None:
    with store.change(key, _same):
        store.forget_all_but(())
        raise ClusterError("no answer")


def _same(state: State) -> State:
    return state


def test_pods_for_which_users_wait_are_uncordoned_before_others_are_cordoned() -> None:
    world = World(policy())
    world.cluster.deploy(APP_OF_POLICY, 0, 0)
    first, second = world.cluster.targets[APP_OF_POLICY].pods
    cordoned = replace(second, routable=False, cordon=Cordon(Cause.FULL, 0.0))
    changes = [(first, PodMarks(routable=False)), (cordoned, PodMarks(routable=True))]
    written = Written()
    world.controller._actor._mark_pods(world.cluster.targets[APP_OF_POLICY], changes, written)

    assert [marks.routable for _, marks in written.marked] == [True, False]
