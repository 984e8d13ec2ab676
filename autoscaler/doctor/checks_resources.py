"""What the pods ask of their node: requests and limits, with what Kubernetes adds to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adapters.kubernetes.quantities import native_sidecars, resources
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, Severity, note
from autoscaler.doctor.manifests import apps, container_yaml, field_at, template
from autoscaler.model import Resources


def no_cpu_request(facts: Facts) -> Iterator[Finding]:
    """The metric cpu is a share of the requests, which each container must have."""
    asked = _admitted(facts)
    if asked is None or asked.cpu_request is not None:
        return
    spec = template(facts)["spec"]
    for kind, containers in (
        ("containers", spec["containers"]),
        ("initContainers", native_sidecars(spec)),
    ):
        for each in containers:
            if "cpu" not in _amounts(each, facts)["requests"]:
                yield Finding(
                    "no-cpu-request",
                    _severity(facts, "cpu"),
                    field_at(facts, f"spec.{kind}, {each['name']}, resources.requests.cpu"),
                    "A policy with a cpu metric never has a number, and the app gets too little "
                    "CPU on a full node.",
                    container_yaml(each, "resources: {requests: {cpu: 100m}}", kind=kind),
                )


def no_memory_limit(facts: Facts) -> Iterator[Finding]:
    """The metric memory is a share of the limit."""
    asked = _admitted(facts)
    if asked is not None and not asked.memory_limits:
        yield Finding(
            "no-memory-limit",
            _severity(facts, "memory"),
            field_at(facts, "spec.containers, resources.limits.memory"),
            "One pod can take the memory of its node, whose kernel then ends others with their "
            "sessions, and a policy with a memory metric never has a number.",
            container_yaml(apps(facts)[0], "resources: {limits: {memory: 384Mi}}"),
        )


def memory_evicted(facts: Facts) -> Iterator[Finding]:
    """Memory that is not requested can be taken from the pod."""
    for container in apps(facts):
        amounts = _amounts(container, facts)
        limit = amounts["limits"].get("memory")
        if limit != amounts["requests"].get("memory"):
            yield note(
                "memory-not-reserved",
                field_at(facts, f"spec.containers, {container['name']}, resources"),
                "When the memory of a node becomes scarce, the pod may be evicted with its "
                "sessions.",
                container_yaml(
                    container,
                    f"resources: {{requests: {{memory: {limit}}}, limits: {{memory: {limit}}}}}",
                ),
            )


def _severity(facts: Facts, metric: str) -> Severity:
    """Return how bad it is that a metric has no number."""
    kinds = {each.type for each in facts.policy.metrics} if facts.policy else set()
    return Severity.ERROR if metric in kinds else Severity.WARNING


def _admitted(facts: Facts) -> Resources | None:
    """Return what a pod of the template will have, or None if that cannot be known."""
    spec = template(facts).get("spec")
    if not spec:
        return None
    lists = {
        kind: [{**each, "resources": _amounts(each, facts)} for each in spec.get(kind) or ()]
        for kind in ("containers", "initContainers")
    }
    try:
        return resources({**spec, **lists})
    except (ValueError, KeyError):
        return None


def _amounts(container: Json, facts: Facts) -> Mapping[str, Mapping[str, str]]:
    """Return requests and limits with what the API server adds to those of a pod."""
    own = container.get("resources") or {}
    limits = {**_defaults(facts, "default"), **(own.get("limits") or {})}
    asked = {**_defaults(facts, "defaultRequest"), **(own.get("limits") or {})}
    return {"limits": limits, "requests": {**asked, **(own.get("requests") or {})}}


def _defaults(facts: Facts, kind: str) -> Mapping[str, str]:
    """Return the amounts that the LimitRanges of the namespace give to containers without any."""
    ranges = (facts.cluster.limit_ranges if facts.cluster else None) or ()
    return {
        name: amount
        for each in ranges
        for item in each["spec"]["limits"]
        if item["type"] == "Container"
        for name, amount in (item.get(kind) or {}).items()
    }
