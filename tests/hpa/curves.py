"""Load over time, scaled by the real HPA controller; and our own decisions on the same load."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import pi, sin
from random import Random
from typing import Any, NamedTuple

from autoscaler.core.decide import decide, record_scaling
from autoscaler.model import Observation, Sample, State
from autoscaler.policy import Policy
from tests.hpa.oracle import Oracle
from tests.hpa.served_apis import Sync, Target

PER_REPLICA = 10  # sessions
MAX_REPLICAS = 40
QUERY = "load"


@dataclass(frozen=True)
class Curve:
    """Sessions for each second, and the behavior stanza to follow them with."""

    name: str
    sessions: tuple[int, ...]
    behavior: dict[str, Any]

    @property
    def policy(self) -> Policy:
        """The stanza as a policy file has it."""
        return Policy.model_validate(
            {
                "name": self.name,
                "target": {"namespace": "default", "deployment": self.name},
                "replicas": {"min": 1, "max": MAX_REPLICAS},
                "metrics": [{"type": "prometheus", "query": QUERY, "perReplica": PER_REPLICA}],
                "behavior": self.behavior,
                "drain": "none",
            }
        )

    @property
    def hpa(self) -> dict[str, Any]:
        """The stanza as an HPA has it; there a tolerance is a quantity."""
        target = {"type": "AverageValue", "averageValue": str(PER_REPLICA)}
        external = {"metric": {"name": self.name}, "target": target}
        stanza = {
            direction: {k: str(v) if k == "tolerance" else v for k, v in rules.items()}
            for direction, rules in self.behavior.items()
        }
        return {
            "minReplicas": 1,
            "maxReplicas": MAX_REPLICAS,
            "metrics": [{"type": "External", "external": external}],
            "behavior": stanza,
        }

    def milli(self, began: float) -> list[int]:
        """The figure now; after the end the last one stays."""
        second = min(int(time.time() - began), len(self.sessions) - 1)
        return [1000 * self.sessions[second]]


def random_curve(random: Random, name: str, seconds: int, pace: int = 1) -> Curve:
    """Ramps, steps, waves and rests between 0 and 300 sessions; each takes `pace` times as long."""
    sessions: list[int] = [random.randint(10, 100)]
    while len(sessions) < seconds:
        goal, length = random.randint(0, 300), pace * random.randint(8, 40)
        shape = random.choice((_ramp, _step, _wave))
        sessions += [max(0, round(shape(sessions[-1], goal, i / length))) for i in range(length)]
    return Curve(name, tuple(sessions[:seconds]), random_behavior(random))


def _ramp(start: int, goal: int, share: float) -> float:
    return start + (goal - start) * share


def _step(start: int, goal: int, share: float) -> float:
    return goal


def _wave(start: int, goal: int, share: float) -> float:
    return start + (goal - start) / 4 * sin(4 * pi * share)


def random_behavior(random: Random) -> dict[str, Any]:
    """Both directions, or one; short windows, so that three minutes see many of them end."""
    up = _rules(random, (0, 0, 0, 5, 15, 30))
    down = _rules(random, (0, 5, 10, 20, 45))
    return random.choice(
        (
            {"scaleUp": up, "scaleDown": down},
            {"scaleUp": up, "scaleDown": down},
            {"scaleDown": down},
        )
    )


def _rules(random: Random, windows: tuple[int, ...]) -> dict[str, Any]:
    rules: dict[str, Any] = {"stabilizationWindowSeconds": random.choice(windows)}
    policies = [_rate(random, kind) for kind in ("Pods", "Percent") if random.random() < 0.6]
    if policies:
        rules["policies"] = policies
        rules["selectPolicy"] = random.choice(("Max", "Min"))
    if random.random() < 0.3:
        rules["tolerance"] = random.choice((0.0, 0.02, 0.25))
    return rules


def _rate(random: Random, kind: str) -> dict[str, Any]:
    value = random.choice((10, 25, 50, 100, 150)) if kind == "Percent" else random.randint(1, 6)
    return {"type": kind, "value": value, "periodSeconds": random.choice((1, 5, 10, 15, 30, 60))}


# A sync comes every second, and on a busy machine its clock is read so long after its look.
CLOCKS_APART = (-1.0, -0.3, 0.3, 1.0)  # seconds
LATE = 1.25  # seconds from sync to sync


def start(oracle: Oracle, curve: Curve) -> None:
    """Put a target under an HPA; its replicas follow what is asked for at once."""
    replicas = max(1, curve.sessions[0] // PER_REPLICA)
    oracle.apis.targets[curve.name] = Target(curve.name, replicas, replicas, follows=True)
    oracle.apis.external[curve.name] = partial(curve.milli, time.time())
    oracle.create(curve.name, curve.hpa)


class Decided(NamedTuple):
    """Our number at a sync; if not the controller's, those with a clock that is apart."""

    replicas: int
    about: frozenset[int]


