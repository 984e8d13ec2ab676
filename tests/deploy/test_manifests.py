"""What our manifests promise, read from what `kubectl kustomize` makes of them."""

from __future__ import annotations

import argparse
import re
import subprocess
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.commands import run
from autoscaler.policy import Policy
from exporter import cli
from tests.deploy.manifests import (
    COMPONENTS,
    FOLDER,
    Object,
    containers,
    one,
    overlay,
    pod_specs,
    render,
)
from tests.deploy.monitoring import DASHBOARD, RULES
from tests.lab.build import PROMETHEUS, installed
from tests.lab.images import OURS

ROUTABLE = "bokeh-autoscaler/routable"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
EXPORTER_PORT = 9550
PROXIES = ("nginx", "haproxy")
DIGEST = re.compile(r"v?\d+\.\d+\.\d+[a-z-]*@sha256:[0-9a-f]{64}")


@pytest.fixture(scope="module")
def base(kubectl: Path) -> list[Object]:
    return render(kubectl, FOLDER / "base")


@pytest.fixture(scope="module")
def policy(base: list[Object], tmp_path_factory: pytest.TempPathFactory) -> Policy:
    [text] = one(base, "ConfigMap", "bokeh-autoscaler-policies")["data"].values()
    file = tmp_path_factory.mktemp("policy") / "policy.yaml"
    file.write_text(text)
    return load_policy(file)


def app(objects: list[Object]) -> Any:
    return one(objects, "Deployment", "bokeh-app")


def container(objects: list[Object], deployment: str, name: str) -> Any:
    spec = dict(pod_specs(objects))[deployment]
    return next(each for each in containers(spec) if each["name"] == name)


def launch_options(objects: list[Object]) -> argparse.Namespace:
    """What the launcher makes of its command line; the image's entry point is `launch --`."""
    words = container(objects, "bokeh-app", "app")["args"]
    own = words if words[0] == "launch" else ["launch", "--", *words]
    return cli.parser().parse_args(own)


def daemon_options(objects: list[Object]) -> argparse.Namespace:
    """What the daemon makes of its command line."""
    command, *words = container(objects, "bokeh-autoscaler", "autoscaler")["args"]
    assert command == "run"
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_goes_with_the_base_alone(
    kubectl: Path, base: list[Object], tmp_path: Path, component: str
) -> None:
    assert render(kubectl, overlay(tmp_path, [component])) != base


def test_what_is_recommended_is_the_base_with_a_proxy_and_monitoring(
    kubectl: Path, tmp_path: Path
) -> None:
    """But for one option of the daemon and one of the app, which nobody may ask past the proxy."""
    parts = render(kubectl, overlay(tmp_path, ["sticky-haproxy", "monitoring"]))
    objects = render(kubectl, FOLDER / "recommended")

    changed = [each for each in objects if each not in parts]
    assert {(each["kind"], each["metadata"]["name"]) for each in changed} == {
        ("Deployment", "bokeh-app"),
        ("Deployment", "bokeh-autoscaler"),
        ("NetworkPolicy", "bokeh-app"),
        ("NetworkPolicy", "bokeh-autoscaler-apps"),
    }
    assert len(objects) == len(parts) + 1
    assert option_changes(parts, objects, "bokeh-app", "app") == (
        [],
        ["--use-xheaders"],
    )
    assert option_changes(parts, objects, "bokeh-autoscaler", "autoscaler") == (
        ["--prometheus-url=http://prometheus:9090"],
        ["--prometheus-url=http://prometheus-operated.monitoring:9090"],
    )


def option_changes(
    before: list[Object], after: list[Object], deployment: str, name: str
) -> tuple[list[str], list[str]]:
    """The arguments that only one of two versions of a container has."""
    old, new = (container(each, deployment, name)["args"] for each in (before, after))
    return [a for a in old if a not in new], [a for a in new if a not in old]


