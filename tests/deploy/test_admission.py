"""A real API server takes our manifests: every field known, every pod admitted as `restricted`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from tests.deploy.chart import Values, render_chart
from tests.deploy.manifests import (
    FOLDER,
    RECOMMENDED,
    STICKY,
    apply_objects,
    big_data,
    overlay,
    recommended,
    run_kubectl,
)
from tests.deploy.pages import KUBERNETES_PAGE, printed, run_shell
from tests.lab.build import DEFINITIONS, installed
from tests.lab.control_plane import ControlPlane
from tests.lab.pod_status import Health
from tests.lab.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]

APPS, OWN = "bokeh", "bokeh-autoscaler"
APP = "app.kubernetes.io/name=bokeh-app"
ROUTABLE, ALL = "sticky-routable", "sticky-all"
OPERATOR, GATEWAY = "monitoring.coreos.com", "gateway.networking.k8s.io"
GROUPS = {"PodMonitor": OPERATOR, "PrometheusRule": OPERATOR, "HTTPRoute": GATEWAY}
READ_BY_OTHERS = {"PodMonitor": 2, "PrometheusRule": 1, "HTTPRoute": 1}
# What the chart's values switch on, but for the proxy.
PARTS = (
    "example",
    "gateway",
    "hpaCpuOnly",
    "podMonitor",
    "prometheusRule",
    "dashboard",
)


def ready_pods(cluster: ControlPlane, namespace: str) -> dict[str, bool]:
    """Whether the Deployments of a namespace have all the pods that they ask for."""
    items = cluster.apps.list_namespaced_deployment(namespace).items
    return {d.metadata.name: d.status.ready_replicas == d.spec.replicas for d in items}


def refusals(cluster: ControlPlane, namespace: str) -> list[str]:
    """Why pods were not created, if any were not."""
    sets = cluster.apps.list_namespaced_replica_set(namespace).items
    conditions = [c for each in sets for c in each.status.conditions or ()]
    return [c.message for c in conditions if c.type == "ReplicaFailure"]


def apply(cluster: ControlPlane, kubectl: Path, folder: Path) -> None:
    access = ("--kubeconfig", cluster.admin)
    run_kubectl(kubectl, "apply", *access, "--validate=strict", "-k", folder)


def create_restricted(cluster: ControlPlane, namespace: str) -> None:
    """A new namespace that admits none but `restricted` pods."""
    cluster.create_namespace(namespace)
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    cluster.core.patch_namespace(namespace, label)


def await_pods(cluster: ControlPlane, deployments: set[str], *namespaces: str) -> None:
    """Until all pods of these Deployments, which are all there are, are admitted and ready."""
    spaces = namespaces or (APPS, OWN)
    for each in spaces:
        labels = cluster.core.read_namespace(each).metadata.labels
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    wait_until(
        lambda: all(ready for each in spaces for ready in ready_pods(cluster, each).values()),
        30,
        f"ready pods: {[refusals(cluster, each) for each in spaces]}",
    )
    assert {name for each in spaces for name in ready_pods(cluster, each)} == deployments
    assert not [reason for each in spaces for reason in refusals(cluster, each)]


@pytest.fixture
def empty(control_plane: ControlPlane, kubectl: Path) -> None:
    """Nothing is left in our namespaces of the test before: they stay, for each takes 10 s to end.

    Endpoints go with their Services; to ask for them would be a warning.
    """
    access = ("--kubeconfig", control_plane.admin)
    known = ("api-resources", "--namespaced", "--verbs=delete", "--output=name")
    kinds = [kind for kind in run_kubectl(kubectl, *known, *access).split() if kind != "endpoints"]
    gone = ("delete", ",".join(kinds), "--all", "--ignore-not-found", "--wait=false")
    for namespace in (APPS, OWN):
        run_kubectl(kubectl, *gone, "--namespace", namespace, *access)
    wait_until(lambda: not pods(control_plane), 50, "the last pods to end")


def pods(cluster: ControlPlane) -> list[Any]:
    core = cluster.core
    return [pod for each in (APPS, OWN) for pod in core.list_namespaced_pod(each).items]


@pytest.mark.parametrize(
    "components",
    [
        (),
        ("prometheus",),
        ("zero-touch", "prometheus"),
        ("hpa-cpu-only",),
        ("sidecar-token",),
        ("journal",),
        *((each,) for each in STICKY),
    ],
    ids=["base", "prometheus", "zero-touch", "hpa-cpu-only", "sidecar-token", "journal", *STICKY],
)
@pytest.mark.usefixtures("empty")
def test_every_pod_is_admitted_and_ready(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path, components: tuple[str, ...]
) -> None:
    apply(control_plane, kubectl, overlay(tmp_path, components))

    wanted = {"bokeh-app", "bokeh-autoscaler", *components} - {
        "zero-touch",
        "hpa-cpu-only",
        "sidecar-token",
        "journal",
    }
    await_pods(control_plane, wanted)


@pytest.mark.usefixtures("empty")
def test_every_pod_of_the_big_data_example_is_admitted_and_ready(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    apply(control_plane, kubectl, big_data(tmp_path, ["dask"]))

    dask = {"dask-scheduler", "dask-worker"}
    wanted = {"bokeh-app", "bokeh-autoscaler", "points", "prometheus"}
    await_pods(control_plane, wanted | dask)


@pytest.fixture(scope="module")
def others(control_plane: ControlPlane, kubectl: Path) -> None:
    """The API server knows what the Prometheus Operator and a Gateway read."""
    definitions = installed(DEFINITIONS)
    if definitions is None:
        pytest.skip("NO DEFINITIONS of what others read: `make parts` gets them (a second)")
    given = ("--kubeconfig", control_plane.admin, "--recursive", "-f", definitions)
    # On the server: they are larger than the annotation in which a client keeps what it applied.
    run_kubectl(kubectl, "apply", "--server-side", *given)
    run_kubectl(kubectl, "wait", "--for=condition=Established", "--timeout=20s", *given)


def read_by_others(cluster: ControlPlane, kubectl: Path, *namespaces: str) -> Counter[str]:
    """How many objects of each kind the namespaces have."""
    asked = ",".join(f"{kind}.{group}" for kind, group in GROUPS.items())
    access = ("--kubeconfig", cluster.admin)
    found: Counter[str] = Counter()
    for namespace in namespaces or (APPS, OWN):
        got = run_kubectl(kubectl, "get", *access, "-n", namespace, asked, "-o", "yaml")
        found.update(each["kind"] for each in yaml.safe_load(got)["items"])
    return found


@pytest.mark.usefixtures("others", "empty")
def test_what_others_read_has_no_unknown_field(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    components = ["monitoring", "gateway-api"]

    apply(control_plane, kubectl, overlay(tmp_path, components))

    assert read_by_others(control_plane, kubectl) == READ_BY_OTHERS


@pytest.mark.usefixtures("others", "empty")
def test_what_is_recommended_is_admitted_and_ready(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    apply(control_plane, kubectl, recommended(tmp_path))

    await_pods(control_plane, {"bokeh-app", "bokeh-autoscaler", "sticky-haproxy"})
    read = read_by_others(control_plane, kubectl)
    assert read == {kind: READ_BY_OTHERS[kind] for kind in ("PodMonitor", "PrometheusRule")}


@pytest.mark.usefixtures("others", "empty")
def test_the_printed_line_applies_what_is_recommended(
    control_plane: ControlPlane, kubectl: Path
) -> None:
    """As a dry run by the API server, which makes no namespace in one."""
    access = ("--kubeconfig", control_plane.admin)
    run_kubectl(kubectl, "apply", *access, "-f", FOLDER / "base" / "namespace.yaml")
    dry = ("--dry-run=server", "--validate=strict")

    told = run_kubectl(kubectl, "apply", *access, *dry, "-k", RECOMMENDED)

    assert "deployment.apps/sticky-haproxy created (server dry run)" in told


@pytest.mark.usefixtures("others", "empty")
def test_what_others_read_of_the_big_data_example_has_no_unknown_field(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    folder = big_data(tmp_path, ["monitoring"])

    apply(control_plane, kubectl, folder)

    read = read_by_others(control_plane, kubectl)
    assert read == {"PodMonitor": 3, "PrometheusRule": 1}


@pytest.mark.usefixtures("others")
def test_a_field_that_others_do_not_know_is_refused(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    """So what is accepted here was looked at."""
    spec = {"rules": [{"sessionPersistence": {"type": "Cookie", "cookie": {}}}]}  # as 1.7 has it
    metadata = {"name": "later", "namespace": "default"}
    route = {"apiVersion": f"{GATEWAY}/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": spec}

    with pytest.raises(AssertionError, match=r'unknown field "spec.rules\[0\].+cookie"'):
        apply_objects(kubectl, control_plane.admin, [route], tmp_path)


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("proxy", ["haproxy", "nginx"])
def test_everything_that_the_chart_can_bring_is_admitted_and_ready(
    control_plane: ControlPlane, kubectl: Path, helm: Path, tmp_path: Path, proxy: str
) -> None:
    namespace = f"chart-{proxy}"
    values: Values = {name: {"enabled": True} for name in PARTS}
    values |= {"proxy": {"enabled": True, "kind": proxy}, "replicas": 2}
    values |= {"watchNamespaces": [namespace]}
    values["gateway"]["parentRefs"] = [{"name": "gateway", "namespace": "gateways"}]

    create_restricted(control_plane, namespace)
    objects = render_chart(helm, tmp_path, values, namespace=namespace)
    apply_objects(kubectl, control_plane.admin, objects, tmp_path)

    await_pods(control_plane, {"bokeh-app", "bokeh-autoscaler", f"sticky-{proxy}"}, namespace)
    assert read_by_others(control_plane, kubectl, namespace) == READ_BY_OTHERS


def addresses(cluster: ControlPlane, namespace: str, service: str) -> set[str]:
    """The pods' addresses that a DNS server would give out for a headless Service."""
    slices: Any = client.DiscoveryV1Api(cluster.api)
    found = slices.list_namespaced_endpoint_slice(
        namespace, label_selector=f"kubernetes.io/service-name={service}"
    ).items
    return {
        address
        for each in found
        for endpoint in each.endpoints or ()
        for address in endpoint.addresses
        if endpoint.conditions.ready
    }


