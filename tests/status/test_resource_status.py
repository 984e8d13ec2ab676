"""What a ScalingPolicy is told in its status, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from autoscaler.control.controller import Controller
from autoscaler.errors import ClusterError
from autoscaler.model import TargetRef
from autoscaler.ports import LeadershipStatus, ResourceStatus
from autoscaler.reporting.resource_status import AGAIN_EVERY, NUMBERS_EVERY, ResourceStatuses
from tests.builders import policy
from tests.fakes import FakeCluster, FakeLeadership, FakeResources

APP = TargetRef("bokeh", "bokeh-app")
POLICY = policy(metrics=[{"type": "sessions", "seats": 10}], interval="1s")
LEADS = LeadershipStatus(True, "leader")
STANDBY = LeadershipStatus(False, "standby: other holds Lease a/b", is_standby=True)


@dataclass
class Daemon:
    """A controller on a fake cluster whose only policies are objects."""

    resources: FakeResources = field(default_factory=lambda: FakeResources(POLICY))
    cluster: FakeCluster = field(default_factory=FakeCluster)
    leadership: FakeLeadership = field(default_factory=FakeLeadership)

    def __post_init__(self) -> None:
        cluster, clock = self.cluster, self.cluster.clock
        self.recorder = ResourceStatuses(self.resources, clock.steady)
        self.controller = Controller(
            self.resources,
            cluster,
            cluster,
            cluster,
            clock,
            [self.recorder],
            leadership=self.leadership,
        )

    def passes(self, count: int = 1, every: float = 2.0) -> None:
        for _ in range(count):
            self.cluster.clock.advance(every)
            self.controller.run_pass()

    def told(self, name: str = "dashboards") -> ResourceStatus | None:
        """What was written since the last time."""
        return self.resources.written.pop(name, None)


def test_it_has_the_numbers_and_the_reason_of_the_decision() -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 12, 10)

    daemon.passes()

    words = "sessions: (22 connected + 0 spare) / 10 seats"
    assert daemon.told() == ResourceStatus((), True, "MetricAboveTarget", words, 2, 3, 22)


def test_a_target_that_cannot_be_read_is_told() -> None:
    daemon = Daemon()
    daemon.cluster.failures[APP] = ClusterError("no answer")

    daemon.passes()

    assert daemon.told() == ResourceStatus((), False, "FailedGetScale", "no answer")


def test_a_rejected_edit_is_told_beside_the_last_valid_one() -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 5)
    daemon.passes()

    daemon.resources.hold(POLICY, dashboards=("min is above max",))
    daemon.passes()

    told = daemon.told()
    assert told is not None
    assert (told.problems, told.active, told.users) == (("min is above max",), True, 5)


def test_one_that_was_never_valid_is_told_too() -> None:
    daemon = Daemon(FakeResources(other=("min is above max",)))

    daemon.passes()

    assert daemon.told("other") == ResourceStatus(("min is above max",))


def test_what_stays_is_written_once() -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 5)
    daemon.passes()
    assert daemon.told() is not None

    daemon.passes(5)

    assert daemon.told() is None


@pytest.mark.parametrize(
    "version",
    [
        pytest.param({"generation": 2}, id="an edit that changes nothing that is told"),
        pytest.param({"uid": "another"}, id="one that was deleted and made again"),
    ],
)
def test_another_spec_is_told_at_once(version: dict[str, Any]) -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 5)
    daemon.passes()
    before = daemon.told()

    daemon.resources.hold(POLICY, **version)
    daemon.passes()

    assert daemon.told() == before


def test_an_edit_is_told_before_it_is_its_turn_to_be_decided_by() -> None:
    patient = policy(metrics=[{"type": "sessions", "seats": 10}], interval="1h")
    daemon = Daemon(FakeResources(patient))
    daemon.cluster.deploy(APP, 5)
    daemon.passes()
    daemon.told()

    daemon.resources.hold(patient, generation=2, dashboards=("min is above max",))
    daemon.passes()

    told = daemon.told()
    assert told is not None
    assert (told.problems, told.active, told.users) == (("min is above max",), True, 5)


def test_a_paused_target_is_not_scaled() -> None:
    daemon = Daemon(FakeResources(policy(paused=True)))
    daemon.cluster.deploy(APP, 5)

    daemon.passes()

    told = daemon.told()
    assert told is not None
    assert (told.active, told.reason) == (False, "Paused")


def test_another_number_of_users_alone_waits_for_its_turn() -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 5)
    daemon.passes()
    daemon.told()

    daemon.cluster.sessions[APP.namespace, "pod-0"] = 6
    daemon.passes()
    assert daemon.told() is None
    daemon.passes(every=NUMBERS_EVERY)

    told = daemon.told()
    assert told is not None
    assert told.users == 6


@pytest.mark.parametrize(
    ("standing", "writes"),
    [
        pytest.param(LEADS, True, id="a leader writes"),
        pytest.param(STANDBY, False, id="a standby does not"),
    ],
)
def test_only_who_leads_writes(*, standing: LeadershipStatus, writes: bool) -> None:
    daemon = Daemon(FakeResources(POLICY, other=("min is above max",)))
    daemon.leadership.statuses |= {"bokeh": standing, "elsewhere": LEADS}
    daemon.cluster.deploy(APP, 5)

    daemon.passes()

    assert (daemon.told() is not None) == writes
    assert (daemon.told("other") is not None) == writes


def test_a_write_that_fails_is_logged_once_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 5)
    daemon.resources.refusals += [ClusterError("no answer")] * 2

    daemon.passes()
    daemon.passes(2, every=AGAIN_EVERY)

    assert caplog.text.count("dashboards: could not write the status: no answer") == 1
    assert daemon.told() is not None
