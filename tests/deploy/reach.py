"""Who may connect to a pod by the NetworkPolicies beside it, as Kubernetes defines them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tests.deploy.manifests import Object, containers

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


class Pod(NamedTuple):
    """What policies know of one."""

    namespace: str
    labels: Mapping[str, str]


def pods(objects: Iterable[Object]) -> dict[str, Pod]:
    """One of each Deployment, by its name."""
    return {
        each["metadata"]["name"]: Pod(
            each["metadata"]["namespace"], each["spec"]["template"]["metadata"]["labels"]
        )
        for each in objects
        if each["kind"] == "Deployment"
    }


def ports(objects: Iterable[Object]) -> set[tuple[str, int]]:
    """All that containers say they listen on, each with the name of its Deployment."""
    return {
        (each["metadata"]["name"], port["containerPort"])
        for each in objects
        if each["kind"] == "Deployment"
        for container in containers(each["spec"]["template"]["spec"])
        for port in container.get("ports", ())
    }


def may_connect(objects: Iterable[Object], source: Pod, target: Pod, port: int) -> bool:
    """Whether TCP from one pod to a port of another gets through: without a policy all does."""
    mine = [
        each["spec"]
        for each in objects
        if each["kind"] == "NetworkPolicy"
        and each["metadata"]["namespace"] == target.namespace
        and _selects(each["spec"]["podSelector"], target.labels)
    ]
    rules = [rule for spec in mine for rule in spec.get("ingress", ())]
    return not mine or any(_admits(rule, source, target, port) for rule in rules)


def _admits(rule: Mapping[str, Any], source: Pod, target: Pod, port: int) -> bool:
    peers, wanted = rule.get("from"), rule.get("ports")
    from_there = peers is None or any(_is_peer(each, source, target) for each in peers)
    return from_there and (wanted is None or any(_is_port(each, port) for each in wanted))


def _is_peer(peer: Mapping[str, Any], source: Pod, target: Pod) -> bool:
    """A peer without a namespaceSelector is in the policy's own namespace."""
    if "namespaceSelector" in peer:
        there = _selects(peer["namespaceSelector"], {NAMESPACE_LABEL: source.namespace})
    else:
        there = source.namespace == target.namespace
    return there and _selects(peer.get("podSelector", {}), source.labels)


def _is_port(wanted: Mapping[str, Any], port: int) -> bool:
    first = wanted["port"]
    return wanted["protocol"] == "TCP" and first <= port <= wanted.get("endPort", first)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    same = selector.get("matchLabels", {}).items() <= labels.items()
    return same and all(_holds(each, labels) for each in selector.get("matchExpressions", ()))


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", ())
    return {
        "In": value is not None and value in values,
        "NotIn": value is None or value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[str(expression["operator"])]
