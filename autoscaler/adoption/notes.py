"""What the operator has to know or to decide before the first step. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adoption.app import after, user_of
from autoscaler.adoption.plan import Adoption
from autoscaler.adoption.routes import next_name
from autoscaler.doctor.autoscalers import autoscalers_of
from autoscaler.doctor.checks_scaling import RESETTERS, resetters
from autoscaler.doctor.checks_server import no_affinity
from autoscaler.doctor.findings import Severity
from autoscaler.doctor.manifests import all_containers, labels, matches, where

_PYTHON = (
    "The launcher is copied into the pod, so the image needs Python 3.10 or newer, as `python`."
)
_IMAGE = (
    "The image must have the launcher, as its ENTRYPOINT where the manifest has no `command`: "
    "deploy/README.md, An image of your own app."
)
_ENTRYPOINT = (
    "The manifest has only `args`. If the image has an ENTRYPOINT too, it is not started any "
    "more: then repeat this command with --start and all words of the app's start."
)
# By the beginning of a label or annotation: who else applies the Deployment.
_TOOLS = {
    "argocd.argoproj.io/": "Argo CD applies it: docs/adopt.md, Argo CD.",
    "kustomize.toolkit.fluxcd.io/": "Flux applies it: docs/adopt.md, Flux.",
    "meta.helm.sh/": (
        "Helm applies it. Keep the release until the last step: it renders the first Deployment "
        "again at each upgrade."
    ),
}


def notes(adoption: Adoption) -> Iterator[str]:
    """Yield what to know, a paragraph each."""
    yield from _other_autoscalers(adoption)
    yield from _name(adoption)
    yield from _start(adoption)
    yield from _user(adoption)
    yield from _affinity(adoption)
    yield from _tools(adoption)
    yield from _claims(adoption)
    yield from _network(adoption)
    yield from _host_network(adoption)
    yield from _placement(adoption)
    if not adoption.services:
        yield (
            "No Service was found that selects the pods. If there is one, repeat this command with "
            "its manifest; whatever else sends users to the pods must select the new ones by the "
            "labels in pods/patch.yaml, and after they are Ready."
        )
    for line in adoption.app.facts.unexamined:
        yield f"Not examined: {line}"


def remaining(adoption: Adoption) -> Iterator[str]:
    """Yield what `doctor` will say of the result, each with its fix."""
    for each in adoption.found:
        if each.severity is not Severity.NOTE:
            fix = indent(f"```text\n{each.fix}\n```", "  ")
            yield f"{each.severity} `{each.id}`: {each.feel}\n\n{fix}\n"


def _other_autoscalers(adoption: Adoption) -> Iterator[str]:
    for kind, name, _ in autoscalers_of(adoption.app.facts):
        yield (
            f"{kind} {name} scales the app, and deletes pods that have sessions, as before. Do not "
            "delete it yet: steps below make the policy of it and delete it."
        )


def _name(adoption: Adoption) -> Iterator[str]:
    """Yield why the second Deployment does not have the next name."""
    expected, choices = next_name(adoption.app.ref.deployment), adoption.choices
    if not choices.in_place and choices.name is None and adoption.name != expected:
        yield (
            f"Another Deployment is called {expected}, or its pods have such a label, so the "
            f"second one is called {adoption.name}. If {expected} is of an earlier adoption of "
            f"this app, repeat this command with `--name {expected} --force`."
        )


def _start(adoption: Adoption) -> Iterator[str]:
    container, choices = adoption.app.container, adoption.choices
    if not choices.zero_touch:
        yield _IMAGE
        return
    changed = adoption.patch["spec"]["template"]["spec"].get("containers") or [{}]
    if "command" in changed[0]:
        yield _PYTHON
        if not container.get("command") and not choices.start:
            yield _ENTRYPOINT


def _user(adoption: Adoption) -> Iterator[str]:
    app, choices = adoption.app, adoption.choices
    if user_of(app, choices) is None:
        look = f"exec deployment/{app.ref.deployment} -c {app.container['name']} -- id -u"
        yield (
            "The manifest does not say as which user the app runs. The sidecar runs as 65532, and "
            "believes an app that runs as 65532 or as root: look with "
            f"`kubectl -n {app.ref.namespace} {look}`. If it prints another number, such as 1000, "
            f"repeat this command with `--user 1000{_again(adoption)}`, and the sidecar runs as "
            "the same user. Otherwise the new pods are never Ready, or their users are an estimate."
        )


def _affinity(adoption: Adoption) -> Iterator[str]:
    """Yield what an app of one pod needs as soon as it has several."""
    is_told = any(each.id == "no-session-affinity" for each in adoption.found)
    if adoption.choices.sticky or is_told:
        return
    spec = {**adoption.deployment["spec"], "replicas": 2}
    several = after(adoption.app, {**adoption.deployment, "spec": spec}, adoption.services, ())
    if any(no_affinity(several)):
        yield (
            "The app has one pod, and the policy gives it more when users come. Nothing leads a "
            "user back to the same pod then, so pages lose their sessions: repeat this command "
            f"with `--sticky haproxy{_again(adoption)}`, or let the policy have `max: 1`."
        )


def _again(adoption: Adoption) -> str:
    """Return the options with which this command writes the same adoption once more."""
    name = "" if adoption.choices.in_place else f" --name {adoption.name}"
    return f"{name} --force"


def _tools(adoption: Adoption) -> Iterator[str]:
    deployment = adoption.app.facts.cluster and adoption.app.facts.cluster.deployment
    meta: Json = (deployment or {}).get("metadata") or {}
    keys = [*(meta.get("labels") or {}), *(meta.get("annotations") or {})]
    for beginning, told in _TOOLS.items():
        if any(key.startswith(beginning) for key in keys):
            yield told
    if adoption.choices.in_place and (found := resetters(meta) & set(RESETTERS)):
        yield (
            f"{', '.join(sorted(found))} sets `replicas`, and 1 when it stops to set them: leave "
            "--in-place out, for a second Deployment (docs/adopt.md)."
        )


def _claims(adoption: Adoption) -> Iterator[str]:
    volumes = adoption.app.deployment["spec"]["template"]["spec"].get("volumes") or ()
    names = [
        each["persistentVolumeClaim"]["claimName"]
        for each in volumes
        if "persistentVolumeClaim" in each
    ]
    if names:
        yield (
            f"The pods mount {', '.join(names)}. Old and new pods run at the same time, on any "
            "node, so the volume must be one that several nodes can mount (ReadWriteMany)."
        )


def _host_network(adoption: Adoption) -> Iterator[str]:
    """Yield what is scarce where the pods have the ports of their node."""
    spec = adoption.deployment["spec"]["template"]["spec"]
    ports = [port for each in all_containers(spec) for port in each.get("ports") or ()]
    if spec.get("hostNetwork") or any("hostPort" in port for port in ports):
        yield (
            "The pods have `hostNetwork` or a `hostPort`, so a node has room for one of them. The "
            "new pods stay Pending unless there are as many other nodes: add nodes first, or "
            "remove it in pods/patch.yaml."
        )


def _placement(adoption: Adoption) -> Iterator[str]:
    """Yield what to do if rules of the scheduler select the old pods alone."""
    old, new = (each["spec"]["template"] for each in (adoption.app.deployment, adoption.deployment))
    before, after = (each["metadata"].get("labels") or {} for each in (old, new))
    if any(matches(s, before) and not matches(s, after) for s in _placed_by(new["spec"])):
        yield (
            "`topologySpreadConstraints` or `podAntiAffinity` select the old pods and not the new "
            "ones, which may then all run on one node: write their labels into these in "
            "pods/patch.yaml."
        )


def _placed_by(pod: Json) -> Iterator[Json]:
    """Yield the selectors by which a pod keeps away from others."""
    apart = (pod.get("affinity") or {}).get("podAntiAffinity") or {}
    preferred = apart.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    terms = [
        *(pod.get("topologySpreadConstraints") or ()),
        *(apart.get("requiredDuringSchedulingIgnoredDuringExecution") or ()),
        *(each["podAffinityTerm"] for each in preferred),
    ]
    yield from (each["labelSelector"] for each in terms if each.get("labelSelector"))


def _network(adoption: Adoption) -> Iterator[str]:
    seen, new = adoption.app.facts.cluster, adoption.deployment["spec"]["template"]["metadata"]
    for policy in (seen.network_policies if seen else None) or ():
        selector = policy["spec"].get("podSelector") or {}
        if matches(selector, labels(adoption.app.facts)) and not matches(selector, new["labels"]):
            yield (
                f"{where(policy, 'NetworkPolicy')} selects the old pods and not the new ones: add "
                f"their labels to it, or a copy of it."
            )
