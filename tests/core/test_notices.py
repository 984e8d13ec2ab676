"""Whom a policy asks, and when it tells the users of a draining pod what comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.core.notices import due
from autoscaler.model import Cause, Cordon, Occupancy
from exporter.agent.notice import LASTS_SECONDS, parsed
from tests.builders import NOW, pod, policy
from tests.deploy.pages import ANSWERS_PAGE, NOTICES_PAGE, blocks

IDLE = {"after": "2h", "notice": "5m"}
DRAIN = {"deadline": "1h", "hardDeadline": "2h", "notice": "5m"}


def cordoned(seconds: float, cause: Cause = Cause.SCALE_DOWN, **more: Any) -> Any:
    cordon = Cordon(cause, NOW - seconds)
    return pod("leaving", ip="10.0.0.1", routable=False, cordon=cordon, **more)


def kinds(found: Any) -> list[tuple[str, float]]:
    return [(str(each.notice["kind"]), float(each.notice["seconds"])) for each in found]


def test_by_default_nobody_is_asked() -> None:
    assert not [*due(policy(), [pod(ip="10.0.0.1"), cordoned(1e6)], NOW)]


def test_an_idle_policy_asks_on_all_running_pods() -> None:
    there = [pod("a", ip="10.0.0.1"), cordoned(9), pod("b", phase="Pending"), pod("c", ip=None)]
    texts = {"idle": "Bist du noch da?", "stay": "Ja"}
    [asked] = due(policy(idle=IDLE, notices=texts), there, NOW)
    assert [each.name for each in asked.pods] == ["a", "leaving"]
    notice = parsed({**asked.notice, "id": "1"})
    assert (notice.kind, notice.seconds, notice.idle_for) == ("ask", 300.0, 7200.0)
    assert (notice.text, notice.button) == ("Bist du noch da?", "Ja")
    assert asked.ends is None


@pytest.mark.parametrize(
    ("interval", "lasts"), [("2s", LASTS_SECONDS), ("30s", LASTS_SECONDS), ("10m", 1800.0)]
)
def test_a_question_outlasts_rounds_that_are_missed(interval: str, lasts: float) -> None:
    [asked] = due(policy(idle=IDLE, interval=interval), [pod(ip="10.0.0.1")], NOW)
    assert parsed({**asked.notice, "id": "1"}).lasts == lasts


@pytest.mark.parametrize("page", [NOTICES_PAGE, ANSWERS_PAGE], ids=lambda page: page.stem)
def test_the_policy_of_the_page_asks_after_two_hours(page: Path) -> None:
    [text] = blocks(page, "yaml")
    [asked] = due(policy(**yaml.safe_load(text)), [pod(ip="10.0.0.1")], NOW)
    assert (asked.notice["idle_for"], asked.notice["seconds"]) == (7_200, 300)


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (3269, []),
        (3270, [("ask", 300.0)]),
        (6869, [("ask", 300.0)]),
        (6870, [("ask", 300.0), ("tell", 330.0)]),
        (7140, [("ask", 300.0), ("tell", 60.0)]),
        (8000, [("ask", 300.0), ("tell", 0.0)]),
    ],
)
def test_before_a_deadline_unused_pages_are_asked_and_before_the_last_one_all_are_told(
    since: float, expected: list[tuple[str, float]]
) -> None:
    assert kinds(due(policy(drain=DRAIN), [cordoned(since)], NOW)) == expected


def test_the_last_announcement_is_of_one_deadline() -> None:
    ends = [each.ends for each in due(policy(drain=DRAIN), [cordoned(7000)], NOW)]
    assert ends == [None, NOW + 200]


@pytest.mark.parametrize("cause", [Cause.FULL, Cause.RESERVE])
def test_pods_that_are_not_drained_have_no_deadline(cause: Cause) -> None:
    assert not [*due(policy(drain=DRAIN), [cordoned(9000, cause)], NOW)]


@pytest.mark.parametrize("drain", ["none", {**DRAIN, "notice": "0s"}, {"deadline": "never"}])
def test_without_a_deadline_or_a_notice_nobody_is_told(drain: Any) -> None:
    assert not [*due(policy(drain=drain), [cordoned(9000)], NOW)]


def test_the_deadline_of_an_open_window_counts() -> None:
    always = [
        {
            "days": "mon-sun",
            "from": start,
            "to": end,
            "timezone": "UTC",
            "drain": {"deadline": "1h"},
        }
        for start, end in (("00:00", "12:00"), ("12:00", "00:00"))
    ]
    scheduled = policy(drain={"deadline": "never"}, schedule=always)
    assert kinds(due(scheduled, [cordoned(3300)], NOW)) == [("ask", 300.0)]


@pytest.mark.parametrize(
    "values",
    [
        {"idle": {"after": "30s"}},
        {"idle": {"after": "2d"}},
        {"idle": {"after": "2h", "notice": "5s"}},
        {"idle": {"notice": "5m"}},
        {"drain": {"notice": "5s"}},
        {"notices": {"idle": ""}},
        {"notices": {"idle": "a" * 301}},
        {"notices": {"stay": "two\nlines"}},
    ],
)
def test_a_policy_says_only_what_a_page_can_show(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|should|required"):
        policy(**values)


FREE = Occupancy(3, may_close=2)


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([cordoned(60, occupancy=FREE)], ["leaving"], id="a draining pod"),
        pytest.param(
            [pod("by-hand", ip="10.0.0.1", routable=False, occupancy=FREE)],
            ["by-hand"],
            id="one that somebody else drains",
        ),
        pytest.param([cordoned(60, occupancy=Occupancy(3))], [], id="no session allows it"),
        pytest.param([cordoned(60)], [], id="a sidecar that gave no answer"),
        pytest.param([pod("a", ip="10.0.0.1", occupancy=FREE)], [], id="a pod that serves"),
        pytest.param([cordoned(60, Cause.FULL, occupancy=FREE)], [], id="a full pod"),
        pytest.param([cordoned(60, Cause.RESERVE, occupancy=FREE)], [], id="the reserve"),
    ],
)
def test_pages_that_may_be_closed_are_closed_on_draining_pods_alone(
    pods: Any, expected: list[str]
) -> None:
    found = [*due(policy(notices={"drained": "Bitte neu laden."}), pods, NOW)]
    assert [each.name for every in found for each in every.pods] == expected
    for each in found:
        notice = parsed({**each.notice, "id": "1"})
        assert (notice.kind, notice.text, notice.older_than) == ("close", "Bitte neu laden.", 300.0)
        assert each.ends is None


def test_where_nothing_is_drained_nothing_is_closed() -> None:
    assert not [*due(policy(drain="none"), [cordoned(60, occupancy=FREE)], NOW)]
