"""How much CPU time simulations take, with all decisions and without those that are known."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from random import Random

from autoscaler.simulation.comparison import Contender, compare
from autoscaler.simulation.engine import Assumptions, simulate
from autoscaler.simulation.trace import Session, Trace, trace_of
from autoscaler.simulation.workloads import office_week
from tests.benchmarks.figure import Figure
from tests.builders import policy

WEEK = 7 * 86_400.0
SEATS, TICK = 5, 15.0
A_YEAR_OF_FLIGHTS = 327_346
RUSH = 100_000


def measure() -> Iterator[Figure]:
    week = office_week(1)
    yield from _both("a week", week, Assumptions(20, TICK), goal=2.0)
    yield from _both("four weeks", _weeks(4, 25_000), Assumptions(SEATS, TICK), goal=8.0)
    yield _rush()
    peak = subprocess.run(
        [sys.executable, "-m", __name__], check=True, capture_output=True, text=True
    )
    yield Figure("peak RSS for a year of flights", float(peak.stdout), "MB", 150)


def _both(name: str, trace: Trace, assumed: Assumptions, goal: float) -> Iterator[Figure]:
    ticks = (trace.end - trace.start) / assumed.tick
    for spare in (10, {"refuse": "0.1%"}):
        metric = {"type": "sessions", "seats": assumed.seats, "spare": spare}
        chosen = policy(metrics=[metric], replicas={"min": 1, "max": 200})
        for every_tick in (True, False):
            began = time.process_time()
            run = simulate(chosen, trace, assumed, every_tick=every_tick)
            seconds = time.process_time() - began
            what = f"{name}, {'refuse' if isinstance(spare, dict) else 'spare'}"
            pods = sum(run.timeline.billed.values) / len(run.timeline.billed.values)
            what += f", {run.decisions:,} decisions, {pods:.0f} pods"
            yield Figure(what, seconds, "s", None if every_tick else goal)
            yield Figure(f"{name}, ticks", ticks / seconds, "/s")


def _weeks(count: int, sessions: int) -> Trace:
    """Working weeks with so many sessions in all."""
    share = sessions // count
    weeks = (
        (Random(number).sample(office_week(number + 1).sessions, share), number * WEEK)
        for number in range(count)
    )
    moved = (Session(s.start + by, s.end + by) for week, by in weeks for s in week)
    return trace_of(f"{count} weeks", moved)


def _rush() -> Figure:
    """Sessions of two seconds, so that there are 15 full pods."""
    sessions = [Session(n / 37.5, n / 37.5 + 2.0) for n in range(RUSH)]
    trace = trace_of("rush", sessions)
    fixed = policy(replicas={"min": 15, "max": 15}, metrics=[{"type": "sessions", "seats": SEATS}])
    began = time.process_time()
    simulate(fixed, trace, Assumptions(SEATS, 60.0))
    return Figure(f"{RUSH:,} sessions on 15 pods", time.process_time() - began, "s", 1.0)


def _replay_a_year() -> None:
    """Print the peak memory in MB of this process, which replays a year of flights."""
    trace = _weeks(52, A_YEAR_OF_FLIGHTS)
    chosen = policy(metrics=[{"type": "sessions", "seats": SEATS}], replicas={"min": 1, "max": 200})
    compare([Contender("policy", chosen, Assumptions(SEATS, TICK))], trace, lambda _: None)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024 / 1e6)


if __name__ == "__main__":
    _replay_a_year()
