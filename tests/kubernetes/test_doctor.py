"""`autoscaler doctor` before a real API server: silent on what we ship, and all faults at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.cli import main
from autoscaler.model import TargetRef
from autoscaler.ports import TargetState
from tests.deploy.manifests import FOLDER
from tests.deploy.pages import DOCTOR_PAGE, blocks
from tests.doctor.set_ups import shipped
from tests.lab.access import Access
from tests.lab.processes import wait_until
from tests.lab.role import our_rules, without

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]

APP = "bokeh-app"
ROUTABLE = "bokeh-autoscaler/routable"
POLICY = FOLDER / "base" / "policies" / "bokeh-app.yaml"
KINDS = {
    "Deployment": ("apps", "create_namespaced_deployment"),
    "Service": ("core", "create_namespaced_service"),
    "PodDisruptionBudget": ("policy", "create_namespaced_pod_disruption_budget"),
    "NetworkPolicy": ("network", "create_namespaced_network_policy"),
}


def policy_in(namespace: str) -> str:
    """The policy that we ship, for this namespace."""
    return POLICY.read_text().replace("namespace: bokeh,", f"namespace: {namespace},")


class SetUp:
    """What we ship, in one namespace of a real cluster, with the daemon's Deployment."""

    def __init__(self, cluster: Access, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.scaling: Any = client.AutoscalingV2Api(cluster.api)
        self._groups: dict[str, Any] = {
            "apps": cluster.apps,
            "core": cluster.core,
            "policy": client.PolicyV1Api(cluster.api),
            "network": client.NetworkingV1Api(cluster.api),
        }

    def create(self, rules: Any) -> None:
        """Create all of it, with these rights of the daemon, and wait for a ready pod."""
        self.cluster.service_account(self.namespace, "bokeh-autoscaler", rules)
        for each in shipped():
            if each["kind"] in KINDS:
                self._create(each)
        self.policies(policy_in(self.namespace))
        self.cluster.settle(self.namespace, APP, 1)
        self.cluster.settle(self.namespace, "bokeh-autoscaler", 2)
        wait_until(self._has_endpoint, 20, "a pod behind the Service")

    def _create(self, item: Any) -> None:
        item["metadata"]["namespace"] = self.namespace
        if item["kind"] == "Deployment":
            item["spec"]["template"]["spec"].pop("priorityClassName")
        if item["kind"] == "NetworkPolicy":  # the daemon is in this namespace too
            text = json.dumps(item).replace('"bokeh-autoscaler"}', f'"{self.namespace}"}}', 1)
            item = json.loads(text) if item["metadata"]["name"].endswith("-apps") else item
        group, call = KINDS[item["kind"]]
        getattr(self._groups[group], call)(self.namespace, item)

    def policies(self, text: str) -> None:
        """Give the daemon this policy."""
        meta = {"name": "bokeh-autoscaler-policies"}
        content = {"metadata": meta, "data": {POLICY.name: text}}
        self.cluster.core.create_namespaced_config_map(self.namespace, content)

    def _has_endpoint(self) -> bool:
        discovery: Any = client.DiscoveryV1Api(self.cluster.api)
        slices = discovery.list_namespaced_endpoint_slice(self.namespace).items
        return any(each.endpoints for each in slices)

    def doctor(self, *words: str, kubeconfig: Path | None = None) -> int:
        return main(
            [
                "doctor",
                *("--namespace", self.namespace, "--deployment", APP),
                *("--daemon", f"{self.namespace}/bokeh-autoscaler"),
                *("--kubeconfig", str(kubeconfig or self.cluster.admin)),
                *words,
            ]
        )


@pytest.fixture
def set_up(control_plane: Access, namespace: str) -> SetUp:
    return SetUp(control_plane, namespace)


def test_nothing_is_found_in_what_we_ship(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up.create(our_rules())

    code = set_up.doctor()

    assert capsys.readouterr().out == "nothing found\n"
    assert code == 0


def test_all_that_is_wrong_is_reported_at_once(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up.create(without("patch", "deployments/scale"))
    cluster, namespace = set_up.cluster, set_up.namespace
    cluster.apps.patch_namespaced_deployment(
        APP,
        namespace,
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 2}},
        field_manager="helm",
    )
    cluster.core.patch_namespaced_service(APP, namespace, {"spec": {"selector": {ROUTABLE: None}}})
    set_up.scaling.create_namespaced_horizontal_pod_autoscaler(
        namespace,
        {
            "metadata": {"name": "cpu"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": APP},
                "minReplicas": 2,
                "maxReplicas": 4,
            },
        },
    )

    code = set_up.doctor()

    said = capsys.readouterr().out.replace(namespace, "bokeh")
    assert said == blocks(DOCTOR_PAGE, "text")[0]
    assert code == 1
    assert set_up.doctor("-o", "json") == 1
    said = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in said["findings"]] == [
        "other-autoscaler",
        "label-missing-from-service",
        "replicas-in-manifest",
        "right-missing",
    ]
    assert said["unexamined"] == []


