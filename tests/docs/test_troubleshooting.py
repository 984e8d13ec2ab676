"""The page of the symptoms knows every reason, and no word that is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autoscaler.model import Reason
from autoscaler.reporting.events import HOLDS

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


def test_each_cause_of_a_cordon_is_there() -> None:
    causes = re.findall(r"^\| `([a-z-]+|<none>)` \|", section("A pod stays cordoned"), re.MULTILINE)

    assert set(causes) == {"scale-down", "full", "reserve", "<none>"}