def test_the_hpa_for_comparison_has_the_target_and_the_bounds_of_the_policy(
    kubectl: Path, tmp_path: Path
) -> None:
    objects = render(kubectl, overlay(tmp_path, ["hpa-cpu-only"]))
    hpa = one(objects, "HorizontalPodAutoscaler", "bokeh-app")["spec"]
    text = one(objects, "ConfigMap", "bokeh-autoscaler-policies")["data"]["bokeh-app.yaml"]
    policy = yaml.safe_load(text)

    assert hpa["scaleTargetRef"]["name"] == policy["target"]["deployment"]
    bounds = {"min": hpa["minReplicas"], "max": hpa["maxReplicas"]}
    assert bounds == policy["replicas"]


# What there is once in a cluster. None of them grants a right.
WITHOUT_NAMESPACE = {
    ("CustomResourceDefinition", "scalingpolicies.bokeh-autoscaler.io"),
    ("Namespace", "bokeh"),
    ("Namespace", "bokeh-autoscaler"),
    ("PriorityClass", "bokeh-autoscaler"),
    ("ValidatingAdmissionPolicy", "bokeh-autoscaler"),
    ("ValidatingAdmissionPolicyBinding", "bokeh-autoscaler"),
}
OURS_ALONE = {"bokeh-autoscaler", "prometheus"}


def test_no_right_is_cluster_wide(everything: list[Object]) -> None:
    named = {
        (each["kind"], each["metadata"]["name"])
        for each in everything
        if "namespace" not in each["metadata"]
    }

    assert named == WITHOUT_NAMESPACE


def test_the_daemon_and_prometheus_are_in_a_namespace_without_apps(
    everything: list[Object],
) -> None:
    where = {
        each["metadata"]["name"]: each["metadata"]["namespace"]
        for each in everything
        if each["kind"] == "Deployment"
    }

    assert {name for name, space in where.items() if space == "bokeh-autoscaler"} == OURS_ALONE
    assert {space for name, space in where.items() if name not in OURS_ALONE} == {"bokeh"}


def test_what_decides_and_what_is_scraped_is_no_matter_of_those_who_change_apps(
    everything: list[Object],
) -> None:
    kinds = {"ConfigMap", "PodMonitor", "PrometheusRule", "ServiceAccount"}
    found = {
        (each["kind"], each["metadata"]["name"].split("-")[0])
        for each in everything
        if each["kind"] in kinds and each["metadata"]["namespace"] == "bokeh"
    }

    assert found == {("ConfigMap", "sticky")}


def test_only_the_daemon_and_prometheus_have_a_token_and_it_is_short_lived(
    everything: list[Object],
) -> None:
    for name, spec in pod_specs(everything):
        assert spec["automountServiceAccountToken"] is False
        sources = [s for v in spec["volumes"] for s in v.get("projected", {}).get("sources", ())]
        lives = [
            s["serviceAccountToken"]["expirationSeconds"]
            for s in sources
            if len(s) == 1 and "serviceAccountToken" in s
        ]
        assert lives == ([1800] if name in OURS_ALONE else []), name
    accounts = [each for each in everything if each["kind"] == "ServiceAccount"]
    assert {each["metadata"]["name"] for each in accounts} == OURS_ALONE
    assert not any(each["automountServiceAccountToken"] for each in accounts)


def test_no_pod_with_users_is_ended_for_one_of_less_priority_and_ours_end_nobody(
    everything: list[Object],
) -> None:
    priority = one(everything, "PriorityClass", "bokeh-autoscaler")

    assert priority["value"] > 0
    assert priority["preemptionPolicy"] == "Never"
    for name, spec in pod_specs(everything):
        assert spec["priorityClassName"] == priority["metadata"]["name"], name


def test_every_container_is_restricted_and_cannot_write_its_image(
    everything: list[Object],
) -> None:
    for _, spec in pod_specs(everything):
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] > 0
        for each in containers(spec):
            context = each["securityContext"]
            assert context["readOnlyRootFilesystem"], each["name"]
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_every_container_has_its_memory_for_itself(everything: list[Object]) -> None:
    for _, spec in pod_specs(everything):
        for each in containers(spec):
            requests, limits = each["resources"]["requests"], each["resources"]["limits"]
            assert requests["memory"] == limits["memory"], each["name"]
            assert requests["cpu"]


