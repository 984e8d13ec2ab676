"""A namespace that the daemon does not know: one finding, whose fix is the whole Role."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from autoscaler.adapters.kubernetes.inspection import needed_by
from autoscaler.adapters.kubernetes.rights import Right
from autoscaler.doctor.examine import examine
from autoscaler.doctor.findings import Finding
from tests.doctor.set_ups import DAEMON, REF, facts, right


def needed(namespace: str) -> list[Right]:
    return [each for each in needed_by(right()["daemon"], REF) if each.namespace == namespace]


def without(rights: list[Right]) -> list[Finding]:
    """What is found if the daemon lacks these."""
    seen = right()
    seen["missing_rights"] = rights
    return examine([facts(seen)])


def granted(role: Any) -> set[Right]:
    """Each single right of a Role."""
    return {
        Right(verb, group, resource, role["metadata"]["namespace"], name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("namespace", [REF.namespace, DAEMON.namespace])
def test_a_namespace_without_any_right_is_one_finding_with_the_role_and_its_binding(
    namespace: str,
) -> None:
    rights = needed(namespace)

    [only] = without(rights)

    role, binding = yaml.safe_load_all(only.fix)
    assert f"namespace {namespace}, all {len(rights)} rights" in only.where
    assert granted(role) == set(rights)
    assert binding["roleRef"]["name"] == binding["metadata"]["name"] == role["metadata"]["name"]
    assert binding["metadata"]["namespace"] == namespace
    [account] = binding["subjects"]
    assert (account["name"], account["namespace"]) == ("bokeh-autoscaler", DAEMON.namespace)


def test_two_namespaces_without_any_right_are_two_findings() -> None:
    every = [*needed(REF.namespace), *needed(DAEMON.namespace)]

    assert [each.id for each in without(every)] == ["right-missing"] * 2


def test_some_rights_that_are_missing_are_a_finding_each() -> None:
    some = needed(REF.namespace)[1:]

    findings = without(some)

    assert len(findings) == len(some)
    assert [yaml.safe_load(each.fix)["rules"][0]["verbs"] for each in findings] == [
        [each.verb] for each in some
    ]
