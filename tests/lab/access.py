"""Ways into a Kubernetes API server: kubeconfig files, clients, ServiceAccounts with few rights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3 import BaseHTTPResponse

from tests.lab.processes import wait_until

Rule = Mapping[str, Sequence[str]]
TIMEOUT = 30.0  # seconds for one request and for what the server does behind it


@contextmanager
def connected(kubeconfig: Path) -> Iterator[client.ApiClient]:
    """A client whose sockets are closed with the block."""
    api = config.new_client_from_config(str(kubeconfig))
    try:
        yield api
    finally:
        api.close()


def write_kubeconfig(path: Path, cluster: Mapping[str, str], user: Mapping[str, Any]) -> Path:
    """A kubeconfig file with one cluster, one user and one context that is current."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": dict(cluster)}],
        "users": [{"name": "tests", "user": dict(user)}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        "current-context": "tests",
    }
    path.write_text(yaml.safe_dump(content))
    path.chmod(0o600)
    return path


def raw(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The JSON that a call of the client gives; to make models of it takes longer than the call.

    It is read to its end: otherwise the next call would need a connection of its own, and a TLS
    handshake is most of what a call costs. Raises ApiException.
    """
    answer = call(*arguments, **options, _preload_content=False)
    if answer.status >= 400:
        raise ApiException(status=answer.status, reason=answer.data.decode(errors="replace"))
    return json.loads(answer.data)


def end_watch(stream: BaseHTTPResponse | None) -> None:
    """End the read that another thread sits in.

    That thread may be just done with the stream: the server ended it, and its connection is back
    in the pool or closed.
    """
    if stream is not None:
        with suppress(RuntimeError, ValueError, OSError):
            stream.shutdown()


class Access:
    """An API server as its administrator reaches it: ours, or any that a kubeconfig names.

    admin: the administrator's kubeconfig file. folder: where further kubeconfig files go.
    api: a client with the administrator's rights, closed by `close`.
    core, apps: the same, by group; Any, for they take plain dicts and their annotations deny it.
    """

    def __init__(self, admin: Path, folder: Path) -> None:
        self.admin = admin
        self.folder = folder
        self.api = config.new_client_from_config(str(admin))
        self.core: Any = client.CoreV1Api(self.api)
        self.apps: Any = client.AppsV1Api(self.api)

    def close(self) -> None:
        self.api.close()

    def kubeconfig(self, token: str, name: str = "token") -> Path:
        """A kubeconfig file for the same server with another bearer token."""
        content = yaml.safe_load(self.admin.read_text())
        named = {entry["name"]: entry for entry in content["contexts"]}
        wanted = named[content["current-context"]]["context"]["cluster"]
        cluster = next(each["cluster"] for each in content["clusters"] if each["name"] == wanted)
        return write_kubeconfig(self.folder / f"{name}.kubeconfig", cluster, {"token": token})

    def service_account(self, namespace: str, name: str, rules: Sequence[Rule]) -> Path:
        """A kubeconfig file of a new ServiceAccount that may do exactly `rules` in `namespace`."""
        metadata = {"name": name, "namespace": namespace}
        self.core.create_namespaced_service_account(namespace, {"metadata": metadata})
        rbac: Any = client.RbacAuthorizationV1Api(self.api)
        rbac.create_namespaced_role(
            namespace, {"metadata": metadata, "rules": [dict(rule) for rule in rules]}
        )
        binding = {
            "metadata": metadata,
            "subjects": [{"kind": "ServiceAccount", **metadata}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        }
        rbac.create_namespaced_role_binding(namespace, binding)
        answer = self.core.create_namespaced_service_account_token(name, namespace, {"spec": {}})
        if rules:
            self._await_authorizer(namespace, name, rules[-1])
        return self.kubeconfig(answer.status.token, f"{namespace}-{name}")

    def _await_authorizer(self, namespace: str, name: str, rule: Rule) -> None:
        """The RBAC authorizer learns of a new binding from a watch, some ms after its creation."""
        resource, _, subresource = rule["resources"][0].partition("/")
        attributes = {
            "namespace": namespace,
            "group": rule["apiGroups"][0],
            "resource": resource,
            "subresource": subresource,
            "verb": rule["verbs"][0],
            "name": next(iter(rule.get("resourceNames", ())), ""),
        }
        review = {
            "spec": {
                "user": f"system:serviceaccount:{namespace}:{name}",
                "resourceAttributes": attributes,
            }
        }
        authorization: Any = client.AuthorizationV1Api(self.api)
        wait_until(
            lambda: authorization.create_subject_access_review(review).status.allowed,
            TIMEOUT,
            f"the rights of {namespace}/{name}",
        )

    def create_namespace(self, name: str) -> None:
        """A namespace that pods can be created in at once."""
        self.core.create_namespace({"metadata": {"name": name}})
        wait_until(lambda: self._has_default_account(name), TIMEOUT, f"{name}'s ServiceAccount")

    def delete_namespace(self, name: str) -> None:
        """Ask for the end of a namespace and all in it; does not wait for it."""
        self.core.delete_namespace(name, grace_period_seconds=0)

    def settle(self, namespace: str, deployment: str, replicas: int) -> None:
        """Wait for so many Ready pods and for the Deployment controller to have no more to write.

        Until then its next status update makes any resourceVersion stale: a conflict.
        """
        wait_until(
            lambda: _settled(self.apps.read_namespaced_deployment(deployment, namespace), replicas),
            2 * TIMEOUT,
            f"{replicas} Ready pods of {namespace}/{deployment}",
        )

    def _has_default_account(self, namespace: str) -> bool:
        try:
            self.core.read_namespaced_service_account("default", namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            return False
        return True


def _settled(deployment: Any, replicas: int) -> bool:
    status = deployment.status
    counts = (status.replicas, status.updated_replicas, status.available_replicas)
    return (
        status.observed_generation == deployment.metadata.generation
        and all((count or 0) == replicas for count in counts)
        and not status.terminating_replicas
        and any(each.reason == "NewReplicaSetAvailable" for each in status.conditions or ())
    )
