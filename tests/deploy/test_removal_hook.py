"""What the chart runs after `helm uninstall`: with exactly these rights, all that is ours goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from autoscaler.adapters.kubernetes.pods import OUR_COST, ROUTABLE
from autoscaler.cli import main
from tests.deploy.chart import NAMESPACE, render_chart
from tests.deploy.manifests import Object
from tests.lab.control_plane import ControlPlane
from tests.lab.objects import deployment
from tests.lab.processes import wait_until

APPS = "team-a"
VALUES = {"removeOnUninstall": True, "watchNamespaces": [APPS], "shards": 2}
HOOK = "helm.sh/hook"


def hooks(helm: Path, folder: Path, **values: Any) -> list[Object]:
    rendered = render_chart(helm, folder, {**VALUES, **values})
    return [each for each in rendered if HOOK in each["metadata"].get("annotations", {})]


def weight(each: Object) -> int:
    return int(each["metadata"]["annotations"]["helm.sh/hook-weight"])


def test_nothing_runs_at_the_end_unless_the_values_say_so(helm: Path, tmp_path: Path) -> None:
    assert hooks(helm, tmp_path, removeOnUninstall=False) == []


def test_the_hook_has_its_rights_before_it_runs_and_comes_after_the_daemon(
    helm: Path, tmp_path: Path
) -> None:
    found = hooks(helm, tmp_path)
    order = [each["kind"] for each in sorted(found, key=weight)]

    assert {each["metadata"]["annotations"][HOOK] for each in found} == {"post-delete"}
    assert order[0] == "ServiceAccount"
    assert sorted(order[:3]) == ["Role", "Role", "ServiceAccount"]
    assert order[3:] == ["RoleBinding", "RoleBinding", "Job"]


@pytest.mark.slow
@pytest.mark.control_plane
def test_with_exactly_these_rights_it_removes_what_a_daemon_left(
    control_plane: ControlPlane, helm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = hooks(helm, tmp_path)
    coordination: Any = client.CoordinationV1Api(control_plane.api)
    for namespace in (NAMESPACE, APPS):
        control_plane.create_namespace(namespace)
    control_plane.apps.create_namespaced_deployment(APPS, deployment("app", 1))
    control_plane.settle(APPS, "app", 1)
    [pod] = control_plane.core.list_namespaced_pod(APPS).items
    marks = {"bokeh-autoscaler/cordoned-for": "full", OUR_COST: "-9"}
    patch = {"metadata": {"annotations": marks, "labels": {ROUTABLE: "false"}}}
    control_plane.core.patch_namespaced_pod(pod.metadata.name, APPS, patch)
    for name in ("daemons", "0", "1"):
        lease = {"metadata": {"name": f"bokeh-autoscaler-{name}"}, "spec": {}}
        coordination.create_namespaced_lease(NAMESPACE, lease)
    for namespace, name in ((APPS, "bokeh-autoscaler"), (NAMESPACE, "of-somebody-else")):
        coordination.create_namespaced_lease(namespace, {"metadata": {"name": name}, "spec": {}})
    kubeconfig = allowed(control_plane, found)

    [job] = [each for each in found if each["kind"] == "Job"]
    batch: Any = client.BatchV1Api(control_plane.api)
    batch.create_namespaced_job(NAMESPACE, job, dry_run="All")
    restricted = {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    control_plane.core.patch_namespace(NAMESPACE, {"metadata": restricted})
    body = {"metadata": {"name": "hook"}, "spec": job["spec"]["template"]["spec"]}
    control_plane.core.create_namespaced_pod(NAMESPACE, body, dry_run="All")
    [container] = job["spec"]["template"]["spec"]["containers"]
    code = main([*container["args"], "--kubeconfig", str(kubeconfig)])

    assert (code, capsys.readouterr().err) == (0, "")
    [pod] = control_plane.core.list_namespaced_pod(APPS).items
    assert not pod.metadata.annotations
    assert pod.metadata.labels[ROUTABLE] == "true"
    left = [*coordination.list_namespaced_lease(NAMESPACE).items]
    left += coordination.list_namespaced_lease(APPS).items
    assert [each.metadata.name for each in left] == ["of-somebody-else"]


def allowed(control_plane: ControlPlane, found: list[Object]) -> Path:
    """The hook's ServiceAccount, Roles and bindings as the chart has them; a kubeconfig for it."""
    rbac: Any = client.RbacAuthorizationV1Api(control_plane.api)
    core = control_plane.core
    create = {
        "ServiceAccount": core.create_namespaced_service_account,
        "Role": rbac.create_namespaced_role,
        "RoleBinding": rbac.create_namespaced_role_binding,
    }
    for each in sorted(found, key=weight):
        if each["kind"] in create:
            create[each["kind"]](each["metadata"]["namespace"], each)
    [account] = [each["metadata"]["name"] for each in found if each["kind"] == "ServiceAccount"]
    answer = core.create_namespaced_service_account_token(account, NAMESPACE, {"spec": {}})
    review = {
        "spec": {
            "user": f"system:serviceaccount:{NAMESPACE}:{account}",
            "resourceAttributes": {"namespace": APPS, "resource": "pods", "verb": "patch"},
        }
    }
    authorization: Any = client.AuthorizationV1Api(control_plane.api)
    wait_until(
        lambda: authorization.create_subject_access_review(review).status.allowed,
        20,
        "the rights of the hook",
    )
    return control_plane.kubeconfig(answer.status.token, "hook")
