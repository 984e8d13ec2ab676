"""What the daemon answers to `/status`: of the pods, of the decision, and of its own standing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from autoscaler.control.controller import Controller
from autoscaler.control.pass_result import NOT_LEADER, PassResult
from autoscaler.errors import AutoscalerError, ClusterError
from autoscaler.model import Cause, Cordon, TargetRef
from autoscaler.ports import LeadershipStatus, PolicySet
from autoscaler.reporting.status_page import StatusPage
from autoscaler.reporting.status_report import (
    Pods,
    PolicyStatus,
    StatusReport,
    from_plain,
    merged,
    to_json,
)
from tests.builders import policy
from tests.fakes import FakeCluster, FakeLeadership, FakePolicies

APP = TargetRef("bokeh", "bokeh-app")
EMPTY = frozenset({"policies"})
STANDBY = LeadershipStatus(False, "standby: other holds Lease a/b", is_standby=True)


@dataclass
class Daemon:
    """A controller on a fake cluster, and the page that it fills."""

    policies: FakePolicies = field(default_factory=lambda: FakePolicies((policy(),)))
    cluster: FakeCluster = field(default_factory=FakeCluster)
    leadership: FakeLeadership = field(default_factory=FakeLeadership)

    def __post_init__(self) -> None:
        cluster, clock = self.cluster, self.cluster.clock
        self.page = StatusPage(clock.steady)
        self.controller = Controller(
            self.policies, cluster, cluster, cluster, clock, [self.page], leadership=self.leadership
        )

    def passes(self, count: int = 1, every: float = 5.0) -> PolicyStatus:
        """Make passes, and return what the page says of the first policy afterwards."""
        for _ in range(count):
            self.cluster.clock.advance(every)
            self.controller.run_pass()
        return self.status()

    def status(self) -> PolicyStatus:
        report = self.page.report()
        assert report is not None
        return report.policies[0]

    def change_pod(self, index: int, **changes: Any) -> None:
        """Give a pod of the app another state, as the API server would tell it."""
        target = self.cluster.targets[APP]
        pods = list(target.pods)
        pods[index] = replace(pods[index], **changes)
        self.cluster.targets[APP] = replace(target, pods=tuple(pods))


def drained_by(cause: Cause | None) -> dict[str, Any]:
    cordon = None if cause is None else Cordon(cause, 0.0)
    return {"routable": False, "cordon": cordon}


def test_there_is_no_page_before_the_first_pass() -> None:
    daemon = Daemon()

    assert daemon.page.content() is None


def test_it_has_the_numbers_of_the_decision() -> None:
    daemon = Daemon(
        FakePolicies((policy(metrics=[{"type": "sessions", "seats": 10, "spare": 4}]),))
    )
    daemon.cluster.deploy(APP, 10, 12)

    told = daemon.passes()

    assert (told.target, told.policy, told.leader) == ("bokeh/bokeh-app", "dashboards", True)
    assert (told.sessions, told.without_data) == (22, 0)
    assert told.replicas is not None
    assert (told.replicas.current, told.replicas.desired, told.replicas.wanted) == (2, 3, 3)
    assert told.seats is not None
    assert (told.seats.capacity, told.seats.free, told.seats.spare) == (20, 0, 4)
    assert told.reason == "MetricAboveTarget"
    assert told.detail == "sessions: (22 connected + 4 spare) / 10 seats"
    assert told.decision is not None
    assert told.decision["direction"] == "up"
    assert told.settings is not None
    assert told.settings["metrics"] == [{"type": "sessions", "seats": 10, "spare": 4}]


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "open"),
        ({"ready": False}, "starting"),
        ({"phase": "Pending", "ready": None}, "starting"),
        (drained_by(Cause.SCALE_DOWN), "draining"),
        (drained_by(None), "draining"),
        (drained_by(Cause.FULL), "full"),
        (drained_by(Cause.RESERVE), "reserve"),
        ({**drained_by(Cause.SCALE_DOWN), "ready": False}, "draining"),
        ({"deleting": True}, None),
        ({"phase": "Failed", "ready": False}, None),
    ],
    ids=str,
)
def test_each_active_pod_is_in_one_state(changes: dict[str, Any], state: str | None) -> None:
    daemon = Daemon(FakePolicies((policy(paused=True),)))
    daemon.cluster.deploy(APP, 9, 9, 9)
    daemon.change_pod(1, **changes)

    pods = daemon.passes().pods

    assert pods is not None
    expected = {"open": 2, "reserve": 0, "full": 0, "draining": 0, "starting": 0, "waiting": 0}
    if state is not None:
        expected[state] += 1
    expected["waiting"] = 9 if state == "draining" else 0
    expected["leaving"] = 9 if changes.get("deleting") else 0
    assert pods == Pods(**expected)


def test_a_pod_that_should_tell_its_sessions_and_does_not_is_counted_apart() -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 9, 9)
    del daemon.cluster.sessions["bokeh", "pod-1"]

    told = daemon.passes()

    assert (told.sessions, told.without_data) == (9, 1)


@pytest.mark.parametrize(
    ("changes", "sessions", "leaving"),
    [
        pytest.param([{}, {}], 15, 0, id="users on active pods"),
        pytest.param([{"deleting": True}, {}], 15, 7, id="users on a pod that is being deleted"),
        pytest.param([{"deleting": True}, {"deleting": True}], 15, 15, id="all pods are deleted"),
        pytest.param([{"phase": "Failed"}, {}], 8, 0, id="a pod that has ended holds nobody"),
        pytest.param(
            [{"deleting": True, "phase": "Succeeded"}, {}], 8, 0, id="a deleted pod that has ended"
        ),
    ],
)
def test_the_users_are_those_of_all_pods_that_tell_them(
    changes: list[dict[str, Any]], sessions: int, leaving: int
) -> None:
    daemon = Daemon(FakePolicies((policy(paused=True),)))
    daemon.cluster.deploy(APP, 7, 8)
    for index, each in enumerate(changes):
        daemon.change_pod(index, **each)

    told = daemon.passes()

    assert told.pods is not None
    assert (told.sessions, told.pods.leaving) == (sessions, leaving)


def test_a_page_of_a_daemon_that_does_not_tell_who_is_leaving_is_read() -> None:
    pods = {"open": 2, "reserve": 0, "full": 0, "draining": 0, "starting": 0, "waiting": 0}
    plain = {"policy": "a", "namespace": "b", "deployment": "c", "leader": True, "pods": pods}
    whole = {"policies": [{**plain, "reason": "", "detail": ""}]}

    (read,) = from_plain(whole, "the daemon").policies

    assert read.pods == Pods(2, 0, 0, 0, 0, 0, leaving=0)


def test_without_any_count_the_sessions_are_not_known() -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 9)
    daemon.cluster.sessions.clear()

    assert daemon.passes().sessions is None


def test_the_reason_is_as_old_as_the_first_pass_that_had_it() -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 9, 9)

    assert daemon.passes(4, every=5.0).held_for == 15.0
    daemon.policies.policies = (policy(paused=True),)
    assert daemon.passes().held_for == 0.0
    assert daemon.passes(2, every=7.0).held_for == 14.0

    daemon.cluster.clock.advance(60.0)
    told = daemon.status()
    assert (told.reason, told.held_for, told.age) == ("Paused", 74.0, 60.0)
    assert told.paused == "the policy says paused: true"


def test_a_wall_clock_that_is_set_makes_nothing_older() -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 9, 9)
    daemon.passes(2)

    daemon.cluster.clock.set_by(-3_600.0)

    assert (daemon.status().held_for, daemon.status().age) == (5.0, 0.0)


def test_a_target_that_cannot_be_read_has_no_numbers_and_says_why() -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 9)
    daemon.passes()
    daemon.cluster.failures[APP] = ClusterError("the API server does not answer")

    told = daemon.passes()

    assert (told.reason, told.problem) == ("FailedGetScale", "the API server does not answer")
    assert (told.sessions, told.replicas, told.pods) == (None, None, None)


def test_a_standby_tells_who_leads_and_nothing_else() -> None:
    daemon = Daemon(leadership=FakeLeadership({"bokeh": STANDBY}))
    daemon.cluster.deploy(APP, 9)

    told = daemon.passes()

    assert (told.leader, told.reason, told.problem) == (False, NOT_LEADER, STANDBY.detail)
    assert told.replicas is None


def test_a_policy_that_is_removed_leaves_the_page() -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 9)
    daemon.passes()
    daemon.policies.policies = ()

    daemon.cluster.clock.advance(5.0)
    daemon.controller.run_pass()

    assert daemon.page.report() == StatusReport()


def test_what_is_wrong_with_a_policy_file_is_on_the_page() -> None:
    daemon = Daemon()
    daemon.policies.problems = {"a.yaml": ("a.yaml:3: replicas.min: got 0",)}
    daemon.passes()

    report = daemon.page.report()

    assert report is not None
    assert report.rejected == daemon.policies.problems


def test_a_directory_without_a_policy_file_is_on_the_page_and_no_file_is_rejected() -> None:
    page = StatusPage(lambda: 0.0)
    loaded = PolicySet(problems={"policies": ("policies: has no policy file",)}, empty=EMPTY)
    page.record(PassResult(0.0, (), loaded))

    report = page.report()

    assert report is not None
    assert (report.rejected, report.empty) == ({}, ("policies",))
    assert list(merged([report, report]).file_notes()) == ["policies has no policy file"]


def test_the_page_is_read_as_it_was_written() -> None:
    daemon = Daemon()
    daemon.cluster.deploy(APP, 10, 12)
    daemon.passes()

    report = daemon.page.report()

    assert report is not None
    page = json.loads(to_json(report))
    read = from_plain(page, "the daemon")
    assert json.loads(to_json(read)) == page
    assert read.policies[0].pods == report.policies[0].pods
    assert read.policies[0].decision == page["policies"][0]["decision"]


def test_keys_of_a_newer_daemon_are_ignored() -> None:
    page = {"policies": [], "rejected": {}, "budget": 12}

    assert from_plain(page, "the daemon") == StatusReport()


@pytest.mark.parametrize("page", [[], "ok", {"policies": [{"policy": "a"}]}, {"policies": 3}])
def test_another_page_is_one_line_that_says_what_to_update(page: object) -> None:
    with pytest.raises(AutoscalerError, match=r"the daemon at x does not answer as .*; update"):
        from_plain(page, "the daemon at x")


def a_status(name: str, **changes: Any) -> PolicyStatus:
    told = PolicyStatus(name, "bokeh", name, leader=True, reason="Drained", detail="", age=1.0)
    return replace(told, **changes)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ({"leader": False, "age": None}, {"detail": "leader"}, "leader"),
        ({"detail": "leader"}, {"leader": False, "age": None}, "leader"),
        ({"detail": "old", "age": 9.0}, {"detail": "new", "age": 1.0}, "new"),
    ],
    ids=["the leader comes last", "the leader comes first", "both lead, as in a change"],
)
def test_of_several_daemons_the_leader_is_heard(
    first: dict[str, Any], second: dict[str, Any], kept: str
) -> None:
    reports = [StatusReport((a_status("a", **each),)) for each in (first, second)]

    [told] = merged(reports).policies

    assert told.detail == kept


def test_the_policies_of_several_shards_are_sorted_by_target() -> None:
    reports = [StatusReport((a_status("c"), a_status("a"))), StatusReport((a_status("b"),))]

    assert [each.policy for each in merged(reports).policies] == ["a", "b", "c"]
