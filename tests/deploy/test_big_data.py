"""The manifests of the big-data example: on top of the base, and as strict."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.policy import Policy
from exporter.metrics import TABLE
from tests.deploy.manifests import BIG_DATA as FOLDER
from tests.deploy.manifests import Object, big_data, containers, one, pod_specs, render
from tests.deploy.test_images import installs, pins, stages
from tests.lab.images import EXAMPLES, OURS, ROOT

SERVICE_METRICS = {"big_data_requests_total", "process_cpu_seconds_total"}


@pytest.fixture(scope="module")
def objects(kubectl: Path) -> list[Object]:
    return render(kubectl, FOLDER)


@pytest.fixture(scope="module")
def with_dask(kubectl: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    return render(kubectl, big_data(tmp_path_factory.mktemp("dask"), ["dask"]))


@pytest.fixture(scope="module")
def policies(objects: list[Object], tmp_path_factory: pytest.TempPathFactory) -> list[Policy]:
    texts = one(objects, "ConfigMap", "bokeh-autoscaler-policies")["data"]
    folder = tmp_path_factory.mktemp("policies")
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [load_policy(folder / name) for name in texts]


def container(objects: list[Object], deployment: str, name: str) -> Any:
    spec = dict(pod_specs(objects))[deployment]
    return next(each for each in containers(spec) if each["name"] == name)


def test_the_galaxy_takes_the_place_of_the_example_app(objects: list[Object]) -> None:
    assert set(dict(pod_specs(objects))) == {
        "bokeh-app",
        "bokeh-autoscaler",
        "points",
        "prometheus",
    }
    rules = one(objects, "Role", "bokeh-autoscaler")["rules"]
    [scaled] = [rule for rule in rules if rule["resources"] == ["deployments/scale"]]
    assert scaled["resourceNames"] == ["bokeh-app", "points"]


def test_every_container_is_restricted_with_memory_of_its_own(with_dask: list[Object]) -> None:
    for name, spec in pod_specs(with_dask):
        assert spec["securityContext"]["runAsNonRoot"], name
        for each in containers(spec):
            context, resources = each["securityContext"], each["resources"]
            assert context["readOnlyRootFilesystem"], (name, each["name"])
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert resources["requests"]["memory"] == resources["limits"]["memory"]
            assert resources["requests"]["cpu"]


def test_every_image_is_one_that_we_can_build_in_this_version(with_dask: list[Object]) -> None:
    images = {each["image"] for _, spec in pod_specs(with_dask) for each in containers(spec)}
    tags = dict(image.partition(":")[::2] for image in images)
    del tags["prom/prometheus"]

    assert set(tags) == {*OURS, *EXAMPLES} - {"bokeh-example"}
    assert set(tags.values()) == {version("bokeh-autoscaler")}


def test_app_and_service_are_each_scaled_by_a_policy_of_their_own(
    objects: list[Object], policies: list[Policy]
) -> None:
    by_deployment = {policy.target.deployment: policy for policy in policies}

    assert set(by_deployment) == {"bokeh-app", "points"}
    assert {policy.target.namespace for policy in policies} == {"bokeh"}
    galaxy, points = by_deployment["bokeh-app"], by_deployment["points"]
    assert {metric.type for metric in galaxy.metrics} == {"sessions", "memory", "cpu", "prometheus"}
    assert {metric.type for metric in points.metrics} == {"prometheus"}
    assert galaxy.drain is not None
    assert points.drain is None
    for name in by_deployment:
        assert "replicas" not in one(objects, "Deployment", name)["spec"]


def test_the_queries_ask_for_metrics_that_are_served(policies: list[Policy]) -> None:
    served = SERVICE_METRICS | {spec.name for spec in TABLE}
    queries = [m.query for p in policies for m in p.metrics if m.type == "prometheus"]
    asked = {name for query in queries for name in re.findall(r"(\w+)\{", query)}

    assert asked
    assert asked <= served


def test_prometheus_scrapes_the_service(objects: list[Object]) -> None:
    settings = yaml.safe_load(one(objects, "ConfigMap", "prometheus")["data"]["prometheus.yml"])
    [port] = container(objects, "points", "service")["ports"]
    rules = [rule for job in settings["scrape_configs"] for rule in job["relabel_configs"]]
    kept = [re.compile(rule["regex"]) for rule in rules if rule.get("action") == "keep"]

    assert any(each.fullmatch(port["name"]) for each in kept)


def test_the_prometheus_operator_scrapes_the_service(kubectl: Path, tmp_path: Path) -> None:
    objects = render(kubectl, big_data(tmp_path, ["monitoring"]))
    monitor = one(objects, "PodMonitor", "points")["spec"]
    labels = one(objects, "Deployment", "points")["spec"]["template"]["metadata"]["labels"]
    [port] = container(objects, "points", "service")["ports"]

    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert [each["port"] for each in monitor["podMetricsEndpoints"]] == [port["name"]]


def test_requests_reach_the_port_that_the_image_listens_on(objects: list[Object]) -> None:
    service = one(objects, "Service", "points")["spec"]
    [port] = container(objects, "points", "service")["ports"]
    [environment] = [
        each["value"]
        for each in container(objects, "bokeh-app", "app")["env"]
        if each["name"] == "BIG_DATA_SERVICE"
    ]

    assert service["selector"].items() <= {"app.kubernetes.io/name": "points"}.items()
    assert [p["targetPort"] for p in service["ports"]] == [port["name"]]
    assert [p["port"] for p in service["ports"]] == [80]
    assert environment == "http://points"
    assert f'"--port={port["containerPort"]}"' in (FOLDER / "service.Dockerfile").read_text()


def test_the_app_is_the_one_that_the_image_has(objects: list[Object]) -> None:
    words = container(objects, "bokeh-app", "app")["args"]
    files = {word.removeprefix("--setup=") for word in words if word.endswith(".py")}

    assert files == {"app.py", "warm.py"}
    for name in files:
        assert f"big-data/{name} " in (FOLDER / "app.Dockerfile").read_text()
        assert (FOLDER / name).is_file()


def test_every_reader_of_points_has_the_same_ones(with_dask: list[Object]) -> None:
    makers = [c for _, s in pod_specs(with_dask) for c in containers(s) if c["name"] == "points"]

    assert len(makers) == 3
    assert {tuple(each["command"]) for each in makers} == {tuple(makers[0]["command"])}


def test_with_dask_the_app_looks_for_the_scheduler_that_is_there(with_dask: list[Object]) -> None:
    [address] = [
        each["value"]
        for each in container(with_dask, "bokeh-app", "app")["env"]
        if each["name"] == "DASK_SCHEDULER"
    ]
    service = one(with_dask, "Service", "dask-scheduler")["spec"]

    assert address == f"tcp://dask-scheduler:{service['ports'][0]['port']}"
    assert address in container(with_dask, "dask-worker", "worker")["command"]


@pytest.mark.parametrize("name", EXAMPLES)
class TestDockerfile:
    def test_takes_its_base_as_an_argument(self, name: str) -> None:
        file = ROOT / EXAMPLES[name].dockerfile

        assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", file.read_text(), re.MULTILINE)
        assert set(stages(file)) <= {"${BASE}", "build"}
        assert stages(file)[-1] == "${BASE}"

    def test_installs_nothing_but_pinned_wheels_and_ours(self, name: str) -> None:
        dockerfile = ROOT / EXAMPLES[name].dockerfile
        first, *more = installs(dockerfile)

        assert "--require-hashes" in first
        assert f"COPY {EXAMPLES[name].requirements} /build/" in dockerfile.read_text()
        assert all("--no-deps" in each and each.endswith("/build/*.whl") for each in more)

    def test_copies_what_is_there(self, name: str) -> None:
        text = (ROOT / EXAMPLES[name].dockerfile).read_text()

        for path in re.findall(r"deploy/examples/[\w./-]+", text):
            assert (ROOT / path).exists(), path


def test_sidecar_and_app_agree_on_every_package_that_both_have() -> None:
    ours = pins(ROOT / "requirements" / "exporter.txt")
    apps = pins(ROOT / "requirements" / "big-data.txt")

    assert {name: apps[name] for name in ours} == ours
