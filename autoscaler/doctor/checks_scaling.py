"""Whether the daemon scales the target, and who else does."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.adapters.kubernetes.pods import FIELD_MANAGER, PAUSED, Json, pause
from autoscaler.doctor.autoscalers import autoscalers_of
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error, note, warning
from autoscaler.doctor.manifests import (
    LAST_APPLIED,
    deployment_at,
    deployment_selector,
    exporters,
    kubectl,
    template,
    where,
)

# The manager to which docs/adopt.md transfers the field, until the daemon writes it.
HANDED_OVER = "handover"
KUBECTL = "kubectl apply"
# Managers whose every upgrade sets what their manifest says, without server-side apply.
RESETTERS = ("helm", "argocd-controller", "Terraform", "pulumi-kubernetes")

SERVER_SIDE = (
    "# before you remove `replicas` from the manifest, transfer the field, or the removal sets 1\n"
    "# (docs/adopt.md, In place):\n"
    "kubectl apply --server-side --field-manager=handover --validate=false -f REPLICAS_ALONE.yaml"
)
# By who sets the field: how to make it stop without setting 1.
WAYS = {
    KUBECTL: "# remove `replicas` from the manifest, but first from what kubectl "
    "remembers, or the\n# next apply sets 1 (docs/adopt.md, In place):\n"
    "kubectl apply set-last-applied -f MANIFEST_WITHOUT_REPLICAS.yaml",
    "argocd-controller": "# in the Application (docs/adopt.md, Argo CD), before you remove "
    "`replicas` from Git:\n"
    "spec:\n  ignoreDifferences:\n"
    "    - {group: apps, kind: Deployment, jsonPointers: [/spec/replicas]}\n"
    "  syncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}",
    "helm": "# a chart that stops to render `replicas` sets 1: create a second Deployment without\n"
    "# `replicas` beside this one, and move the users (docs/adopt.md)",
}


def no_deployment(facts: Facts) -> Iterator[Finding]:
    """The target must exist."""
    if facts.cluster is not None and "deployment" in facts.cluster.absent:
        yield error(
            "no-deployment",
            f"Deployment {facts.ref}",
            "Nothing is scaled, because there is no such Deployment.",
            f"kubectl get deployments --all-namespaces | grep {facts.ref and facts.ref.deployment}",
        )


def not_adopted(facts: Facts) -> Iterator[Finding]:
    """What follows is what the adoption changes, so it comes first and in one step."""
    if _is_untouched(facts):
        yield error(
            "not-adopted",
            f"Deployment {facts.ref}",
            "Nothing is scaled, because this app is not adopted yet: its template has no exporter, "
            "and no policy names it. Most of what follows is what the adoption changes.",
            f"# writes all files and steps, and changes nothing (docs/adopt.md):\n{_init(facts)}",
        )


def _is_untouched(facts: Facts) -> bool:
    spec = template(facts).get("spec") or {}
    return bool(spec) and not exporters(spec, facts.exporter_port) and facts.has_no_policy


def _init(facts: Facts) -> str:
    ref = facts.ref
    return (
        f"autoscaler init --namespace {ref.namespace} --deployment {ref.deployment}" if ref else ""
    )


def other_autoscaler(facts: Facts) -> Iterator[Finding]:
    """Two autoscalers of one Deployment revert each other's changes, so the daemon holds."""
    for kind, name, each in autoscalers_of(facts):
        yield error(
            "other-autoscaler",
            where(each, kind, "spec.scaleTargetRef"),
            "It deletes pods with sessions, and the daemon scales nothing as long as it exists.",
            _replaced(facts, kind.lower(), name),
        )


def _replaced(facts: Facts, kind: str, name: str) -> str:
    """Return how an autoscaler goes: not before something is there in its place."""
    if _is_untouched(facts):
        return (
            "# do not delete it yet: the steps of the adoption make a policy of it, and say when\n"
            f"# to delete it (docs/migrate.md)\n{_init(facts)}"
        )
    if facts.has_no_policy:
        get = kubectl(facts, f"get {kind} {name} -o yaml")
        return (
            "# do not delete it yet: first give the daemon a policy in its place "
            f"(docs/migrate.md)\n{get} | autoscaler convert -"
        )
    return kubectl(facts, f"delete {kind} {name}")


def no_daemon(facts: Facts) -> Iterator[Finding]:
    """Somebody must scale it."""
    if facts.cluster is not None and "daemon" in facts.cluster.absent:
        place = facts.daemon
        yield warning(
            "no-daemon",
            f"Deployment {place.namespace}/{place.name}" if place else "the daemon",
            "Nothing is scaled by this daemon, because it is not there.",
            "# write daemon/kustomization.yaml, without our example app, beside the apps that run\n"
            "# (deploy/kubernetes/README.md, Without the example app)\n"
            "kubectl apply -k daemon\n"
            "# or, if it runs elsewhere: autoscaler doctor --daemon NAMESPACE/NAME",
        )


def daemon_not_running(facts: Facts) -> Iterator[Finding]:
    """A daemon that is there may be scaled to zero, or may not start."""
    ours = facts.cluster.daemon if facts.cluster else None
    if ours is not None and not (ours.get("status") or {}).get("readyReplicas"):
        namespace, name = ours["metadata"]["namespace"], ours["metadata"]["name"]
        yield error(
            "daemon-not-running",
            where(ours, "Deployment", "status.readyReplicas (0)"),
            "Nothing is scaled, because no pod of the daemon is ready.",
            f"kubectl -n {namespace} describe deployment {name}\n"
            f"kubectl -n {namespace} logs -l {deployment_selector(ours)} --prefix",
        )


def replicas_in_manifest(facts: Facts) -> Iterator[Finding]:
    """What applies `replicas` resets them at each apply."""
    if facts.cluster is None or facts.cluster.deployment is None:
        return
    writers = sorted(resetters(facts.cluster.deployment["metadata"]))
    if writers:
        yield error(
            "replicas-in-manifest",
            deployment_at(facts, f"spec.replicas (set by {', '.join(writers)})"),
            "Each apply resets the replicas, which deletes pods with sessions.",
            "\n".join(dict.fromkeys(WAYS.get(each, SERVER_SIDE) for each in writers)),
        )


def resetters(meta: Json) -> set[str]:
    """Return the field managers that will set `spec.replicas` again."""
    found = set()
    if '"replicas":' in (meta.get("annotations") or {}).get(LAST_APPLIED, "").replace(" ", ""):
        found.add(KUBECTL)
    for entry in meta.get("managedFields") or ():
        spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        manager = entry.get("manager", "")
        if "f:replicas" not in spec or manager in (FIELD_MANAGER, HANDED_OVER):
            continue
        if entry.get("operation") == "Apply" or manager in RESETTERS:
            found.add(manager)
    return found


def paused(facts: Facts) -> Iterator[Finding]:
    """A pause that somebody forgot."""
    deployment = facts.cluster.deployment if facts.cluster else None
    why = pause(deployment["metadata"]) if deployment else None
    if why is not None:
        yield note(
            "paused",
            deployment_at(facts, f"annotation {PAUSED} ({why})"),
            "Nothing is scaled during a pause.",
            kubectl(facts, f"annotate deployment {facts.ref and facts.ref.deployment} {PAUSED}-"),
        )
    if facts.policy is not None and facts.policy.paused:
        yield note(
            "paused",
            f"policy {facts.policy.name}, paused",
            "Nothing is scaled during a pause.",
            "paused: false",
        )
