"""One daemon with the rights that the chart gives it, on a real API server with two namespaces."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.deploy.chart import RELEASE, render_chart
from tests.deploy.manifests import apply_objects, one
from tests.lab.control_plane import ControlPlane
from tests.lab.prometheus_server import PrometheusServer
from tests.lab.scripted_sidecars import ScriptedSidecars
from tests.lab.world import World, a_world

TEAMS, OWN = ["team-a", "team-b"], "operators"

pytestmark = [pytest.mark.slow, pytest.mark.control_plane, pytest.mark.prometheus]


def start(world: World, kubeconfig: Path, policies: dict[str, str]) -> None:
    """The daemon with files of policies, as its pod would have them mounted."""
    world.kubeconfig, world.lease_namespace = kubeconfig, OWN
    world.policy_file.unlink()
    for name, text in policies.items():
        (world.policy_file.parent / name).write_text(text)
    world.start()


@pytest.mark.parametrize("prometheus_program", ["current"], indirect=True)
def test_it_scales_the_deployments_of_every_watched_namespace(
    control_plane: ControlPlane,
    kubectl: Path,
    helm: Path,
    prometheus: PrometheusServer,
    tmp_path: Path,
) -> None:
    control_plane.node.network = "127.1"
    sidecars = ScriptedSidecars()
    with ExitStack() as stack:
        stack.callback(control_plane.node.reset)
        worlds: list[World] = []
        for name in TEAMS:
            control_plane.create_namespace(name)
            (folder := tmp_path / name).mkdir()
            team = a_world(control_plane, name, prometheus, folder, sidecars)
            worlds.append(stack.enter_context(team))
        policies = [yaml.safe_load(each.policy_file.read_text()) for each in worlds]
        named = [{**each, "name": each["target"]["namespace"]} for each in policies]
        values = {"watchNamespaces": TEAMS, "policies": named}
        chart = render_chart(helm, tmp_path, values, namespace=OWN)
        control_plane.create_namespace(OWN)
        apply_objects(kubectl, control_plane.admin, chart, tmp_path)
        core = control_plane.core
        answer = core.create_namespaced_service_account_token(RELEASE, OWN, {"spec": {}})

        kubeconfig = control_plane.kubeconfig(answer.status.token)
        start(worlds[0], kubeconfig, one(chart, "ConfigMap", f"{RELEASE}-policies")["data"])
        for world in worlds:
            world.log = worlds[0].log
            world.users.per_pod = lambda index: 25 if index == 0 else 0
            world.deploy(1)

        for world in worlds:
            world.reaches(3)
        worlds[1].users.per_pod = lambda index: 3 if index == 0 else 0
        worlds[1].reaches(1)
        assert worlds[0].replicas() == 3
