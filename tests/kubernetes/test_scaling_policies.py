"""ScalingPolicies: policies as Kubernetes objects, on a real API server, beside a real daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adapters.policies.resource import API_VERSION, GROUP, KIND, PLURAL, VERSION
from autoscaler.commands.schema import definition_text
from tests.deploy.pages import RESOURCES_PAGE, blocks, commands
from tests.lab.access import Access
from tests.lab.processes import wait_until
from tests.lab.role import our_rules
from tests.lab.world import REAL_WORLD, WITHIN, World

pytestmark = REAL_WORLD
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

    def created(self, name: str) -> float:
        found: Json = self._objects.get_namespaced_custom_object(*self._place, name)
        return datetime.fromisoformat(found["metadata"]["creationTimestamp"]).timestamp()

    def await_condition(self, kind: str, status: str, name: str = "dashboards") -> None:
        def has_come() -> bool:
            return bool(self.condition(kind, name).get("status") == status)

        wait_until(has_come, WITHIN, f"the condition {kind}: {status}")


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


def test_where_the_kind_is_not_defined_yet_files_are_active(
    world: World, request: pytest.FixtureRequest
) -> None:
    """It comes before all tests for which the kind is defined."""
    rules = [*our_rules(), *component_rules()]
    world.kubeconfig = world.access.service_account(world.namespace, "early", rules)
    world.write_policy(replicas={"min": 2, "max": 8})
    world.deploy(1)
    start(world)
    world.reaches(2)
    world.says("apply the component scaling-policies, which defines them")

    request.getfixturevalue("defined")
    world.policy_file.unlink()
    Resources(world.access, world.namespace).create(replicas={"min": 4, "max": 8})
    world.reaches(4)


def test_the_object_of_the_page_scales_its_deployment_and_says_so(
    world: World, resources: Resources, shell: Callable[[str], str], tmp_path: Path
) -> None:
    [text] = blocks(RESOURCES_PAGE, "yaml")
    body = yaml.safe_load(text)
    here = text.replace("namespace: bokeh", f"namespace: {world.namespace}")
    (tmp_path / "dashboards.yaml").write_text(here)
    check, simulate, apply, get, _ = commands(RESOURCES_PAGE)
    world.users.per_pod = lambda index: 12 if index < 2 else 0
    world.deploy(2)
    start(world)

    assert "ok, policy" in shell(check)
    assert "replica-hours" in shell(simulate)
    shell(apply)
    world.reaches(3)
    name = body["metadata"]["name"]

    def told() -> bool:
        status = resources.status(name)
        return (status.get("replicas"), status.get("users")) == (3, 24)

    wait_until(told, WITHIN, "the status to tell replicas and users")
    assert resources.condition("Valid", name)["status"] == "True"
    assert resources.condition("ScalingActive", name)["status"] == "True"
    [shown] = blocks(RESOURCES_PAGE, "text")
    assert columns(shell(get)) == columns(shown)


def columns(table: str) -> list[list[str]]:
    """The words of a table of kubectl, but for the ages."""
    return [line.split()[:-1] for line in table.splitlines()]


def test_an_edit_that_is_rejected_leaves_the_last_valid_one_active(
    world: World, resources: Resources
) -> None:
    world.users.per_pod = lambda index: 12 if index < 2 else 0
    world.deploy(2)
    resources.create()
    start(world)
    world.reaches(3)

    resources.edit(replicas={"min": 9, "max": 8})
    resources.await_condition("Valid", "False")
    message = resources.condition("Valid")["message"]
    name = f"scalingpolicy/{world.namespace}/dashboards"
    assert message == f"{name}: spec.replicas: min (9) is above max (8): expected min <= max"
    world.says(message)
    assert resources.condition("ScalingActive")["status"] == "True"
    world.users.per_pod = lambda index: 12 if index < 4 else 0
    world.reaches(5)

    resources.edit(replicas={"min": 6, "max": 8})
    world.reaches(6)
    resources.await_condition("Valid", "True")


def test_an_object_may_have_its_seats_learned(world: World, resources: Resources) -> None:
    learn = {"first": 6, "min": 2, "max": 40}
    world.users.per_pod = lambda index: 6 if index < 2 else 0
    world.deploy(2)
    resources.create(metrics=[{"type": "sessions", "seats": "auto", "learn": learn, "spare": 5}])
    start(world)
    world.reaches(3)
    wait_until(lambda: world.metric("bokeh_autoscaler_seats_per_pod{"), WITHIN, "the seats")

    resources.edit(metrics=[{"type": "sessions", "seats": "auto", "spare": 5}])
    resources.await_condition("Valid", "False")
    assert "`seats: auto` needs a first guess" in resources.condition("Valid")["message"]
    assert resources.condition("ScalingActive")["status"] == "True"


def test_a_deleted_policy_scales_no_more_and_its_pods_are_open_again(
    world: World, resources: Resources
) -> None:
    world.users.per_pod = lambda index: 1 if index < 3 else 0
    world.deploy(3)
    resources.create()
    start(world)
    wait_until(lambda: world.cordoned() == 2, WITHIN, "two pods to be left out for new users")

    resources.delete()
    wait_until(lambda: world.cordoned() == 0, WITHIN, "all pods to be open again")
    assert world.replicas() == 3


def test_beside_a_file_for_the_same_deployment_the_file_is_active(
    world: World, resources: Resources
) -> None:
    world.deploy(1)
    resources.create(replicas={"min": 4, "max": 8})
    world.write_policy(replicas={"min": 2, "max": 8})
    start(world)

    world.reaches(2)
    resources.await_condition("Valid", "False")
    target = f"{world.namespace}/bokeh-app is also the target of"
    assert target in resources.condition("Valid")["message"]
    world.policy_file.unlink()
    world.reaches(4)
    resources.await_condition("Valid", "True")


def test_of_two_objects_for_one_deployment_the_older_one_is_active_after_a_restart_too(
    world: World, resources: Resources
) -> None:
    world.deploy(1)
    resources.create("older", replicas={"min": 2, "max": 8})
    wait_until(lambda: int(time.time()) > resources.created("older"), WITHIN, "another second")
    resources.create("newer", replicas={"min": 4, "max": 8})
    for name in ("before", "after"):
        daemon = world.start("--scaling-policies", world.namespace, name=name)
        world.reaches(2)
        resources.await_condition("Valid", "False", "newer")
        message = resources.condition("Valid", "newer")["message"]
        older, newer = (f"scalingpolicy/{world.namespace}/{each}" for each in ("older", "newer"))
        assert message.startswith(f"{newer}: spec.target: {world.namespace}/bokeh-app is also")
        assert older in message
        resources.await_condition("Valid", "True", "older")
        daemon.terminate()
        daemon.wait()

    resources.delete("older")
    start(world)
    world.reaches(4)
    resources.await_condition("Valid", "True", "newer")


def test_one_that_is_deleted_and_made_again_is_told_at_once(
    world: World, resources: Resources
) -> None:
    world.deploy(1)
    resources.create()
    start(world)
    for _ in range(3):  # then nothing is new but the object itself
        resources.await_condition("Valid", "True")
        resources.delete()
        resources.create()
    resources.await_condition("Valid", "True")


def test_a_cooldown_goes_on_after_a_restart(world: World, resources: Resources) -> None:
    world.users.per_pod = lambda index: 12 if index < 2 else 0
    world.deploy(2)
    resources.create(cooldown={"up": "1h"})
    daemon = world.start("--scaling-policies", world.namespace, name="before")
    world.reaches(3)
    resources.await_condition("ScalingActive", "True")
    daemon.terminate()
    daemon.wait()

    world.users.per_pod = lambda index: 12
    start(world)
    wait_until(lambda: resources.status()["reason"] == "CooldownUp", WITHIN, "the cooldown")
    assert world.replicas() == 3


def test_a_policy_without_its_deployment_says_so(world: World, resources: Resources) -> None:
    resources.create(target={"deployment": "gone"})
    start(world)
    wait_until(
        lambda: resources.condition("ScalingActive").get("status") == "False", WITHIN, "the word"
    )
    assert "gone" in resources.condition("ScalingActive")["message"]
    assert resources.condition("ScalingActive")["reason"] == "FailedGetScale"


def test_what_the_schema_can_tell_is_refused_at_once(resources: Resources) -> None:
    wrong: dict[str, Json] = {
        "spec.replicas.min": {"replicas": {"min": "two", "max": 8}},
        "spec.metrics[0].type": {"metrics": [{"type": "users", "seats": 10}]},
        "spec.target.deployment": {"target": {}},
        "spec.metrics[0].learn": {"metrics": [{"type": "sessions", "seats": "auto", "learn": 10}]},
    }
    for path, edits in wrong.items():
        with pytest.raises(ApiException) as refused:
            resources.create(**edits)
        assert path in str(refused.value.body)
    for name in ("team.dashboards", "d" * 64):
        with pytest.raises(ApiException) as refused:
            resources.create(name)
        assert "metadata.name" in str(refused.value.body)


@pytest.mark.parametrize(
    "path", sorted(Path("policies").glob("*.yaml")), ids=lambda path: path.stem
)
def test_each_policy_that_we_ship_can_be_an_object(path: Path, resources: Resources) -> None:
    policy = yaml.safe_load(path.read_text())
    del policy["name"], policy["target"]["namespace"]
    resources.create(**policy)


@pytest.mark.parametrize(("verb", "resource"), [("list", PLURAL), ("watch", PLURAL)])
def test_a_missing_right_is_named_and_files_stay_active(
    world: World, resources: Resources, verb: str, resource: str
) -> None:
    rules = [
        {
            **rule,
            "verbs": [v for v in rule["verbs"] if (v, rule["resources"][0]) != (verb, resource)],
        }
        for rule in component_rules()
    ]
    account = world.access.service_account(
        world.namespace, f"without-{verb}", [*our_rules(), *rules]
    )
    world.kubeconfig = account
    world.write_policy(replicas={"min": 2, "max": 8})
    world.deploy(1)
    start(world)
    world.says(f"not allowed to {verb} {resource} in namespace {world.namespace}")
    world.reaches(2)


def test_without_the_status_right_it_scales_and_says_what_is_missing(
    world: World, resources: Resources
) -> None:
    rules = [rule for rule in component_rules() if rule["resources"] != [f"{PLURAL}/status"]]
    account = world.access.service_account(world.namespace, "no-status", [*our_rules(), *rules])
    world.kubeconfig = account
    world.deploy(1)
    resources.create(replicas={"min": 2, "max": 8})
    start(world)
    world.reaches(2)
    world.says(f"not allowed to patch {PLURAL}/status in namespace {world.namespace}")
