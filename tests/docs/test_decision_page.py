"""The worked numbers of the page are what the daemon's own function decides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.core.decide import decide, record_scaling
from autoscaler.model import Decision, State
from autoscaler.policy import Policy
from tests.builders import NOW, observation, pod
from tests.deploy.pages import DECISION_PAGE, blocks

ROOT = Path(__file__).parents[2]
MORNING = re.findall(
    r"^\| (\d+) s \| ([\d, ?]+) \| (\d+) % \| \(([\d +]+)\) / 10(?: = |, rounded up to )(\d+) \|"
    r" (\d+) \| ([\d >-]+) \| `(\w+)` \|$",
    DECISION_PAGE.read_text(),
    re.MULTILINE,
)
CPU = 1000  # millicores that a pod asks for


def the_policy(folder: Path) -> Policy:
    [text] = blocks(DECISION_PAGE, "yaml")
    (folder / "policy.yaml").write_text(text)
    return load_policy(folder / "policy.yaml")


@pytest.fixture
def decided(tmp_path: Path) -> list[tuple[int, Decision]]:
    """The replicas before each row, and the decision; the daemon looks every two seconds."""
    policy, found = the_policy(tmp_path), []
    state: Any = State(seen_at=NOW - 2)
    for row in MORNING:
        at = NOW + int(row[0])
        counts = [None if each == "?" else int(each) for each in row[1].split(", ")]
        load = CPU * int(row[2]) // 100
        seen = observation(
            pods=tuple(
                pod(f"pod-{number}", sessions=count, at=at, cpu=load)
                for number, count in enumerate(counts)
            )
        )
        state = state._replace(seen_at=at - 2)
        decision, state = decide(policy, seen, state, at)
        if decision.desired != seen.replicas:
            state = record_scaling(state, policy, seen.replicas, decision.desired, at)
        found.append((seen.replicas, decision))
    return found


def test_each_row_is_what_is_decided(decided: list[tuple[int, Decision]]) -> None:
    assert len(MORNING) == 9
    for row, (before, decision) in zip(MORNING, decided, strict=True):
        *_, by_sessions, by_cpu, replicas, reason = row
        asked = [each.replicas for each in decision.recommendations]
        assert asked == [int(by_sessions), int(by_cpu)], row
        change = f"{before} -> {decision.desired}" if decision.desired != before else f"{before}"
        assert (replicas, reason) == (change, str(decision.reason)), row


@pytest.mark.parametrize("row", MORNING, ids=[f"{row[0]} s" for row in MORNING])
def test_the_sum_of_a_row_is_right(row: tuple[str, ...]) -> None:
    needed = sum(int(each) for each in row[3].split(" + "))

    assert -(-needed // 10) == int(row[4])


def test_the_order_is_that_of_the_code() -> None:
    code = (ROOT / "autoscaler" / "core" / "decide.py").read_text()
    steps = (
        *("_combine(", "holds.without_data(", "_follow_schedule(", "_stabilize(", "_limit_rate("),
        *("_cool_down(", "_keep_bounds(", "holds.in_rollout(", "_drain("),
    )
    places = [code.index(f" {step}") for step in steps]

    assert places == sorted(places)
