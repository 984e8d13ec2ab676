"""The steps by which an operator adopts the app, as a page with commands. Pure.

Their order is what keeps the users: no Service selects a pod before it is Ready and `doctor` has
looked at it, and nothing ends a pod before its users have left it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Set
from shlex import quote

from autoscaler.adoption import (
    autoscaler_steps,
    daemon_steps,
    files,
    proxy_steps,
    switch_steps,
    way_back,
)
from autoscaler.adoption.daemon_files import DAEMON_NAMESPACE
from autoscaler.adoption.notes import notes, remaining
from autoscaler.adoption.plan import Adoption
from autoscaler.adoption.pods import container_names, free_name
from autoscaler.adoption.step import Step, apply, in_pods, kubectl, lines, replicas, sockets
from autoscaler.adoption.writing import KUSTOMIZATION
from autoscaler.doctor.checks_scaling import KUBECTL, RESETTERS, resetters

_BESIDE = (
    "A second Deployment starts beside the first one, new users go to its pods, and the first one "
    "is deleted when its users have left. No session is ended. Meanwhile there are twice as many "
    "pods, and a user of an old pod whose connection breaks gets a new session."
)
_IN_PLACE = (
    "**Step 2 ends every open session**: the pods that run now have no launcher, and nothing that "
    "is applied can change that. Do it when nobody is connected, or leave --in-place out. From the "
    "next rollout on, sessions are kept."
)


def page(adoption: Adoption, folder: str) -> str:
    """Return the page. folder: where the files are, as the operator named it."""
    choices = adoption.choices
    steps = _in_place(adoption, folder) if choices.in_place else _beside(adoption, folder)
    way = "in place" if choices.in_place else f"a second Deployment, {adoption.name}, beside it"
    return "\n".join(
        [
            f"# Adopt Deployment {adoption.app.ref}: {way}",
            "",
            _IN_PLACE if choices.in_place else _BESIDE,
            "",
            *_listed("Before you begin", [*notes(adoption), _INSTALLED, _token(adoption)]),
            *(
                line
                for number, step in enumerate(steps, 1)
                for line in lines(f"## {number}. {step.title}", step)
            ),
            *_listed("What `autoscaler doctor` will still say", remaining(adoption), _LATER),
            *way_back.section(adoption, folder),
        ]
    )


_INSTALLED = (
    "Install the daemon first, without a policy for this app: docs/adopt.md, Install the daemon "
    "first, has the overlay for that; or deploy/helm/README.md."
)

_TOKEN = (
    "Notices in the pages of users, questions to those who do not use them, and hints that a page "
    "may be closed need a token that the sidecars and the daemon have. A token that is added later "
    "is another rollout, so add it before the first step: create the two Secrets as "
    "docs/security.md, A token for the sidecars, says, and add `components: "
    f"[PATH/deploy/kubernetes/components/sidecar-token]` to {files.PODS}/{KUSTOMIZATION}, "
    "with the path from there to your copy of our manifests. The daemon gets the token by the same "
    "component in its own overlay, or by `sidecarToken` of the chart."
)

_SIDECAR = "exporter"  # as the component calls it


def _token(adoption: Adoption) -> str:
    """Return when and how the sidecars get a token."""
    name = free_name(_SIDECAR, container_names(adoption.app))
    other = (
        f" The sidecar is called {name} here, because the app has a container {_SIDECAR}: write "
        "that name into app.yaml of the copy."
    )
    return _TOKEN + ("" if name == _SIDECAR else other)


_LATER = (
    f"Write what is of the Deployment into {files.PODS}/patch.yaml. Before the pods are started it "
    "costs nothing. Later it is a rollout, which ends no session, because the launcher keeps each "
    "pod until its users have left."
)


def _listed(title: str, items: Iterable[str], text: str = "") -> list[str]:
    found, head = list(items), [text, ""] if text else []
    return [f"## {title}", "", *head, *(f"* {each}" for each in found), ""] if found else []


def _beside(adoption: Adoption, folder: str) -> Iterator[Step]:
    old, new = adoption.app.ref.deployment, adoption.name
    yield Step(
        f"Start {new} beside {old}",
        "With as many pods. Users notice nothing, because no Service selects the new pods yet. If "
        f"another app of the namespace is called {new}, it would be replaced: then repeat the "
        "command with --name.",
        (
            apply(folder, files.PODS),
            kubectl(adoption, f'scale deployment/{new} --replicas="$({replicas(adoption)})"'),
            kubectl(adoption, f"rollout status deployment/{new}"),
        ),
    )
    yield from proxy_steps.starting(adoption, folder)
    yield from daemon_steps.scraping(adoption, folder)
    yield from autoscaler_steps.converting(adoption, folder)
    yield from daemon_steps.policy(adoption, folder)
    unserved = "" if adoption.proxies else "`no-service` is right until the Service is switched. "
    yield _doctor(adoption, unserved + _FIX_FIRST)
    yield from autoscaler_steps.deleting(adoption)
    yield from switch_steps.switching(adoption)
    yield Step(
        "Wait until the old pods are empty",
        "They have no sidecar, so this counts the open connections of each. Repeat it until every "
        "line says 0.",
        (_connections(adoption),),
    )
    yield Step(
        f"Delete {old}",
        "This ends the sessions of users who are still connected. Delete its manifest too, and "
        f"keep {folder} in its place: `kubectl apply -k {quote(folder)}`",
        (kubectl(adoption, f"delete deployment {old}"),),
    )


def _in_place(adoption: Adoption, folder: str) -> Iterator[Step]:
    name, choices = adoption.app.ref.deployment, adoption.choices
    yield Step(
        "Take `replicas` out of what is applied",
        "Otherwise the next step sets 1, because kubectl removes what its last manifest had. "
        "Remove `replicas` from your manifest too. The last command prints the same number as "
        "before." + _elsewhere(_appliers(adoption) - {"kubectl"}),
        (*_hand_over(adoption, folder), replicas(adoption)),
    )
    by_server = " --server-side" if "kubectl" in _appliers(adoption) else ""
    yield Step(
        "Roll out the pods",
        "**This ends every open session.**",
        (
            apply(folder, files.PODS) + by_server,
            kubectl(adoption, f"rollout status deployment/{name}"),
        ),
    )
    by_chart = choices.sticky and choices.helm  # which starts the proxy with the policy
    if by_chart:
        yield from switch_steps.to_pods(adoption)
    yield from proxy_steps.starting(adoption, folder)
    if not by_chart:
        yield from switch_steps.switching(adoption)
    yield from daemon_steps.scraping(adoption, folder)
    yield from autoscaler_steps.converting(adoption, folder)
    yield from autoscaler_steps.deleting(adoption)
    yield from daemon_steps.policy(adoption, folder)
    if by_chart:
        yield from switch_steps.to_proxy(adoption)
    yield _doctor(adoption)


def _elsewhere(appliers: Set[str]) -> str:
    """Return what to do about managers that apply `replicas` from a place of their own."""
    if not appliers:
        return ""
    return (
        f" {', '.join(sorted(appliers))} applies it from elsewhere: after these commands and "
        "before the next step, remove `replicas` there and let it apply that (docs/adopt.md)."
    )


def _appliers(adoption: Adoption) -> Set[str]:
    """Return who sets `replicas` by server-side apply, after which they need another owner."""
    deployment = adoption.app.facts.cluster and adoption.app.facts.cluster.deployment
    return resetters((deployment or {}).get("metadata") or {}) - {KUBECTL, *RESETTERS}


def _hand_over(adoption: Adoption, folder: str) -> Iterator[str]:
    """Yield the commands after which an apply without `replicas` leaves them as they are."""
    ref, appliers = adoption.app.ref, _appliers(adoption)
    if appliers:
        meta = {"name": ref.deployment, "namespace": ref.namespace}
        head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta}
        text = json.dumps({**head, "spec": {"replicas": 0}}).replace(": 0}", ": %s}")
        yield (
            f'printf {quote(text)} "$({replicas(adoption)})" | kubectl apply --server-side '
            "--field-manager=handover --validate=false -f -"
        )
    if "kubectl" not in appliers:
        place = quote(f"{folder}/{files.PODS}/deployment.yaml")
        yield f"kubectl apply set-last-applied --create-annotation=true -f {place}"


_FIX_FIRST = "Fix every error before it: until then no user is on the new pods."


def _doctor(adoption: Adoption, more: str = "") -> Step:
    ref = adoption.app.ref
    return Step(
        "Look whether all is right",
        "It reports everything that is not, with its fix. Add --prometheus-url with the address of "
        "your Prometheus: then it also tells whether that scrapes the pods, and whether the "
        "sidecars count their users exactly. To reach ours from here, forward its port: `kubectl "
        f"-n {DAEMON_NAMESPACE} port-forward service/prometheus 9090`. {more}".rstrip(),
        (f"autoscaler doctor --namespace {ref.namespace} --deployment {adoption.name}",),
    )


def _connections(adoption: Adoption) -> str:
    open_ones = sockets(adoption.app.port, "01")
    return in_pods(adoption, f'cat /proc/net/tcp /proc/net/tcp6 | grep -c "{open_ones}" || true')