def replay(curve: Curve, syncs: Sequence[Sync]) -> list[Decided]:
    """Our decision at each sync of the controller, given the figure that it was given.

    As long as both decide alike, this is our own trajectory; where not, the next decision starts
    from what the controller made of it, so that one difference is not counted over and over.
    """
    policy = curve.policy
    state: State | None = None
    decided = []
    for sync in syncs:
        assert sync.figure is not None, f"{curve.name}: a sync without a look at the metric"
        load = {QUERY: Sample(sync.figure, sync.at)}
        seen = Observation(sync.current, status_replicas=sync.current, external=load)
        decision, after = decide(policy, seen, state, sync.at)
        alike = decision.desired == sync.replicas
        times = () if alike else (sync.at + apart for apart in CLOCKS_APART)
        about = frozenset(decide(policy, seen, state, at)[0].desired for at in times)
        decided.append(Decided(decision.desired, about))
        state = after
        if sync.asked_at is not None:
            state = record_scaling(state, policy, sync.current, sync.replicas, sync.asked_at)
    return decided


@dataclass(frozen=True)
class Comparison:
    """How many decisions were alike or one sync apart; and where neither, the rows to look at.

    late: syncs that came well over a second after the one before, because the machine was busy.
    """

    syncs: int
    late: int
    changes: int
    one_sync_apart: int
    unexplained: str


def compare(curve: Curve, recorded: Sequence[Sync]) -> Comparison:
    """Ours is one sync apart if it lies between what the controller had a sync before and after.

    A clock that is read a little early or late still sees an entry that is just about to leave its
    window or period, or has just missed it: no more than one sync can lie between. So the last
    sync is there only to tell what came after the one before it. It is one sync apart as well if
    ours is the controller's number with a clock that is read that much earlier or later.
    """
    syncs = recorded[:-1]  # the last may be under way
    real, decided = [sync.replicas for sync in syncs], replay(curve, syncs)
    ours = [each.replicas for each in decided]
    different = [i for i in range(len(real) - 1) if real[i] != ours[i]]

    def is_far(i: int) -> bool:
        near = real[max(0, i - 1) : i + 2]
        return not min(near) <= ours[i] <= max(near) and real[i] not in decided[i].about

    far = [i for i in different if is_far(i)]
    changes = sum(before != after for before, after in pairwise(real))
    late = sum(after.at - before.at > LATE for before, after in pairwise(syncs))
    rows = _rows(curve, syncs, ours, far) if far else ""
    return Comparison(len(real), late, changes, len(different) - len(far), rows)


def _rows(curve: Curve, syncs: Sequence[Sync], ours: Sequence[int], far: Sequence[int]) -> str:
    """The stanza, every change before the first difference, and the syncs around it."""
    began, first = syncs[0].at, far[0]
    lines = [f"{curve.name}: {curve.behavior}", "      at sessions  HPA  ours"]
    for i, (sync, mine) in enumerate(zip(syncs[: first + 3], ours, strict=False)):
        if sync.asked is not None or i >= first - 2:
            sessions = (sync.figure or 0) // 1000
            lines.append(f"{sync.at - began:8.3f} {sessions:8} {sync.replicas:4} {mine:5}")
    return "\n".join([*lines, f"{len(far)} syncs differ", ""])


def summary(compared: Sequence[Comparison]) -> str:
    """One line for all curves."""
    far = sum(bool(each.unexplained) for each in compared)
    return (
        f"{sum(each.syncs for each in compared)} syncs"
        f" ({sum(each.late for each in compared)} late),"
        f" {sum(each.changes for each in compared)} changes:"
        f" {sum(each.one_sync_apart for each in compared)} syncs apart by a tick boundary,"
        f" {far} curves further apart"
    )