def test_images_of_others_are_named_by_digest_and_ours_have_this_version(
    everything: list[Object],
) -> None:
    images = {each["image"] for _, spec in pod_specs(everything) for each in containers(spec)}
    tags = dict(image.partition(":")[::2] for image in images)

    others = {name: tags.pop(name) for name in ("prom/prometheus", *PROXIES) if name in tags}
    assert len(others) == 2
    for name, tag in others.items():
        assert DIGEST.fullmatch(tag), name
    assert tags == dict.fromkeys(OURS, version("bokeh-autoscaler"))


def test_no_probe_creates_a_session(everything: list[Object]) -> None:
    for _, spec in pod_specs(everything):
        for each in containers(spec):
            names = {port["name"]: port["containerPort"] for port in each.get("ports", ())}
            for probe in (each[kind] for kind in PROBES if kind in each):
                port = probe.get("httpGet", {}).get("port")
                assert names.get(port, port) != 5006, f"{each['name']}: {probe}"


def test_a_busy_server_has_time_to_answer_its_probes(base: list[Object]) -> None:
    probe = container(base, "bokeh-app", "app")["readinessProbe"]

    assert probe["httpGet"] == {"path": "/readyz", "port": EXPORTER_PORT}
    assert probe["timeoutSeconds"] >= 5
    assert probe["failureThreshold"] >= 6


def test_the_sidecar_outlives_the_app_and_is_there_before_it(base: list[Object]) -> None:
    sidecar = container(base, "bokeh-app", "exporter")

    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert cli.parser().parse_args(sidecar["args"]).port == EXPORTER_PORT
    assert [port["containerPort"] for port in sidecar["ports"]] == [EXPORTER_PORT]


def test_the_grace_period_covers_the_longest_drain(base: list[Object]) -> None:
    spec = app(base)["spec"]["template"]["spec"]
    hook = container(base, "bokeh-app", "app")["lifecycle"]["preStop"]["sleep"]["seconds"]

    longest = hook + launch_options(base).drain_deadline

    assert spec["terminationGracePeriodSeconds"] >= longest + 30


def test_new_users_come_by_a_label_that_a_pod_can_lose(base: list[Object]) -> None:
    selector = app(base)["spec"]["selector"]["matchLabels"]
    labels = app(base)["spec"]["template"]["metadata"]["labels"]
    service = one(base, "Service", "bokeh-app")["spec"]["selector"]

    assert service == {**selector, ROUTABLE: "true"}
    assert ROUTABLE not in selector
    assert labels[ROUTABLE] == "true"


