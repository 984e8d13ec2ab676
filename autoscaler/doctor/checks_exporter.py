"""Whether the daemon learns of the sessions: an exporter in each pod, and a way to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error, warning
from autoscaler.doctor.manifests import (
    await_rollout,
    exporters,
    field_at,
    is_seen,
    kubectl,
    labels,
    matches,
    pods,
    template,
    template_yaml,
    waiting,
    where,
)
from autoscaler.model import Reason
from autoscaler.units import counted

NAMESPACE = "kubernetes.io/metadata.name"
BLIND = "which counts as full and busy, so it is never removed"
SIDECAR = (
    "spec:",
    "  initContainers:",
    "    - name: exporter",
    "      image: registry.example.com/bokeh-exporter:0.1.0",
    "      restartPolicy: Always",
    "      args: [sidecar, --port=9550]",
    "      ports:",
    "        - {name: bokeh-metrics, containerPort: 9550}",
)


def no_exporter(facts: Facts) -> Iterator[Finding]:
    """The pod template must have one."""
    spec = template(facts).get("spec") or {}
    if is_seen(facts) and not exporters(spec, facts.exporter_port):
        yield error(
            "no-exporter",
            field_at(facts, "spec.initContainers"),
            f"Nothing is scaled down, because nobody counts the sessions of a pod, {BLIND}.",
            template_yaml(*SIDECAR),
        )


def pods_without_exporter(facts: Facts) -> Iterator[Finding]:
    """A running pod may be from before the template had one."""
    lacking = [pod for pod in pods(facts) if not exporters(pod["spec"], facts.exporter_port)]
    if lacking and exporters(template(facts).get("spec") or {}, facts.exporter_port):
        yield error(
            "pods-without-exporter",
            where(lacking[0], "Pod", "spec.initContainers"),
            f"Nobody counts the sessions of {counted(len(lacking), 'running pod')}, {BLIND}.",
            await_rollout(facts),
        )


def exporter_not_running(facts: Facts) -> Iterator[Finding]:
    """The exporter of a pod may be there and not run."""
    for pod in pods(facts):
        names = {each["name"] for each in exporters(pod["spec"], facts.exporter_port)}
        for name, reason, _ in waiting(pod):
            if name in names:
                yield error(
                    "exporter-not-running",
                    where(pod, "Pod", f"container {name}, {reason}"),
                    f"Nobody counts the sessions of the pod, {BLIND}.",
                    kubectl(facts, f"logs {pod['metadata']['name']} -c {name} --previous"),
                )


def exporter_blocked(facts: Facts) -> Iterator[Finding]:
    """The NetworkPolicies must let the daemon connect to the exporters.

    Ingress rules of the app's namespace alone are seen: a plugin may not enforce them, and policies
    of other kinds may do so.
    """
    if facts.cluster is None or facts.cluster.daemon is None or facts.daemon is None:
        return
    ours = [
        policy
        for policy in facts.cluster.network_policies or ()
        if matches(policy["spec"].get("podSelector") or {}, labels(facts)) and _is_ingress(policy)
    ]
    daemon = facts.cluster.daemon["spec"]["template"]["metadata"].get("labels") or {}
    namespace, port = facts.daemon.namespace, facts.exporter_port
    rules = (rule for policy in ours for rule in policy["spec"].get("ingress") or ())
    if ours and not any(
        _has(rule, port) and _is_from(rule, namespace, daemon, facts) for rule in rules
    ):
        yield error(
            "exporter-blocked",
            where(ours[0], "NetworkPolicy", "spec.ingress"),
            f"Nothing is scaled down, because the daemon may not connect to port {port} of a pod, "
            f"{BLIND}.",
            "spec:\n  ingress:\n    - from:\n        - namespaceSelector:\n"
            f"            matchLabels: {{{NAMESPACE}: {namespace}}}\n"
            f"      ports:\n        - {{protocol: TCP, port: {port}}}",
        )


def exporter_unreachable(facts: Facts) -> Iterator[Finding]:
    """The daemon says itself what it cannot reach; Kubernetes keeps its Events for an hour."""
    events = (facts.cluster.events if facts.cluster else None) or ()
    told = [each for each in events if each.get("reason") == Reason.SIDECAR_UNREACHABLE]
    if told:
        last = max(told, key=lambda each: each.get("lastTimestamp") or "")
        yield warning(
            "exporter-unreachable",
            f"Deployment {facts.ref}, Event {last['reason']} at {last.get('lastTimestamp')}: "
            f"{last.get('message', '')}",
            f"The daemon could not ask all pods within the last hour; a pod that it cannot ask is "
            f"one {BLIND}.",
            "# docs/runbook.md, BokehSidecarUnreachable\n" + kubectl(facts, "get networkpolicies"),
        )


def _is_ingress(policy: Json) -> bool:
    return "Ingress" in (policy["spec"].get("policyTypes") or ["Ingress"])


def _has(rule: Json, port: int) -> bool:
    """Return whether a rule is about the exporter's port; one that names a port may be."""
    return not rule.get("ports") or any(_is_port(each, port) for each in rule["ports"])


def _is_port(allowed: Json, port: int) -> bool:
    first: Any = allowed.get("port")
    if allowed.get("protocol", "TCP") != "TCP":
        return False
    if first is None or isinstance(first, str):
        return True
    return bool(first <= port <= allowed.get("endPort", first))


def _is_from(rule: Json, namespace: str, of_daemon: Mapping[str, str], facts: Facts) -> bool:
    """Return whether the daemon's pods may connect by a rule; a range may have their addresses."""
    return not rule.get("from") or any(
        "ipBlock" in peer or _is_peer(peer, namespace, of_daemon, facts) for peer in rule["from"]
    )


def _is_peer(peer: Json, namespace: str, of_daemon: Mapping[str, str], facts: Facts) -> bool:
    spaces, chosen = peer.get("namespaceSelector"), peer.get("podSelector")
    if chosen is not None and not matches(chosen, of_daemon):
        return False
    if spaces is None:
        return facts.ref is not None and namespace == facts.ref.namespace
    return _may_match(spaces, {NAMESPACE: namespace})


def _may_match(selector: Json, known: Mapping[str, str]) -> bool:
    """Return whether a namespace may match, of whose labels only the name is known."""
    equal = {k: v for k, v in (selector.get("matchLabels") or {}).items() if k in known}
    asked = [e for e in selector.get("matchExpressions") or () if e["key"] in known]
    return matches({"matchLabels": equal, "matchExpressions": asked}, known)
