"""One pass: observe, decide, act, record; what fails stays where it failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.control.controller import Controller
from autoscaler.control.pass_result import Outcome, PassResult, Recorder
from autoscaler.errors import ClusterError, ConflictError, ForbiddenError
from autoscaler.model import Cause, Cordon, Decision, PodState, Recommendation, TargetRef
from autoscaler.policy import Policy
from autoscaler.reporting.event_recorder import EventRecorder
from autoscaler.reporting.metrics import DaemonMetrics
from exporter.texts import LONGEST_EVENT
from tests.builders import NOW, observation, policy
from tests.fakes import FakeCluster, FakePolicies

APP = TargetRef("bokeh", "bokeh-app")
OTHER = TargetRef("bokeh", "other")
NO_ANSWER = "cannot patch deployments/scale: no answer from the Kubernetes API"
DASHBOARDS = {"policy": "dashboards", "namespace": "bokeh", "deployment": "bokeh-app"}


def other(**overrides: Any) -> Policy:
    where = {"namespace": "bokeh", "deployment": "other"}
    return policy(name="other", target=where, **overrides)


# After the window: a cordon, 15 s from its first sight, the mark, 10 s from its first sight, the
# scale-down; 5 s a pass.
DRAIN_PASSES = 10


class World:
    """A controller over fakes, five seconds a pass."""

    def __init__(
        self,
        *policies: Policy,
        cluster: FakeCluster | None = None,
        recorders: Sequence[Recorder] = (),
        **options: Any,
    ) -> None:
        self.cluster = cluster or FakeCluster()
        self.clock = self.cluster.clock
        self.policies = FakePolicies(policies or (policy(),))
        self.telemetry = DaemonMetrics()
        self.controller = Controller(
            self.policies,
            self.cluster,
            self.cluster,
            self.cluster,
            self.clock,
            [EventRecorder(self.cluster), self.telemetry, *recorders],
            **options,
        )

    def run(self, passes: int = 1) -> PassResult:
        for _ in range(passes):
            self.clock.advance(5)
            result = self.controller.run_pass()
        return result

    def told(self) -> list[str]:
        """Reasons of the Events, but those of a drain that goes as it should."""
        usual = {"Cordoned", "Uncordoned", "SessionsStillOpen"}
        return [reason for _, reason, _ in self.cluster.events if reason not in usual]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"bokeh_autoscaler_{name}", labels)


@pytest.fixture
def world() -> World:
    return World()


def test_a_full_target_grows_and_says_why(world: World) -> None:
    world.cluster.deploy(APP, 10, 12)

    result = world.run()

    assert world.cluster.replicas(APP) == 3
    assert result.outcomes[0].changed
    assert world.cluster.events == [
        (
            APP,
            "SuccessfulRescale",
            "dashboards: 2 -> 3 replicas: sessions: (22 connected + 0 spare) / 10 seats",
        )
    ]
    assert world.metric("changes_total", **DASHBOARDS) == 1


def test_empty_pods_go_after_the_window_and_not_before(world: World) -> None:
    world.cluster.deploy(APP, 5, 0, 0)

    world.run(passes=60)
    assert world.cluster.replicas(APP) == 3

    world.run(passes=DRAIN_PASSES)
    assert world.cluster.replicas(APP) == 1


def test_a_dry_run_changes_nothing_and_leaves_no_event() -> None:
    world = World(dry_run=True)
    world.cluster.deploy(APP, 10, 12)

    result = world.run(passes=3)

    decision = result.outcomes[0].decision
    assert decision is not None
    assert decision.desired == 3
    assert (world.cluster.changes, world.cluster.events) == ([], [])


def test_a_conflict_is_observed_and_decided_again(world: World) -> None:
    world.cluster.deploy(APP, 10, 12)
    world.cluster.refusals = [ConflictError("changed meanwhile")]

    result = world.run()

    assert result.outcomes[0].changed
    assert world.cluster.replicas(APP) == 3


def test_a_conflict_that_stays_is_a_problem_of_this_pass_only(world: World) -> None:
    world.cluster.deploy(APP, 10, 12)
    world.cluster.refusals = [ConflictError("changed meanwhile")] * 3

    assert world.run().outcomes[0].problem == "changed meanwhile"
    assert world.run().outcomes[0].changed


def test_one_policys_failure_leaves_the_others_alone() -> None:
    world = World(policy(), other())
    world.cluster.deploy(OTHER, 10, 12)
    world.cluster.failures[APP] = ForbiddenError("not allowed to list pods in namespace bokeh")

    first, second = world.run().outcomes

    assert first.problem == "not allowed to list pods in namespace bokeh"
    assert second.changed


def test_a_patch_that_was_refused_is_not_remembered_as_a_change() -> None:
    world = World(policy(cooldown={"up": "10m"}))
    world.cluster.deploy(APP, 10, 12)
    world.cluster.refusals = [ForbiddenError("not allowed to patch deployments/scale")]

    assert world.run().outcomes[0].problem == "not allowed to patch deployments/scale"
    assert world.run().outcomes[0].changed, "no cooldown began"


def test_a_patch_without_an_answer_is_waited_for_and_remembered_as_a_change() -> None:
    world = World(policy(cooldown={"up": "10m"}))
    world.cluster.deploy(APP, 10, 12)
    world.cluster.refusals = [ClusterError(NO_ANSWER)]

    assert "no answer" in (world.run().outcomes[0].problem or "")
    assert "may still take effect" in (world.run().outcomes[0].problem or "")
    decision = world.run(passes=2).outcomes[0].decision

    assert decision is not None
    assert decision.reason == "CooldownUp"
    assert world.cluster.changes == []


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_how_long_an_answer_is_waited_for_is_not_by_the_wall_clock(
    world: World, step: float
) -> None:
    world.cluster.deploy(APP, 10, 12)
    world.cluster.refusals = [ClusterError(NO_ANSWER)]
    world.run()
    world.clock.set_by(step)

    assert "may still take effect" in (world.run().outcomes[0].problem or ""), "5 s later"
    assert world.run().outcomes[0].problem is None, "10 s later"


def test_a_patch_without_an_answer_accuses_nobody(world: World) -> None:
    world.cluster.deploy(APP, 10, 12)
    state = replace(world.cluster.targets[APP], replicas_writer="kubectl-client-side-apply")
    world.cluster.targets[APP] = state
    world.cluster.refusals = [ClusterError(NO_ANSWER)]

    world.run(passes=4)
    assert world.cluster.changes, "it was made at last"
    assert world.told() == ["FailedRescale", "SuccessfulRescale"]


def test_a_problem_leaves_one_event_however_long_it_lasts(world: World) -> None:
    world.cluster.deploy(APP, 10, 12)
    world.cluster.refusals = [ForbiddenError("not allowed to patch deployments/scale")] * 3

    world.run(passes=3)

    assert [reason for _, reason, _ in world.cluster.events] == ["FailedRescale"]


def test_a_deployment_that_cannot_be_read_leaves_an_event_of_its_own(world: World) -> None:
    world.run(passes=2)

    [(ref, reason, text)] = world.cluster.events
    assert (ref, reason) == (APP, "FailedGetScale")
    assert str(APP) in text


def test_a_deployment_that_was_made_again_starts_afresh(world: World) -> None:
    world.cluster.deploy(APP, 0, 0, 0)
    world.run(passes=40)
    world.cluster.deploy(APP, 0, 0, 0, uid="uid-2")

    world.run(passes=60)
    assert world.cluster.replicas(APP) == 3, "its own window has not passed yet"

    world.run(passes=DRAIN_PASSES)
    assert world.cluster.replicas(APP) == 1


def test_a_hand_edit_is_taken_as_the_present_number(world: World) -> None:
    world.cluster.deploy(APP, 10, 12)
    world.run()
    world.cluster.edit_by_hand(APP, 2)

    world.run()

    assert world.cluster.replicas(APP) == 3


def test_a_source_that_fails_holds(world: World) -> None:
    world.cluster.deploy(APP, 0, 0, 30)
    world.cluster.failed = {("sessions", "exporter"): "Prometheus answered 401"}

    world.run(passes=100)

    assert world.cluster.changes == []


@pytest.mark.parametrize("step", [-3600.0, 3600.0], ids=["an hour back", "an hour forward"])
def test_setting_the_clock_neither_speeds_up_nor_delays_a_shrink(world: World, step: float) -> None:
    world.cluster.deploy(APP, 5, 0, 0)
    world.run(passes=30)
    world.clock.set_by(step)

    world.run(passes=30)
    assert world.cluster.replicas(APP) == 3

    world.run(passes=DRAIN_PASSES)
    assert world.cluster.replicas(APP) == 1


def test_a_policy_is_evaluated_at_its_own_interval() -> None:
    slow = replace_interval(other(), 30.0)
    world = World(policy(), slow)
    world.cluster.deploy(APP, 1)
    world.cluster.deploy(OTHER, 1)

    names = [[o.policy.name for o in world.run().outcomes] for _ in range(7)]

    assert [name for pass_ in names for name in pass_].count("other") == 2
    assert all("dashboards" in pass_ for pass_ in names)


def test_an_edited_policy_is_evaluated_in_the_next_pass() -> None:
    world = World(policy(), other(interval="1h"))
    world.cluster.deploy(APP, 1)
    world.cluster.deploy(OTHER, 1)
    world.run()

    edited = other(interval="1h", replicas={"min": 3, "max": 20})
    world.policies.policies = (world.policies.policies[0], edited)
    world.run()

    assert world.cluster.replicas(OTHER) == 3


def replace_interval(chosen: Policy, seconds: float) -> Policy:
    return chosen.model_copy(update={"interval": seconds})


def test_a_broken_edit_shows_in_an_event_and_a_metric_while_the_last_good_version_runs(
    world: World,
) -> None:
    world.cluster.deploy(APP, 10, 12)
    problems = [f"dashboards.yaml:{line}: a.b: got 'two'" for line in (3, 5)]
    world.policies = replace(world.policies, problems={"dashboards.yaml": tuple(problems)})
    world.controller._policies = world.policies

    world.run()

    assert world.cluster.replicas(APP) == 3
    assert [r for _, r, _ in world.cluster.events] == ["SuccessfulRescale", "PolicyFileRejected"]
    assert world.cluster.events[-1][2] == (
        "dashboards: dashboards.yaml is rejected, and its last valid version stays active: "
        "line 3: a.b: got 'two'; line 5: a.b: got 'two'"
    )
    assert world.metric("policy_file_errors", file="dashboards.yaml") == 2


def test_an_event_has_as_many_problems_of_a_file_as_it_holds(world: World) -> None:
    world.cluster.deploy(APP, 10, 12)
    problems = tuple(f"dashboards.yaml:{line}: {'a' * 90}: got 'two'" for line in range(1, 31))
    world.policies = replace(world.policies, problems={"dashboards.yaml": problems})
    world.controller._policies = world.policies

    world.run()

    told = world.cluster.events[-1][2]
    assert len(told) <= LONGEST_EVENT
    assert "line 7: " in told
    assert re.search(r"; 2\d more problems$", told)


def test_gauges_say_what_the_last_pass_saw_and_end_with_the_policy(world: World) -> None:
    world.cluster.deploy(APP, 10, 7, 12)
    world.run()

    assert world.metric("replicas", kind="current", **DASHBOARDS) == 3
    assert world.metric("policy_desired_replicas", metric="sessions", **DASHBOARDS) == 3
    assert world.metric("seats", kind="capacity", **DASHBOARDS) == 30
    assert world.metric("seats", kind="free", **DASHBOARDS) == 3
    assert world.metric("pods_without_data", **DASHBOARDS) is None, "only where there are some"

    world.cluster.failures[APP] = ForbiddenError("no")
    world.run()
    assert world.metric("seats", kind="free", **DASHBOARDS) == 3, "one failed pass is no gap"

    world.policies.policies = (other(),)
    world.run()
    assert world.metric("seats", kind="free", **DASHBOARDS) is None


def test_what_a_failure_leaves_in_the_metrics(world: World) -> None:
    world.cluster.failures[APP] = ForbiddenError("no")
    world.run()

    assert world.metric("changes_total", **DASHBOARDS) == 0
    assert world.metric("failures_total", **DASHBOARDS) == 1
    assert world.metric("changes_created", **DASHBOARDS) is None
    assert world.metric("last_pass_timestamp_seconds") == world.clock.now()
    assert world.metric("last_success_timestamp_seconds") == 0


def test_counters_of_a_drain_begin_with_it_and_before_what_they_count(world: World) -> None:
    """A counter that begins with its first event hides that event."""
    names = ("sessions_cut_total", "victim_mismatches_total", "drain_duration_seconds_count")

    def told() -> set[float | None]:
        return {world.metric(name, **DASHBOARDS) for name in names}

    world.cluster.deploy(APP, 5, 0)
    world.run(passes=59)
    assert told() == {None}

    world.run(passes=5)
    assert world.cluster.replicas(APP) == 2
    assert told() == {0}
    world.run(passes=DRAIN_PASSES)
    assert world.cluster.replicas(APP) == 1
    assert world.metric("drain_duration_seconds_count", **DASHBOARDS) == 1


def test_a_pod_without_data_has_no_free_seat_and_is_counted(world: World) -> None:
    world.cluster.deploy(APP, 4, 4)
    del world.cluster.sessions["bokeh", "pod-1"]
    world.run()

    assert world.metric("pods_without_data", **DASHBOARDS) == 1
    assert world.metric("seats", kind="free", **DASHBOARDS) == 6


def test_of_two_queries_of_a_policy_the_larger_is_shown() -> None:
    """Two series with the same labels would make Prometheus refuse the whole scrape."""
    asked = tuple(Recommendation("prometheus", replicas, "") for replicas in (3, 2))
    outcome = Outcome(policy(), None, observation(10), Decision(1, 3, recommendations=asked))
    telemetry = DaemonMetrics()

    telemetry.record(PassResult(NOW, (outcome,), FakePolicies((policy(),)).load()))

    samples = [s for family in telemetry.registry.collect() for s in family.samples]
    name = "bokeh_autoscaler_policy_desired_replicas"
    assert [sample.value for sample in samples if sample.name == name] == [3]


def cordoned(world: World, ref: TargetRef = APP) -> list[str]:
    return [pod.name for pod in world.cluster.targets[ref].pods if pod.cordon is not None]


def carrying(world: World) -> list[PodState]:
    return [
        pod
        for pod in world.cluster.targets[APP].pods
        if not pod.routable or pod.cordon or pod.cost_is_ours or pod.protected
    ]


def test_pods_get_everything_back_when_their_policy_is_removed(world: World) -> None:
    world.cluster.deploy(APP, 5, 1, 0)
    world.run(passes=66)
    assert cordoned(world)

    world.policies.policies = ()
    world.cluster.failures[APP] = ClusterError("no answer from the Kubernetes API")
    world.run()
    assert carrying(world), "nothing could be done"

    del world.cluster.failures[APP]
    world.run()
    assert not carrying(world)


def test_pods_get_no_users_back_while_a_scale_may_still_come(world: World) -> None:
    world.cluster.deploy(APP, 5, 1, 0)
    lost = ClusterError(NO_ANSWER)
    world.cluster.refusals = [lost]
    while world.cluster.refusals:
        world.run()
    assert carrying(world)

    world.policies.policies = ()
    world.run()
    assert carrying(world), "it may come yet, and would take a pod that has users again"
    world.run(passes=3)
    assert not carrying(world)


def test_a_dry_run_gives_nothing_back() -> None:
    world = World(dry_run=True)
    world.cluster.deploy(APP, 5)
    pod = replace(world.cluster.targets[APP].pods[0], routable=False, cordon=Cordon(Cause.FULL, 0))
    world.cluster.targets[APP] = replace(world.cluster.targets[APP], pods=(pod,))
    world.run()

    world.policies.policies = ()
    world.run()
    assert carrying(world) == [pod]


@pytest.mark.parametrize("how", [{"deleting": True}, {"phase": "Failed", "ready": False}])
def test_a_pod_that_is_gone_or_going_is_not_asked(world: World, how: dict[str, Any]) -> None:
    """Its sidecar may be gone, and each pass would wait for it."""
    world.cluster.deploy(APP, 5, 5)
    state = world.cluster.targets[APP]
    pod = replace(
        state.pods[0], uid="gone", routable=False, cordon=Cordon(Cause.SCALE_DOWN, 0), **how
    )
    world.cluster.targets[APP] = replace(state, pods=(*state.pods, pod))

    world.run()
    assert world.cluster.asked == []
    assert world.metric("cordoned_pods", cause="scale-down", **DASHBOARDS) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"rollout_in_progress": True}, "RolloutInProgress", id="a rollout"),
        pytest.param(
            {"rollout_in_progress": True, "paused": True}, "RolloutPaused", id="a paused rollout"
        ),
        pytest.param(
            {"other_autoscaler": "HorizontalPodAutoscaler app"}, "OtherAutoscaler", id="an HPA"
        ),
    ],
)
def test_a_hold_leaves_one_event_with_its_reason(
    world: World, change: dict[str, Any], reason: str
) -> None:
    world.cluster.deploy(APP, 5, 0, 0)
    world.cluster.targets[APP] = replace(world.cluster.targets[APP], **change)
    world.run(passes=70)

    assert [each for _, each, _ in world.cluster.events] == [reason]
    assert world.metric("scale_downs_held_total", reason=reason, **DASHBOARDS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"deletion_cost": -9}, "ForeignDeletionCost", id="another writes costs"),
        pytest.param({"ready": False}, "DeletionOrderUncertain", id="a busy pod is not Ready"),
    ],
)
def test_a_pod_in_doubt_holds_and_leaves_one_event_with_the_reason(
    world: World, change: dict[str, Any], reason: str
) -> None:
    world.cluster.deploy(APP, 5, 0, 0)
    state = world.cluster.targets[APP]
    doubtful = replace(state.pods[0], **change)
    world.cluster.targets[APP] = replace(state, pods=(doubtful, *state.pods[1:]))
    world.run(passes=70)

    assert world.cluster.replicas(APP) == 3
    assert world.told() == [reason]
    assert world.metric("scale_downs_held_total", reason=reason, **DASHBOARDS)


def test_a_pod_that_went_unchosen_is_told_and_counted_and_shrinks_rest(world: World) -> None:
    world.cluster.deploy(APP, 4, 0, 0)
    world.cluster.doomed = {"pod-0"}
    world.run(passes=60 + DRAIN_PASSES)
    assert world.cluster.replicas(APP) == 1

    assert (APP, "VictimMismatch") in [(ref, reason) for ref, reason, _ in world.cluster.events]
    assert [text for _, _, text in world.cluster.events if "which had 4 sessions" in text]
    assert [text for _, _, text in world.cluster.events if "4 sessions on pod" in text]
    assert world.metric("victim_mismatches_total", **DASHBOARDS) == 1
    assert world.metric("sessions_cut_total", **DASHBOARDS) == 4

    world.cluster.doomed = set()
    world.cluster.edit_by_hand(APP, 3)
    world.run(passes=100)
    assert world.cluster.replicas(APP) == 3, "they rest for ten minutes"
    world.run(passes=20 + 60 + DRAIN_PASSES)
    assert world.cluster.replicas(APP) == 1


def test_a_pod_past_its_hard_deadline_goes_and_what_that_cost_is_told_and_counted() -> None:
    world = World(policy(drain={"hardDeadline": "10m"}))
    world.cluster.deploy(APP, 5, 2, 0)
    world.run(passes=60 + 120 + DRAIN_PASSES)

    assert world.cluster.replicas(APP) == 1
    assert world.cluster.events[-1][1:] == (
        "DrainDeadlineExceeded",
        "dashboards: a scale-down ended 2 sessions on pod pod-1: its drain deadline had passed",
    )
    assert world.metric("sessions_cut_total", **DASHBOARDS) == 2
    assert world.metric("victim_mismatches_total", **DASHBOARDS) == 0


def test_pods_that_no_service_can_leave_out_are_not_drained(world: World) -> None:
    world.cluster.deploy(APP, 5, 0, 0)
    state = world.cluster.targets[APP]
    bare = tuple(replace(pod, labelled=False) for pod in state.pods)
    world.cluster.targets[APP] = replace(state, pods=bare)
    world.run(passes=70)

    assert world.cluster.replicas(APP) == 3
    assert not cordoned(world)
    assert [reason for _, reason, _ in world.cluster.events] == ["NotCordonable"]


def test_partial_data_holds_a_shrink_and_says_so(world: World) -> None:
    world.cluster.deploy(APP, 5, 0, 0)
    del world.cluster.sessions[APP.namespace, "pod-2"]
    world.run(passes=70)

    assert world.cluster.replicas(APP) == 3
    assert [reason for _, reason, _ in world.cluster.events] == ["PartialData"]
