"""An object of the cluster as its author would have written it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoscaler.adapters.kubernetes.pods import Json

# Of the API server and its controllers, which write them again.
_META = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
# Of tools that would take a copy for theirs, and delete it.
_OWNERS = (
    *("argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"),
    *("meta.helm.sh/", "helm.sh/", "app.kubernetes.io/managed-by"),
    *("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/"),
)
# What the API server fills in, where nobody else says so.
_DEPLOYMENT = {"progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}
_POD = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "securityContext": {},
}
_CONTAINER = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
}
_SERVICE = {"internalTrafficPolicy": "Cluster"}
# Of a Service of one family. Whoever chose another one has to say so, or an apply takes it back.
_FAMILIES = {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}


def plain_deployment(found: Json) -> dict[str, Any]:
    """Return a Deployment without what the API server adds, and without `replicas`."""
    spec = _without(found["spec"], _DEPLOYMENT)
    spec.pop("replicas", None)
    template = {**spec["template"], "metadata": _meta(spec["template"].get("metadata") or {}, ())}
    pod = _without(template["spec"], _POD)
    if "serviceAccountName" in pod:
        pod.pop("serviceAccount", None)  # its older name
    for kind in ("containers", "initContainers"):
        if kind in pod:
            pod[kind] = [_without(each, _CONTAINER) for each in pod[kind]]
    whole = {**_head(found), "spec": {**spec, "template": {**template, "spec": pod}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", **whole}


def plain_service(found: Json) -> dict[str, Any]:
    """Return a Service without what the API server adds, such as its address."""
    spec = _without(found["spec"], {**_SERVICE, "clusterIPs": found["spec"].get("clusterIPs")})
    if all(spec.get(key, value) == value for key, value in _FAMILIES.items()):
        spec = _without(spec, _FAMILIES)
    if spec.get("clusterIP") != "None":
        spec.pop("clusterIP", None)
    return {"apiVersion": "v1", "kind": "Service", **_head(found), "spec": spec}


def _head(found: Json) -> dict[str, Any]:
    return {"metadata": _meta(found["metadata"], _OWNERS)}


def _meta(meta: Json, owners: tuple[str, ...]) -> dict[str, Any]:
    kept = {key: value for key, value in meta.items() if key not in (*_META, "ownerReferences")}
    for kind in ("labels", "annotations"):
        if kind in kept:
            noted = kept.pop(kind) or {}
            kept |= _filled(kind, {k: v for k, v in noted.items() if not k.startswith(owners)})
    return kept


def _filled(key: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dict(value)} if value else {}


def _without(value: Json, defaults: Json) -> dict[str, Any]:
    return {
        key: each for key, each in value.items() if key not in defaults or each != defaults[key]
    }
