"""How long it takes to tune a policy: 200 candidates on four weeks of an office, on all cores."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from autoscaler.adapters.workers.processes import local_processes
from autoscaler.simulation.candidates import candidates
from autoscaler.simulation.engine import Assumptions
from autoscaler.simulation.intervals import day_edges
from autoscaler.simulation.trace import Session, Trace, trace_of
from autoscaler.simulation.tuning import Study, tune
from autoscaler.simulation.workloads import office_week
from tests.benchmarks.figure import Figure
from tests.builders import policy

CANDIDATES, WEEKS = 200, 4
WEEK = 7 * 86_400.0
GOAL = 300.0
REFUSED = 0.1


def weeks(count: int) -> Trace:
    """So many different weeks of an office, one after the other."""
    sessions = [
        Session(start + WEEK * number, end + WEEK * number)
        for number in range(count)
        for start, end in office_week(seed=number).sessions
    ]
    return trace_of(f"{count} weeks of an office", sessions)


def measure() -> Iterator[Figure]:
    trace = weeks(WEEKS)
    own = policy(metrics=[{"type": "sessions", "seats": 20, "spare": 20}])
    tried = candidates(own, Assumptions(tick=15.0), (), CANDIDATES)
    study = Study(tuple(tried), trace, day_edges(trace.start, trace.end, "UTC"))
    cores = len(os.sched_getaffinity(0))
    began = time.perf_counter()
    with local_processes(study, cores) as run_tasks:
        tune(study, REFUSED, run_tasks, lambda _: None)
    what = f"tune: {len(tried)} policies, {WEEKS} weeks, {len(trace.sessions):,} sessions"
    yield Figure(f"{what}, {cores} cores", time.perf_counter() - began, "s", GOAL)
