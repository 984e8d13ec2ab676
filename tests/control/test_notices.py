"""Which notices a daemon gives, how often, and what it says where they are not shown."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.model import Cause, Cordon, PodState, Unavailable
from autoscaler.ports import PolicySet, TargetState
from autoscaler.reporting.notices import MOST_WAITING, NoticeRecorder
from autoscaler.reporting.outbox import Outbox
from tests.builders import NOW, pod, policy


@dataclass
class Pages:
    """Sidecars that show what they are given, or say why not.

    of: the kind of notice that they do not show; "": any.
    """

    problem: str = ""
    of: str = ""
    given: list[tuple[list[str], Mapping[str, object]]] = field(default_factory=list)

    def notify(
        self, pods: Sequence[PodState], notice: Mapping[str, object]
    ) -> Mapping[str, int | Unavailable]:
        self.given.append(([each.name for each in pods], notice))
        bad = self.problem and (not self.of or notice["kind"] == self.of)
        return {each.uid: Unavailable(self.problem) if bad else 1 for each in pods}


@dataclass
class SlowPages(Pages):
    """Sidecars that take long."""

    goes_on: threading.Event = field(default_factory=threading.Event)

    def notify(
        self, pods: Sequence[PodState], notice: Mapping[str, object]
    ) -> Mapping[str, int | Unavailable]:
        assert self.goes_on.wait(20)
        return super().notify(pods, notice)


@dataclass
class Daemon:
    """A daemon that evaluates one policy for two pods, of which one drains."""

    settings: dict[str, Any]
    pages: Pages = field(default_factory=Pages)
    pause: str | None = None
    at: float = NOW
    cordoned_at: float = NOW - 7000

    def __post_init__(self) -> None:
        self.outbox = Outbox("notices", "a sidecar", MOST_WAITING)
        self.recorder = NoticeRecorder(self.pages, self.outbox)

    def passes(self, after: float = 0.0) -> list[str]:
        """The kinds of notices that a pass gives."""
        self.pages.given.clear()
        self.begin(after)
        assert self.outbox.settle(20)
        return [str(notice["kind"]) for _, notice in self.pages.given]

    def begin(self, after: float = 0.0) -> None:
        """A pass that does not wait for its notices."""
        self.at += after
        one = policy(**self.settings)
        cordon = Cordon(Cause.SCALE_DOWN, self.cordoned_at)
        pods = (
            pod("serving", ip="10.0.0.1"),
            pod("leaving", ip="10.0.0.2", routable=False, cordon=cordon),
        )
        target = TargetState(one.target.ref, "uid", "1", 2, 2, pods, pause=self.pause)
        self.recorder.record(PassResult(self.at, (Outcome(one, target),), PolicySet((one,))))


IDLE = {"idle": {"after": "2h"}}
LAST = {"drain": {"hardDeadline": "2h"}}


def test_questions_are_repeated_in_each_round_and_announcements_are_not() -> None:
    daemon = Daemon({**IDLE, **LAST})
    assert daemon.passes() == ["ask", "tell"]
    assert daemon.passes(after=2) == []
    assert daemon.passes(after=28) == ["ask"]
    assert daemon.pages.given[0][0] == ["serving", "leaving"]


def test_an_announcement_that_was_not_shown_is_given_again() -> None:
    daemon = Daemon(LAST, Pages("refused"))
    assert daemon.passes() == daemon.passes(after=30) == ["tell"]
    daemon.pages.problem = ""
    assert daemon.passes(after=30) == ["tell"]
    assert daemon.passes(after=30) == []


def test_a_pod_that_drains_again_announces_its_new_deadline() -> None:
    """Load returned in the meantime, so the first deadline never came."""
    daemon = Daemon(LAST)
    assert daemon.passes() == ["tell"]
    daemon.cordoned_at = NOW + 3600 - 7000
    assert daemon.passes(after=3600) == ["tell"]
    assert daemon.passes(after=30) == []


def test_what_was_given_for_a_policy_that_is_gone_is_forgotten() -> None:
    daemon = Daemon({**IDLE, **LAST})
    assert daemon.passes() == ["ask", "tell"]
    other = policy(name="other")
    daemon.recorder.record(PassResult(daemon.at, (), PolicySet((other,), is_complete=False)))
    assert daemon.passes() == [], "it is known in a moment"
    daemon.recorder.record(PassResult(daemon.at, (), PolicySet((other,))))
    assert daemon.passes() == ["ask", "tell"]


@pytest.mark.parametrize("pause", ["by its policy", "by an annotation"])
def test_a_paused_policy_asks_nobody(pause: str) -> None:
    paused = Daemon({**IDLE, "paused": pause == "by its policy"})
    paused.pause = "INC-7" if pause == "by an annotation" else None
    assert paused.passes() == []


def test_a_clock_that_is_set_back_delays_no_round() -> None:
    daemon = Daemon(IDLE)
    assert daemon.passes() == ["ask"]
    assert daemon.passes(after=-3600) == ["ask"]


def test_why_users_are_not_told_is_logged_when_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    daemon = Daemon(IDLE, Pages("no token"))
    for _ in range(3):
        daemon.passes(after=30)
    words = "policy dashboards: 2 of 2 pods do not show a notice to their users: no token"
    assert [record.getMessage() for record in caplog.records] == [words]


def test_a_notice_that_is_shown_does_not_make_another_ones_problem_new(
    caplog: pytest.LogCaptureFixture,
) -> None:
    daemon = Daemon({**IDLE, "drain": {"hardDeadline": "2h"}}, Pages("no token", of="ask"))
    for _ in range(3):
        daemon.cordoned_at += 30
        daemon.passes(after=30)
    assert len(caplog.records) == 1


def test_rounds_of_many_policies_wait_for_each_other_and_none_is_dropped() -> None:
    daemon = Daemon(IDLE)
    many = [policy(name=f"policy-{number}", **IDLE) for number in range(500)]
    target = TargetState(many[0].target.ref, "uid", "1", 1, 1, (pod(ip="10.0.0.1"),))
    outcomes = tuple(Outcome(each, target) for each in many)
    daemon.recorder.record(PassResult(NOW, outcomes, PolicySet(tuple(many))))
    assert daemon.outbox.settle(20)
    assert len(daemon.pages.given) == 500


def test_a_round_that_takes_long_delays_the_next_one_and_shortens_the_countdown() -> None:
    slow = SlowPages()
    daemon = Daemon({**IDLE, **LAST}, slow)
    daemon.begin()
    for _ in range(5):
        daemon.begin(after=30)
    slow.goes_on.set()
    assert daemon.outbox.settle(20)
    assert [notice["kind"] for _, notice in slow.given] == ["ask", "tell"]
    left = slow.given[1][1]["seconds"]
    assert isinstance(left, float)
    assert left < 7200 - 7000
    assert daemon.passes(after=30) == ["ask"]
