"""The page of the symptoms knows every reason, and no word that is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autoscaler.core.decide import decide
from autoscaler.model import Reason, State
from autoscaler.reporting.events import HOLDS
from tests.builders import NOW, observation, policy

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
TABLES = ("It does not scale down", "It does not scale up", "It flaps")
# Events that are no reasons of a decision.
EVENTS = {"FailedRescale", "FailedGetScale", "PolicyFileRejected"}
DOWN = {
    *HOLDS,
    *("ScaleDownStabilized", "ScaleDownLimit", "CooldownDown"),
    *("TooFewReplicas", "ScheduledMinimum", "Fallback"),
}
UP = {
    *("TooManyReplicas", "ScheduledMaximum", "ScaleUpLimit", "ScaleUpStabilized", "CooldownUp"),
    *("ScalingDisabled", "Paused", "OtherAutoscaler", "StaleCache"),
}


def section(title: str) -> str:
    return PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def named(text: str) -> set[str]:
    return set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+|Paused|Fallback|Recycling)`", text))


@pytest.mark.parametrize(("title", "reasons"), [(TABLES[0], DOWN), (TABLES[1], UP)])
def test_each_reason_that_holds_is_under_its_symptom(title: str, reasons: set[str]) -> None:
    missing = {str(reason) for reason in reasons} - named(section(title))

    assert not missing


@pytest.mark.parametrize("title", TABLES)
def test_each_reason_of_a_table_is_one(title: str) -> None:
    assert named(section(title)) - EVENTS <= {str(reason) for reason in Reason}


def test_pods_that_are_not_created_are_looked_for_in_the_events_of_their_replica_set() -> None:
    command = "kubectl -n bokeh get events --field-selector reason=FailedCreate"
    rows = [row for row in section(TABLES[1]).splitlines() if "quota" in row]

    assert len(rows) == 2
    assert rows[0].startswith("| `DesiredWithinRange`")
    assert [row for row in rows if command not in row] == []


def test_each_cause_of_a_cordon_is_there() -> None:
    causes = re.findall(r"^\| `([a-z-]+|<none>)` \|", section("A pod stays cordoned"), re.MULTILINE)

    assert set(causes) == {"scale-down", "full", "reserve", "<none>"}


def test_a_high_number_of_the_window_still_counts_when_users_have_left() -> None:
    metric = {"type": "sessions", "seats": 10, "spare": 0}
    few = policy(metrics=[metric], replicas={"min": 1, "max": 2})
    _, state = decide(few, observation(50, 50), State(seen_at=NOW - 5), NOW)

    kept, _ = decide(few, observation(1, 1), state, NOW + 30)
    later, _ = decide(few, observation(1, 1), state, NOW + 301)

    assert kept.reason == Reason.TOO_MANY_REPLICAS
    assert later.reason != Reason.TOO_MANY_REPLICAS
    assert "| `TooManyReplicas`, although few users are left |" in section(TABLES[0])
