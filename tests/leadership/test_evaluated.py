"""Of two daemons with different policies under one Lease the standby says what nobody evaluates."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator

import pytest

from autoscaler.adapters.metrics_server import WebServer
from autoscaler.control.leadership import LeaseLeadership
from autoscaler.core.lease import LONGEST_NAMES, Lease, evaluated_from, evaluated_text
from autoscaler.daemon import Daemon, Ports
from autoscaler.model import TargetRef
from autoscaler.policy import Policy
from autoscaler.reporting.logs import LogRecorder
from tests.builders import policy
from tests.fakes import FakeCluster, FakeLeases, FakePolicies
from tests.leadership.rounds import make_round

LONG_ENOUGH = 20


def app(name: str, namespace: str = "bokeh") -> Policy:
    target = {"namespace": namespace, "deployment": f"app-{name}"}
    return policy(name=name, target=target)


class Team:
    """A daemon with policies of its own on a cluster that all share."""

    def __init__(self, cluster: FakeCluster, leases: FakeLeases, *policies: Policy) -> None:
        self.policies = FakePolicies(policies)
        ports = Ports(self.policies, cluster, cluster, cluster, cluster.clock, leases)
        self.daemon = Daemon(ports, [LogRecorder()])

    def metric(self, name: str, namespace: str = "bokeh") -> float | None:
        labels = {"policy": name, "namespace": namespace, "deployment": f"app-{name}"}
        metric = "bokeh_autoscaler_unevaluated_policies"
        return self.daemon.telemetry.registry.get_sample_value(metric, labels)


class Shared:
    def __init__(self) -> None:
        self.cluster, self.leases = FakeCluster(), FakeLeases()
        self.teams: list[Team] = []

    def team(self, *policies: Policy) -> Team:
        for each in policies:
            self.cluster.deploy(each.target.ref, 95, uid=each.name)
        self.teams.append(Team(self.cluster, self.leases, *policies))
        self.teams[-1].daemon.run_once()
        return self.teams[-1]

    def run(self, seconds: int = LONG_ENOUGH) -> None:
        for _ in range(seconds // 2):
            self.cluster.clock.advance(2)
            for team in self.teams:
                assert isinstance(team.daemon._leadership, LeaseLeadership)
                make_round(team.daemon._leadership)
                team.daemon.run_once()


@pytest.fixture
def shared(caplog: pytest.LogCaptureFixture) -> Iterator[Shared]:
    caplog.set_level(logging.INFO, "autoscaler")
    shared = Shared()
    yield shared
    for team in shared.teams:
        team.daemon.release()


def test_the_standby_names_the_policies_that_the_leader_lacks(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    shared.team(app("a"))
    second = shared.team(app("b"))
    shared.run()

    assert shared.cluster.replicas(TargetRef("bokeh", "app-b")) == 1, "nobody acts on it"
    assert second.metric("b") == 1
    assert second.daemon.unready() is None, "a rollout of the daemon goes on"
    said = second.daemon.ready()
    assert said.startswith("ok, but nobody evaluates b (bokeh/app-b): the leader does not have")
    assert "--lease NAME" in said
    assert len([r for r in caplog.records if "nobody evaluates b" in r.getMessage()]) == 1


def test_two_daemons_with_the_same_policies_say_nothing(shared: Shared) -> None:
    first, second = shared.team(app("a")), shared.team(app("a"))
    shared.run()

    assert (first.metric("a"), second.metric("a")) == (None, 0)
    assert second.daemon.ready() == "ok"


def test_two_teams_may_both_call_their_policy_the_same(shared: Shared) -> None:
    theirs = app("a").model_copy(update={"target": app("b").target})
    shared.team(app("a"))
    second = shared.team(theirs)
    shared.run()

    assert "nobody evaluates a (bokeh/app-b)" in second.daemon.ready()


def test_what_differs_for_a_moment_is_not_told(shared: Shared) -> None:
    first, second = shared.team(app("a")), shared.team(app("a"), app("b"))
    shared.run(8)
    assert second.metric("b") == 0
    first.policies.policies = (app("a"), app("b"))
    shared.run(60)

    assert second.metric("b") == 0


def test_once_it_leads_itself_all_is_well(shared: Shared) -> None:
    first, second = shared.team(app("a")), shared.team(app("b"))
    shared.run()
    assert second.metric("b") == 1

    first.daemon.release()
    shared.teams.remove(first)
    shared.run(4)

    assert second.metric("b") is None
    assert second.daemon.ready() == "ok"
    assert shared.cluster.replicas(TargetRef("bokeh", "app-b")) > 1


def test_a_policy_that_is_removed_has_no_series(shared: Shared) -> None:
    shared.team(app("a"))
    second = shared.team(app("b"))
    shared.run()
    second.policies.policies = (app("c", "elsewhere"),)
    shared.run(4)

    assert second.metric("b") is None


def test_a_leader_that_does_not_say_what_it_evaluates_is_not_accused(shared: Shared) -> None:
    another = evaluated_from(evaluated_text(Lease("newer")), "older")
    shared.leases.edit(shared.leases.shard(), Lease("older", evaluated=another))
    second = shared.team(app("b"))
    shared.run(10)

    assert second.metric("b") == 0
    assert second.daemon.ready() == "ok"


def test_the_probe_answers_200_and_says_it(shared: Shared) -> None:
    shared.team(app("a"))
    second = shared.team(app("b")).daemon
    shared.run()
    checks, remarks = {"/readyz": second.unready}, {"/readyz": second.ready}
    web = WebServer(("127.0.0.1", 0), second.telemetry.registry, checks, remarks)
    web.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{web.port}/readyz", timeout=5) as answer:
            assert answer.status == 200
            assert answer.read().decode().startswith("ok, but nobody evaluates b")
    finally:
        web.stop()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="another kind of JSON"),
        pytest.param('{"policies": ["a/b"]}', id="no holder"),
        pytest.param('{"holder": "me"}', id="no policies"),
        pytest.param('{"holder": "other", "policies": ["a/b"]}', id="another one's"),
        pytest.param('{"holder": "me", "policies": "a/b"}', id="a text"),
        pytest.param('{"holder": "me", "policies": [1]}', id="numbers"),
        pytest.param('{"holder": "me", "policies": null}', id="too many to say"),
        pytest.param('{"holder": ' + "[" * 100_000, id="brackets without an end"),
    ],
)
def test_whatever_is_not_the_holders_list_says_nothing(text: str) -> None:
    assert evaluated_from(text, "me") is None


def test_a_list_is_read_as_it_was_written() -> None:
    lease = Lease("me", evaluated=frozenset({"b/y", "a/x"}))

    assert evaluated_from(evaluated_text(lease), "me") == {"a/x", "b/y"}


def test_a_list_that_is_too_long_for_an_annotation_is_left_out() -> None:
    lease = Lease("me", evaluated=frozenset(f"policy-{n}/deployment-{n}" for n in range(2_000)))

    text = evaluated_text(lease)

    assert len(text) < LONGEST_NAMES
    assert evaluated_from(text, "me") is None
