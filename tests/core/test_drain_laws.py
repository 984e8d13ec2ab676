"""Laws of shrinking: whatever happens to the cluster, its users, and the daemon itself.

The real Controller runs on a cluster in memory that keeps count of what must never happen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from autoscaler.controller import Controller
from autoscaler.core.lease import LONGEST_WRITE
from autoscaler.core.vacancy import is_leaving
from autoscaler.policy import Policy
from exporter.agent.census import OPENING_SECONDS
from tests.builders import policy
from tests.drain.model_cluster import INTERVAL, Crash, Fault, Late, ModelCluster
from tests.drain.model_pod import Pod
from tests.fakes import FakePolicies

LEAST, MOST, SEATS = 1, 7, 4
WINDOW = 10  # seconds
SETTLED_WITHIN = 150  # passes: the patience with a shrink that nobody carries out, and some
pods = st.integers(0, MOST)  # those on their way out are the first
users = st.integers(0, 5)
passes = st.sampled_from([0, 0, 1, 1, 2, 3])
# Seconds from the page to its WebSocket; the sidecar waits for it as long as that.
openings = st.sampled_from([1, 4, OPENING_SECONDS - 2])
lates = st.sampled_from(["replicasets", "everybody"])
periods = st.integers(1, 8)  # passes
COSTS = [0, 7, -(2**31), -(2**31) + 1]


def rules(**more: Any) -> Policy:
    return policy(
        replicas={"min": LEAST, "max": MOST},
        metrics=[{"type": "sessions", "seats": SEATS}],
        behavior={
            "scaleUp": {"stabilizationWindowSeconds": 0},
            "scaleDown": {"stabilizationWindowSeconds": WINDOW},
        },
        **more,
    )


class Shrinks(RuleBasedStateMachine):
    """Every rule is something that happens, and then some passes; the end and the rest are laws."""

    @initialize(where=st.lists(pods, max_size=9), recycles=st.booleans())
    def deploy(self, where: list[int], recycles: bool) -> None:
        self.cluster = ModelCluster(MOST, LEAST)
        self.policy = rules(recycle={"age": "4m"}) if recycles else rules()
        self.ends: list[tuple[float, Callable[[], None]]] = []
        self.start_daemon()
        for each in where:
            self.cluster.arrive(each, opens_in=1)

    def start_daemon(self) -> None:
        """It remembers nothing of its earlier life."""
        world = self.cluster
        self.controller = Controller(FakePolicies((self.policy,)), world, world, world, world.clock)

    def run_pass(self) -> None:
        self.cluster.interval()
        self.end_disturbances(until=self.cluster.clock.at)
        try:
            result = self.controller.run_pass()
        except Crash:
            self.start_daemon()
            return
        problem = result.outcomes[0].problem
        assert problem is None or "internal error" not in problem, problem
        if problem is None and self.cluster.rival is None and self.cluster.replicas:
            self.check_somebody_serves()

    def check_somebody_serves(self) -> None:
        """Unless only pods that a ReplicaSet is yet to remove could."""
        serving = [pod for pod in self.cluster.pods if pod.seen.serving]
        ours = {pod for pod in serving if pod.seen.cordon is not None}
        found = any(pod.is_open for pod in serving)
        assert found or not ours - set(self.cluster.going()), "new users find nobody"

    @invariant()
    def nothing_forbidden_has_happened(self) -> None:
        if hasattr(self, "cluster"):
            assert not self.cluster.problems, self.cluster.problems

    @rule(passes=st.integers(1, 6))
    def run(self, passes: int) -> None:
        for _ in range(passes):
            self.run_pass()

    # Users.

    @rule(where=st.lists(pods, min_size=1, max_size=6), opens_in=openings, then=passes)
    def users_come(self, where: list[int], opens_in: float, then: int) -> None:
        for each in where:
            self.cluster.arrive(each, opens_in)
        self.run(then)

    @rule(where=st.lists(pods, min_size=1, max_size=2), then=passes)
    def users_come_at_the_moment_of_the_next_shrink(self, where: list[int], then: int) -> None:
        self.cluster.hasty = where
        self.run(then)

    @rule(which=st.lists(users, min_size=1, max_size=6), then=passes)
    def users_leave(self, which: list[int], then: int) -> None:
        for each in which:
            if live := self.cluster.users("live"):
                pod, session = live[each % len(live)]
                pod.leave(session, self.cluster.clock.at)
        self.run(then)

    @rule(but=st.integers(0, 4), then=st.integers(3, 8))
    def nearly_all_leave(self, but: int, then: int) -> None:
        for pod, session in self.cluster.users("live")[but:]:
            pod.leave(session, self.cluster.clock.at)
        self.run(then)

    @precondition(lambda self: self.cluster.users("live"))
    @rule(which=users, then=passes)
    def a_connection_breaks(self, which: int, then: int) -> None:
        live = self.cluster.users("live")
        pod, session = live[which % len(live)]
        pod.disconnect(session, self.cluster.clock.at)
        self.run(then)

    @precondition(lambda self: self.cluster.users("broken"))
    @rule(which=users, then=passes)
    def a_user_comes_back(self, which: int, then: int) -> None:
        broken = self.cluster.users("broken")
        broken[which % len(broken)][1].reconnect()
        self.run(then)

    # Disturbances, which pass.

    def disturb(self, how_long: int, end: Callable[[], object], then: int) -> None:
        self.ends.append((self.cluster.clock.at + INTERVAL * how_long, lambda: end() and None))
        self.run(then)

    def end_disturbances(self, until: float = float("inf")) -> None:
        over = [end for at, end in self.ends if at <= until]
        self.ends = [(at, end) for at, end in self.ends if at > until]
        for end in over:
            end()

    def pod(self, which: int) -> Pod:
        return self.cluster.by_cordon()[which % len(self.cluster.pods)]

    @precondition(lambda self: self.cluster.pods)
    @rule(which=pods, how_long=periods, then=passes)
    def a_pod_is_not_ready(self, which: int, how_long: int, then: int) -> None:
        pod = self.pod(which)
        self.cluster.set_ready(pod, False)
        self.disturb(how_long, lambda: self.cluster.set_ready(pod, True), then)

    @precondition(lambda self: self.cluster.pods)
    @rule(which=pods, how=st.sampled_from(["answers", "scraped"]), how_long=periods, then=passes)
    def a_sidecar_is_silent(self, which: int, how: str, how_long: int, then: int) -> None:
        pod = self.pod(which)
        setattr(pod, how, False)
        self.disturb(how_long, lambda: setattr(pod, how, True), then)

    @precondition(lambda self: self.cluster.pods)
    @rule(which=pods, cost=st.sampled_from(COSTS), how_long=periods, then=passes)
    def somebody_else_writes_a_cost(self, which: int, cost: int, how_long: int, then: int) -> None:
        pod = self.pod(which)
        self.cluster.set_cost(pod, cost)
        self.disturb(how_long, lambda: self.cluster.remove_foreign_cost(pod), then)

    @rule(which=lates, how_long=st.integers(1, 40), then=passes)
    def controllers_are_late(self, which: Late, how_long: int, then: int) -> None:
        self.cluster.delay(which, how_long)
        self.run(then)

    @rule(how_long=periods, then=passes)
    def no_node_has_room(self, how_long: int, then: int) -> None:
        self.cluster.has_room = False
        self.disturb(how_long, lambda: setattr(self.cluster, "has_room", True), then)

    @rule(how_long=periods, then=passes)
    def another_autoscaler_comes(self, how_long: int, then: int) -> None:
        self.cluster.rival = "HorizontalPodAutoscaler app"
        self.disturb(how_long, lambda: setattr(self.cluster, "rival", None), then)

    @precondition(lambda self: self.cluster.pods)
    @rule(which=pods, value=st.sampled_from(["true", "false"]), how_long=periods, then=passes)
    def somebody_edits_the_label(self, which: int, value: str, how_long: int, then: int) -> None:
        pod = self.pod(which)
        self.cluster.set_label(pod, value)
        if value == "false":
            self.disturb(how_long, lambda: self.cluster.set_label(pod, "true"), then)

    # What happens once.

    @precondition(lambda self: self.cluster.pods)
    @rule(which=pods, then=passes)
    def a_pod_is_lost(self, which: int, then: int) -> None:
        self.cluster.lose(self.pod(which))
        self.run(then)

    @rule(replicas=st.integers(1, MOST + 1), then=passes)
    def somebody_edits_the_replicas(self, replicas: int, then: int) -> None:
        self.cluster.edit_by_hand(replicas)
        self.run(then)

    @rule(then=passes)
    def a_rollout_begins(self, then: int) -> None:
        self.cluster.roll_out()
        self.run(then)

    @rule(seconds=st.sampled_from([-3600.0, -60.0, -2.0, 2.0, 60.0, 3600.0]), then=passes)
    def the_clock_is_set(self, seconds: float, then: int) -> None:
        self.cluster.set_clock_by(seconds)
        self.ends = [(at + seconds, end) for at, end in self.ends]
        self.run(then)

    @rule(
        kind=st.sampled_from(["note", "scale", "any"]),
        after=st.integers(0, 2),
        effect=st.sampled_from([None, 0.0]),
        then=passes,
    )
    def the_daemon_crashes(self, kind: Any, after: int, effect: float | None, then: int) -> None:
        self.cluster.fault = Fault(kind, after, effect, crash=True)
        self.run(then)

    @rule(
        kind=st.sampled_from(["note", "scale", "any"]),
        after=st.integers(0, 2),
        effect=st.sampled_from([None, 0.0, 1.0, 4.0, LONGEST_WRITE]),
        then=passes,
    )
    def a_write_fails(self, kind: Any, after: int, effect: float | None, then: int) -> None:
        self.cluster.fault = Fault(kind, after, effect, crash=False)
        self.run(then)

    # The end: everything comes to rest, and then the load does.

    def teardown(self) -> None:
        if not hasattr(self, "cluster") or self.cluster.problems:
            return
        self.end_disturbances()
        self.cluster.fault, self.cluster.hasty = None, []
        self.cluster.delay("replicasets", 0)
        self.policy = rules()
        self.start_daemon()
        self.settle()
        self.leave(self.cluster.pods)
        self.settle()
        assert self.cluster.replicas == LEAST
        carried = {p.seen.name: p.leftovers() for p in self.cluster.pods if p.leftovers()}
        assert not carried, carried

    def settle(self) -> None:
        """The load is steady, but that the last users of cordoned pods leave."""
        quiet = 0
        for _ in range(SETTLED_WITHIN):
            writes = self.cluster.writes
            self.run_pass()
            self.nothing_forbidden_has_happened()
            self.leave(self.leaving())
            quiet = quiet + 1 if self.cluster.writes == writes else 0
            if quiet > 10 and not self.leaving():
                return
        raise AssertionError(f"it never ends: {[pod.seen.name for pod in self.leaving()]}")

    def leave(self, which: list[Pod]) -> None:
        for pod, session in self.cluster.users("live", "opening", "broken"):
            if pod in which:
                pod.leave(session, self.cluster.clock.at)

    def leaving(self) -> list[Pod]:
        return [pod for pod in self.cluster.pods if is_leaving(pod.seen)]


pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
TestShrinks = Shrinks.TestCase
TestShrinks.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
