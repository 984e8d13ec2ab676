"""The core asks for what the real HPA controller asks for, case by case and over time."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import yaml

from tests.core.hpa_facts import check, holds
from tests.hpa.cases import KNOBS, random_fact
from tests.hpa.curves import Curve, compare, random_curve, start, summary
from tests.hpa.oracle import Oracle
from tests.hpa.trials import outcomes
from tests.lab.processes import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.control_plane,
    pytest.mark.mostly_idle,
    pytest.mark.timing_sensitive,
    pytest.mark.timeout(400),
]

CASES = 300
CURVES, SECONDS = 20, 180
MOST_APART = 0.005  # of all syncs, so 17 in 3,500; 0 to 3 were seen. Late ones come on top


@pytest.fixture(scope="module")
def under_way(oracle: Oracle, seed: int) -> list[list[Curve]]:
    """Curves that run side by side while the cases are decided; taken by whoever compares them."""
    return [begin(oracle, seed)]


@pytest.fixture
def curves(under_way: list[list[Curve]], oracle: Oracle, seed: int) -> list[Curve]:
    """Return those under way, or new ones if the comparison is made again."""
    return under_way.pop() if under_way else begin(oracle, seed)


def begin(oracle: Oracle, seed: int) -> list[Curve]:
    random = Random(seed)
    chosen = [random_curve(random, f"curve-{number}", SECONDS) for number in range(CURVES)]
    for curve in chosen:
        start(oracle, curve)
    return chosen


@pytest.mark.usefixtures("under_way")
def test_random_cases_are_decided_as_the_controller_decides_them(
    oracle: Oracle, seed: int, show: Callable[[str], None]
) -> None:
    random = Random(seed)
    facts = [random_fact(random, f"H{seed}-{number}") for number in range(CASES)]
    document: dict[str, Any] = {"knobs_in_tests": KNOBS, "reconcile": list(outcomes(oracle, facts))}

    wrong = [name for name, expected, got in check(document) if not holds(expected, got)]

    changes = sum(fact["expect"]["replicas"] != fact["current"] for fact in document["reconcile"])
    show(f"HPA_SEED={seed}: {CASES} cases, {changes} changes, {len(wrong)} differences")
    different = [fact for fact in document["reconcile"] if fact["id"] in wrong]
    assert not different, as_cases({**document, "reconcile": different})


def test_over_time_both_decide_alike_but_for_one_sync_at_a_tick_boundary(
    oracle: Oracle, curves: list[Curve], seed: int, show: Callable[[str], None]
) -> None:
    targets = [oracle.apis.targets[curve.name] for curve in curves]
    wait_until(
        lambda: all(target.lasted() > SECONDS for target in targets), 2 * SECONDS, "their end"
    )
    oracle.delete(curve.name for curve in curves)

    compared = [compare(each, target.syncs) for each, target in zip(curves, targets, strict=True)]

    show(f"HPA_SEED={seed}: {CURVES} curves of {SECONDS} s, {summary(compared)}")
    assert not "".join(each.unexplained for each in compared)
    apart = sum(each.one_sync_apart for each in compared)
    most = sum(MOST_APART * each.syncs + each.late for each in compared)
    assert apart <= most, "so many are no accident of two clocks"


def as_cases(document: dict[str, Any]) -> str:
    """A file that `python -m tests.core.hpa_facts` reads, one line a case."""
    lines = [f"knobs_in_tests: {_flow(document['knobs_in_tests'])}", "reconcile:"]
    return "\n".join([*lines, *(f"- {_flow(fact)}" for fact in document["reconcile"])])


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"))
    return text.strip()
