"""How the API server comes to pass requests for a group of APIs on to a server of a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kubernetes import client

from tests.lab.access import Access
from tests.lab.processes import wait_until

REGISTERED_WITHIN = 60.0  # seconds


@contextmanager
def registered(
    cluster: Access, namespace: str, groups: Mapping[str, str], port: int
) -> Iterator[None]:
    """Groups, with their versions, that are served on this port of localhost, by HTTPS."""
    ports = [{"port": port, "protocol": "TCP"}]
    service = {"type": "ExternalName", "externalName": "localhost", "ports": ports}
    cluster.core.create_namespaced_service(
        namespace, {"metadata": {"name": "served-apis"}, "spec": service}
    )
    registration: Any = client.ApiregistrationV1Api(cluster.api)
    for group, version in groups.items():
        spec = {
            "group": group,
            "version": version,
            "service": {"name": "served-apis", "namespace": namespace, "port": port},
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        }
        name = f"{version}.{group}"
        registration.create_api_service({"metadata": {"name": name}, "spec": spec})
        wait_until(
            lambda name=name: _available(registration.read_api_service(name)),  # type: ignore[misc]
            REGISTERED_WITHIN,
            f"the API {name}",
        )
    yield
    for group, version in groups.items():
        registration.delete_api_service(f"{version}.{group}")
    cluster.core.delete_namespaced_service("served-apis", namespace)


def _available(service: Any) -> bool:
    return any(
        condition.type == "Available" and condition.status == "True"
        for condition in service.status.conditions or ()
    )
