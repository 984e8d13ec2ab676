"""The kinds of objects that the daemon reads: how each is listed and watched, and trimmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kubernetes import client

from autoscaler.adapters.kubernetes import objects
from autoscaler.adapters.kubernetes.calls import ask
from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adapters.kubernetes.store import Item

EVERYWHERE = ""


class Kind(NamedTuple):
    """One kind. resource: its name in a Role. trim: makes our value of one object as JSON."""

    resource: str
    in_namespace: Callable[..., Any]
    everywhere: Callable[..., Any]
    trim: Callable[[Json], Item[Any]]

    def call(self, namespace: str) -> Callable[..., Any]:
        """Return the list request for a namespace, or for all of them."""
        if namespace == EVERYWHERE:
            return self.everywhere

        def call(**options: Any) -> Any:
            return self.in_namespace(namespace, **options)

        return call

    def pages(self, namespace: str, **options: Any) -> Iterator[tuple[list[Json], int]]:
        """List objects, page by page if there is a `limit`, each with the version of the list.

        Raises what `ask` raises.
        """
        more: dict[str, str] = {}
        while True:
            what = ("list", self.resource, namespace, "")
            answer = ask(what, self.call(namespace), **options, **more)
            meta = answer["metadata"]
            yield answer.get("items") or [], objects.version_of(meta)
            if not meta.get("continue"):
                return
            more = {"_continue": meta["continue"]}


class Kinds(NamedTuple):
    """All of them, in the order of `objects.Objects`."""

    deployments: Kind
    replica_sets: Kind
    pods: Kind
    rivals: Kind

    @classmethod
    def of(cls, api: client.ApiClient) -> Kinds:
        """Return the kinds as a client reads them."""
        apps, core = client.AppsV1Api(api), client.CoreV1Api(api)
        scaling = client.AutoscalingV2Api(api)
        return cls(
            Kind(
                "deployments",
                apps.list_namespaced_deployment,
                apps.list_deployment_for_all_namespaces,
                objects.deployment_item,
            ),
            Kind(
                "replicasets",
                apps.list_namespaced_replica_set,
                apps.list_replica_set_for_all_namespaces,
                objects.replica_set_item,
            ),
            Kind(
                "pods",
                core.list_namespaced_pod,
                core.list_pod_for_all_namespaces,
                objects.pod_item,
            ),
            Kind(
                "horizontalpodautoscalers",
                scaling.list_namespaced_horizontal_pod_autoscaler,
                scaling.list_horizontal_pod_autoscaler_for_all_namespaces,
                objects.rival_item,
            ),
        )
