"""What `autoscaler doctor` reads of one target: its objects, and what the daemon may do.

Nothing is written. What cannot be read is named and is None, which differs from an empty list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kubernetes import client

from autoscaler.adapters.kubernetes.calls import ask
from autoscaler.adapters.kubernetes.pods import Json, label_selector
from autoscaler.adapters.kubernetes.rights import Right, needed
from autoscaler.errors import ForbiddenError, TargetNotFoundError
from autoscaler.model import TargetRef

Found = tuple[Json, ...] | None
Call = Callable[..., Any]
DEFAULT_LEASE = "bokeh-autoscaler"


class Daemon(NamedTuple):
    """Where the daemon runs: the namespace and the name of its Deployment."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that was seen. A list is None if it could not be read.

    absent: which of `deployment` and `daemon` do not exist; one that may not be read is only None.
    deployments: all of the namespace. pods: of the Deployment's selector. events: about the
    Deployment. missing_rights: what the daemon may not do; None if that is not known. unexamined:
    why something is not known, a line each.
    """

    deployment: Json | None = None
    daemon: Json | None = None
    absent: frozenset[str] = frozenset()
    deployments: Found = None
    pods: Found = None
    services: Found = None
    endpoint_slices: Found = None
    ingresses: Found = None
    autoscalers: Found = None
    scaled_objects: Found = None
    budgets: Found = None
    limit_ranges: Found = None
    network_policies: Found = None
    events: Found = None
    missing_rights: tuple[Right, ...] | None = None
    unexamined: tuple[str, ...] = ()


class Inspector:
    """Reads with the rights of whoever runs the command.

    Requests raise AutoscalerError if the API server does not answer; what it refuses is named in
    `unexamined`.
    """

    def __init__(self, api: client.ApiClient, progress: Callable[[float], None]) -> None:
        self._apps: Any = client.AppsV1Api(api)
        self._custom: Any = client.CustomObjectsApi(api)
        self._authorization: Any = client.AuthorizationV1Api(api)
        core: Any = client.CoreV1Api(api)
        network: Any = client.NetworkingV1Api(api)
        discovery: Any = client.DiscoveryV1Api(api)
        scaling: Any = client.AutoscalingV2Api(api)
        policy: Any = client.PolicyV1Api(api)
        # By the field: the resource as a Role names it, and its list request.
        self._lists: dict[str, tuple[str, Call]] = {
            "deployments": ("deployments", self._apps.list_namespaced_deployment),
            "pods": ("pods", core.list_namespaced_pod),
            "services": ("services", core.list_namespaced_service),
            "endpoint_slices": ("endpointslices", discovery.list_namespaced_endpoint_slice),
            "ingresses": ("ingresses", network.list_namespaced_ingress),
            "autoscalers": (
                "horizontalpodautoscalers",
                scaling.list_namespaced_horizontal_pod_autoscaler,
            ),
            "scaled_objects": ("scaledobjects", self._scaled_objects),
            "budgets": ("poddisruptionbudgets", policy.list_namespaced_pod_disruption_budget),
            "limit_ranges": ("limitranges", core.list_namespaced_limit_range),
            "network_policies": ("networkpolicies", network.list_namespaced_network_policy),
            "events": ("events", core.list_namespaced_event),
        }
        self._progress = progress
        self._unexamined: list[str] = []
        self._absent: set[str] = set()

    def inspect(self, ref: TargetRef, daemon: Daemon) -> Inspection:
        """Return what is there of one target and of the daemon."""
        self._unexamined, self._absent = [], set()
        deployment = self._deployment("deployment", *ref)
        self._progress(0.1)
        if deployment is None:
            return Inspection(absent=frozenset(self._absent), unexamined=tuple(self._unexamined))
        ours = self._deployment("daemon", *daemon)
        rights = None if ours is None else self._missing(ref, ours)
        self._progress(0.6)
        about = f"involvedObject.kind=Deployment,involvedObject.name={ref.deployment}"
        options = {
            "pods": {"label_selector": label_selector(deployment["spec"]["selector"])},
            "events": {"field_selector": about},
        }
        listed = {
            field: self._list(resource, call, ref, **options.get(field, {}))
            for field, (resource, call) in self._lists.items()
        }
        return Inspection(
            deployment,
            ours,
            frozenset(self._absent),
            missing_rights=rights,
            unexamined=tuple(self._unexamined),
            **listed,
        )

    def _deployment(self, field: str, namespace: str, name: str) -> Json | None:
        """Return a Deployment; None if there is none, or if it may not be read."""
        what = ("get", "deployments", namespace, name)
        try:
            return ask(what, self._apps.read_namespaced_deployment, name, namespace)
        except TargetNotFoundError:
            self._absent.add(field)
        except ForbiddenError as error:
            self._unexamined.append(str(error))
        return None

    def _list(self, resource: str, call: Call, ref: TargetRef, **options: Any) -> Found:
        """Return the objects of a kind; none if the cluster does not know it, as without KEDA."""
        try:
            answer = ask(("list", resource, ref.namespace, ""), call, ref.namespace, **options)
        except TargetNotFoundError:
            return ()
        except ForbiddenError as error:
            self._unexamined.append(str(error))
            return None
        return tuple(answer.get("items") or ())

    def _scaled_objects(self, namespace: str, **options: Any) -> Any:
        """Request those of KEDA."""
        group = ("keda.sh", "v1alpha1", namespace, "scaledobjects")
        return self._custom.list_namespaced_custom_object(*group, **options)

    def _missing(self, ref: TargetRef, daemon: Json) -> tuple[Right, ...] | None:
        """Return what the daemon's ServiceAccount may not do, by the API server's own answer."""
        namespace = daemon["metadata"]["namespace"]
        spec = daemon["spec"]["template"]["spec"]
        account = spec.get("serviceAccountName") or "default"
        wanted, missing = needed_by(daemon, ref), []
        for done, right in enumerate(wanted):
            self._progress(0.1 + 0.5 * done / len(wanted))
            try:
                allowed = self._may(f"system:serviceaccount:{namespace}:{account}", right)
            except ForbiddenError as error:
                self._unexamined.append(f"what the daemon may do: {error}")
                return None
            if not allowed:
                missing.append(right)
        return tuple(missing)

    def _may(self, user: str, right: Right) -> bool:
        resource, _, subresource = right.resource.partition("/")
        attributes = {**right._asdict(), "resource": resource, "subresource": subresource}
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}"]
        review = {
            "spec": {
                "user": user,
                "groups": [*groups, "system:authenticated"],
                "resourceAttributes": attributes,
            }
        }
        what = ("create", "subjectaccessreviews", "", right.verb)
        answer = ask(what, self._authorization.create_subject_access_review, review)
        return bool(answer["status"].get("allowed"))


def needed_by(daemon: Json, ref: TargetRef) -> list[Right]:
    """Return what a daemon with these arguments needs for a target. Pure."""
    lease = argument(daemon, "--lease") or DEFAULT_LEASE
    read = arguments(daemon, "--scaling-policies")
    return needed(
        ref,
        argument(daemon, "--lease-namespace") or daemon["metadata"]["namespace"],
        None if lease == "none" else lease,
        int(shards) if (shards := argument(daemon, "--shards") or "").isdecimal() else 1,
        by_objects=not {ref.namespace, "*"}.isdisjoint(read),
    )


def words(container: Json) -> Sequence[str]:
    """Return the command and the arguments of a container, as far as its manifest has them."""
    return [*(container.get("command") or ()), *(container.get("args") or ())]


def option(said: Sequence[str], name: str) -> str | None:
    """Return the first value of an option on a command line: `--name=value` or `--name value`."""
    return next(_values(said, name), None)


def _values(said: Sequence[str], name: str) -> Iterator[str]:
    for number, word in enumerate(said):
        if word == name and number + 1 < len(said):
            yield said[number + 1]
        elif word.startswith(f"{name}="):
            yield word.partition("=")[2]


def argument(deployment: Json, name: str) -> str | None:
    """Return the first value of an option in the containers of a Deployment, or None."""
    return next(iter(arguments(deployment, name)), None)


def arguments(deployment: Json, name: str) -> list[str]:
    """Return all values of an option in the containers of a Deployment."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return [value for each in containers for value in _values(words(each), name)]