def test_what_may_not_be_read_is_said(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    set_up.create(our_rules())
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]
    few = set_up.cluster.service_account(set_up.namespace, "onlooker", rules)

    code = set_up.doctor(kubeconfig=few)

    said = capsys.readouterr().out.splitlines()
    assert code == 0
    assert said[0] == "nothing found in what could be examined"
    assert all(line.startswith("not examined: ") for line in said[1:])
    for resource in ("subjectaccessreviews", "pods", "services", "networkpolicies"):
        assert sum(f" {resource} in " in line for line in said) == 1, resource


def test_a_target_of_which_nothing_may_be_read_is_not_ok(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up.create(our_rules())
    nobody = set_up.cluster.service_account(set_up.namespace, "nobody", [])

    code = set_up.doctor("-o", "json", kubeconfig=nobody)

    said = json.loads(capsys.readouterr().out)
    assert code == 1
    assert not said["ok"]
    assert said["findings"] == []
    assert len(said["unexamined"]) == 1


def test_who_applies_replicas_is_found_until_the_daemon_has_set_them(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up.create(our_rules())
    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 2}}
    set_up.cluster.apps.patch_namespaced_deployment(
        APP,
        set_up.namespace,
        applied,
        field_manager="kustomize-controller",
        force=True,
        _content_type="application/apply-patch+yaml",
    )

    assert set_up.doctor() == 1
    said = capsys.readouterr().out
    assert "ERROR replicas-in-manifest" in said
    assert "kustomize-controller" in said

    set_up.cluster.settle(set_up.namespace, APP, 2)
    cluster, ref = KubernetesCluster.connect(set_up.cluster.admin), TargetRef(set_up.namespace, APP)
    state = cluster.read_target(ref)
    assert isinstance(state, TargetState)
    cluster.scale(state, 3)

    assert set_up.doctor() == 0
    assert capsys.readouterr().out == "nothing found\n"