def test_a_rollout_takes_no_pod_before_a_new_one_is_ready(base: list[Object]) -> None:
    assert app(base)["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert one(base, "PodDisruptionBudget", "bokeh-app")["spec"]["maxUnavailable"] == 1


def test_applying_again_does_not_undo_the_daemons_scaling(base: list[Object]) -> None:
    assert "replicas" not in app(base)["spec"]


def test_a_new_daemon_stands_by_before_the_old_one_goes(base: list[Object]) -> None:
    spec = one(base, "Deployment", "bokeh-autoscaler")["spec"]

    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_daemon_may_write_the_lease_that_it_takes_and_no_other(base: list[Object]) -> None:
    options = daemon_options(base)
    daemon = one(base, "Deployment", "bokeh-autoscaler")
    role = one(base, "Role", "bokeh-autoscaler-leases")
    own, create = role["rules"]
    (old,) = [
        r for r in one(base, "Role", "bokeh-autoscaler")["rules"] if "leases" in r["resources"]
    ]

    assert role["metadata"]["namespace"] == daemon["metadata"]["namespace"]
    names = ["daemons", *range(options.shards)]
    assert own["resourceNames"] == [f"{options.lease}-{each}" for each in names]
    assert "resourceNames" not in create
    assert create["verbs"] == ["create"]
    assert old["resourceNames"] == [options.lease]
    assert "create" not in old["verbs"]


def test_the_secret_key_comes_from_a_secret_that_is_in_no_manifest(
    everything: list[Object],
) -> None:
    [source] = container(everything, "bokeh-app", "app")["envFrom"]

    assert source["secretRef"] == {"name": "bokeh-app"}, "and not `optional`"
    assert not any(each["kind"] == "Secret" for each in everything)


def test_nothing_that_we_ship_lets_every_site_open_a_websocket() -> None:
    root = FOLDER.parents[1]
    files = [each for each in (root / "deploy").rglob("*") if each.is_file()]
    files += [root / "README.md", *(root / "docs").rglob("*.md")]

    assert [str(each) for each in files if b"origin=*" in each.read_bytes()] == []


def test_the_policy_is_right_and_means_our_deployment(base: list[Object], policy: Policy) -> None:
    metadata = app(base)["metadata"]

    assert (policy.target.namespace, policy.target.deployment) == ("bokeh", metadata["name"])


def test_the_daemon_reads_the_policies_where_they_are_mounted(base: list[Object]) -> None:
    daemon = container(base, "bokeh-autoscaler", "autoscaler")
    mounts = {m["name"]: m for m in daemon["volumeMounts"]}

    assert daemon_options(base).policies == [Path(mounts["policies"]["mountPath"])]
    assert "subPath" not in mounts["policies"]  # the kubelet does not update a subPath
    [volume] = [
        v for v in dict(pod_specs(base))["bokeh-autoscaler"]["volumes"] if v["name"] == "policies"
    ]
    assert volume["configMap"]["name"] == "bokeh-autoscaler-policies"


def test_the_daemon_asks_the_prometheus_of_the_component(everything: list[Object]) -> None:
    url = urlsplit(daemon_options(everything).prometheus_url)
    service = one(everything, "Service", url.hostname or "")

    assert url.port in [port["port"] for port in service["spec"]["ports"]]


def test_the_daemon_knows_how_often_the_sidecars_are_scraped(everything: list[Object]) -> None:
    settings = one(everything, "ConfigMap", "prometheus")["data"]["prometheus.yml"]
    apps = one(everything, "PodMonitor", "bokeh-autoscaler-apps")
    monitor = apps["spec"]["podMetricsEndpoints"][0]
    interval = f"{daemon_options(everything).scrape_interval:g}s"

    assert yaml.safe_load(settings)["global"]["scrape_interval"] == interval
    assert monitor["interval"] == interval


def test_a_pod_monitor_means_a_port_that_its_pods_have(everything: list[Object]) -> None:
    templates = [e["spec"]["template"] for e in everything if e["kind"] == "Deployment"]
    for monitor in (each for each in everything if each["kind"] == "PodMonitor"):
        wanted = monitor["spec"]["selector"].get("matchLabels", {}).items()
        chosen = [t["spec"] for t in templates if wanted <= t["metadata"]["labels"].items()]
        ports = [p["name"] for spec in chosen for c in containers(spec) for p in c.get("ports", ())]
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            assert ports.count(endpoint["port"]) == 1


def test_prometheus_reads_the_rules_where_they_are_mounted(everything: list[Object]) -> None:
    settings = yaml.safe_load(one(everything, "ConfigMap", "prometheus")["data"]["prometheus.yml"])
    spec = dict(pod_specs(everything))["prometheus"]
    mounts = {m["name"]: m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
    [volume] = [v for v in spec["volumes"] if v["name"] == "rules"]
    data = one(everything, "ConfigMap", volume["configMap"]["name"])["data"]

    [pattern] = settings["rule_files"]
    assert [fnmatch(f"{mounts['rules']}/{name}", pattern) for name in data] == [True]
    assert data["bokeh-autoscaler.yaml"] == RULES.read_text()


def test_grafana_finds_the_dashboard_by_its_label(everything: list[Object]) -> None:
    [found] = [
        each
        for each in everything
        if each["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
    ]

    assert found["data"] == {"bokeh-autoscaler.json": DASHBOARD.read_text()}


def test_prometheus_itself_finds_no_fault_with_its_settings(
    everything: list[Object], tmp_path: Path
) -> None:
    programs = installed(PROMETHEUS)
    if programs is None:
        pytest.skip("NO PROMTOOL: `make parts` builds it (2 min once)")
    file = tmp_path / "prometheus.yml"
    file.write_text(one(everything, "ConfigMap", "prometheus")["data"]["prometheus.yml"])

    check = (programs / "promtool", "check", "config", "--lint=all", "--lint-fatal", file)
    result = subprocess.run(check, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr
