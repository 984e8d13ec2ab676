"""The policies that the daemon is given: whether doctor knows that one names the Deployment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.kubernetes.daemon_policies import (
    DaemonPolicies,
    config_maps,
    policies_of,
    policy_texts,
)
from autoscaler.doctor.findings import Finding
from tests.doctor.set_ups import REF, facts, found, right

FOLDER = Path("/etc/bokeh-autoscaler/policies")
SOURCE = ("ConfigMap bokeh-autoscaler/bokeh-autoscaler-policies",)
POLICY = """
name: {name}
target: {{namespace: bokeh, deployment: {name}}}
replicas: {{min: 1, max: 4}}
metrics: [{{type: sessions, seats: {seats}}}]
"""


def text(name: str, seats: object = 20) -> str:
    return POLICY.format(name=name, seats=seats)


def given(*objects: Any, **texts: str) -> DaemonPolicies:
    """The policies of files with these names, and of these ScalingPolicies."""
    files = {FOLDER / f"{name}.yaml": each for name, each in texts.items()}
    return policies_of(files, list(objects), SOURCE)


def resource(deployment: str, **spec: Any) -> Any:
    metric = {"type": "sessions", "seats": 20}
    return {
        "apiVersion": "bokeh-autoscaler.io/v1alpha1",
        "kind": "ScalingPolicy",
        "metadata": {"name": "forecast", "namespace": "bokeh"},
        "spec": {
            "target": {"deployment": deployment},
            "replicas": {"min": 1, "max": 4},
            "metrics": [metric],
            **spec,
        },
    }


def said(policies: DaemonPolicies) -> list[Finding]:
    return [*found(facts(right(), daemon_policies=policies)).values()]


FINE: dict[str, DaemonPolicies] = {
    "a file names it": given(a=text("another"), b=text("bokeh-app")),
    "an object names it": given(resource("bokeh-app")),
    "a file of another app is invalid": given(a=text("another", -1), b=text("bokeh-app")),
    "not all policies are known": DaemonPolicies(SOURCE, unread=("not allowed to get it",)),
}


@pytest.mark.parametrize("case", FINE)
def test_a_deployment_with_a_policy_is_fine(case: str) -> None:
    assert said(FINE[case]) == []


def test_the_pods_that_the_policy_allows_need_affinity_although_there_is_one_now() -> None:
    seen = right()
    seen["services"][0]["spec"].pop("sessionAffinity")

    assert found(facts(seen, daemon_policies=given(a=text("bokeh-app")))).keys() == {
        "no-session-affinity"
    }
    assert "no-session-affinity" not in found(facts(seen, daemon_policies=given(a=text("other"))))


NOBODY: dict[str, tuple[DaemonPolicies, str]] = {
    "a policy of the old Deployment": (given(a=text("forecast")), "they name bokeh/forecast."),
    "no policy at all": (given(), "there is none that is valid."),
    "an object of another one": (given(resource("forecast")), "they name bokeh/forecast."),
    "a file that is no YAML": (given(a="{{{"), "there is none that is valid."),
}


@pytest.mark.parametrize("case", NOBODY)
def test_a_deployment_without_a_policy_is_found(case: str) -> None:
    policies, why = NOBODY[case]

    [finding] = said(policies)

    assert finding.id == "no-policy"
    assert finding.where == SOURCE[0]
    assert finding.feel.endswith(why)
    assert f"target: {{namespace: bokeh, deployment: {REF.deployment}}}" in finding.fix
    assert ("# rejected: " in finding.fix) == bool(policies.rejected)


REJECTED: dict[str, tuple[DaemonPolicies, str]] = {
    "a wrong value in its file": (
        given(a=text("bokeh-app", -1)),
        "/etc/bokeh-autoscaler/policies/a.yaml:5: metrics[0].seats",
    ),
    "a wrong value in its object": (
        given(resource("bokeh-app", replicas={"min": 5, "max": 4})),
        "scalingpolicy/bokeh/forecast: spec.replicas",
    ),
    "two files for it": (
        given(a=text("bokeh-app"), b=text("bokeh-app")),
        "/etc/bokeh-autoscaler/policies/b.yaml:2: name",
    ),
}


@pytest.mark.parametrize("case", REJECTED)
def test_an_invalid_policy_of_the_deployment_is_found_with_its_problem(case: str) -> None:
    policies, where = REJECTED[case]

    first = said(policies)[0]

    assert first.id == "policy-rejected"
    assert first.where.startswith(where)


def test_the_policies_of_the_daemon_that_we_ship_are_in_its_config_map() -> None:
    daemon = right()["daemon"]

    assert [*config_maps(daemon, FOLDER)] == [("bokeh-autoscaler-policies", FOLDER)]
    assert [*config_maps(daemon, Path("/policies"))] == []


def test_the_files_of_a_config_map_are_those_that_the_daemon_would_read() -> None:
    data = {"a.yaml": "1", "b.yml": "2", "c.txt": "3", ".d.yaml": "4"}

    assert policy_texts(data, FOLDER, FOLDER) == {FOLDER / "a.yaml": "1", FOLDER / "b.yml": "2"}
    assert policy_texts(data, FOLDER, FOLDER / "c.txt") == {FOLDER / "c.txt": "3"}


def test_policies_that_cannot_be_read_are_not_examined_unless_one_is_known_to_name_it() -> None:
    unread = ("not allowed to get configmaps",)
    known = replace(given(a=text("bokeh-app")), unread=unread)

    assert facts(right(), daemon_policies=DaemonPolicies(unread=unread)).unexamined == unread
    assert facts(right(), daemon_policies=known).unexamined == ()
