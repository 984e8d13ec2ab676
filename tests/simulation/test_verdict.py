"""The verdict on a simulated policy says what happened to users, and what to change."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.policy import Policy
from autoscaler.simulation.engine import Assumptions, Run, simulate
from autoscaler.simulation.front import WhenFull
from autoscaler.simulation.score import Score, score
from autoscaler.simulation.verdict import verdict
from autoscaler.simulation.workloads import class_of_200
from tests.builders import policy

CLASS = class_of_200(1)


NIGHT = {"from": "22:00", "to": "05:00", "drain": {"deadline": "5m"}}


def sessions(highest: int, seats: int = 20, spare: Any = 10, **overrides: Any) -> Policy:
    metrics = [{"type": "sessions", "seats": seats, "spare": spare}]
    return policy(metrics=metrics, replicas={"min": 1, "max": highest}, **overrides)


def simulated(rules: Policy, assumptions: Assumptions) -> Score:
    run: Run = simulate(rules, CLASS, assumptions)
    return score(run, CLASS, rules.replicas.min)


def test_a_maximum_that_is_too_low_is_named_with_one_that_is_enough() -> None:
    rules, assumptions = sessions(4), Assumptions(lead_time=0.0, tick=5.0, scrape_interval=0.0)
    before = simulated(rules, assumptions)

    said = verdict(rules, assumptions, before)

    found = re.fullmatch(
        r"(\d+) % of the users were refused: raise replicas\.max from 4 to (\d+)\.", said
    )
    assert found, said
    assert int(found[1]) == round(before.refused_percent) > 10
    after = simulated(sessions(int(found[2])), assumptions)
    assert after.refused_percent < 1


@pytest.mark.parametrize(
    ("rules", "when_full", "changes", "says"),
    [
        pytest.param(
            sessions(20),
            WhenFull.REFUSE,
            {"refused": 3, "refused_percent": 0.42, "peak_sessions": 100, "peak_replicas": 7},
            "0.42 % of the users were refused: replicas.max (20) is not reached, but pods come too "
            "late. Keep more seats free (`spare`), or raise the minimum before the users come "
            "(`schedule`).",
            id="too late",
        ),
        pytest.param(
            sessions(20),
            WhenFull.REFUSE,
            {"refused": 1, "refused_percent": 0.09, "regret": 6.2},
            "0.09 % of the users were refused, within the goal of 0.1 %, and no session was cut, "
            "6 % above the least cost.",
            id="few enough",
        ),
        pytest.param(
            sessions(10, spare="50%"),
            WhenFull.WAIT,
            {"waited": 1, "peak_sessions": 200, "peak_replicas": 10},
            "1 user waited for a free seat: raise replicas.max from 10 to 15.",
            id="a wait",
        ),
        pytest.param(
            sessions(10, spare={"refuse": "0.1%"}),
            WhenFull.OVERFILL,
            {"crowded_minutes": 1_234.0, "peak_sessions": 190, "peak_replicas": 10},
            "pods had more sessions than seats for 1,234 minutes: raise replicas.max, which is "
            "reached, above 10.",
            id="crowded pods",
        ),
        pytest.param(
            sessions(10, drain="none"),
            WhenFull.REFUSE,
            {"cut": 7, "peak_sessions": 20, "peak_replicas": 3},
            "7 sessions cut by scaling down: remove `drain: none`.",
            id="cut sessions",
        ),
        pytest.param(
            sessions(20, schedule=[{"from": "03:00", "to": "04:00", "spare": "100%"}]),
            WhenFull.WAIT,
            {"waited": 1, "peak_sessions": 399, "peak_replicas": 7},
            "1 user waited for a free seat: replicas.max (20) is not reached, but pods come too "
            "late. Keep more seats free (`spare`), or raise the minimum before the users come "
            "(`schedule`).",
            id="a window would need more than the maximum",
        ),
        *(
            pytest.param(
                sessions(10, drain=drain, schedule=windows),
                WhenFull.REFUSE,
                {"cut": 7},
                f"7 sessions cut by scaling down: set a longer drain.{remedy}.",
                id=f"cut by drain.{remedy}{' of a window' if windows else ''}",
            )
            for drain, windows, remedy in [
                ({"deadline": "5m", "hardDeadline": "1h"}, [], "deadline"),
                ({"hardDeadline": "1h"}, [], "hardDeadline"),
                ({"hardDeadline": "1h"}, [NIGHT], "deadline"),
            ]
        ),
        pytest.param(
            sessions(10),
            WhenFull.REFUSE,
            {"regret": 17.6},
            "Every user got a seat, and no session was cut, 18 % above the least cost.",
            id="a policy that does",
        ),
    ],
)
def test_the_verdict_names_what_users_met_and_what_to_change(
    rules: Policy, when_full: WhenFull, changes: dict[str, Any], says: str
) -> None:
    clean = simulated(sessions(20), Assumptions(lead_time=0.0, scrape_interval=0.0))
    none = {"refused": 0, "refused_percent": 0.0, "waited": 0, "crowded_minutes": 0.0, "cut": 0}

    told = replace(clean, **{**none, **changes})

    assert verdict(rules, Assumptions(when_full=when_full), told) == says
