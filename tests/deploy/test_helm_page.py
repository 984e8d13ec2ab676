"""What the page of the chart prints works, on a real API server with the real helm."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chart import CHART, Values, render_chart, run_helm, template
from tests.deploy.manifests import FOLDER, one, render
from tests.deploy.pages import HELM_PAGE, UPGRADE_PAGE, blocks, commands, files, run_shell
from tests.deploy.reach import Pod, may_connect
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import wait_until

NAMESPACE = "bokeh-autoscaler"
# Pods of the control plane alone run nothing; tests/node runs the same line on a node.
NEEDS_CONTAINERS = " logs "


def first_values() -> Any:
    return yaml.safe_load(blocks(HELM_PAGE, "yaml")[0])


@pytest.mark.slow
@pytest.mark.control_plane
def test_the_commands_of_the_page_work(
    control_plane: ControlPlane, kubectl: Path, helm: Path, tmp_path: Path
) -> None:
    (tmp_path / "deploy").symlink_to(FOLDER.parent)
    (tmp_path / "my-values.yaml").write_text(blocks(HELM_PAGE, "yaml")[0])
    write_prometheus(tmp_path)
    path = f"{kubectl.parent}:{helm.parent}:{os.environ['PATH']}"
    environment = {"KUBECONFIG": str(control_plane.admin), "PATH": path}

    def deployments() -> list[str]:
        items = control_plane.apps.list_namespaced_deployment(NAMESPACE).items
        return [each.metadata.name for each in items if each.status.ready_replicas]

    started = {"bokeh-autoscaler", "prometheus"}

    def revision() -> str:
        """Which one was applied, as the last entry of the history tells."""
        told = run_shell(
            f"helm history bokeh-autoscaler -n {NAMESPACE} -o json", tmp_path, **environment
        )
        return str(json.loads(told)[-1]["description"]).removeprefix("Rollback to ")

    [back] = [each for each in commands(UPGRADE_PAGE) if each.startswith("helm rollback")]
    for command in commands(HELM_PAGE):
        if NEEDS_CONTAINERS in command:
            continue
        if command.startswith("helm uninstall"):
            wait_until(lambda: set(deployments()) == started, 120, "the pods of both")
            run_shell(back, tmp_path, **environment)
            assert revision() == "1"
        run_shell(command, tmp_path, **environment)

    wait_until(lambda: deployments() == [], 120, "nothing to be left")


def write_prometheus(folder: Path) -> Path:
    """Write the kustomization of the page, beside a checkout."""
    (folder / "bokeh-autoscaler").symlink_to(FOLDER.parents[1])
    (place := folder / "prometheus").mkdir()
    name = "kustomization.yaml"
    (place / name).write_text(files(HELM_PAGE)[f"{place.name}/{name}"])
    return place


def test_the_prometheus_of_the_page_fits_the_defaults_of_the_chart(
    kubectl: Path, helm: Path, tmp_path: Path
) -> None:
    ours = render(kubectl, write_prometheus(tmp_path))
    chart = render_chart(helm, tmp_path, first_values())

    deployment = one(ours, "Deployment", "prometheus")["spec"]["template"]
    service = one(ours, "Service", "prometheus")
    assert deployment["spec"]["priorityClassName"] in {
        each["metadata"]["name"] for each in chart if each["kind"] == "PriorityClass"
    }
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())["prometheus"]
    assert defaults["url"] == "http://{name}:9090".format(**service["metadata"])
    scrapes = yaml.safe_load(one(ours, "ConfigMap", "prometheus")["data"]["prometheus.yml"])
    assert defaults["scrapeInterval"] == scrapes["global"]["scrape_interval"]
    daemon = one(chart, "Deployment", NAMESPACE)["spec"]["template"]["metadata"]["labels"]
    pods = {
        "daemon": Pod(NAMESPACE, daemon),
        "Prometheus": Pod(NAMESPACE, deployment["metadata"]["labels"]),
    }
    assert may_connect(ours, pods["daemon"], pods["Prometheus"], 9090)
    assert may_connect(chart, pods["Prometheus"], pods["daemon"], 9551)


def test_a_wrong_key_is_refused_as_the_page_says(helm: Path, tmp_path: Path) -> None:
    values = first_values()
    values["policies"][0]["replicas"]["maximum"] = 20

    result = template(helm, tmp_path, values)

    assert result.returncode != 0
    assert result.stderr.strip() in HELM_PAGE.read_text()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"replicas": "two"}, "at '/replicas': got string, want integer"),
        ({"prometheus": "http://prometheus:9090"}, "at '/prometheus': got string, want object"),
        ({"watchNamespaces": "team-a"}, "at '/watchNamespaces': got string, want array"),
        ({"proxy": {"kind": "traefik"}}, "at '/proxy/kind': value must be one of"),
        ({"example": {"enabled": "yes"}}, "at '/example/enabled': got string, want boolean"),
        ({"replica": 2}, "at '': additional properties 'replica' not allowed"),
        (
            {"policies": [{"metrics": [{"type": "session"}]}]},
            "at '/policies/0/metrics/0/type': value must be one of 'cpu', 'memory', 'prometheus', ",
        ),
        (
            {"policies": [{"name": "a", "replicas": {"min": 1}}]},
            "at '/policies/0/replicas': missing property 'max'",
        ),
    ],
    ids=lambda given: "/".join(given) if isinstance(given, dict) else "",
)
def test_a_wrong_value_is_refused_with_its_path(
    helm: Path, tmp_path: Path, values: Values, told: str
) -> None:
    result = template(helm, tmp_path, values)

    assert result.returncode != 0
    assert told in result.stderr


def test_a_wrong_key_of_a_metric_is_told_of_its_own_kind_alone(helm: Path, tmp_path: Path) -> None:
    values = first_values()
    values["policies"][0]["metrics"] = [{"type": "sessions", "seats": 20, "spares": 10}]

    said = template(helm, tmp_path, values).stderr

    assert "at '/policies/0/metrics/0': additional properties 'spares' not allowed" in said
    assert not re.search("cpu|memory|query|utilization", said)


@pytest.mark.parametrize(
    "values", re.findall(r"^\| `(\w+: .+?)`", HELM_PAGE.read_text(), re.MULTILINE)
)
def test_each_value_of_the_table_brings_something(helm: Path, tmp_path: Path, values: str) -> None:
    without = render_chart(helm, tmp_path, {})

    assert render_chart(helm, tmp_path, yaml.safe_load(values)) != without


def test_the_chart_has_no_fault_that_helm_knows_of(helm: Path) -> None:
    result = run_helm(helm, "lint", CHART)

    assert result.returncode == 0, result.stdout
