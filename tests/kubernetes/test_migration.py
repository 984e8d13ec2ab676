"""An app is handed over from the real HPA controller to the daemon, by the commands of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from autoscaler.adapters.policies.policy_file import load_policy
from tests.deploy.pages import MIGRATE_PAGE, commands, files
from tests.hpa.registration import registered
from tests.hpa.served_apis import GROUPS, ServedApis
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import wait_until
from tests.lab.world import REAL_WORLD, WITHIN, World

pytestmark = REAL_WORLD
EXTERNAL = "external.metrics.k8s.io"
# Seconds: the controller looks at an HPA every 15 s.
SYNCED_WITHIN = 60.0
MOST_USERS = 45_000  # in thousandths, for 10 users a pod


@pytest.fixture
def users(control_plane: ControlPlane, world: World) -> Iterator[dict[str, int]]:
    """What the external metric of the page's HPA is, in thousandths, by a server of the test."""
    certificates = control_plane.certificates
    figure = {"users_online": MOST_USERS}
    with ServedApis(certificates / "apiserver.crt", certificates / "apiserver.key") as apis:
        apis.external["users_online"] = lambda: [figure["users_online"]]
        only = {EXTERNAL: GROUPS[EXTERNAL]}
        with registered(control_plane, world.namespace, only, apis.port):
            yield figure


def printed(beginning: str) -> str:
    [found] = [each for each in commands(MIGRATE_PAGE) if each.startswith(beginning)]
    return found


def the_hpa(world: World) -> Any:
    """The page's HPA in the namespace of the test, without the CPU, which nobody measures here."""
    body: dict[str, Any] = yaml.safe_load(files(MIGRATE_PAGE)["hpa.yaml"])
    body["metadata"]["namespace"] = world.namespace
    body["spec"]["metrics"] = body["spec"]["metrics"][1:]
    hpas: Any = client.AutoscalingV2Api(world.access.api)
    return hpas.create_namespaced_horizontal_pod_autoscaler(world.namespace, body)


def scaled_to_five(world: World, users: int) -> None:
    """The HPA has made five replicas of two, each with so many users."""
    world.users.per_pod = lambda _: users
    world.deploy(2)
    world.access.settle(world.namespace, "bokeh-app", 2)
    the_hpa(world)
    wait_until(lambda: world.replicas() == 5, SYNCED_WITHIN, "the HPA to make five replicas")


def generation(world: World) -> int:
    """It changes with each write of the spec, thus of the replicas too."""
    found: Any = world.access.apps.read_namespaced_deployment("bokeh-app", world.namespace)
    return int(found.metadata.generation)


def test_the_daemon_goes_on_from_the_replicas_of_the_hpa(
    world: World, users: dict[str, int], shell: Callable[[str], str], tmp_path: Path
) -> None:
    scaled_to_five(world, 9)

    shell(printed("kubectl -n bokeh get hpa"))
    converted = load_policy(tmp_path / "bokeh-app.yaml")
    assert (converted.replicas.min, converted.replicas.max) == (2, 8)
    assert shell(printed("autoscaler check")).startswith("bokeh-app.yaml: ok, ")

    pause, end = (each for each in commands(MIGRATE_PAGE) if " annotate " in each)
    shell(pause)
    world.policy_file.unlink()
    text = (tmp_path / "bokeh-app.yaml").read_text()
    # The query of the page is of a metric that only the adapter of this test knows.
    mine = text.replace("sum(users_online", "0 * sum(bokeh_sessions")
    (world.policy_file.parent / "bokeh-app.yaml").write_text(mine)
    before = generation(world)
    world.start()
    world.says("5 replicas, Paused")

    look, delete, again = (
        each
        for each in commands(MIGRATE_PAGE)
        if each.startswith("kubectl -n bokeh") and ("jsonpath" in each or "delete hpa" in each)
    )
    assert shell(look) == "5"
    shell(delete)
    assert shell(again) == "5"
    users["users_online"] = 1_000  # which nobody reads any more
    assert generation(world) == before, "nobody has written the replicas"

    world.users.per_pod = lambda _: 18
    shell(end)
    world.reaches(8)
    wait_until(lambda: "SuccessfulRescale" in world.events(), WITHIN, "the Event")


def test_beside_an_hpa_a_daemon_without_a_pause_holds_until_it_is_deleted(
    world: World, users: dict[str, int], shell: Callable[[str], str]
) -> None:
    """Nobody who forgets the pause has two writers."""
    scaled_to_five(world, 18)
    world.start()
    wait_until(lambda: "OtherAutoscaler" in world.events(), WITHIN, "the Event")
    assert world.replicas() == 5

    shell(printed("kubectl -n bokeh delete hpa"))
    world.reaches(8)


SCALED_OBJECTS = {
    "metadata": {"name": "scaledobjects.keda.sh"},
    "spec": {
        "group": "keda.sh",
        "scope": "Namespaced",
        "names": {
            "kind": "ScaledObject",
            "listKind": "ScaledObjectList",
            "plural": "scaledobjects",
            "singular": "scaledobject",
        },
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


@pytest.fixture
def scaled_objects(world: World) -> Iterator[None]:
    """The API of KEDA's ScaledObjects; nothing acts on them."""
    definitions: Any = client.ApiextensionsV1Api(world.access.api)
    definitions.create_custom_resource_definition(SCALED_OBJECTS)
    name = SCALED_OBJECTS["metadata"]["name"]
    wait_until(
        lambda: any(
            each.type == "Established" and each.status == "True"
            for each in definitions.read_custom_resource_definition(name).status.conditions or ()
        ),
        WITHIN,
        "the API of ScaledObjects",
    )
    yield
    definitions.delete_custom_resource_definition(name)


@pytest.mark.usefixtures("scaled_objects")
def test_a_scaled_object_of_the_api_server_is_converted_and_deleted(
    world: World, shell: Callable[[str], str], tmp_path: Path
) -> None:
    manifest = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "bokeh-app"},
        "spec": {
            "scaleTargetRef": {"name": "bokeh-app"},
            "minReplicaCount": 2,
            "advanced": {"restoreToOriginalReplicaCount": True},
            "triggers": [{"type": "prometheus", "metadata": {"query": "sum(x)", "threshold": "8"}}],
        },
    }
    (tmp_path / "scaled.yaml").write_text(yaml.safe_dump(manifest))
    shell("kubectl -n bokeh apply -f scaled.yaml")
    save, patch, delete = (each for each in commands(MIGRATE_PAGE) if " scaledobject " in each)

    shell(patch)
    shell(save)
    shell("autoscaler convert keda.yaml --seats 10 --output bokeh-app.yaml")
    shell(delete)

    policy = load_policy(tmp_path / "bokeh-app.yaml")
    assert str(policy.target.ref) == f"{world.namespace}/bokeh-app"
    assert [each.type for each in policy.metrics] == ["sessions", "prometheus"]
    saved = yaml.safe_load((tmp_path / "keda.yaml").read_text())
    assert saved["spec"]["advanced"] == {"restoreToOriginalReplicaCount": False}
