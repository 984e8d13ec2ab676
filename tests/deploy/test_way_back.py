"""The steps of `autoscaler init` and its way back leave a namespace as it was: real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import yaml

from autoscaler.cli import main
from tests.adoption import apps
from tests.adoption.apps import Objects
from tests.deploy.manifests import FOLDER
from tests.deploy.operators import Operator
from tests.deploy.pages import blocks

OLD, NEW, OWN = "dashboards", "dashboards-2", "bokeh-autoscaler"
KINDS = "deployments,services,roles,rolebindings,poddisruptionbudgets,networkpolicies,secrets"
STICKY = ("--sticky", "haproxy")


@pytest.fixture
def namespace(operator: Operator) -> Iterator[str]:
    """A namespace that our manifests do not name, and a daemon's one with its policies."""
    name = f"team-{token_hex(4)}"
    for each in (name, OWN):
        operator.run(
            f"kubectl create namespace {each} --dry-run=client -o yaml | kubectl apply -f -"
        )
    operator.run(f"kubectl apply -f {FOLDER}/base/priority.yaml")  # of the proxy's pods
    example = f"--from-file={FOLDER}/base/policies/bokeh-app.yaml"
    operator.run(f"kubectl -n {OWN} create configmap bokeh-autoscaler-policies {example}")
    yield name
    operator.run(f"kubectl -n {OWN} delete configmap bokeh-autoscaler-policies")
    operator.run(f"kubectl delete namespace {name} --wait=false")


def started(operator: Operator, objects: Objects) -> Path:
    """Start an app. The manifest."""
    file = apps.write(operator.folder, objects)
    operator.run(f"kubectl apply -f {file}")
    namespace = objects[0]["metadata"]["namespace"]
    operator.run(f"kubectl -n {namespace} rollout status deployment/{OLD}")
    return file


def steps(operator: Operator, file: Path, *words: str) -> tuple[list[str], list[str]]:
    """The printed blocks of commands, and those of the way back."""
    output = operator.folder / "adoption"
    assert main(["init", str(file), "--output", str(output), *words]) == 0
    page = output / "STEPS.md"
    back = len(blocks(page, "sh", "The way back"))
    found = blocks(page, "sh")
    return found[:-back], found[-back:]


def left(operator: Operator, namespace: str) -> dict[str, Any]:
    """The specs of what somebody made in a namespace, by kind and name."""
    told = operator.run(f"kubectl -n {namespace} get {KINDS},configmaps -o yaml")
    found = yaml.safe_load(told)["items"]
    return {
        f"{each['kind']} {each['metadata']['name']}": each.get("spec")
        for each in found
        if each["metadata"]["name"] != "kube-root-ca.crt"
    }


def does_not_look(block: str) -> bool:
    """Whether it needs neither users nor a program in the pods, which have none here."""
    return "autoscaler doctor" not in block and "/proc/net/tcp" not in block


# Apps whose Service names the proxy's port already, and not.
BY_PORT = {
    "a port by name": apps.app(),
    "a port by number": apps.app(apps.BOKEH, apps.by_number),
}


@pytest.mark.slow
@pytest.mark.control_plane
@pytest.mark.parametrize("words", [STICKY, (*STICKY, "--in-place"), ()], ids=" ".join)
@pytest.mark.parametrize("case", BY_PORT)
def test_nothing_is_left_after_the_way_back(
    case: str, words: tuple[str, ...], operator: Operator, namespace: str
) -> None:
    objects = apps.app(apps.BOKEH, apps.moved_to(namespace))
    objects[1]["spec"] = BY_PORT[case][1]["spec"]
    objects[0]["spec"] = BY_PORT[case][0]["spec"]
    file = started(operator, objects)
    before = left(operator, namespace)
    there, back = steps(operator, file, *words)

    for block in filter(does_not_look, there):
        operator.run(block)
    between = left(operator, namespace)
    for block in filter(does_not_look, back):
        operator.run(block)

    if words:
        selected = between[f"Service {OLD}"]["selector"]
        assert selected == {"app.kubernetes.io/name": "sticky-haproxy"}
        assert "Secret sticky-haproxy" in between
    assert f"Role {OWN}-{NEW if '--in-place' not in words else OLD}" in between
    assert left(operator, namespace) == before


@pytest.mark.slow
@pytest.mark.control_plane
def test_an_apply_of_the_first_manifest_leaves_the_service_without_pods(
    operator: Operator, namespace: str
) -> None:
    """Why the page says not to."""
    file = started(operator, apps.app(apps.BOKEH, apps.moved_to(namespace)))
    there, _ = steps(operator, file, *STICKY)
    [switch] = [each for each in there if "patch service" in each]
    operator.run(switch)

    operator.run(f"kubectl apply -f {file}")

    both = {"app": OLD, "app.kubernetes.io/name": "sticky-haproxy"}
    assert left(operator, namespace)[f"Service {OLD}"]["selector"] == both
