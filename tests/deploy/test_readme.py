"""What the pages tell an operator to write and to read is there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from exporter import cli
from tests.deploy.chart import render_chart
from tests.deploy.manifests import BIG_DATA, FOLDER, Object, one, pinned, pod_specs, render
from tests.deploy.monitoring import alerts
from tests.deploy.pages import (
    ANSWERS_PAGE,
    BIG_DATA_PAGE,
    DEPLOY_PAGE,
    KUBERNETES_PAGE,
    WITH_LINKS,
    anchors,
    blocks,
)
from tests.lab.wheels import project_version

ROOT = FOLDER.parents[1]
NAME = "app.kubernetes.io/name"


@pytest.mark.parametrize("page", WITH_LINKS, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_somewhere(page: Path) -> None:
    for link, anchor in re.findall(r"\]\((?!https:)([^)#]*)#?([^)]*)\)", page.read_text()):
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}#{anchor}"


@pytest.mark.parametrize("page", WITH_LINKS, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_commands_name_files_that_exist(page: Path) -> None:
    for path in re.findall(r"(?:deploy|requirements)/[\w./-]+\w", "".join(blocks(page, "sh"))):
        assert (ROOT / path).exists(), path


@pytest.fixture(params=[0, 1], ids=["recommended", "parts"])
def printed_overlay(request: pytest.FixtureRequest, kubectl: Path, tmp_path: Path) -> list[Object]:
    """Either overlay of the page with all of its patches, rendered."""
    others = ("dashboards-2", "without-example")  # which tests of their own render
    every = blocks(KUBERNETES_PAGE, "yaml")
    printed = [text for text in every if not any(each in text for each in others)]
    overlays, parts = printed[:2], printed[2:]
    here = os.path.relpath(FOLDER, tmp_path)
    whole, chosen = (
        yaml.safe_load(text.replace("../bokeh-autoscaler/deploy/kubernetes", here))
        for text in (overlays[0], overlays[request.param])
    )
    settings = {**whole, **chosen}
    for part in map(yaml.safe_load, parts):
        for field, entries in part.items():
            settings[field] = [*settings.get(field, ()), *entries]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(settings))
    return render(kubectl, tmp_path)


def test_the_overlays_of_the_page_render(printed_overlay: list[Object]) -> None:
    objects = printed_overlay

    daemon = dict(pod_specs(objects))["bokeh-autoscaler"]["containers"][0]
    assert "--scrape-interval=15s" in daemon["args"]
    assert daemon["image"] == f"registry.example.com/bokeh-autoscaler:{project_version()}"
    app = dict(pod_specs(objects))["bokeh-app"]["containers"][0]
    assert app["image"] == "registry.example.com/my-app:1"
    assert one(objects, "Deployment", "bokeh-autoscaler")["spec"]["replicas"] == 2
    assert one(objects, "Service", "sticky-haproxy")["spec"]["type"] == "LoadBalancer"
    rules = {tuple(r["resources"]): r for r in one(objects, "Role", "bokeh-autoscaler")["rules"]}
    assert rules["deployments/scale",]["resourceNames"] == ["bokeh-app", "dashboards"]
    proxy = dict(pod_specs(objects))["sticky-haproxy"]
    tag, digest = pinned("sticky-haproxy")
    image = f"registry.example.com/haproxy:{tag}@{digest}"
    assert proxy["containers"][0]["image"] == image
    [volume] = proxy["volumes"]
    trusted = one(objects, "ConfigMap", volume["configMap"]["name"])["data"]["trusted.lst"]
    assert trusted == "10.0.0.0/8"
    scraped = [("PodMonitor", "bokeh-autoscaler-apps"), ("Service", "prometheus")]
    assert any((each["kind"], each["metadata"]["name"]) in scraped for each in objects)


# What an operator has, in files and with names that our components do not know.
NAMED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: dashboards-2, namespace: bokeh}
spec:
  selector:
    matchLabels: {app.kubernetes.io/name: dashboards-2}
  template:
    metadata:
      labels: {app.kubernetes.io/name: dashboards-2, bokeh-autoscaler/routable: "true"}
    spec:
      initContainers:
        - {name: exporter, image: bokeh-exporter, restartPolicy: Always}
      containers:
        - {name: app, image: registry.example.com/dashboards:1, args: [bokeh, serve, app.py]}
"""


