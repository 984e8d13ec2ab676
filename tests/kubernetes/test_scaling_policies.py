"""ScalingPolicies: policies as Kubernetes objects, on a real API server, beside a real daemon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adapters.policies.resource import API_VERSION, GROUP, KIND, PLURAL, VERSION
from autoscaler.commands.schema import definition_text
from tests.lab.access import Access
from tests.lab.processes import wait_until
from tests.lab.role import our_rules
from tests.lab.world import WITHIN, World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.control_plane,
    pytest.mark.mostly_idle,
    pytest.mark.prometheus,
    pytest.mark.timeout(180),
    pytest.mark.parametrize("prometheus_program", ["current"], indirect=True),
]
COMPONENT = Path("deploy/kubernetes/components/scaling-policies")
SPEC: Json = {
    "target": {"deployment": "bokeh-app"},
    "replicas": {"min": 1, "max": 8},
    "interval": "1s",
    "metrics": [{"type": "sessions", "seats": 10, "spare": 0}],
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 3}},
    "drain": {"settle": "1s", "reconnect": "1s"},
}


class Resources:
    """The ScalingPolicies of one namespace, as its administrator has them."""

    def __init__(self, access: Access, namespace: str) -> None:
        self._objects: Any = client.CustomObjectsApi(access.api)
        self._place = (GROUP, VERSION, namespace, PLURAL)

    def create(self, name: str = "dashboards", **edits: Any) -> None:
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}}
        self._objects.create_namespaced_custom_object(
            *self._place, {**body, "spec": {**SPEC, **edits}}
        )

    def edit(self, name: str = "dashboards", **edits: Any) -> None:
        self._objects.patch_namespaced_custom_object(*self._place, name, {"spec": edits})

    def delete(self, name: str = "dashboards") -> None:
        self._objects.delete_namespaced_custom_object(*self._place, name)

    def status(self, name: str = "dashboards") -> Json:
        found: Json = self._objects.get_namespaced_custom_object(*self._place, name)
        return found.get("status", {})

    def condition(self, kind: str, name: str = "dashboards") -> Json:
        conditions = self.status(name).get("conditions", ())
        return next((each for each in conditions if each["type"] == kind), {})


@pytest.fixture(scope="module")
def defined(control_plane: Access) -> Iterator[None]:
    """The kind is defined as the component defines it."""
    definitions: Any = client.ApiextensionsV1Api(control_plane.api)
    body = yaml.safe_load(definition_text())
    definitions.create_custom_resource_definition(body)

    def is_served() -> bool:
        try:
            client.CustomObjectsApi(control_plane.api).list_cluster_custom_object(
                GROUP, VERSION, PLURAL
            )
        except ApiException:
            return False
        return True

    wait_until(is_served, WITHIN, "the kind to be served")
    yield
    definitions.delete_custom_resource_definition(body["metadata"]["name"])


@pytest.fixture
def resources(defined: None, world: World) -> Resources:
    """No policy file is there, and the daemon has the rights of base and component."""
    rules = [*our_rules(), *component_rules()]
    world.kubeconfig = world.access.service_account(world.namespace, "with-resources", rules)
    world.policy_file.unlink()
    return Resources(world.access, world.namespace)


def component_rules() -> list[Json]:
    objects = yaml.safe_load_all((COMPONENT / "rbac.yaml").read_text())
    return [rule for each in objects if each["kind"] == "Role" for rule in each["rules"]]


def start(world: World) -> None:
    world.start("--scaling-policies", world.namespace)


def test_a_deployment_is_scaled_by_its_scaling_policy_which_says_so(
    world: World, resources: Resources, shell: Callable[[str], str]
) -> None:
    world.users.per_pod = lambda index: 12 if index < 2 else 0
    world.deploy(2)
    resources.create()
    start(world)
    world.reaches(3)

    def told() -> bool:
        status = resources.status()
        return (status.get("replicas"), status.get("users")) == (3, 24)

    wait_until(told, WITHIN, "the status to tell replicas and users")
    assert resources.condition("Valid")["status"] == "True"
    assert resources.condition("Active")["status"] == "True"
    shown = shell("kubectl get scalingpolicies -n bokeh")
    assert shown.split()[:7] == "NAME TARGET REPLICAS DESIRED USERS REASON VALID".split()
    assert shown.splitlines()[1].split()[:5] == ["dashboards", "bokeh-app", "3", "3", "24"]
    print(shown, json.dumps(resources.status(), indent=1))
