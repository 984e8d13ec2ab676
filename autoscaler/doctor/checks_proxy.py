"""The sticky proxy in front of the app: the Services that lead to it and from it, and its pods."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.adapters.kubernetes.pods import Json, pod_labels
from autoscaler.doctor.endpoints import has_ready_endpoint
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error, warning
from autoscaler.doctor.manifests import (
    deployment_selector,
    kubectl,
    labels,
    selecting,
    where,
)

# The Services by which our proxies find the pods of the app.
ROUTES = ("sticky-routable", "sticky-all")
# Our proxies, by the label of their pods.
NAME_LABEL = "app.kubernetes.io/name"
PROXIES = ("sticky-haproxy", "sticky-nginx")


def sticky_proxy_without_pods(facts: Facts) -> Iterator[Finding]:
    """The Services of our proxies must select the pods of an app; by default, of bokeh-app."""
    ours = _routes(facts)
    if ours and labels(facts) and not _is_behind_proxy(facts):
        chosen = (ours[0]["spec"].get("selector") or {}).items()
        selector = ", ".join(f"{key}={value}" for key, value in chosen)
        yield warning(
            "sticky-proxy-without-pods",
            where(ours[0], "Service", f"spec.selector ({selector})"),
            "Users who come through the sticky proxy do not reach this Deployment, because its "
            "Services select other pods.",
            "# docs: deploy/kubernetes/README.md, An app of another name\nspec:\n  selector:\n"
            + "\n".join(f"    {key}: {value!r}" for key, value in labels(facts).items()),
        )


def sticky_proxy_down(facts: Facts) -> Iterator[Finding]:
    """A Service that leads users to the proxy, and by it to the app, must have a ready pod."""
    if not _is_behind_proxy(facts):
        return
    for service in _services(facts):
        name = (service["spec"].get("selector") or {}).get(NAME_LABEL)
        if name in PROXIES and has_ready_endpoint(facts, service) is False:
            yield error(
                "service-without-ready-pods",
                where(service, "Service", f"spec.selector ({NAME_LABEL}: {name})"),
                "The app is down for users of this Service: it leads to the sticky proxy, and no "
                "pod of the proxy is ready.",
                kubectl(facts, f"describe deployments,pods --selector {NAME_LABEL}={name}"),
            )


def pods_not_created(facts: Facts) -> Iterator[Finding]:
    """Kubernetes must be allowed to create the pods of the app, of its proxy and of the daemon."""
    for deployment, role in _deployments(facts):
        for each in (deployment.get("status") or {}).get("conditions") or ():
            if each["type"] == "ReplicaFailure" and each["status"] == "True":
                message = str(each.get("message", "")).rstrip(".")
                none = "No further pod" if deployment["status"].get("replicas") else "No pod"
                yield error(
                    "pods-not-created",
                    where(deployment, "Deployment", f"status.conditions, {each.get('reason')}"),
                    f"{none} of {role} can be created: {message}.",
                    _creation(deployment, message),
                )


def _creation(deployment: Json, message: str) -> str:
    meta = deployment["metadata"]
    describe = f"describe replicasets --selector {deployment_selector(deployment)}"
    fix = f"kubectl -n {meta['namespace']} {describe}"
    if "PriorityClass" in message:
        fix += "\n# ours is in deploy/kubernetes/base/priority.yaml; yours are:"
        fix += "\nkubectl get priorityclasses"
    return fix


def _deployments(facts: Facts) -> Iterator[tuple[Json, str]]:
    """Yield the Deployments without which the app is not served or not scaled, and their roles."""
    seen = facts.cluster
    if seen is None:
        return
    if seen.deployment is not None:
        yield seen.deployment, "the app"
    if _is_behind_proxy(facts):
        for each in seen.deployments or ():
            if pod_labels(each).get(NAME_LABEL) in PROXIES:
                yield each, "the sticky proxy"
    if seen.daemon is not None:
        yield seen.daemon, "the daemon"


def _is_behind_proxy(facts: Facts) -> bool:
    """Return whether a sticky proxy of ours leads to the target's pods."""
    return any(each in selecting(facts) for each in _routes(facts))


def _routes(facts: Facts) -> list[Json]:
    return [each for each in _services(facts) if each["metadata"]["name"] in ROUTES]


def _services(facts: Facts) -> tuple[Json, ...]:
    return (facts.cluster.services if facts.cluster else None) or ()