def test_the_components_fit_an_app_of_another_name(kubectl: Path, tmp_path: Path) -> None:
    [text] = [each for each in blocks(KUBERNETES_PAGE, "yaml") if "dashboards-2" in each]
    here = os.path.relpath(FOLDER, tmp_path)
    overlay = text.replace("../bokeh-autoscaler/deploy/kubernetes", here)
    overlay = overlay.replace(
        "sticky-haproxy", f"sidecar-token\n  - {here}/components/sticky-haproxy"
    )
    daemon = {**yaml.safe_load(NAMED), "metadata": {"name": "bokeh-autoscaler"}}
    daemon["metadata"] |= {"namespace": "bokeh-autoscaler", "labels": {NAME: "bokeh-autoscaler"}}
    daemon["spec"]["template"]["spec"] = {
        "containers": [{"name": "autoscaler", "image": "x", "args": ["run"]}]
    }
    (tmp_path / "dashboards-2.yaml").write_text(f"{NAMED}---\n{yaml.safe_dump(daemon)}")
    (tmp_path / "kustomization.yaml").write_text(overlay)

    objects = render(kubectl, tmp_path)

    specs = dict(pod_specs(objects))
    assert set(specs) == {"dashboards-2", "bokeh-autoscaler", "sticky-haproxy"}
    app = specs["dashboards-2"]
    assert {each["name"] for each in app["initContainers"]} == {"exporter", "agent"}
    [container] = app["containers"]
    started = [*container["command"], *container["args"]]
    assert started == ["python", "/bokeh-exporter", "launch", "--", "bokeh", "serve", "app.py"]
    [exporter] = [each for each in app["initContainers"] if each["name"] == "exporter"]
    assert exporter["env"][0]["name"] == "BOKEH_EXPORTER_TOKEN_FILE"
    assert not {"initContainers", "command"} & {
        *specs["sticky-haproxy"],
        *specs["bokeh-autoscaler"],
    }
    labels = one(objects, "Deployment", "dashboards-2")["spec"]["template"]["metadata"]["labels"]
    for name in ("sticky-routable", "sticky-all"):
        assert one(objects, "Service", name)["spec"]["selector"].items() <= labels.items()
    hpa = one(objects, "HorizontalPodAutoscaler", "bokeh-app")["spec"]["scaleTargetRef"]
    assert hpa["name"] == "dashboards-2"


def test_the_page_says_how_an_untouched_image_starts() -> None:
    [container] = yaml.safe_load(blocks(DEPLOY_PAGE, "yaml")[0])["containers"]

    launched = cli.parser().parse_args(["launch", "--", *container["args"]])
    assert launched.command[1:3] == ["bokeh", "serve"]
    assert container["name"] == "app"


def test_the_settings_of_an_untouched_app_are_of_a_container() -> None:
    environment = blocks(DEPLOY_PAGE, "yaml")[1]

    [variable] = yaml.safe_load(environment)["env"]

    folder = Path(variable["value"]).relative_to("/bokeh-exporter")
    assert (FOLDER.parents[1] / folder / "sitecustomize.py").is_file()


def test_the_values_of_the_page_bring_the_monitoring(helm: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(blocks(DEPLOY_PAGE, "yaml")[2])

    objects = render_chart(helm, tmp_path, values)

    assert one(objects, "PrometheusRule", "bokeh-autoscaler")["metadata"]["labels"]
    dashboard = one(objects, "ConfigMap", "bokeh-autoscaler-dashboard")["metadata"]
    assert dashboard["annotations"] == {"grafana_folder": "Bokeh"}
    assert dashboard["labels"] == {"grafana_dashboard": "1"}


def test_the_page_names_the_alerts_that_are_for_a_person_now() -> None:
    critical = {name for name, rule in alerts().items() if rule["labels"]["severity"] == "critical"}

    assert set(re.findall(r"\bBokeh[A-Z]\w+", ANSWERS_PAGE.read_text())) == critical


def test_the_overlay_of_the_example_renders(kubectl: Path, tmp_path: Path) -> None:
    [text] = blocks(BIG_DATA_PAGE, "yaml")
    here = os.path.relpath(BIG_DATA, tmp_path)
    overlay = text.replace("../bokeh-autoscaler/deploy/examples/big-data", here)
    (tmp_path / "kustomization.yaml").write_text(overlay)

    objects = render(kubectl, tmp_path)

    deployments = dict(pod_specs(objects))
    assert {"bokeh-app", "points", "dask-scheduler", "dask-worker"} <= set(deployments)
    assert one(objects, "PodMonitor", "points")
