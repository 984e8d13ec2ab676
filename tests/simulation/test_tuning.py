"""Tuning: what is screened on which days, and what is recommended by which intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import pytest

from autoscaler.simulation.candidates import Candidate, candidates
from autoscaler.simulation.engine import Assumptions
from autoscaler.simulation.goals import goal, own_goal
from autoscaler.simulation.halving import FINALISTS, stages
from autoscaler.simulation.intervals import Day, day_edges
from autoscaler.simulation.recommendation import Recommendation, Verdict, recommend
from autoscaler.simulation.trace import Session, Trace, trace_of
from autoscaler.simulation.tuning import (
    Finalist,
    Outcome,
    Study,
    Task,
    measure,
    screened_days,
    stretch,
    tune,
)
from tests.builders import policy

ASSUMED = Assumptions(seats=10, tick=60.0)
GOAL = goal("refused < 1%")
HOUR, DAY = 3_600.0, 86_400.0


def trace(days: int, seed: int = 1) -> Trace:
    """So many days, each with 150 visits of half an hour."""
    random = Random(seed)
    starts = [day * DAY + random.gauss(12, 3) * HOUR for day in range(days) for _ in range(150)]
    inside = [Session(at, at + HOUR / 2) for at in starts if 0 < at < days * DAY - HOUR]
    return trace_of("days", [*inside, Session(0.0, days * DAY)])


def study(days: int, count: int, spare: object = 40) -> Study:
    own = policy(metrics=[{"type": "sessions", "seats": 10, "spare": spare}])
    sessions = trace(days)
    edges = day_edges(sessions.start, sessions.end, "UTC")
    return Study(tuple(candidates(own, ASSUMED, (), count)), sessions, edges)


class Runner:
    """Answers tasks in an order of its own, and remembers them.

    The candidates with even numbers refuse one of a hundred users; the others cost twice as much.
    """

    def __init__(self, tried: Study, seed: int = 0) -> None:
        self._study, self._random = tried, Random(seed)
        self.tasks: list[Task] = []

    def __call__(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        self.tasks += tasks
        for task in self._random.sample(list(tasks), len(tasks)):
            days = [task.day] if task.day is not None else range(len(self._study.edges) - 1)
            refuses = task.candidate % 2 == 0
            cost = (1 + task.candidate) * (1.0 if refuses else 2.0)
            yield task, Outcome(tuple(Day(100, int(refuses), cost) for _ in days), 0)


def test_better_candidates_are_tried_on_more_days_and_the_best_on_all() -> None:
    tried = study(days=6, count=30)
    runner, shown = Runner(tried), []

    finalists = tune(tried, 1.0, runner, shown.append)

    by_candidate = [[task for task in runner.tasks if task.candidate == n] for n in range(30)]
    assert len(runner.tasks) == len(set(runner.tasks)), "nothing is run twice"
    assert [task.day for task in by_candidate[0]] == [None], "the current policy is not screened"
    assert sorted({len(tasks) for tasks in by_candidate[1:]}) == [2, 4, 5]
    assert len(finalists) == 1 + FINALISTS
    assert finalists[0].number == 0
    assert shown == sorted(shown)
    assert shown[-1] == pytest.approx(1.0, abs=0.02)
    assert {1, 2} <= {each.number for each in finalists}, "the cheapest of both kinds"


def test_the_result_does_not_depend_on_where_and_in_which_order_tasks_run() -> None:
    tried = study(days=4, count=20)
    first, second = (tune(tried, 1.0, Runner(tried, seed), lambda _: None) for seed in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("days", "screened"),
    [
        pytest.param(6, 6, id="all of less than two weeks"),
        pytest.param(14, 7, id="one of two weeks"),
        pytest.param(30, 14, id="two of four weeks"),
    ],
)
def test_the_second_half_is_kept_for_the_walk_forward(days: int, screened: int) -> None:
    tried = study(days=days, count=1)
    assert screened_days(tried) == screened
    assert len(stages(200, screened)) >= 2


def test_a_day_begins_with_the_sessions_that_are_present() -> None:
    visits = trace_of("v", [Session(0, 99_000), Session(10, 200_000), Session(90_000, 95_000)])
    part = stretch(visits, DAY, 2 * DAY)
    assert part.start == DAY - HOUR
    assert part.end == 2 * DAY
    assert part.sessions == ((DAY - HOUR, 99_000), (DAY - HOUR / 2, 200_000), (90_000, 95_000))


def test_a_part_from_the_beginning_is_the_trace_itself() -> None:
    whole = trace(2)
    part = stretch(whole, whole.start, whole.end)
    assert part.sessions == whole.sessions


def finalist(
    number: int, cost: Sequence[float], refused: Sequence[int] = (0,), cut: int = 0
) -> Finalist:
    """A candidate with a thousand users on each of 28 days; short sequences are repeated."""
    days = tuple(Day(1_000, refused[n % len(refused)], cost[n % len(cost)]) for n in range(28))
    edits = {("cooldown", "down"): f"{number}s"} if number else {}
    return Finalist(number, Candidate(edits, policy(), ASSUMED), Outcome(days, cut))


CURRENT = finalist(0, [20, 30, 40])
REFUSING = finalist(0, [20, 30, 40], [30])
CHEAPER = finalist(1, [19, 29, 39])
NO_DIFFERENT = finalist(1, [19, 31, 39.5, 20, 29.5, 40])
VERDICTS = {
    "a cheaper policy that meets the goal": ([CURRENT, CHEAPER], Verdict.BETTER, 1),
    "a dearer one if the current one refuses users": (
        [REFUSING, finalist(1, [30])],
        Verdict.BETTER,
        1,
    ),
    "nothing if the current one is the cheapest": (
        [CURRENT, finalist(1, [50])],
        Verdict.CURRENT,
        0,
    ),
    "nothing if the interval of the difference holds zero": (
        [CURRENT, NO_DIFFERENT],
        Verdict.UNCERTAIN,
        1,
    ),
    "nothing cheaper that ends sessions": (
        [CURRENT, finalist(1, [1], cut=1)],
        Verdict.CURRENT,
        0,
    ),
    "nothing cheaper of which too little is known": (
        [CURRENT, finalist(1, [1], [0] * 20 + [90])],
        Verdict.CURRENT,
        0,
    ),
    "nothing if all refuse too many": (
        [REFUSING, finalist(1, [30], [20])],
        Verdict.MISSED,
        None,
    ),
    "the one with fewer edits of two equal ones": (
        [CURRENT, finalist(2, [9])._replace(number=1), finalist(3, [9])],
        Verdict.BETTER,
        1,
    ),
}


@pytest.mark.parametrize(("finalists", "verdict", "best"), VERDICTS.values(), ids=VERDICTS)
def test_it_recommends(finalists: list[Finalist], verdict: Verdict, best: int | None) -> None:
    found = recommend(finalists, GOAL, screened=14)
    assert found.verdict is verdict
    assert (found.best.number if found.best else None) == best
    assert (found.recommended is not None) == (verdict is Verdict.BETTER)


def test_each_week_tests_what_the_weeks_before_it_would_have_chosen() -> None:
    turns = finalist(1, [9] * 14 + [99] * 14)
    found = recommend([CURRENT, turns], GOAL, screened=14)
    assert [fold.weeks for fold in found.folds] == [2, 3]
    assert [fold.chosen.number for fold in found.folds if fold.chosen] == [1, 0]
    assert [sum(day.replica_hours for day in fold.tested) for fold in found.folds] == [
        7 * 99,
        sum(day.replica_hours for day in CURRENT.outcome.days[21:]),
    ]


def test_screened_weeks_test_nothing() -> None:
    found = recommend([CURRENT, CHEAPER], GOAL, screened=28)
    assert found.folds == ()


def test_the_front_is_ordered_by_cost() -> None:
    found: Recommendation = recommend(
        [CURRENT, finalist(1, [10], [9]), finalist(2, [15], [3]), finalist(3, [16], [9])],
        GOAL,
        screened=14,
    )
    assert [each.number for each in found.front] == [1, 2, 0]


def test_a_task_is_measured_on_its_day_or_on_all() -> None:
    tried = study(days=3, count=2)
    whole, second = (measure(tried, Task(1, day)) for day in (None, 1))
    assert [day.sessions for day in second.days] == [whole.days[1].sessions]
    assert second.days[0].replica_hours == pytest.approx(whole.days[1].replica_hours, rel=0.1)
    assert len(whole.days) == 3


@pytest.mark.parametrize(
    ("spare", "expected"),
    [
        pytest.param({"refuse": "0.5%"}, "refused < 0.5%", id="the policy's own"),
        pytest.param(10, "refused < 0.1%", id="the default"),
    ],
)
def test_the_goal_is(spare: object, expected: str) -> None:
    own = policy(metrics=[{"type": "sessions", "seats": 10, "spare": spare}])
    assert str(own_goal(own)) == expected
