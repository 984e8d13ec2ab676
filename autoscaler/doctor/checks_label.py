"""The label by which the daemon cordons pods: on the pods, in the Services, not in the selector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autoscaler.adapters.kubernetes.pods import ROUTABLE, Json, selects_by
from autoscaler.doctor.endpoints import has_ready_endpoint
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error, warning
from autoscaler.doctor.manifests import (
    BOKEH_PORT,
    all_containers,
    apps,
    await_rollout,
    deployment_at,
    field_at,
    is_drained,
    is_exporter,
    is_headless,
    is_ready,
    is_seen,
    kubectl,
    labels,
    leads_to,
    listens_on,
    pods,
    port_names,
    selecting,
    selects_routable,
    servers,
    target_port,
    template,
    template_yaml,
    used,
    where,
)
from autoscaler.units import counted

FROM_TEMPLATE = "metadata:", "  labels:", f'    {ROUTABLE}: "true"'


def label_missing(facts: Facts) -> Iterator[Finding]:
    """The pod template must have the label, or no pod can be cordoned."""
    if is_drained(facts) and labels(facts).get(ROUTABLE) != "true":
        yield error(
            "label-missing-from-template",
            field_at(facts, "metadata.labels"),
            "Nothing is scaled down, because the daemon cannot cordon a pod without the label.",
            template_yaml(*FROM_TEMPLATE),
        )


def label_in_selector(facts: Facts) -> Iterator[Finding]:
    """The Deployment's own selector must not have it, or a cordoned pod would leave it."""
    if facts.cluster is None or facts.cluster.deployment is None or not is_drained(facts):
        return
    if selects_by(facts.cluster.deployment["spec"]["selector"], ROUTABLE):
        yield error(
            "label-in-deployment-selector",
            deployment_at(facts, "spec.selector"),
            "Nothing is scaled down, because a cordoned pod would no longer belong to the "
            "Deployment.",
            "A selector cannot be changed: create a second Deployment whose selector lacks "
            f"{ROUTABLE}, as docs/adopt.md describes.",
        )


def pods_without_label(facts: Facts) -> Iterator[Finding]:
    """A pod from before the rollout lacks what the template has."""
    lacking = [p for p in pods(facts) if ROUTABLE not in (p["metadata"].get("labels") or {})]
    if lacking and is_drained(facts) and labels(facts).get(ROUTABLE) == "true":
        yield error(
            "pods-without-label",
            where(lacking[0], "Pod", "metadata.labels"),
            f"{counted(len(lacking), 'running pod')} without the label cannot be cordoned, and a "
            "Service that selects by it sends nobody there.",
            await_rollout(facts),
        )


def service_sends_to_cordoned(facts: Facts) -> Iterator[Finding]:
    """A Service without the label in its selector sends new users to cordoned pods.

    Those of sticky proxies are headless, and one of them has all pods on purpose.
    """
    for service in used(facts):
        if is_drained(facts) and not is_headless(service) and not selects_routable(service):
            name = service["metadata"]["name"]
            patch = f'{{"spec": {{"selector": {{"{ROUTABLE}": "true"}}}}}}'
            yield error(
                "label-missing-from-service",
                where(service, "Service", "spec.selector"),
                "New users come to pods that are to be removed, so these never become empty.",
                "# once every pod has the label, and not before:\n"
                + kubectl(facts, f"patch service {name} --type=merge --patch '{patch}'"),
            )


def no_service(facts: Facts) -> Iterator[Finding]:
    """Some Service must select the pods."""
    services = facts.cluster.services if facts.cluster else None
    if services is not None and is_seen(facts) and not selecting(facts):
        yield warning(
            "no-service",
            deployment_at(facts, "spec.template.metadata.labels"),
            "No Service of the namespace selects the pods, so no user reaches them.",
            "kind: Service\nspec:\n  selector:\n"
            + "\n".join(f"    {key}: {value!r}" for key, value in labels(facts).items()),
        )


def service_without_pods(facts: Facts) -> Iterator[Finding]:
    """A Service that selects the target's pods must have a ready one."""
    for service in selecting(facts):
        if has_ready_endpoint(facts, service) is False:
            yield error(
                "service-without-ready-pods",
                where(service, "Service", "spec.selector"),
                *(_unlabelled(facts, service) if any(map(is_ready, pods(facts))) else _down(facts)),
            )


def _down(facts: Facts) -> tuple[str, str]:
    chosen = ",".join(f"{key}={value}" for key, value in labels(facts).items() if key != ROUTABLE)
    return (
        "The app is down: none of its pods is ready.",
        kubectl(facts, f"describe pods --selector {chosen}"),
    )


def _unlabelled(facts: Facts, service: Json) -> tuple[str, str]:
    name = service["metadata"]["name"]
    patch = f'{{"spec": {{"selector": {{"{ROUTABLE}": null}}}}}}'
    return (
        "The app is down: no ready pod has all labels that the Service selects by.",
        kubectl(facts, f"describe service {name}")
        + "\n# if the pods lack the label, remove it until the rollout is done:\n"
        + kubectl(facts, f"patch service {name} --type=merge --patch '{patch}'"),
    )


def service_port_unknown(facts: Facts) -> Iterator[Finding]:
    """A port to which a Service leads must be one on which a container listens."""
    is_reached = any(
        not _unheard(port, facts) for each in selecting(facts) for port in leads_to(each)
    )
    for service in selecting(facts):
        for port in service["spec"].get("ports") or ():
            wanted = target_port(port)
            why = _unheard(wanted, facts)
            # Where users reach the app, another number may be one of its own, such as of metrics.
            if why and not (is_reached and isinstance(wanted, int)):
                yield error(
                    "service-port-unknown",
                    where(service, "Service", f"spec.ports, targetPort ({wanted})"),
                    f"No user reaches the app by port {port['port']} of the Service, because "
                    f"{why}.",
                    "spec:\n  ports:\n"
                    f"    - {{port: {port['port']}, targetPort: {_port_of(facts)}}}",
                )


def _unheard(wanted: Any, facts: Facts) -> str:
    """Return why no container listens on a port of a Service, or "" if one may.

    A manifest need not name the ports, so a number is known only where all servers tell theirs.
    """
    every = all_containers(template(facts).get("spec") or {})
    if wanted in [port for each in every for port in port_names(each)]:
        return ""
    if isinstance(wanted, str) and not wanted.isdecimal():
        return "no container of the pods has a port of that name"
    of_app, stays = servers(facts), {"restartPolicy": "Always"}
    heard = [listens_on(each) for each in of_app]
    others = [
        each
        for each in every
        if (each in apps(facts) or stays.items() <= each.items())
        and each not in of_app
        and not is_exporter(each, facts.exporter_port)
    ]
    if others or None in heard or int(wanted) in (*heard, facts.exporter_port):
        return ""
    return f"the server listens on {', '.join(map(str, heard))}"


def _port_of(facts: Facts) -> object:
    """Return the port of the app's container, by its name if it has one."""
    for each in servers(facts):
        for port in each.get("ports") or ():
            return port.get("name") or port["containerPort"]
    return next(filter(None, map(listens_on, servers(facts))), BOKEH_PORT)
