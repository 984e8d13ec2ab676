"""Tuning: find the cheapest policy that meets a goal on a trace.

Candidates are screened by successive halving on single days of the first half of the trace, and the
best of them are measured exactly on all of it. So the weeks of the second half can test what would
have been chosen before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autoscaler.simulation.candidates import Candidate
from autoscaler.simulation.engine import simulate
from autoscaler.simulation.halving import FINALISTS, Figures, ranked, representative, stages
from autoscaler.simulation.intervals import (
    Day,
    counted_by_day,
    days_of,
    refused_percent,
    replica_hours,
)
from autoscaler.simulation.trace import Session, Trace

WEEK = 7
# Seconds before a day during which its first sessions arrive, so that it begins with them.
WARM_UP = 3_600.0


@dataclass(frozen=True)
class Study:
    """What is tried on what. candidates: the current policy first. edges: of the trace's days."""

    candidates: tuple[Candidate, ...]
    trace: Trace
    edges: tuple[float, ...]


class Task(NamedTuple):
    """One simulation. candidate: its number. day: a number, or None for the whole trace."""

    candidate: int
    day: int | None = None


class Outcome(NamedTuple):
    """What a simulation measured. cut: sessions that a scale-down ended."""

    days: tuple[Day, ...]
    cut: int

    @property
    def figures(self) -> Figures:
        """The figures of all days."""
        return Figures(self.cut, refused_percent(self.days), replica_hours(self.days))


# Runs tasks of a study, anywhere and in any order, and yields each with its outcome.
RunTasks = Callable[[Sequence[Task]], Iterator[tuple[Task, Outcome]]]


class Finalist(NamedTuple):
    """A candidate with the outcome on the whole trace. number: among the candidates."""

    number: int
    candidate: Candidate
    outcome: Outcome


def measure(study: Study, task: Task) -> Outcome:
    """Run one task."""
    _, policy, assumptions = study.candidates[task.candidate]
    trace, edges = study.trace, study.edges
    if task.day is not None:
        edges = edges[task.day : task.day + 2]
        trace = stretch(trace, *edges)
    run = simulate(policy, trace, assumptions)
    return Outcome(days_of(run, trace, edges), run.cut)


def stretch(trace: Trace, since: float, until: float) -> Trace:
    """Return a part of a trace, with an hour before it during which the present sessions arrive."""
    start = max(trace.start, since - WARM_UP)
    present = sum(1 for session in trace.sessions if session.start < start < session.end)
    sessions, arrived = [], 0
    for session in trace.sessions:
        begin = session.start
        if begin < start < session.end:
            begin = start + WARM_UP * arrived / present
            arrived += 1
        if start <= begin < min(session.end, until):
            sessions.append(Session(begin, session.end))
    return Trace(trace.name, tuple(sorted(sessions)), start, until)


def tune(
    study: Study, goal: float, run_tasks: RunTasks, show: Callable[[float], None]
) -> list[Finalist]:
    """Return the current policy, and the best of the other candidates with their exact outcomes.

    goal: share of users without a seat, in percent. run_tasks: where simulations run; the result
    does not depend on it. show: called with the share that is done, from 0 to 1.
    """
    total = _planned(study)
    done = 0

    def outcomes(tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        nonlocal done
        for task, outcome in run_tasks(tasks):
            done += len(outcome.days)
            show(min(1.0, done / total))
            yield task, outcome

    numbers = _screened(study, goal, outcomes)
    exact = dict(outcomes([Task(number) for number in (0, *numbers)]))
    return [
        Finalist(task.candidate, study.candidates[task.candidate], exact[task])
        for task in sorted(exact)
    ]


def _planned(study: Study) -> int:
    """Return how many days are simulated in all, of all candidates together."""
    days, tried, planned = len(study.edges) - 1, 0, 0
    for stage in stages(len(study.candidates), screened_days(study)):
        planned += stage.candidates * (stage.days - tried)
        tried = stage.days
    return planned + days * min(FINALISTS + 1, len(study.candidates))


def screened_days(study: Study) -> int:
    """Return how many days screening may see: half of the weeks, or all of less than two weeks."""
    days = len(study.edges) - 1
    weeks = days // WEEK
    return weeks // 2 * WEEK if weeks > 1 else days


def _screened(study: Study, goal: float, run_tasks: RunTasks) -> list[int]:
    """Return the numbers of the best candidates besides the current one, which needs no screen."""
    came = counted_by_day([session.start for session in study.trace.sessions], study.edges)
    order = representative([came[day] for day in range(screened_days(study))])
    numbers = list(range(1, len(study.candidates)))
    known: dict[Task, Outcome] = {}
    for stage in stages(len(study.candidates), len(order)):
        numbers = numbers[: stage.candidates]
        days = order[: stage.days]
        tasks = [Task(number, day) for number in numbers for day in days]
        known |= dict(run_tasks([task for task in tasks if task not in known]))
        figures = [_together([known[Task(number, day)] for day in days]) for number in numbers]
        numbers = [numbers[place] for place in ranked(figures, goal)]
    return numbers[:FINALISTS]


def _together(outcomes: Sequence[Outcome]) -> Figures:
    days = tuple(day for outcome in outcomes for day in outcome.days)
    return Outcome(days, sum(outcome.cut for outcome in outcomes)).figures
