"""After the daemon has ended and `remove` has run, a real cluster holds nothing of ours."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import dynamic

from autoscaler.adapters.kubernetes.pods import CORDONED_AT, DELETION_COST, OUR_COST
from autoscaler.cli import main
from tests.deploy.pages import UNINSTALL_PAGE, commands
from tests.lab.objects import deployment
from tests.lab.processes import wait_until
from tests.lab.world import WITHIN, World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.control_plane,
    pytest.mark.mostly_idle,
    pytest.mark.prometheus,
    pytest.mark.timeout(180),
]
once = pytest.mark.parametrize("prometheus_program", ["current"], indirect=True)
NAME = "bokeh-autoscaler"


def remove(world: World, *options: str) -> int:
    where = ("--namespace", world.namespace, "--lease-namespace", world.namespace)
    return main(["remove", *where, "--kubeconfig", str(world.access.admin), *options])


def objects(world: World) -> Iterator[dict[str, Any]]:
    """All objects of the namespace, of every kind that the API server lists, but Events."""
    cluster = dynamic.DynamicClient(world.access.api)
    for resource in cluster.resources.search(namespaced=True):
        if "list" in (resource.verbs or ()) and resource.kind != "Event":
            listed = cluster.get(resource, namespace=world.namespace).to_dict()
            yield from ({"kind": resource.kind, **each} for each in listed.get("items") or ())


def mentions(world: World) -> set[tuple[str, str, str]]:
    """What contains our name: kind, name and text, without the API server's own bookkeeping."""
    found = set()
    for each in objects(world):
        meta = each["metadata"]
        meta.pop("managedFields", None)
        if each["kind"] == "Lease" and NAME in meta["name"]:
            found.add(("Lease", meta["name"], ""))
        for field in ("labels", "annotations"):
            for key, value in (meta.get(field) or {}).items():
                if NAME in key or NAME in value:
                    found.add((each["kind"], meta["name"], f"{key}={value}"))
        rest = json.dumps([each.get("spec"), each.get("data")])
        if NAME in rest and each["kind"] != "Lease":
            found.add((each["kind"], meta["name"], "spec"))
    return found


def annotated(world: World) -> list[dict[str, str]]:
    pods = world.access.core.list_namespaced_pod(world.namespace).items
    return [pod.metadata.annotations or {} for pod in pods]


@pytest.fixture
def before(world: World) -> set[tuple[str, str, str]]:
    """What of our name the user deployed; then a daemon has cordoned two of three pods."""
    world.users.per_pod = lambda index: 1 if index < 3 else 0
    world.deploy(3)
    world.access.settle(world.namespace, "bokeh-app", 3)
    deployed = mentions(world)
    world.start()
    wait_until(lambda: world.cordoned() == 2, WITHIN, "two pods to be cordoned")
    wait_until(lambda: all(annotated(world)), WITHIN, "the pods to be protected")
    assert mentions(world) - deployed
    return deployed


@once
def test_nothing_is_left_but_what_the_user_deployed(
    world: World, before: set[tuple[str, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert remove(world) == 1
    assert "a daemon still runs" in capsys.readouterr().err
    assert world.cordoned() == 2

    [daemon] = world.running
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == 0
    pods = world.access.core.list_namespaced_pod(world.namespace).items
    [open_pod] = [p for p in pods if CORDONED_AT not in (p.metadata.annotations or {})]
    cost = {"metadata": {"annotations": {DELETION_COST: "-9", OUR_COST: "-9"}}}
    world.access.core.patch_namespaced_pod(open_pod.metadata.name, world.namespace, cost)
    debris = mentions(world)

    assert remove(world, "--dry-run") == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == ["Pod", "Pod", "Pod", "Lease", "Lease", "3"]
    assert ["uncordon" in line for line in listed[:3]] == [True, True, False]
    assert mentions(world) == debris

    assert remove(world) == 0
    assert capsys.readouterr().out.splitlines()[:5] == listed[:5]
    assert mentions(world) == before
    assert not any(annotated(world))

    assert remove(world) == 0
    assert capsys.readouterr().out == "nothing of the daemon is here\n"
    assert world.replicas() == 3


@once
def test_a_killed_daemon_does_not_keep_anybody_from_removing(
    world: World, before: set[tuple[str, str, str]]
) -> None:
    """It still holds its Lease, which nobody renews."""
    [daemon] = world.running
    daemon.kill()
    daemon.wait()

    assert remove(world) == 0
    assert mentions(world) == before


@once
def test_by_force_it_removes_while_a_daemon_runs(
    world: World, before: set[tuple[str, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert remove(world, "--force") == 0
    assert "uncordon" in capsys.readouterr().out


@once
def test_who_may_not_list_pods_is_told_so_in_one_line(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = world.access.service_account(world.namespace, "nobody", [])
    code = main(["remove", "--namespace", world.namespace, "--kubeconfig", str(nobody)])

    assert code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"autoscaler remove: not allowed to list pods in namespace {world.namespace}"
    )


@once
def test_a_namespace_that_is_not_there_is_not_taken_for_a_clean_one(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert remove(world, "--namespace", "no-such-namespace") == 1

    said = capsys.readouterr()
    assert said.out == ""
    told = "autoscaler remove: there is no namespace no-such-namespace; set --namespace\n"
    assert said.err == told


@once
def test_the_printed_commands_uninstall_in_their_order(
    world: World, before: set[tuple[str, str, str]], shell: Callable[[str], str]
) -> None:
    world.access.apps.create_namespaced_deployment(world.namespace, deployment(NAME, 0))
    delete, *others = commands(UNINSTALL_PAGE)
    removals = [each for each in others if each.startswith("autoscaler remove")]

    shell(delete)
    [daemon] = world.running
    daemon.send_signal(signal.SIGTERM)  # as the kubelet does
    assert daemon.wait(60) == 0
    dry, done = (shell(f"{each} --lease-namespace {world.namespace}") for each in removals)

    assert dry.splitlines()[:-1] == done.splitlines()[:-1]
    assert mentions(world) == before


def test_the_page_names_everything_that_it_removes() -> None:
    text = UNINSTALL_PAGE.read_text()
    for key in ("cordoned-for", "cordoned-at", "deletion-cost", "protected"):
        assert f"`{NAME}/{key}`" in text
    for key in (DELETION_COST, "safe-to-evict", "do-not-disrupt", f"{NAME}-daemons", "Events"):
        assert key in text
