"""Our Role is exactly enough: each verb taken away in turn is named by the message."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.leases import KubernetesLeases
from autoscaler.adapters.kubernetes.watched_cluster import WatchedCluster
from autoscaler.core.lease import Lease, Place
from autoscaler.errors import AutoscalerError, ForbiddenError
from autoscaler.model import Cause, Cordon, PodMarks, TargetRef
from autoscaler.ports import TargetState
from tests.lab.access import Access
from tests.lab.objects import deployment
from tests.lab.role import our_rules, single_rights, without

pytestmark = [pytest.mark.slow, pytest.mark.control_plane]


def use_everything(kubeconfig: Path, ref: TargetRef) -> TargetState:
    """Every call that the daemon makes. Raises what the adapter makes of a refusal."""
    api, clock = KubernetesCluster.connect(kubeconfig), SystemClock()
    with closing(WatchedCluster(api, clock)) as cluster:
        return _use_everything(
            cluster, KubernetesLeases(api.api, ref.namespace, "bokeh-autoscaler"), ref
        )


def _use_everything(
    cluster: WatchedCluster, leases: KubernetesLeases, ref: TargetRef
) -> TargetState:
    assert leases.read(Place(ref.namespace, leases.name)) is None
    for name in ("bokeh-autoscaler-daemons", "bokeh-autoscaler-0"):
        place = Place(ref.namespace, name)
        assert leases.read(place) is None
        lease = leases.write(place, Lease("me"), taken=True)
        leases.write(place, lease, taken=False)
    state = cluster.observe([ref])[ref]
    if isinstance(state, AutoscalerError):
        raise state
    cluster.mark_pod(state, state.pods[0], PodMarks(routable=False, cordon=Cordon(Cause.FULL, 0.0)))
    cluster.scale(state, state.replicas + 1)
    cluster.announce(state.ref, state.uid, "DesiredWithinRange", "a test", warning=False)
    return state


@pytest.fixture
def app(control_plane: Access, namespace: str) -> TargetRef:
    control_plane.apps.create_namespaced_deployment(namespace, deployment("bokeh-app", 1))
    control_plane.settle(namespace, "bokeh-app", 1)
    return TargetRef(namespace, "bokeh-app")


def test_the_role_that_we_ship_is_enough(control_plane: Access, app: TargetRef) -> None:
    account = control_plane.service_account(app.namespace, "daemon", our_rules())

    use_everything(account, app)

    scale = control_plane.apps.read_namespaced_deployment_scale(app.deployment, app.namespace)
    assert scale.spec.replicas == 2


@pytest.mark.parametrize(
    ("verb", "resource"), list(single_rights()), ids=lambda word: str(word).replace("/", "-")
)
def test_a_missing_verb_is_named(
    control_plane: Access, app: TargetRef, verb: str, resource: str
) -> None:
    rules = without(verb, resource)
    account = control_plane.service_account(app.namespace, "daemon", rules)

    with pytest.raises(ForbiddenError) as refused:
        use_everything(account, app)

    message = str(refused.value)
    assert f"not allowed to {verb} {resource} in namespace {app.namespace}" in message
    assert f"add {verb} on {resource} to the Role" in message
    assert f"system:serviceaccount:{app.namespace}:daemon" in message
    assert "\n" not in message


def test_credentials_that_are_no_longer_valid_are_one_line(
    control_plane: Access, app: TargetRef
) -> None:
    error = KubernetesCluster.connect(control_plane.kubeconfig("expired")).observe([app])[app]

    assert isinstance(error, ForbiddenError)
    assert "check the credentials" in str(error)
