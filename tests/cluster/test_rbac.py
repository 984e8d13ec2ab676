"""Our Role is exactly enough: each verb taken away in turn is named by the message."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.adapters.kubernetes import KubernetesCluster
from autoscaler.adapters.leases import KubernetesLeases
from autoscaler.core.lease import Lease
from autoscaler.errors import AutoscalerError, ForbiddenError
from autoscaler.model import Cause, Cordon, PodNote, TargetRef
from autoscaler.ports import TargetState
from tests.cluster.access import Access
from tests.cluster.objects import deployment

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]

MANIFEST = Path("deploy/kubernetes/base/rbac.yaml")


def our_rules() -> list[dict[str, Any]]:
    objects = yaml.safe_load_all(MANIFEST.read_text())
    role = next(each for each in objects if each["kind"] == "Role")
    rules: list[dict[str, Any]] = role["rules"]
    return rules


def single_rights() -> Iterator[tuple[str, str]]:
    for rule in our_rules():
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                yield verb, resource


def without(verb: str, resource: str) -> list[dict[str, Any]]:
    rules = []
    for rule in copy.deepcopy(our_rules()):
        for each in rule["resources"]:
            verbs = [v for v in rule["verbs"] if (v, each) != (verb, resource)]
            if verbs:
                rules.append({**rule, "resources": [each], "verbs": verbs})
    return rules


def use_everything(cluster: KubernetesCluster, ref: TargetRef) -> TargetState:
    """Every call that the daemon makes. Raises what the adapter makes of a refusal."""
    leases = KubernetesLeases(cluster.api, "bokeh-autoscaler")
    assert leases.read(ref.namespace) is None
    lease = leases.write(ref.namespace, Lease("me"), taken=True)
    leases.write(ref.namespace, lease, taken=False)
    state = cluster.observe([ref])[ref]
    if isinstance(state, AutoscalerError):
        raise state
    cluster.note(state, state.pods[0], PodNote(routable=False, cordon=Cordon(Cause.HOT, 0.0)))
    cluster.scale(state, state.replicas + 1)
    cluster.announce(state, "DesiredWithinRange", "a test", warning=False)
    return state


@pytest.fixture
def app(control_plane: Access, namespace: str) -> TargetRef:
    control_plane.apps.create_namespaced_deployment(namespace, deployment("bokeh-app", 1))
    control_plane.settle(namespace, "bokeh-app", 1)
    return TargetRef(namespace, "bokeh-app")


def test_the_role_that_we_ship_is_enough(control_plane: Access, app: TargetRef) -> None:
    account = control_plane.service_account(app.namespace, "daemon", our_rules())

    use_everything(KubernetesCluster.connect(account), app)

    scale = control_plane.apps.read_namespaced_deployment_scale(app.deployment, app.namespace)
    assert scale.spec.replicas == 2


@pytest.mark.parametrize(
    ("verb", "resource"), list(single_rights()), ids=lambda word: str(word).replace("/", "-")
)
def test_a_missing_verb_is_named(
    control_plane: Access, app: TargetRef, verb: str, resource: str
) -> None:
    rules = without(verb, resource)
    account = control_plane.service_account(app.namespace, "daemon", rules)

    with pytest.raises(ForbiddenError) as refused:
        use_everything(KubernetesCluster.connect(account), app)

    message = str(refused.value)
    assert f"may not {verb} {resource} in namespace {app.namespace}" in message
    assert f"add {verb} on {resource} to the Role" in message
    assert f"system:serviceaccount:{app.namespace}:daemon" in message
    assert "\n" not in message


def test_credentials_that_are_no_longer_valid_are_one_line(
    control_plane: Access, app: TargetRef
) -> None:
    error = KubernetesCluster.connect(control_plane.kubeconfig("expired")).observe([app])[app]

    assert isinstance(error, ForbiddenError)
    assert "check the credentials" in str(error)
