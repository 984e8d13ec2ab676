"""What a journal costs: MB a day, the time to write a line, and the time to replay it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

from autoscaler.core.decide import decide
from autoscaler.core.journal import Decoder, Encoder, Entry, lasting
from autoscaler.model import Observation, PodState, Resources, Sample, State
from autoscaler.policy import Policy
from autoscaler.simulation.replay import replay
from tests.benchmarks.decide import ALL, SESSIONS
from tests.benchmarks.figure import Figure
from tests.builders import LONG_AGO, NOW, policy

INTERVAL, SCRAPE = 2.0, 15
DAY = 86_400.0


def measure() -> Iterator[Figure]:
    for pods, minutes in ((10, 60), (100, 10)):
        for name, metrics in (("sessions", [SESSIONS]), ("sessions, cpu and memory", ALL)):
            yield from _measure(pods, minutes * 60.0, name, metrics)


def _measure(pods: int, seconds: float, name: str, metrics: list[Any]) -> Iterator[Figure]:
    rules = policy(metrics=metrics, replicas={"min": pods, "max": pods + 10})
    made = list(_made(rules, pods, seconds))
    encoder, began = Encoder(), time.perf_counter()
    lines = [encoder.line(entry, after).encode() for entry, after in made]
    written = time.perf_counter()
    decoder = Decoder()
    same = sum(e.decision == now for e, now in replay(decoder.entry(line) for line in lines))
    replayed = time.perf_counter()
    assert same == len(lines)
    what = f"journal, {pods} pods, {name}"
    size = sum(len(line) + 1 for line in lines)
    yield Figure(f"{what}, size", size / seconds * DAY / 1e6, "MB/day", 5.0 * pods)
    yield Figure(f"{what}, one line", (written - began) / len(lines) * 1e6, "us", 50.0 * pods)
    yield Figure(f"{what}, replay", (replayed - written) / len(lines) * 1e6, "us", 200.0 * pods)


def _made(rules: Policy, pods: int, seconds: float) -> Iterator[tuple[Entry, State]]:
    """Decisions about pods that are scraped one after the other, each every 15 s."""
    random, state = Random(1), State()
    seen = [_pod(index) for index in range(pods)]
    for second in range(0, int(seconds), int(INTERVAL)):
        now = NOW + second
        for index in range(pods):
            if (second + 7 * index) % SCRAPE < INTERVAL:
                usage = len(rules.metrics) > 1
                seen[index] = _scraped(seen[index], random, now, usage=usage)
        observed = Observation(pods, tuple(seen), pods, uid="0" * 36, resource_version="1234567")
        decision, after = decide(rules, observed, state, now)
        yield Entry("a1b2c3d4", now, rules, observed, state, lasting(decision)), after
        state = after


def _pod(index: int) -> PodState:
    return PodState(
        f"bokeh-app-7c9f6d5b8-{index:05d}",
        f"8f14e45f-ceea-467f-a8a8-{index:012d}",
        ready_since=LONG_AGO,
        started_at=LONG_AGO,
        created_at=LONG_AGO,
        resources=Resources(500, 512 << 20, 1024 << 20, (("app", 1024 << 20),)),
        ip=f"10.244.{index // 250}.{index % 250}",
        node="node-1",
        replica_set="5f93f983524def3dca464469d2cf9f3e",
        protected=True,
    )


def _scraped(pod: PodState, random: Random, now: float, *, usage: bool) -> PodState:
    at = now - random.random()
    count = min(
        20, max(1, (pod.sessions.value if pod.sessions else 10) + random.choice((-1, 0, 1)))
    )
    counted = replace(pod, sessions=Sample(count, at))
    if not usage:
        return counted
    cpu, memory = random.randint(50, 300), random.randint(200, 800) * 10**9
    return replace(counted, cpu=Sample(cpu, at, 60.0), memory=Sample(memory, at))
