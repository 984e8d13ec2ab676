"""Replay one trace under several policies, so that they can be compared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import chain, count
from typing import NamedTuple

from autoscaler.policy import Policy
from autoscaler.simulation.bounds import lower_bounds
from autoscaler.simulation.engine import Assumptions, Run, simulate
from autoscaler.simulation.score import Score, score, static_fleet
from autoscaler.simulation.trace import Trace


class Contender(NamedTuple):
    """A policy to replay the trace under.

    assumptions: the tick and the seats of a pod may be the policy's own.
    """

    name: str
    policy: Policy
    assumptions: Assumptions


class Result(NamedTuple):
    """How a contender, or a static fleet, did."""

    name: str
    run: Run
    score: Score


def distinct(name: str, taken: Collection[str]) -> str:
    """Return a contender's name, with a number if another one has the same."""
    numbered = (f"{name} ({number})" for number in count(2))
    return next(each for each in chain([name], numbered) if each not in taken)


Progress = Callable[[float], None]
Simulate = Callable[[Policy, Trace, Assumptions, Progress], Run]


def compare(
    contenders: Sequence[Contender],
    trace: Trace,
    progress: Progress,
    simulated: Simulate = simulate,
) -> list[Result]:
    """Return the result of each contender, and last that of a static fleet for the peak.

    contenders: the bounds have the first one's minimum for all, and for each the seats of its own
    pods. The static fleet has the first one's pods. progress: called with the share that is done,
    from 0 to 1. simulated: returns the run of a policy, which it may have from before.
    """
    first = contenders[0]
    minimum = first.policy.replicas.min
    sizes = {each.assumptions.seats for each in contenders}
    bounds = {seats: lower_bounds(trace, seats, minimum) for seats in sizes}
    results = []
    for number, (name, policy, assumptions) in enumerate(contenders):

        def show(share: float, done: int = number) -> None:
            progress((done + share) / len(contenders))

        run = simulated(policy, trace, assumptions, show)
        results.append(Result(name, run, score(run, trace, minimum, bounds[assumptions.seats])))
    static = static_fleet(trace, first.assumptions.seats)
    fixed = score(static, trace, minimum, bounds[first.assumptions.seats])
    return [*results, Result(f"static fleet of {fixed.peak_replicas}", static, fixed)]
