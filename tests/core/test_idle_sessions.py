"""One idle tab holds neither all recycling, nor is it silent."""

from __future__ import annotations

import pytest

from autoscaler.model import Reason
from autoscaler.policy import Policy
from tests.builders import policy
from tests.core.story import Story

HOUR = 3_600.0
WORN = 950_000


def worn_fleet(*sessions: int, **more) -> Story:
    """Pods over `recycle.memory`, oldest first, one pass a minute."""
    rules = policy(recycle={"memory": "85%"}, replicas={"min": len(sessions), "max": 20}, **more)
    story = Story(rules, *sessions, interval=60.0)
    story.memory = dict.fromkeys(story.sessions, WORN)
    for number, each in enumerate(story.pods):
        story.edit(each.name, created_at=each.created_at + number)
    return story


class TestRecycling:
    def test_goes_on_with_the_other_worn_pods(self) -> None:
        """pod-0 keeps one idle tab for ever; the users of the others leave within an hour."""
        story = worn_fleet(1, 1, 1, 1)
        most = 4
        for _ in range(24):
            story.run(HOUR)
            most = max(most, *(each.desired for each in story.decisions))
            for name in story.cordoned:
                if name != "pod-0":
                    story.sessions[name] = 0
        assert {"pod-1", "pod-2", "pod-3"} <= set(story.removed)
        assert story.cut == 0
        assert most == 5, "one pod more than needed altogether"
        assert "pod-0" in [each.name for each in story.pods]

    def test_with_an_idle_tab_on_each_every_pod_has_its_turn(self) -> None:
        story = worn_fleet(1, 1, 1)
        turns: list[str] = []
        for _ in range(10):
            story.run(HOUR)
            turns += [name for name in story.cordoned if name not in turns[-1:]]
            assert len(story.cordoned) <= 1
        assert turns[:4] == ["pod-0", "pod-1", "pod-2", "pod-0"]
        assert max(each.desired for each in story.decisions) == 4
        assert story.cut == 0

    def test_does_not_pass_over_a_pod_whose_users_are_at_work(self) -> None:
        story = worn_fleet(1, 1, 1)
        for _ in range(300):
            story.idle_since = story.now
            story.run(60)
        assert story.cordoned == ["pod-0"]

    def test_tells_whom_it_passed_over(self) -> None:
        story = worn_fleet(1, 1, 1)
        story.run(3 * HOUR)
        passed = [line for line in story.told(Reason.RECYCLING) if "in place of" in line]
        assert passed[0] == (
            "recycling pod-1 in place of pod-0, which has waited for 1 session for 1h"
        )

    def test_at_the_maximum_it_says_why_it_rests(self) -> None:
        rules = policy(recycle={"memory": "85%"}, replicas={"min": 2, "max": 2})
        story = Story(rules, 9, 9)
        story.memory = dict.fromkeys(story.sessions, WORN)
        story.run(HOUR)
        assert (story.replicas, story.cordoned) == (2, [])
        assert story.decisions[-1].detail == "cannot recycle pod-0: replicas.max is 2"


class TestTelling:
    RULES = policy(metrics=[{"type": "sessions", "seats": 20}])

    def fleet(self, rules: Policy = RULES) -> Story:
        """20 users, one on each of 20 pods; 19 of them are cordoned."""
        return Story(rules, *[1] * 20, interval=60.0)

    def test_names_the_pods_their_sessions_and_how_long_they_are_idle(self) -> None:
        story = self.fleet(policy(replicas={"min": 2, "max": 9}))
        story.pods, story.replicas = story.pods[:3], 3
        story.run(300 + HOUR + 60)
        [event] = story.events
        name = story.cordoned[0]
        assert event == (
            "1 pod has been draining for 1h or longer: "
            f"{name} (1 session, idle for 1h1m, cordoned for 1h)"
        )

    def test_tells_of_many_pods_once_a_period(self) -> None:
        story = self.fleet()
        story.run(6.5 * HOUR)
        assert len(story.cordoned) == 19
        assert len(story.events) == 6
        assert all(event.startswith("19 pods have been draining") for event in story.events)
        assert all("and 14 more" in event for event in story.events)

    def test_tells_of_a_pod_that_comes_later_by_itself(self) -> None:
        story = self.fleet(policy(replicas={"min": 3, "max": 20}))
        story.pods, story.replicas = story.pods[:4], 4
        story.run(1.5 * HOUR)
        story.rules = policy(replicas={"min": 2, "max": 20})
        story.run(1.5 * HOUR)
        counts = [event.split(" been")[0] for event in story.events]
        assert counts == ["1 pod has", "1 pod has", "1 pod has"]

    @pytest.mark.parametrize(
        ("drain", "expected"), [({"tell": "never"}, 0), ({"tell": "2h"}, 3), ({"tell": "10m"}, 37)]
    )
    def test_as_often_as_the_policy_says(self, drain: dict[str, str], expected: int) -> None:
        story = self.fleet(policy(metrics=[{"type": "sessions", "seats": 20}], drain=drain))
        story.run(300 + 6.2 * HOUR)
        assert len(story.events) == expected

    def test_is_silent_about_pods_that_empty_in_time(self) -> None:
        story = self.fleet()
        story.run(0.9 * HOUR)
        story.sessions = {name: 0 if name in story.cordoned else 1 for name in story.sessions}
        story.run(3 * HOUR)
        assert story.replicas == 1
        assert story.events == []
