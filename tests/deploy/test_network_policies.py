"""Who may connect to what, on every way to install us, as an API server keeps it too."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from autoscaler.cli import main
from tests.adoption import apps
from tests.deploy.chart import render_chart
from tests.deploy.manifests import FOLDER, Object, big_data, overlay, render, run_kubectl
from tests.deploy.pages import KUBERNETES_PAGE
from tests.deploy.reach import Pod, may_connect, pods, ports
from tests.lab.control_plane import ControlPlane

NAME = "app.kubernetes.io/name"
APPS, OWN = "bokeh", "bokeh-autoscaler"
SOURCES = {
    "daemon": Pod(OWN, {NAME: "bokeh-autoscaler"}),
    "Prometheus": Pod(OWN, {NAME: "prometheus"}),
    "the operator's": Pod("monitoring", {NAME: "prometheus", "prometheus": "k8s"}),
    "app": Pod(APPS, {NAME: "bokeh-app", "bokeh-autoscaler/routable": "true"}),
    "haproxy": Pod(APPS, {NAME: "sticky-haproxy"}),
    "scheduler": Pod(APPS, {NAME: "dask-scheduler"}),
    "worker": Pod(APPS, {NAME: "dask-worker"}),
    "a neighbour": Pod(APPS, {NAME: "shop"}),
    "who calls himself Prometheus": Pod(APPS, {NAME: "prometheus"}),
    "who calls himself the daemon": Pod(APPS, {NAME: "bokeh-autoscaler"}),
    "a stranger": Pod("elsewhere", {NAME: "shop"}),
    "a stranger like haproxy": Pod("elsewhere", {NAME: "sticky-haproxy"}),
    "a stranger like Prometheus": Pod("elsewhere", {NAME: "prometheus"}),
}
ANYBODY = set(SOURCES)
READERS = {"Prometheus", "the operator's"}
ALLOWED = {
    ("bokeh-app", 5006): ANYBODY,
    ("bokeh-app", 9550): {*READERS, "daemon"},
    ("bokeh-autoscaler", 9551): READERS,
    ("prometheus", 9090): {"daemon", "Prometheus"},
    ("sticky-haproxy", 8080): ANYBODY,
    ("sticky-haproxy", 8404): READERS,
    ("sticky-nginx", 8080): ANYBODY,
    ("sticky-nginx", 8081): set(),  # for the kubelet, which no policy stops
    ("points", 8000): ANYBODY,
    ("dask-scheduler", 8786): {"app", "worker"},
    ("dask-worker", 41234): {"scheduler", "worker"},
}
RECOMMENDED = ALLOWED | {("bokeh-app", 5006): {"haproxy"}}
# Workers listen where they like, and say so to nobody but the scheduler.
UNTOLD = {"dask-worker": 41234}
CHART = {"watchNamespaces": [APPS], "example": {"enabled": True}}
Render = Callable[[pytest.FixtureRequest, Path], list[Object]]


def kustomized(*components: str) -> Render:
    return lambda request, folder: render(kubectl_of(request), overlay(folder, components))


def from_chart(kind: str) -> Render:
    values = {**CHART, "proxy": {"enabled": True, "kind": kind}}
    return lambda request, folder: render_chart(request.getfixturevalue("helm"), folder, values)


def kubectl_of(request: pytest.FixtureRequest) -> Path:
    program: Path = request.getfixturevalue("kubectl")
    return program


PATHS: dict[str, Render] = {
    "base": kustomized(),
    "prometheus": kustomized("prometheus"),
    "monitoring": kustomized("monitoring"),
    "zero-touch": kustomized("zero-touch"),
    "sticky-haproxy": kustomized("sticky-haproxy", "prometheus"),
    "sticky-nginx": kustomized("sticky-nginx", "prometheus"),
    "recommended": lambda request, _: render(kubectl_of(request), FOLDER / "recommended"),
    "big-data": lambda request, folder: render(kubectl_of(request), big_data(folder, ["dask"])),
    "chart with haproxy": from_chart("haproxy"),
    "chart with nginx": from_chart("nginx"),
}


def test_sidecars_in_another_namespace_answer_as_few_as_ours(tmp_path: Path) -> None:
    file = apps.write(tmp_path, apps.app(apps.BOKEH, apps.moved_to("team")))
    output = tmp_path / "adoption"
    assert main(["init", str(file), "--output", str(output)]) == 0
    policy = yaml.safe_load((output / "policy-team-dashboards" / "network.yaml").read_text())
    patch = yaml.safe_load((output / "pods" / "patch.yaml").read_text())
    adopted = Pod("team", patch["spec"]["template"]["metadata"]["labels"])
    old = Pod("team", {"app": "dashboards"})

    def who(pod: Pod, port: int) -> set[str]:
        return {name for name, each in SOURCES.items() if may_connect([policy], each, pod, port)}

    assert who(adopted, 9550) == ALLOWED["bokeh-app", 9550]
    assert who(adopted, 5006) == who(old, 5006) == ANYBODY


@pytest.fixture(scope="module", params=PATHS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def installed(
    request: pytest.FixtureRequest, way: str, tmp_path_factory: pytest.TempPathFactory
) -> list[Object]:
    return PATHS[way](request, tmp_path_factory.mktemp("installed"))


def found(objects: list[Object]) -> dict[tuple[str, int], set[str]]:
    """Who may connect to each port of each Deployment."""
    targets = pods(objects)
    told = {*ports(objects), *((name, at) for name, at in UNTOLD.items() if name in targets)}
    return {
        (name, port): {
            who for who, pod in SOURCES.items() if may_connect(objects, pod, targets[name], port)
        }
        for name, port in told
    }


def test_every_port_is_open_to_those_who_need_it_and_to_nobody_else(
    installed: list[Object], way: str
) -> None:
    wanted = RECOMMENDED if way == "recommended" else ALLOWED

    got = found(installed)

    assert got == {place: wanted[place] for place in got}


def test_a_port_that_nobody_names_is_no_way_to_the_daemon_or_prometheus(
    installed: list[Object],
) -> None:
    targets = pods(installed)
    closed = {"bokeh-autoscaler", "prometheus", "sticky-haproxy", "sticky-nginx", "dask-scheduler"}

    for name, port in itertools.product(closed & set(targets), (22, 6060, 9552)):
        assert not [w for w, p in SOURCES.items() if may_connect(installed, p, targets[name], port)]


def test_an_adopted_app_is_open_to_its_users_and_its_sidecar_is_not(
    installed: list[Object],
) -> None:
    """Whatever its port: it has the label, and no policy of its own."""
    labels = {"app": "dashboards", "bokeh-autoscaler/routable": "false"}
    app = Pod(APPS, labels)

    for port in (80, 5006, 8888):
        assert all(may_connect(installed, pod, app, port) for pod in SOURCES.values())
    readers = {who for who, pod in SOURCES.items() if may_connect(installed, pod, app, 9550)}
    assert readers == ALLOWED["bokeh-app", 9550]


def test_without_them_everybody_reaches_everything(installed: list[Object], way: str) -> None:
    """So the table above was made by something that can tell."""
    bare = [each for each in installed if each["kind"] != "NetworkPolicy"]

    assert set(map(frozenset, found(bare).values())) == {frozenset(ANYBODY)}, way


def test_the_chart_lets_in_the_prometheus_that_its_values_name(helm: Path, tmp_path: Path) -> None:
    prometheus = {"namespaces": ["metrics"], "podLabels": {"app": "prometheus"}}
    values = {**CHART, "networkPolicy": {"prometheus": prometheus}, "proxy": {"enabled": True}}
    objects = render_chart(helm, tmp_path, values)
    named = Pod("metrics", {"app": "prometheus"})

    for (name, port), allowed in ALLOWED.items():
        if "the operator's" in allowed and allowed != ANYBODY and name in pods(objects):
            target = pods(objects)[name]
            assert may_connect(objects, named, target, port)
            assert not may_connect(objects, SOURCES["the operator's"], target, port)


def test_the_page_names_every_port_that_is_not_for_everybody() -> None:
    section = KUBERNETES_PAGE.read_text().split("## Who may connect to what\n")[1].split("\n## ")[0]

    for name, port in ALLOWED:
        if name in {"bokeh-app", "bokeh-autoscaler", "prometheus", "sticky-haproxy"}:
            assert port == 5006 or f"| {port} |" in section, (name, port)


@pytest.mark.slow
@pytest.mark.control_plane
def test_an_api_server_keeps_them_as_they_are_written(
    control_plane: ControlPlane, kubectl: Path, installed: list[Object], way: str, tmp_path: Path
) -> None:
    policies = [each for each in installed if each["kind"] == "NetworkPolicy"]
    access = ("--kubeconfig", control_plane.admin)
    run_kubectl(kubectl, "apply", *access, "-f", FOLDER / "base" / "namespace.yaml")
    (file := tmp_path / "policies.yaml").write_text(yaml.safe_dump_all(policies))
    dry = ("--dry-run=server", "--validate=strict", "-o", "yaml")

    told = yaml.safe_load(run_kubectl(kubectl, "apply", *access, *dry, "-f", file))

    kept = told["items"] if told["kind"] == "List" else [told]
    others = [each for each in installed if each["kind"] != "NetworkPolicy"]
    assert len(kept) == len(policies)
    assert found([*others, *kept]) == found(installed), way
