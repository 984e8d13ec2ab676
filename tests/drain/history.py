"""One history of a cluster in memory under the real Controller, and the laws that hold in each.

What can happen is told in `happenings`; `python -m tests.drain.histories` makes fresh ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from autoscaler.control.controller import Controller
from autoscaler.control.state_store import StateStore
from autoscaler.core.drain.pods import is_draining
from autoscaler.model import Reason
from autoscaler.policy import Policy
from tests.builders import policy
from tests.drain.model_cluster import KEPT_ALIVE, REF, ROUTED_LATE, Crash, ModelCluster
from tests.drain.model_pod import LONGEST_LAG, Pod
from tests.drain.model_time import DaemonClock
from tests.fakes import FakePolicies

LEAST, MOST, SEATS = 1, 7, 4
WINDOW = 10  # seconds
# Passes: the pause after somebody's reset, the patience with a shrink that nobody carries out, and
# some.
SETTLED_WITHIN = 270
PATIENCE = 3  # passes within which new users find a pod
QUIET_PASSES = 10  # without a write: everything has come to rest
pods = st.integers(0, MOST)  # those on their way out are the first


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


class History(RuleBasedStateMachine):
    """Every rule is something that happens, and then some passes; the end and the rest are laws."""

    @initialize(
        where=st.lists(pods, max_size=9),
        launcher=st.booleans(),
        recycles=st.booleans(),
        lag=st.sampled_from([0.0, 0.0, 4.0, LONGEST_LAG]),
        routed_late=st.sampled_from([ROUTED_LATE, KEPT_ALIVE]),
        dated=st.booleans(),
        watched=st.booleans(),
    )
    def deploy(
        self,
        where: list[int],
        launcher: bool,
        recycles: bool,
        lag: float,
        routed_late: float,
        dated: bool,
        watched: bool,
    ) -> None:
        self.cluster = ModelCluster(MOST, LEAST, launcher=launcher)
        self.cluster.lag, self.cluster.dated, self.cluster.watched = lag, dated, watched
        more: dict[str, Any] = {"recycle": {"age": "4m"}} if recycles else {}
        self.cluster.routed_late = routed_late
        if not launcher:  # nobody serves those whom proxies send to a pod that is gone
            more["drain"] = {"settle": f"{routed_late:g}s"}
        self.policy = rules(**more)
        self.ends: list[Callable[[], object]] = []
        self.paused = False  # because of what somebody else wrote
        self.alone = 0  # passes in a row after which no pod took new users
        self.start_daemon()
        for each in where:
            self.cluster.arrive(each, opens_in=1)

    def start_daemon(self, ahead: float = 0.0, told: str = "") -> None:
        """It remembers of its earlier life what it is told. ahead: its clock, of the server's."""
        world = self.cluster
        world.clock = DaemonClock(world, ahead)
        world.start_watching()
        self.store = StateStore(world.clock)
        self.store.recall(REF.namespace.__eq__, told)
        self.controller = Controller(
            FakePolicies((self.policy,)),
            world,
            world,
            world,
            world.clock,
            leadership=world,
            store=self.store,
        )

    def run_pass(self) -> None:
        self.cluster.interval()
        try:
            result = self.controller.run_pass()
        except Crash:
            self.start_daemon()
            return
        problem, decision = result.outcomes[0].problem, result.outcomes[0].decision
        steps = decision.steps if decision else ()
        self.paused = any(step.reason is Reason.FOREIGN_WRITER for step in steps)
        assert problem is None or "internal error" not in problem, problem
        free = problem is None and self.cluster.other_autoscaler is None
        free = free and not self.cluster.silent
        self.alone = self.alone + 1 if free and self.new_users_find_nobody() else 0
        # What happens in the middle of a pass is seen by the next one.
        assert self.alone < PATIENCE, "new users find nobody"

    def new_users_find_nobody(self) -> bool:
        """Although there is a pod that is only cordoned, and that no ReplicaSet is to remove."""
        serving = [pod for pod in self.cluster.pods if pod.seen.serving]
        ours = {pod for pod in serving if pod.seen.cordon is not None}
        found = any(pod.is_open for pod in serving)
        going = {*self.cluster.going(), *self.cluster.going(lag=0.0)}
        return not found and bool(ours - going)

    @invariant()
    def nothing_forbidden_has_happened(self) -> None:
        if hasattr(self, "cluster"):
            assert not self.cluster.problems, self.cluster.problems

    def run(self, passes: int) -> None:
        for _ in range(passes):
            self.run_pass()

    # Disturbances, which pass.

    def disturb(self, seconds: float, end: Callable[[], object], then: int) -> None:
        self.ends.append(end)
        self.cluster.later(seconds, end)
        self.run(then)

    def pod(self, which: int) -> Pod:
        return self.cluster.by_cordon()[which % len(self.cluster.pods)]

    def busy_pod(self, which: int) -> Pod:
        """Those with the most users first, of those that new users can go to."""
        order = sorted(self.cluster.pods, key=lambda p: (not p.is_open, -len(p.sessions)))
        return order[which % len(order)]

    # The end: everything comes to rest, and then the load does.

    def teardown(self) -> None:
        if not hasattr(self, "cluster") or self.cluster.problems:
            return
        self.cluster.happen()
        for end in self.ends:
            end()
        self.cluster.fault, self.cluster.slow = None, {}
        self.cluster.hasty, self.cluster.early = [], []
        self.cluster.delay("replicasets", 0)
        self.policy = self.policy.model_copy(update={"recycle": None})
        self.start_daemon()
        self.settle()
        self.leave([*self.cluster.pods, *self.cluster.ending])
        self.settle()
        assert self.cluster.replicas == LEAST, f"{self.cluster.replicas} replicas"
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
            rests = self.cluster.writes == writes and not self.paused
            quiet = quiet + 1 if rests else 0
            if quiet > QUIET_PASSES and not self.leaving():
                return
        raise AssertionError(f"it never ends: {[pod.seen.name for pod in self.leaving()]}")

    def leave(self, which: list[Pod]) -> None:
        for pod in which:
            for session in list(pod.sessions):
                pod.users.leave(session, self.cluster.time)

    def leaving(self) -> list[Pod]:
        return [pod for pod in self.cluster.pods if is_draining(pod.seen)]
