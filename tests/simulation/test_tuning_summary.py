"""What tuning prints: one sentence for each verdict, the table, the walk-forward, and the plot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.html_report.pareto import pareto_html
from autoscaler.simulation.candidates import Candidate
from autoscaler.simulation.front import Placement
from autoscaler.simulation.recommendation import recommend
from autoscaler.simulation.timeline import Table
from autoscaler.simulation.tuning import Finalist
from autoscaler.simulation.tuning_summary import sentence, table, values_text, walk_forward
from tests.builders import policy
from tests.simulation.test_tuning import (
    ASSUMED,
    CHEAPER,
    CURRENT,
    GOAL,
    NO_DIFFERENT,
    REFUSING,
    finalist,
)

SENTENCES = {
    "a cheaper policy": (
        [CURRENT, CHEAPER],
        (
            "Recommended: cooldown.down 1s; this is the cheapest of 200 policies that meets"
            " refused < 1%, with at most 0.0131 % of users without a seat and no session cut, and"
            " costs 3.37 to 3.37 % less than the current policy (95 % interval)."
        ),
    ),
    "a dearer policy": (
        [REFUSING, finalist(1, [25, 35, 45])],
        (
            "Recommended: cooldown.down 1s; this is the cheapest of 200 policies that meets"
            " refused < 1%, with at most 0.0131 % of users without a seat and no session cut, and"
            " costs +16.9 to +16.9 % more than the current policy (95 % interval)."
        ),
    ),
    "the current policy": (
        [CURRENT, finalist(1, [50])],
        (
            "Keep the policy: it is the cheapest of 200 policies that meets refused < 1%, with at"
            " most 0.0131 % of users without a seat and no session cut."
        ),
    ),
    "no policy": (
        [REFUSING, finalist(1, [30], [20])],
        (
            "Nothing is recommended: none of 200 policies surely meets refused < 1% without cuts;"
            " the best may refuse 2.17 % of users."
        ),
    ),
    "no policy that drains": (
        [finalist(0, [30], cut=3)],
        (
            "Nothing is recommended: none of 200 policies surely meets refused < 1% without cuts,"
            " because all end sessions; set drain."
        ),
    ),
}


@pytest.mark.parametrize(("finalists", "expected"), SENTENCES.values(), ids=SENTENCES)
def test_the_sentence_names(finalists: list[Finalist], expected: str) -> None:
    assert sentence(recommend(finalists, GOAL, screened=14), 200) == expected


def test_a_difference_that_may_be_none_is_told_with_its_interval() -> None:
    said = sentence(recommend([CURRENT, NO_DIFFERENT], GOAL, screened=14), 200)
    assert said.startswith(
        "Keep the policy: the cheapest of 200 policies that meets refused < 1% (cooldown.down 1s)"
        " differs from it in cost by -"
    )
    assert said.endswith("%, so perhaps not at all.")


def test_a_policy_that_misses_the_goal_is_not_replaced_for_a_difference_that_may_be_none() -> None:
    one_bad_day = finalist(0, [30], [0] * 27 + [300])
    found = recommend([one_bad_day, finalist(1, [30])], GOAL, screened=14)
    said = sentence(found, 200)
    assert said.startswith("Nothing is recommended: the current policy may refuse ")
    assert said.endswith("so perhaps not at all, nor does it surely refuse fewer.")
    assert not found.current_meets


@pytest.mark.parametrize(
    ("edits", "placement", "expected"),
    [
        ({}, Placement.LEASTCONN, "as it is"),
        ({("metrics", 1, "spare"): "25%"}, Placement.LEASTCONN, "spare 25%"),
        ({("metrics", 0, "seats"): 9}, Placement.PACKED, "seats 9, placement packed"),
        (
            {("metrics", 0, "spare"): {"refuse": "2%", "leadTime": "1m"}},
            Placement.LEASTCONN,
            "spare {refuse: 2%, leadTime: 1m}",
        ),
        ({("schedule", 1, "min"): 3}, Placement.LEASTCONN, "schedule[1].min 3"),
    ],
)
def test_a_policy_is_told_by_its_other_values(edits, placement, expected) -> None:
    other = Candidate(edits, policy(), replace(ASSUMED, placement=placement))
    assert values_text(other, CURRENT.candidate) == expected


def test_the_table_has_the_neighbors_on_the_front_and_money() -> None:
    others = [finalist(2, [10], [20]), finalist(3, [12], [15]), finalist(4, [35], [0])]
    slightly = finalist(1, [29], [1])
    found = recommend([finalist(0, [40]), slightly, *others], GOAL, screened=14)
    assert table(found, price=0.5) == Table(
        ("", "replica-hours", "cost", "no seat in %", "cut", "values"),
        (
            ("current", "1,120.0", "560.00", "0.000 (0.000-0.013)", "0", "as it is"),
            ("recommended", "812.0", "406.00", "0.100 (0.066-0.145)", "0", "cooldown.down 1s"),
            ("next cheaper", "336.0", "168.00", "1.500 (1.360-1.651)", "0", "cooldown.down 3s"),
            ("next dearer", "980.0", "490.00", "0.000 (0.000-0.013)", "0", "cooldown.down 4s"),
        ),
    )


def test_the_walk_forward_tells_each_tested_week() -> None:
    found = recommend([finalist(0, [40], [0]), finalist(1, [30], [1])], GOAL, screened=14)
    assert walk_forward(found) == [
        f"Chosen by weeks 1 to {weeks}: cooldown.down 1s; in week {weeks + 1}: 210.0 replica-hours,"
        " 0.100 % without a seat (current policy: 280.0 replica-hours, 0.000 % without a seat)."
        for weeks in (2, 3)
    ]


@pytest.mark.parametrize(
    ("finalists", "screened", "expected"),
    [
        ([CURRENT], 28, "No walk-forward: the sessions cover less than two weeks."),
        ([REFUSING], 21, "Chosen by weeks 1 to 3: none, because none met refused < 1% in them."),
    ],
)
def test_the_walk_forward_tells_why_there_is_none(finalists, screened, expected) -> None:
    assert walk_forward(recommend(finalists, GOAL, screened)) == [expected]


def test_the_page_marks_the_current_and_the_recommended_policy() -> None:
    found = recommend([CURRENT, CHEAPER, finalist(2, [50], [1])], GOAL, screened=14)
    page = pareto_html(found, table(found, None), "Recommended: <b>", "A note.")
    for text in ("current policy", "recommended", "other policies", "Pareto front"):
        assert f'"{text}"' in page
    assert "Recommended: &lt;b&gt;" in page
    assert "cooldown.down 1s" in page
    assert "<td>current</td>" in page
