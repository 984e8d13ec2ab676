"""A pass where several daemons run: only the leader looks and acts, and first writes it down."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.control.state_store import Key
from autoscaler.errors import ForbiddenError
from autoscaler.model import State, TargetRef
from autoscaler.ports import LeadershipStatus
from tests.builders import policy
from tests.control.test_controller import APP, DRAIN_PASSES, World
from tests.fakes import FakeLeadership

ELSEWHERE = TargetRef("elsewhere", "bokeh-app")
KEY = Key("bokeh", "dashboards", "uid-1")
LEADS = LeadershipStatus(True, "leading: me holds Lease bokeh/bokeh-autoscaler")
STANDS_BY = LeadershipStatus(
    False, "standby: other holds Lease bokeh/bokeh-autoscaler", is_standby=True
)
BARRED = LeadershipStatus(
    False, "not allowed to get leases in namespace bokeh; add get on leases to the Role"
)


class Cluster(World):
    """The controller over fakes, with a leadership that the test gives and takes."""

    def __init__(self, status: LeadershipStatus = LEADS, **overrides: object) -> None:
        far = policy(name="far", target={"namespace": "elsewhere", "deployment": "bokeh-app"})
        self.leadership = FakeLeadership({"bokeh": status, "elsewhere": LEADS})
        super().__init__(policy(**overrides), far, leadership=self.leadership)
        self.cluster.deploy(APP, 10, 12)
        self.cluster.deploy(ELSEWHERE, 10, 12)


def test_who_stands_by_looks_at_nothing_there_and_is_well() -> None:
    world = Cluster(STANDS_BY)

    result = world.run(passes=2)

    assert world.cluster.replicas(APP) == 2
    assert world.cluster.replicas(ELSEWHERE) == 3
    assert [outcome.policy.name for outcome in result.outcomes] == ["far"]


def test_who_takes_over_acts_in_its_next_pass() -> None:
    world = Cluster(STANDS_BY)
    world.run()
    world.leadership.statuses["bokeh"] = LEADS

    world.run()

    assert world.cluster.replicas(APP) == 3


def test_who_stands_down_says_no_more_of_the_target() -> None:
    world = Cluster()
    labels = {"policy": "dashboards", "namespace": "bokeh", "deployment": "bokeh-app"}
    world.run()
    assert world.metric("replicas", kind="desired", **labels) == 3

    world.leadership.statuses["bokeh"] = STANDS_BY
    world.run()

    assert world.metric("replicas", kind="desired", **labels) is None


def test_a_lease_that_cannot_be_had_holds_its_own_namespace_only() -> None:
    world = Cluster(BARRED)

    here, far = world.run().outcomes

    assert here.problem == BARRED.detail
    assert far.changed
    assert world.cluster.replicas(APP) == 2


@pytest.mark.parametrize("sessions", [(10, 12), (5, 0, 0)], ids=["growing", "shrinking"])
def test_once_leadership_is_lost_nothing_more_is_written(sessions: tuple[int, ...]) -> None:
    world = Cluster()
    world.cluster.deploy(APP, *sessions)
    world.leadership.lost = True

    before = world.cluster.targets[APP]
    problems = {world.run().outcomes[0].problem for _ in range(60 + DRAIN_PASSES)}

    assert world.cluster.targets[APP] == before
    assert world.cluster.events == []
    lost = "nothing more was changed: standby: other holds Lease bokeh/x"
    assert problems <= {None, lost}
    assert lost in problems


def test_a_change_is_written_down_before_it_is_made() -> None:
    world = Cluster()
    seen: list[tuple[int, str]] = []

    def on_commit(namespace: str) -> None:
        if namespace == "bokeh":
            seen.append((world.cluster.replicas(APP), world.controller._store.text("bokeh".__eq__)))

    world.leadership.on_commit = on_commit
    world.run()

    [(replicas, text)] = seen
    assert replicas == 2
    assert f'"up":{world.clock.at}' in text


def test_a_change_that_cannot_be_written_down_is_not_made() -> None:
    world = Cluster(cooldown={"up": "10m"})
    refused = "not allowed to patch leases in namespace bokeh; add patch on leases to the Role"
    world.leadership.refusals = [ForbiddenError(refused)]

    assert world.run().outcomes[0].problem == refused
    assert world.cluster.replicas(APP) == 2
    assert world.run().outcomes[0].changed, "no cooldown began"


def test_a_cooldown_of_the_last_daemon_goes_on() -> None:
    world = Cluster(cooldown={"down": "20m"})
    world.cluster.deploy(APP, 5, 0, 0)
    state = State(last_scale_up=world.clock.at)
    last = Cluster().controller._store
    last.keep(KEY, state)
    world.controller._store.recall("bokeh".__eq__, last.text("bokeh".__eq__))

    held = world.run(passes=100).outcomes[0].decision
    assert held is not None
    assert (held.desired, held.reason.value) == (3, "CooldownDown")

    world.run(passes=140 + DRAIN_PASSES)
    assert world.cluster.replicas(APP) < 3


def test_a_cooldown_goes_on_where_the_policies_are_known_late() -> None:
    """As those of ScalingPolicies are whose first list fails."""
    world = Cluster(cooldown={"up": "20m"})
    known = world.policies.policies
    last = Cluster().controller._store
    last.keep(KEY, State(last_scale_up=world.clock.at))
    world.controller._store.recall("bokeh".__eq__, last.text("bokeh".__eq__))

    world.policies.policies, world.policies.is_complete = (), False
    world.run()
    world.policies.policies, world.policies.is_complete = known, True

    held = world.run().outcomes[0].decision
    assert held is not None
    assert (held.desired, held.reason.value) == (2, "CooldownUp")


def test_the_state_of_a_deployment_that_was_made_again_is_dropped() -> None:
    world = Cluster()
    world.run()
    world.cluster.deploy(APP, 10, 12, uid="uid-2")
    world.run()

    memory = world.controller._store
    assert memory.of(KEY) is None
    assert memory.of(KEY._replace(uid="uid-2")) is not None


def test_the_state_of_a_policy_that_was_removed_is_dropped() -> None:
    world = Cluster()
    world.run()
    world.controller._policies = replace(world.policies, policies=(policy(name="new"),))
    world.run()

    assert world.controller._store.of(KEY) is None
