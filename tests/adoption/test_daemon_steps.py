"""How the steps of `autoscaler init` bring the app to daemon and Prometheus, and from an HPA."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.adoption.step import sockets
from autoscaler.cli import main
from autoscaler.policy import RefusalTarget, SessionsMetric
from tests.adoption import apps
from tests.adoption.apps import Objects
from tests.deploy.pages import blocks

BACK = "## The way back"
TARGET = {"kind": "Deployment", "name": "dashboards"}
CPU = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
HPA: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "by-cpu", "namespace": "team"},
    "spec": {
        "scaleTargetRef": TARGET,
        "minReplicas": 2,
        "maxReplicas": 7,
        "metrics": [{"type": "Resource", "resource": CPU}],
    },
}
TRIGGER = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}
SCALED_OBJECT: dict[str, Any] = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "by-keda", "namespace": "team"},
    "spec": {
        "scaleTargetRef": {"name": "dashboards"},
        "minReplicaCount": 2,
        "maxReplicaCount": 7,
        "triggers": [TRIGGER],
    },
}
OTHERS = {"an HPA": HPA, "a ScaledObject": SCALED_OBJECT}


def steps(folder: Path, objects: Objects, *words: str) -> Path:
    """The page of steps for an app."""
    file, output = apps.write(folder, objects), folder / "adoption"
    assert main(["init", str(file), "--output", str(output), *words]) == 0
    return output / "STEPS.md"


def scaled_by(other: dict[str, Any]) -> Objects:
    return [*apps.app(apps.BOKEH, apps.moved_to("team")), other]


@pytest.mark.parametrize("case", OTHERS)
def test_the_printed_conversion_is_the_policy_of_the_adopted_pods(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = steps(tmp_path, scaled_by(OTHERS[case]), "--seats", "8")
    [block] = [each for each in blocks(page, "sh") if "autoscaler convert" in each]
    save, convert, use = block.splitlines()
    kind, name = OTHERS[case]["kind"].lower(), OTHERS[case]["metadata"]["name"]
    assert save.startswith(f"kubectl -n team get {kind} {name} -o yaml > ")
    Path(shlex.split(save)[-1]).write_text(json.dumps(OTHERS[case]))

    assert main(shlex.split(convert)[1:]) == 0

    move, made, place = shlex.split(use)
    assert move == "mv"
    before = load_policy(Path(place))
    Path(made).replace(place)
    after = load_policy(Path(place))
    assert (after.name, after.target) == (before.name, before.target)
    assert after.target.deployment == "dashboards-2"
    assert (after.replicas.min, after.replicas.max) == (2, 7)
    sessions, _cpu = after.metrics
    assert isinstance(sessions, SessionsMetric)
    assert sessions.seats == 8


@pytest.mark.parametrize("words", [(), ("--helm",), ("--sticky", "haproxy")], ids=" ".join)
@pytest.mark.parametrize("case", OTHERS)
def test_the_other_autoscaler_is_deleted_right_before_the_users_leave_its_pods(
    case: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    text, _, back = steps(tmp_path, scaled_by(OTHERS[case]), *words).read_text().partition(BACK)

    kind, name = OTHERS[case]["kind"], OTHERS[case]["metadata"]["name"]
    delete = f"kubectl -n team delete {kind.lower()} {name}"
    order = ("autoscaler convert ", "autoscaler doctor --n", delete, "patch service")
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    [restored] = re.findall(r"kubectl apply -f (\S+autoscaler-\S+)", back)
    assert f"-o yaml > {restored}" in text
    assert (kind == "ScaledObject") == ("restoreToOriginalReplicaCount" in text)


def test_in_place_the_other_autoscaler_is_deleted_before_the_daemon_scales(tmp_path: Path) -> None:
    text = steps(tmp_path, scaled_by(HPA), "--in-place").read_text()

    order = ("rollout status", "autoscaler convert ", "delete horizontalpod", "patch configmap")
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    assert "--deployment dashboards " in text


def test_the_policy_keeps_as_many_seats_free_as_newcomers_need(tmp_path: Path) -> None:
    page = steps(tmp_path, apps.app())

    file = page.parent / "policy-dashboards" / "policy.yaml"
    [sessions] = load_policy(file).metrics
    assert isinstance(sessions, SessionsMetric)
    assert isinstance(sessions.spare, RefusalTarget)
    assert "burst" in file.read_text()


@pytest.mark.parametrize("namespace", ["bokeh", "team"])
def test_the_steps_of_the_chart_say_who_scrapes_before_the_policy(
    namespace: str, tmp_path: Path
) -> None:
    page = steps(tmp_path, apps.app(apps.BOKEH, apps.moved_to(namespace)), "--helm")

    text = page.read_text()
    assert text.index(f"Let Prometheus scrape {namespace}") < text.index("helm upgrade ")
    assert "podMonitor: {enabled: true}" in text
    assert "deploy/helm/README.md, Without a Prometheus" in text
    assert (namespace == "team") == (page.parent / "prometheus-team").exists()
    assert (namespace == "team") == ("prometheus-team copied beside it" in text)


def test_no_step_restarts_prometheus(tmp_path: Path) -> None:
    page = steps(tmp_path, apps.app(apps.BOKEH, apps.moved_to("team")))

    assert "rollout restart" not in page.read_text()


def without_probe(objects: Objects) -> None:
    apps.pod(objects)["containers"][0].pop("readinessProbe", None)


def with_probe(objects: Objects) -> None:
    apps.pod(objects)["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 5006}}


@pytest.mark.parametrize("change", [without_probe, with_probe])
def test_the_way_back_waits_for_pods_that_are_ready_too_early(
    change: apps.Change, tmp_path: Path
) -> None:
    back = steps(tmp_path, apps.app(apps.BOKEH, change)).read_text().partition(BACK)[2]

    waits = re.findall(r"until cat /proc/net/tcp .*:138E .* 0A ", back)
    assert len(waits) == (change is without_probe)
    if waits:
        assert back.index("rollout status") < back.index(waits[0]) < back.index("patch service")


def test_a_port_is_listened_on_when_a_server_is_there() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        pattern = sockets(server.getsockname()[1], "0A")
        look = ["sh", "-c", f'cat /proc/net/tcp /proc/net/tcp6 | grep -q "{pattern}"']

        assert subprocess.run(look, check=False).returncode == 1
        server.listen()
        assert subprocess.run(look, check=False).returncode == 0
