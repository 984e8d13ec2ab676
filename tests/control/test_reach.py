"""A sidecar that the daemon cannot reach is told within a minute, also while nothing drains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from autoscaler.control.reachability import LOOK_EVERY, MOST, MOST_WHILE_SILENT, Reach
from autoscaler.control.sidecar_rounds import MOST_AT_ONCE, Rounds, Watched
from autoscaler.model import Occupancy, PodState, TargetRef, Unavailable, Unreachable
from tests.builders import NOW, pod, policy
from tests.control.test_controller import APP, DASHBOARDS, World

REF = TargetRef("bokeh", "bokeh-app")
CLOSED = Unreachable("http://10.0.0.1:9550/state did not accept a connection within 2 s")
Answers = Callable[[PodState], Occupancy | Unavailable]


def pods(count: int) -> list[PodState]:
    return [pod(f"pod-{number}", ip=f"10.0.0.{number}") for number in range(count)]


class Looks:
    """Passes every two seconds over one target; which pods were asked when."""

    def __init__(self, there: Sequence[PodState]) -> None:
        self.reach = Reach()
        self.there = there
        self.now = NOW
        self.asked: list[tuple[float, list[str]]] = []

    def run(self, seconds: float, answers: Answers, every: float = 2.0) -> None:
        said: Mapping[str, Occupancy | Unavailable] = {}
        asked: Sequence[PodState] = ()
        until = self.now + seconds
        while self.now < until:
            self.now += every
            self.reach.hear(REF, asked, said, self.now)
            asked = self.reach.to_ask(REF, self.there, self.now)
            said = {each.uid: answers(each) for each in asked}
            if asked:
                self.asked.append((self.now - NOW, [each.name for each in asked]))

    @property
    def silent(self) -> list[str]:
        return sorted(each.pod for each in self.reach.unreachable(REF))


def well(_: PodState) -> Occupancy:
    return Occupancy(1)


def closed(_: PodState) -> Unreachable:
    return CLOSED


@pytest.mark.parametrize("every", [2.0, 5.0])
def test_while_all_is_well_every_pod_is_asked_at_least_every_half_minute(every: float) -> None:
    looks = Looks(pods(MOST))
    looks.run(600, well, every)

    for each in looks.there:
        times = [at for at, names in looks.asked if each.name in names]
        assert times[0] <= 30
        assert max(after - at for at, after in pairwise(times)) <= 30
    assert sum(len(names) for _, names in looks.asked) <= MOST * 600 / LOOK_EVERY


def test_of_many_pods_each_is_asked_in_its_turn() -> None:
    looks = Looks(pods(4 * MOST))
    looks.run(150, well)

    assert max(len(names) for _, names in looks.asked) == MOST
    assert len({name for _, names in looks.asked for name in names}) == 4 * MOST


@pytest.mark.parametrize("every", [2.0, 5.0])
@pytest.mark.parametrize("count", [2, 3, 10, 20, MOST])
@pytest.mark.parametrize("begins", [0.0, 1.0, 13.0, 26.0, 60.0])
def test_one_silent_pod_of_several_is_told_within_a_minute(
    count: int, every: float, begins: float
) -> None:
    looks = Looks(pods(count))
    looks.run(begins, well, every)
    looks.run(60, lambda each: CLOSED if each.name == "pod-1" else well(each), every)

    assert looks.silent == ["pod-1"]


def test_pods_of_many_targets_are_asked_in_bounded_rounds() -> None:
    sizes: list[int] = []

    class Counting:
        def occupancy(self, pods: Sequence[PodState]) -> Mapping[str, Occupancy]:
            sizes.append(len(pods))
            return {each.uid: Occupancy(1) for each in pods}

    rounds = Rounds(Counting())
    refs = [TargetRef("bokeh", f"app-{number}") for number in range(40)]
    asked: Counter[TargetRef] = Counter()
    for turn in range(60):
        now = NOW + 2.0 * turn
        rounds.collect(now)
        rounds.start([Watched(ref, probed=pods(20)) for ref in refs], now)
        asked.update({ref for ref, _ in rounds._probed})

    assert max(sizes) < MOST_AT_ONCE + MOST
    assert min(asked[ref] for ref in refs) >= 3


@pytest.mark.parametrize("count", [1, 6, 200])
@pytest.mark.parametrize("every", [2.0, 5.0])
def test_a_network_that_is_closed_is_told_within_a_minute_with_all_its_pods(
    count: int, every: float
) -> None:
    looks = Looks(pods(count))
    looks.run(60, closed, every)

    assert len(looks.silent) == min(count, MOST)


def test_what_is_asked_of_a_closed_network_stays_bounded() -> None:
    looks = Looks(pods(200))
    looks.run(3_600, closed)

    later = [names for at, names in looks.asked if at > 120]
    assert max(map(len, later)) <= MOST + MOST_WHILE_SILENT + 1
    assert sum(map(len, later)) / 3_480 < 0.5, "asks a second"


def test_one_that_hiccups_is_not_told() -> None:
    looks = Looks(pods(4))
    looks.run(300, lambda each: CLOSED if looks.now % 40 < 8 else well(each))

    assert looks.silent == []


def test_one_pod_of_several_is_named_and_no_other() -> None:
    looks = Looks(pods(3))
    looks.run(200, lambda each: CLOSED if each.name == "pod-1" else well(each))

    assert looks.silent == ["pod-1"]


def test_what_answers_again_is_forgotten_soon() -> None:
    looks = Looks(pods(6))
    looks.run(120, closed)
    looks.run(60, well)

    assert looks.silent == []


def test_a_sidecar_that_sees_no_server_is_in_reach() -> None:
    looks = Looks(pods(3))
    looks.run(120, lambda _: Unavailable("its sidecar sees no Bokeh server"))

    assert looks.silent == []


def test_a_pod_that_is_gone_is_forgotten() -> None:
    looks = Looks(pods(3))
    looks.run(120, closed)
    looks.there = looks.there[:1]
    looks.run(2, closed)

    assert looks.silent == ["pod-0"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"ready": False}, id="not Ready"),
        pytest.param({"ready_since": NOW}, id="Ready only now"),
        pytest.param({"phase": "Pending"}, id="it starts"),
        pytest.param({"deleting": True}, id="it ends"),
        pytest.param({"ip": None}, id="no address"),
    ],
)
def test_a_pod_that_need_not_answer_is_not_asked(change: dict[str, object]) -> None:
    looks = Looks([replace(each, **change) for each in pods(2)])  # type: ignore[arg-type]
    looks.run(LOOK_EVERY - 4, closed)

    assert looks.asked == []


def test_a_clock_that_is_set_makes_no_silence_longer() -> None:
    looks = Looks(pods(2))
    while not looks.asked:
        looks.run(2, closed)
    looks.run(4, closed)

    looks.now += 3_600.0
    looks.reach.shift(3_600.0)

    assert looks.silent == []


def test_while_nothing_drains_it_is_one_event_one_metric_and_one_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.cluster.deploy(APP, 9, 9, 9)
    world.cluster.silent = {f"pod-{number}" for number in range(3)}
    world.run(passes=12)

    [(_, reason, text)] = world.cluster.events
    assert reason == "SidecarUnreachable"
    assert "sidecars of 3 pods (pod-0: http://10.0.0.1:9550/state did not accept" in text
    assert "NetworkPolicy" in text
    assert world.metric("unreachable_sidecars", **DASHBOARDS) == 3
    for number in range(3):
        assert world.metric("unreachable_pod", pod=f"pod-{number}", **DASHBOARDS) == 1

    world.run(passes=12 * 50)
    assert len(world.cluster.events) == 1
    world.run(passes=12 * 15)
    assert [each for _, each, _ in world.cluster.events] == [reason] * 2, "again after an hour"


def test_while_pods_drain_it_is_told_too_and_no_pod_is_removed() -> None:
    world = World(policy(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}}))
    world.cluster.deploy(APP, 5, 0, 0)
    world.cluster.silent = {f"pod-{number}" for number in range(3)}
    world.run(passes=12)

    assert world.told() == ["SidecarUnreachable"]
    assert world.cluster.replicas(APP) == 3
    assert world.metric("unreachable_sidecars", **DASHBOARDS) == 3

    world.cluster.silent = set()
    world.run(passes=24)
    assert world.metric("unreachable_sidecars", **DASHBOARDS) is None
    assert world.metric("unreachable_pod", pod="pod-0", **DASHBOARDS) is None
    assert world.cluster.replicas(APP) == 1


def test_a_policy_that_drains_nothing_needs_no_sidecar() -> None:
    world = World(policy(drain="none"))
    world.cluster.deploy(APP, 5, 5)
    world.cluster.silent = {"pod-0", "pod-1"}
    world.run(passes=24)

    assert world.cluster.asked == []
    assert world.metric("unreachable_sidecars", **DASHBOARDS) is None