def test_pods_that_lack_their_priority_class_are_found(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up.create(our_rules())
    spec = {"template": {"spec": {"priorityClassName": "nowhere"}}}
    set_up.cluster.apps.patch_namespaced_deployment(APP, set_up.namespace, {"spec": spec})

    wait_until(lambda: set_up.doctor() == 1, 20, "the condition of the Deployment")

    said = capsys.readouterr().out
    assert "ERROR pods-not-created" in said
    assert "no PriorityClass with name nowhere was found." in said


def test_a_policy_that_names_another_deployment_is_found(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up.create(our_rules())
    other = policy_in(set_up.namespace).replace("deployment: bokeh-app", "deployment: forecast")
    data = {POLICY.name: other}
    name = "bokeh-autoscaler-policies"
    set_up.cluster.core.patch_namespaced_config_map(name, set_up.namespace, {"data": data})

    assert set_up.doctor("-o", "json") == 1

    [finding] = json.loads(capsys.readouterr().out)["findings"]
    assert finding["id"] == "no-policy"
    assert finding["where"] == f"ConfigMap {set_up.namespace}/{name}"
    assert f"they name {set_up.namespace}/forecast." in finding["feel"]


def test_a_scaled_object_of_keda_is_found(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up.create(our_rules())
    objects: Any = client.CustomObjectsApi(set_up.cluster.api)
    kind = ("keda.sh", "v1alpha1", set_up.namespace, "scaledobjects")
    with keda(set_up.cluster):
        body = {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": "by-cron"},
            "spec": {"scaleTargetRef": {"name": APP}},
        }
        wait_until(lambda: created(objects, kind, body), 20, "the API of ScaledObjects")

        assert set_up.doctor("-o", "json") == 1

    [finding] = json.loads(capsys.readouterr().out)["findings"]
    assert finding["id"] == "other-autoscaler"
    assert finding["where"].startswith(f"ScaledObject {set_up.namespace}/by-cron")


@contextmanager
def keda(cluster: Access) -> Iterator[None]:
    """The cluster knows KEDA's kind, without its operator."""
    definitions: Any = client.ApiextensionsV1Api(cluster.api)
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True}
    names = {"kind": "ScaledObject", "plural": "scaledobjects", "singular": "scaledobject"}
    definitions.create_custom_resource_definition(
        {
            "metadata": {"name": "scaledobjects.keda.sh"},
            "spec": {
                "group": "keda.sh",
                "scope": "Namespaced",
                "names": names,
                "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
            },
        }
    )
    try:
        yield
    finally:
        definitions.delete_custom_resource_definition("scaledobjects.keda.sh")


def created(objects: Any, kind: tuple[str, ...], body: Any) -> bool:
    """Whether an object could be created: the API of a new kind comes some time later."""
    try:
        objects.create_namespaced_custom_object(*kind, body)
    except ApiException as error:
        if error.status != 404:
            raise
        return False
    return True


def test_what_the_daemon_itself_cannot_reach_is_repeated(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up.create(our_rules())
    cluster = KubernetesCluster.connect(set_up.cluster.admin)
    ref = TargetRef(set_up.namespace, APP)
    uid = set_up.cluster.apps.read_namespaced_deployment(APP, set_up.namespace).metadata.uid
    cluster.announce(ref, uid, "SidecarUnreachable", "bokeh-app-1 refused", warning=True)

    code = set_up.doctor("-o", "json")

    [finding] = json.loads(capsys.readouterr().out)["findings"]
    assert code == 0
    assert finding["id"] == "exporter-unreachable"
    assert finding["where"].endswith("bokeh-app-1 refused")


def test_a_target_that_is_not_there_is_an_error(
    set_up: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set_up.doctor() == 1

    assert "ERROR no-deployment" in capsys.readouterr().out


def test_a_cluster_that_does_not_answer_is_one_line(
    set_up: SetUp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = set_up.cluster.admin.read_text()
    server = next(line for line in text.splitlines() if "server:" in line)
    file = tmp_path / "kubeconfig"
    file.write_text(
        text.replace(server, f"{server.partition('server:')[0]}server: https://127.0.0.1:1")
    )

    code = set_up.doctor(kubeconfig=file)

    first, second = capsys.readouterr().out.splitlines()
    assert code == 1
    assert first == "nothing found in what could be examined"
    assert second.startswith("not examined: cannot get deployments ")


def test_the_targets_of_policies_are_examined_with_what_their_metrics_need(
    set_up: SetUp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up.create(our_rules())
    policy = tmp_path / "policy.yaml"
    text = (FOLDER / "base" / "policies" / "bokeh-app.yaml").read_text()
    policy.write_text(text.replace("namespace: bokeh", f"namespace: {set_up.namespace}"))

    words = ["--daemon", f"{set_up.namespace}/bokeh-autoscaler", "--policies", str(policy)]
    code = main(["doctor", *words, "--kubeconfig", str(set_up.cluster.admin)])

    assert capsys.readouterr().out == "nothing found\n"
    assert code == 0
