"""What the daemon may not do, and the rules, or the whole Role, that let it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autoscaler.adapters.kubernetes.inspection import needed_by
from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adapters.kubernetes.rights import Right
from autoscaler.adapters.policies.yaml_writing import flow_text
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error

RBAC = "rbac.authorization.k8s.io"


def rights_missing(facts: Facts) -> Iterator[Finding]:
    """The daemon must be allowed to make each of its requests."""
    missing = (facts.cluster.missing_rights if facts.cluster else None) or ()
    for namespace in dict.fromkeys(right.namespace for right in missing):
        rights = [each for each in missing if each.namespace == namespace]
        if _are_all(facts, rights):
            yield _unknown(facts, rights)
        else:
            yield from map(_one, rights)


def _are_all(facts: Facts, rights: Sequence[Right]) -> bool:
    """Return whether these are all rights that the daemon needs in their namespace."""
    daemon = facts.cluster.daemon if facts.cluster else None
    if daemon is None or facts.ref is None or len(rights) < 2:
        return False
    needed = {r for r in needed_by(daemon, facts.ref) if r.namespace == rights[0].namespace}
    return needed <= set(rights)


def _one(right: Right) -> Finding:
    return error(
        "right-missing",
        f"Role of the daemon in namespace {right.namespace}, {right.verb} on {right.resource}"
        + (f" {right.name}" if right.name else ""),
        f"Nothing is scaled, because the daemon may not {right.verb} {right.resource}.",
        "\n".join(_rules([right])),
    )


def _unknown(facts: Facts, rights: Sequence[Right]) -> Finding:
    """Return the finding of a namespace in which the daemon may do nothing that it needs."""
    daemon: Json = (facts.cluster.daemon if facts.cluster else None) or {}
    meta, namespace = daemon["metadata"], rights[0].namespace
    is_target = facts.ref is not None and namespace == facts.ref.namespace
    name = f"{meta['name']}-{facts.ref.deployment if is_target and facts.ref else 'leases'}"
    account = daemon["spec"]["template"]["spec"].get("serviceAccountName") or "default"
    lines = (
        "# kubectl apply -f FILE, with this file:",
        *_head("Role", name, namespace),
        *_rules(rights),
        "---",
        *_head("RoleBinding", name, namespace),
        f"roleRef: {{apiGroup: {RBAC}, kind: Role, name: {name}}}",
        "subjects:",
        f"  - {{kind: ServiceAccount, name: {account}, namespace: {meta['namespace']}}}",
    )
    return error(
        "right-missing",
        f"Role of the daemon in namespace {namespace}, all {len(rights)} rights that it needs",
        "Nothing is scaled, because the daemon may do nothing in this namespace.",
        "\n".join(lines),
    )


def _head(kind: str, name: str, namespace: str) -> tuple[str, ...]:
    meta = f"metadata: {{name: {name}, namespace: {namespace}}}"
    return f"apiVersion: {RBAC}/v1", f"kind: {kind}", meta


def _rules(rights: Sequence[Right]) -> Iterator[str]:
    """Yield the rules of a Role, one for all resources that need the same verbs."""
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for each in rights:
        verbs.setdefault((each.group, each.name, each.resource), []).append(each.verb)
    resources: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (group, name, resource), found in verbs.items():
        resources.setdefault((group, name, tuple(found)), []).append(resource)
    yield "rules:"
    for (group, name, found_verbs), listed in resources.items():
        yield f"  - apiGroups: {flow_text([group])}"
        yield f"    resources: {flow_text(listed)}"
        if name:
            yield f"    resourceNames: {flow_text([name])}"
        yield f"    verbs: {flow_text(found_verbs)}"
