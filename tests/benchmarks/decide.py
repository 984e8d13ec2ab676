"""How long one decision takes, with a full window remembered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from autoscaler.core.decide import decide
from autoscaler.model import Observation, State
from tests.benchmarks.figure import Figure, median_seconds
from tests.builders import NOW, pod, policy

SESSIONS = {"type": "sessions", "seats": 20, "spare": 10}
ALL = [
    SESSIONS,
    {"type": "cpu", "utilization": "70%"},
    {"type": "memory", "utilization": "80%"},
]


def measure() -> Iterator[Figure]:
    for pods, goal in ((10, 50.0), (100, 500.0)):
        for name, metrics in (("sessions", [SESSIONS]), ("sessions, cpu and memory", ALL)):
            chosen = policy(metrics=metrics, replicas={"min": 1, "max": 200})
            seen = Observation(
                pods, tuple(pod(str(i), sessions=15, cpu=500, memory=600_000) for i in range(pods))
            )
            state: State | None = None
            for tick in range(70):
                _, state = decide(chosen, seen, state, NOW + 5 * tick)

            def call(chosen=chosen, seen=seen, state=state):  # type: ignore[no-untyped-def]
                """Decide on an observation of its own, as each pass has one."""
                decide(chosen, replace(seen), state, NOW + 350)

            micros = 1e6 * median_seconds(call, calls=200)
            yield Figure(f"decide, {pods} pods, {name}", micros, "us", goal)
