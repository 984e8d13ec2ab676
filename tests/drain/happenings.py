"""What can happen in a history: users, what disturbs them and the daemon, and other people."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from autoscaler.core.drain.pods import is_draining
from autoscaler.core.lease import LONGEST_WRITE
from exporter.agent.census import OPENING_SECONDS
from tests.drain.history import MOST, History, pods
from tests.drain.model_cluster import REF, Call, Fault, Late, Watched
from tests.drain.model_deployment import INTERVAL
from tests.drain.model_pod import LONGEST_LAG, Pod, Sidecar
from tests.drain.model_users import RETURNS_WITHIN, STALE_AFTER, Session

FIRST_CORDON_WITHIN = 6  # passes
COSTS = [0, 7, -(2**31), -(2**31) + 1]
users = st.integers(0, 5)
some = st.lists(users, min_size=1, max_size=6)
passes = st.sampled_from([0, 0, 1, 1, 2, 3])
# Seconds from the page to its WebSocket; the sidecar waits for it as long as that.
openings = st.sampled_from([1, 4, OPENING_SECONDS - 2])
pages = st.sampled_from([0, 0, 3, 31])  # seconds until a page is sent
soon = st.sampled_from([0, 0, 1, 4, 9, 17, 26, 29])  # seconds from now: also amid a pass
# Seconds until a connection that broke or fell silent is back; None: never.
backs = st.sampled_from([None, 1, 12, RETURNS_WITHIN - 1])
silences = st.sampled_from([None, 5, 20, STALE_AFTER + RETURNS_WITHIN - 1])
while_it_lasts = st.sampled_from([1, 4, 7, 11, 20, 40, 90])  # seconds
lates = st.sampled_from(["replicasets", "everybody"])
sidecars = st.sampled_from(["silent", "late", "not ready"])
clocks = st.sampled_from([-3600.0, -240.0, -20.0, -2.0, 2.0, 20.0, 240.0, 3600.0])
WATCHES: list[frozenset[Watched]] = [
    frozenset(["deployment"]),
    frozenset(["pods"]),
    frozenset(["deployment", "pods"]),
]
calls = st.sampled_from(["read", "observe", "ask", "note", "commit", "scale"])


class UsersComeAndGo(History):
    """Those who come, whose connections break or fall silent, and who leave."""

    def live(self, which: list[int]) -> list[tuple[Pod, Session]]:
        """Some of those that are connected, those of cordoned pods first."""
        found = self.cluster.users("live")
        chosen = {each % len(found): found[each % len(found)] for each in which if found}
        return list(chosen.values())

    @rule(passes=st.integers(1, 6))
    def time_passes(self, passes: int) -> None:
        self.run(passes)

    @rule(
        where=st.lists(pods, min_size=1, max_size=6),
        takes=pages,
        opens_in=openings,
        within=soon,
        then=passes,
    )
    def users_come(
        self, where: list[int], takes: float, opens_in: float, within: float, then: int
    ) -> None:
        for each in where:
            self.cluster.later(within, partial(self.cluster.arrive, each, opens_in, takes))
        self.cluster.happen(until=self.cluster.time)
        self.run(then)

    @rule(
        where=st.lists(pods, min_size=1, max_size=2), times=st.sampled_from([1, 1, 8]), then=passes
    )
    def users_come_at_the_moment_of_the_next_shrink(
        self, where: list[int], times: int, then: int
    ) -> None:
        self.cluster.hasty = where * times
        self.run(then)

    @rule(where=some, takes=st.sampled_from([0, 2, 3, LONGEST_WRITE]), then=passes)
    def users_come_while_the_next_change_is_written_down(
        self, where: list[int], takes: float, then: int
    ) -> None:
        self.cluster.early, self.cluster.slow["commit"] = where, takes
        self.disturb(30, lambda: self.cluster.slow.pop("commit", None), then)

    @rule(where=pods, takes=st.sampled_from([3, 20, 70]), within=soon, then=passes)
    def a_file_is_sent(self, where: int, takes: float, within: float, then: int) -> None:
        self.cluster.later(within, partial(self.cluster.arrive, where, None, takes))
        self.cluster.happen(until=self.cluster.time)
        self.run(then)

    @rule(which=some, then=passes)
    def users_leave(self, which: list[int], then: int) -> None:
        for pod, session in self.live(which):
            pod.users.leave(session, self.cluster.time)
        self.run(then)

    @rule(which=some, work=st.sampled_from([5, 45, 90]), then=passes)
    def users_leave_work_behind(self, which: list[int], work: float, then: int) -> None:
        for pod, session in self.live(which):
            pod.users.leave_work(session, self.cluster.time, work)
        self.run(then)

    @rule(but=st.integers(0, 4), then=st.integers(3, 8))
    def nearly_all_leave(self, but: int, then: int) -> None:
        for pod, session in self.cluster.users("live")[but:]:
            pod.users.leave(session, self.cluster.time)
        self.run(then)

    @rule(which=some, back=backs, then=passes)
    def connections_break(self, which: list[int], back: float | None, then: int) -> None:
        for pod, session in self.live(which):
            pod.users.disconnect(session, self.cluster.time)
            self.come_back(pod, session, back)
        self.run(then)

    @rule(back=backs, then=passes)
    def all_connections_break(self, back: float | None, then: int) -> None:
        for pod, session in self.cluster.users("live"):
            pod.users.disconnect(session, self.cluster.time)
            self.come_back(pod, session, back)
        self.run(then)

    @rule(back=silences, then=passes)
    def the_network_pauses(self, back: float | None, then: int) -> None:
        """Without a disconnect: connections are stale after a while, and may answer again."""
        for pod, session in self.cluster.users("live"):
            pod.users.fall_silent(session, self.cluster.time)
            self.come_back(pod, session, back)
        self.run(then)

    def come_back(self, pod: Pod, session: Session, seconds: float | None) -> None:
        if seconds is not None:
            self.cluster.later(seconds, partial(pod.users.come_back, session))


class Disturbances(UsersComeAndGo):
    """What passes: pods that are not Ready, sidecars and controllers that are slow or silent."""

    @precondition(lambda self: self.cluster.pods)
    @rule(which=pods, busy=st.booleans(), seconds=while_it_lasts, within=soon, then=passes)
    def a_pod_is_not_ready(
        self, which: int, busy: bool, seconds: float, within: float, then: int
    ) -> None:
        pod = self.busy_pod(which) if busy else self.pod(which)
        self.cluster.later(within, partial(self.cluster.set_ready, pod, False))
        self.disturb(within + seconds, partial(self.cluster.set_ready, pod, True), then)

    @precondition(lambda self: self.cluster.pods)
    @rule(which=pods, all_of_them=st.booleans(), how=sidecars, seconds=while_it_lasts, then=passes)
    def sidecars_do_not_answer(
        self, which: int, all_of_them: bool, how: Sidecar, seconds: float, then: int
    ) -> None:
        found = list(self.cluster.pods) if all_of_them else [self.pod(which)]

        def turn(to: Sidecar) -> None:
            for pod in found:
                pod.sidecar = to

        turn(how)
        self.disturb(seconds, partial(turn, "answers"), then)

    @precondition(lambda self: self.cluster.pods)
    @rule(which=pods, seconds=while_it_lasts, then=passes)
    def a_sidecar_is_not_scraped(self, which: int, seconds: float, then: int) -> None:
        pod = self.pod(which)
        pod.scraped = False
        self.disturb(seconds, partial(setattr, pod, "scraped", True), then)

    @rule(which=lates, how_long=st.integers(1, 40), then=passes)
    def controllers_are_late(self, which: Late, how_long: int, then: int) -> None:
        self.cluster.delay(which, how_long)
        self.run(then)

    @rule(lag=st.sampled_from([1.0, 4.0, LONGEST_LAG]), seconds=st.integers(20, 120), then=passes)
    def informers_lag(self, lag: float, seconds: int, then: int) -> None:
        self.cluster.lag = lag
        self.disturb(seconds, partial(setattr, self.cluster, "lag", 0.0), then)

    @rule(
        call=calls,
        takes=st.sampled_from([1, 2, 3, 6, 20]),
        seconds=st.integers(5, 60),
        then=st.integers(1, 4),
    )
    def calls_are_slow(self, call: Call, takes: float, seconds: int, then: int) -> None:
        most = LONGEST_WRITE if call in ("note", "commit", "scale") else takes
        self.cluster.slow[call] = min(takes, most)
        self.disturb(seconds, lambda: self.cluster.slow.pop(call, None), then)

    @precondition(lambda self: self.cluster.watched)
    @rule(which=st.sampled_from(WATCHES), seconds=st.sampled_from([3, 12, 35, 120]), then=passes)
    def watches_fall_silent(self, which: frozenset[Watched], seconds: float, then: int) -> None:
        self.cluster.silent = which
        self.disturb(seconds, partial(setattr, self.cluster, "silent", frozenset()), then)

    @rule(seconds=while_it_lasts, then=passes)
    def no_node_has_room(self, seconds: float, then: int) -> None:
        self.cluster.has_room = False
        self.disturb(seconds, partial(setattr, self.cluster, "has_room", True), then)

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

    @rule(
        ahead=st.one_of(st.just(0.0), clocks),
        remembers=st.booleans(),
        in_a_drain=st.booleans(),
        hasty=st.lists(pods, max_size=4),
        then=passes,
    )
    def another_daemon_takes_over(
        self, ahead: float, remembers: bool, in_a_drain: bool, hasty: list[int], then: int
    ) -> None:
        """Its clock shows another time; it may read what the last one wrote down.

        in_a_drain: as soon as the last one has cordoned a pod, if it does so soon.
        """
        for _ in range(FIRST_CORDON_WITHIN if in_a_drain else 0):
            if any(is_draining(pod.seen) for pod in self.cluster.pods):
                break
            self.run_pass()
        self.cluster.hasty += hasty
        told = self.store.text(REF.namespace.__eq__) if remembers else ""
        self.start_daemon(ahead, told)
        self.run(then)

    @rule(seconds=clocks, everybody=st.booleans(), then=passes)
    def the_clock_is_set(self, seconds: float, everybody: bool, then: int) -> None:
        if everybody:
            self.cluster.set_clock_by(seconds)
        else:
            self.cluster.clock.set_by(seconds)
        self.run(then)


class Histories(Disturbances):
    """And other people's hands."""

    @precondition(lambda self: self.cluster.pods)
    @rule(
        which=pods,
        busy=st.booleans(),
        cost=st.sampled_from(COSTS),
        seconds=while_it_lasts,
        then=passes,
    )
    def somebody_else_writes_a_cost(
        self, which: int, busy: bool, cost: int, seconds: float, then: int
    ) -> None:
        pod = self.busy_pod(which) if busy else self.pod(which)
        self.cluster.set_cost(pod, cost)
        self.disturb(seconds, partial(self.cluster.remove_foreign_cost, pod), then)

    @rule(seconds=while_it_lasts, then=passes)
    def another_autoscaler_comes(self, seconds: float, then: int) -> None:
        self.cluster.other_autoscaler = "HorizontalPodAutoscaler app"
        self.disturb(seconds, partial(setattr, self.cluster, "other_autoscaler", None), then)

    @precondition(lambda self: self.cluster.pods)
    @rule(which=pods, value=st.sampled_from(["true", "false"]), seconds=while_it_lasts, then=passes)
    def somebody_edits_the_label(self, which: int, value: str, seconds: float, then: int) -> None:
        pod = self.pod(which)
        self.cluster.set_label(pod, value)
        end: Callable[[], object] = partial(self.cluster.set_label, pod, "true")
        self.disturb(seconds, end if value == "false" else lambda: None, then)

    @precondition(lambda self: self.cluster.pods)
    @rule(which=pods, evicted=st.booleans(), then=passes)
    def a_pod_is_lost(self, which: int, evicted: bool, then: int) -> None:
        pod = self.pod(which)
        self.cluster.evict(pod) if evicted else self.cluster.lose(pod)
        self.run(then)

    @rule(replicas=st.integers(1, MOST + 1), then=passes)
    def somebody_edits_the_replicas(self, replicas: int, then: int) -> None:
        self.cluster.edit_by_hand(replicas)
        self.run(then)

    @rule(
        replicas=st.integers(1, MOST),
        seconds=st.sampled_from([10, 30, 60]),
        every=st.sampled_from([INTERVAL, 2 * INTERVAL + 1]),
        then=passes,
    )
    def somebody_applies_a_manifest_again_and_again(
        self, replicas: int, seconds: float, every: float, then: int
    ) -> None:
        self.cluster.reset(replicas, seconds, every)
        self.run(then)

    @rule(then=passes)
    def a_rollout_begins(self, then: int) -> None:
        self.cluster.roll_out()
        self.run(then)