@pytest.mark.usefixtures("empty")
def test_cookies_lead_to_cordoned_and_unready_pods_but_new_users_do_not_get_there(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    namespace = APPS
    apply(control_plane, kubectl, overlay(tmp_path, ["sticky-services"]))
    scale = {"spec": {"replicas": 3}}
    control_plane.apps.patch_namespaced_deployment_scale("bokeh-app", namespace, scale)
    wait_until(lambda: len(addresses(control_plane, namespace, ROUTABLE)) == 3, 30, "three pods")
    pods = control_plane.core.list_namespaced_pod(namespace, label_selector=APP).items
    cordoned, unready, other = pods

    label = {"metadata": {"labels": {"bokeh-autoscaler/routable": None}}}
    control_plane.core.patch_namespaced_pod(cordoned.metadata.name, namespace, label)
    control_plane.node.hook = lambda pod: (
        Health.NOT_READY if pod["metadata"]["name"] == unready.metadata.name else None
    )

    wait_until(
        lambda: addresses(control_plane, namespace, ROUTABLE) == {other.status.pod_ip},
        30,
        "one pod for new users",
    )
    assert addresses(control_plane, namespace, ALL) == {pod.status.pod_ip for pod in pods}


def test_a_pod_that_asks_for_more_is_refused(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    """So the pods above were admitted by a check that is there."""
    create_restricted(control_plane, "refused")
    labels = {"app": "root"}
    pod = {"containers": [{"name": "app", "image": "root"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    body = {"metadata": {"name": "root"}, "spec": spec}
    control_plane.apps.create_namespaced_deployment("refused", body)

    reasons = wait_until(lambda: refusals(control_plane, "refused"), 20, "a refusal")

    assert 'violates PodSecurity "restricted' in reasons[0]


def test_nothing_is_left_when_the_page_has_removed_it(
    control_plane: ControlPlane, kubectl: Path, tmp_path: Path
) -> None:
    overlay(tmp_path / "my-overlay")
    path = f"{kubectl.parent}:{os.environ['PATH']}"

    for line in (each for each in printed(KUBERNETES_PAGE) if " -k my-overlay" in each):
        run_shell(line, tmp_path, KUBECONFIG=str(control_plane.admin), PATH=path)

    names = [each.metadata.name for each in control_plane.core.list_namespace().items]
    assert not {APPS, OWN} & set(names)
