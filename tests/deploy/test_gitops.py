"""What "Argo CD and Flux" says of `replicas`, held to a real API server.

Flux applies on the server as the manager `kustomize-controller`, by force. Argo CD applies as
kubectl does, or on the server; with RespectIgnoreDifferences it first copies the ignored fields of
the live object into what it applies, also a field that Git does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.deploy.operators import APP, NAMESPACE, Operator
from tests.deploy.pages import GITOPS_PAGE, commands, files

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]

BY_FLUX = "kubectl apply --server-side --force-conflicts --field-manager=kustomize-controller"
BY_ARGO = "kubectl apply --field-manager=argocd-controller"
BY_ARGO_ON_THE_SERVER = f"{BY_ARGO} --server-side --force-conflicts"
GIT, OURS = 3, 7  # replicas in Git, and those that the daemon sets
# The request of the daemon: a patch of the scale, as its own manager.
DAEMON = (
    f"kubectl -n {NAMESPACE} patch deployment {APP} --subresource=scale --type=merge "
    f'--field-manager=bokeh-autoscaler --patch \'{{"spec": {{"replicas": {OURS}}}}}\''
)
Sync = Callable[[Operator, Any], None]


def settings(file: str) -> Any:
    return yaml.safe_load(files(GITOPS_PAGE)[file])


def in_git(operator: Operator) -> Any:
    """The Deployment as the manifest has it."""
    return next(yaml.safe_load_all((operator.folder / "dashboards.yaml").read_text()))


def synced(command: str) -> Sync:
    def sync(operator: Operator, deployment: Any) -> None:
        (operator.folder / "synced.yaml").write_text(yaml.safe_dump(deployment))
        operator.run(f"{command} -f synced.yaml")

    return sync


def patched(patches: Any) -> Sync:
    """Flux renders by kustomize, with the patches of its own object."""

    def sync(operator: Operator, deployment: Any) -> None:
        folder = operator.folder / "rendered"
        folder.mkdir(exist_ok=True)
        (folder / "git.yaml").write_text(yaml.safe_dump(deployment))
        whole = {"resources": ["git.yaml"], "patches": patches}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(whole))
        synced(BY_FLUX)(operator, yaml.safe_load(operator.run("kubectl kustomize rendered")))

    return sync


def ignoring(command: str) -> Sync:
    """Argo CD with what the page sets."""
    spec = settings("application.yaml")["spec"]
    assert spec["syncPolicy"]["syncOptions"] == ["RespectIgnoreDifferences=true"]
    [ignored] = spec["ignoreDifferences"]

    def sync(operator: Operator, deployment: Any) -> None:
        meta = deployment["metadata"]
        assert (ignored["kind"], ignored["name"], ignored["namespace"]) == (
            deployment["kind"],
            meta["name"],
            meta["namespace"],
        )
        live = yaml.safe_load(
            operator.run(f"kubectl -n {NAMESPACE} get deployment {APP} --ignore-not-found -o yaml")
        )
        for pointer in ignored["jsonPointers"] if live else ():
            _, section, name = pointer.split("/")
            deployment[section][name] = live[section][name]
        synced(command)(operator, deployment)

    return sync


PATCHES = settings("kustomization.yaml")["spec"]["patches"]
RELEASE = settings("helmrelease.yaml")["spec"]["postRenderers"][0]["kustomize"]["patches"]
KEPT = {
    "Argo CD that ignores the field": ignoring(BY_ARGO),
    "Argo CD that ignores the field, on the server": ignoring(BY_ARGO_ON_THE_SERVER),
    "Flux with the patch": patched(PATCHES),
    "Flux with the patch of the HelmRelease": patched(RELEASE),
}
RESET = {
    "Argo CD": synced(BY_ARGO),
    "Argo CD, on the server": synced(BY_ARGO_ON_THE_SERVER),
    "Flux": synced(BY_FLUX),
}


@pytest.mark.parametrize("sync", KEPT.values(), ids=KEPT)
def test_what_the_page_sets_keeps_the_replicas_that_git_has_otherwise(
    operator: Operator, sync: Sync
) -> None:
    sync(operator, in_git(operator))
    operator.run(DAEMON)

    for _ in range(2):
        sync(operator, in_git(operator))
        assert operator.replicas() == OURS


@pytest.mark.parametrize("sync", RESET.values(), ids=RESET)
def test_without_it_each_sync_sets_the_number_of_git(operator: Operator, sync: Sync) -> None:
    sync(operator, in_git(operator))
    operator.run(DAEMON)

    sync(operator, in_git(operator))

    assert operator.replicas() == GIT


@pytest.mark.parametrize("sync", RESET.values(), ids=RESET)
def test_a_manifest_that_never_had_replicas_keeps_them(operator: Operator, sync: Sync) -> None:
    deployment = in_git(operator)
    del deployment["spec"]["replicas"]
    sync(operator, deployment)
    operator.run(DAEMON)

    sync(operator, deployment)

    assert operator.replicas() == OURS


@pytest.mark.parametrize("sync", RESET.values(), ids=RESET)
def test_replicas_that_leave_git_are_one(operator: Operator, sync: Sync) -> None:
    """The daemon's own write does not help: of an unowned field the default counts."""
    deployment = in_git(operator)
    sync(operator, deployment)
    del deployment["spec"]["replicas"]

    sync(operator, deployment)

    assert operator.replicas() == 1


@pytest.mark.parametrize("how", [BY_ARGO, BY_ARGO_ON_THE_SERVER], ids=["kubectl", "server"])
def test_replicas_that_leave_git_while_argo_ignores_them_stay(operator: Operator, how: str) -> None:
    deployment = in_git(operator)
    synced(how)(operator, deployment)
    operator.run(DAEMON)
    ignoring(how)(operator, deployment)
    del deployment["spec"]["replicas"]

    ignoring(how)(operator, deployment)

    assert operator.replicas() == OURS


@pytest.mark.parametrize(
    ("write", "owners"),
    [
        (DAEMON, "bokeh-autoscaler Update\n"),
        (f"{BY_FLUX} -f dashboards.yaml", "kustomize-controller Apply\n"),
        ("kubectl apply -f dashboards.yaml", "kubectl-client-side-apply Update\n"),
    ],
    ids=["the daemon", "Flux", "kubectl"],
)
def test_the_printed_command_names_who_wrote_last(
    operator: Operator, write: str, owners: str
) -> None:
    [command] = [each for each in commands(GITOPS_PAGE) if each.startswith("kubectl")]
    deployment = in_git(operator)
    del deployment["spec"]["replicas"]
    synced("kubectl create")(operator, deployment)

    operator.run(write)

    assert operator.run(command) == owners
    assert owners.strip() in GITOPS_PAGE.read_text()
