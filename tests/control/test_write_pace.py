"""A storm: more writes are due than may be made at once, or one of them is slow to be answered."""

from __future__ import annotations

import threading
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.control.write_pace import BURST, RESERVED, WritePace
from autoscaler.errors import ThrottledError
from autoscaler.model import Reason, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import TargetState
from tests.builders import policy
from tests.control.test_controller import World
from tests.fakes import FakeCluster
from tests.lab.processes import wait_until

RATE = 10.0
FULL = int(RATE * BURST)
LOW = int(FULL * RESERVED)
APP = TargetRef("a", "app")


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
    world = World(slow, other, cluster=cluster, patience=0.05)
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
