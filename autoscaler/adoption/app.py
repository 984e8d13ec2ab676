"""What is adopted: the Deployment, its container that serves the app, and its Services. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autoscaler.adapters.kubernetes.inspection import Inspection, words
from autoscaler.adapters.kubernetes.pods import ROUTABLE, Json, pod_labels
from autoscaler.adapters.policies.kinds import WORKLOADS
from autoscaler.adoption.plain import plain_deployment, plain_service
from autoscaler.doctor.checks_proxy import ROUTES
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.manifests import (
    BOKEH_PORT,
    PORT_NAME,
    SERVE,
    apps,
    leads_to,
    listens_on,
    port_names,
    port_number,
    run_as,
    selecting,
)
from autoscaler.errors import AutoscalerError
from autoscaler.model import TargetRef

# Of a Deployment, by the kind of the objects in a file: the field of what was seen.
_FIELDS = {
    "Deployment": "deployments",
    "Service": "services",
    "Ingress": "ingresses",
    "HorizontalPodAutoscaler": "autoscalers",
    "ScaledObject": "scaled_objects",
    "PodDisruptionBudget": "budgets",
    "NetworkPolicy": "network_policies",
}


class UnclearError(AutoscalerError):
    """The objects do not say what to adopt, or how; the message names the option that does."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator decides.

    name: of the second Deployment, if not the next one. port: at which users reach the pods. start:
    the words of the app's whole command, for an image that has them. user: UID that the app runs
    as, if only its image says so. zero_touch: whether the launcher is copied into the pod. sticky:
    haproxy or nginx.
    """

    in_place: bool = False
    name: str | None = None
    container: str | None = None
    port: int | None = None
    start: tuple[str, ...] = ()
    user: int | None = None
    zero_touch: bool = True
    exporter_image: str = "bokeh-exporter:0.1.0"
    sticky: str | None = None
    helm: bool = False
    seats: int = 20


@dataclass(frozen=True, slots=True)
class App:
    """What is there. port: number of the port at which users reach the pods.

    target_port: how the Services name it. facts: all that was seen, as `doctor` takes it.
    """

    ref: TargetRef
    deployment: dict[str, Any]
    container: Json
    services: tuple[dict[str, Any], ...]
    port: int
    target_port: Any
    replicas: int
    facts: Facts


def seen_in(objects: Sequence[Json], namespace: str | None, name: str | None) -> Facts:
    """Return what manifests say of a Deployment and of the objects in its namespace.

    namespace: of objects that name none. Raises UnclearError unless they have one such Deployment.
    """
    found = [
        each
        for each in objects
        if each["kind"] == "Deployment"
        and name in (None, each["metadata"]["name"])
        and namespace in (None, _namespace(each, namespace))
    ]
    if len(found) != 1:
        raise UnclearError(_not_one(objects))
    [deployment] = found
    own = _namespace(deployment, namespace)
    listed: dict[str, tuple[Json, ...]] = {
        field: tuple(
            _placed(each, own)
            for each in objects
            if each["kind"] == kind and _namespace(each, own) == own
        )
        for kind, field in _FIELDS.items()
    }
    cluster = Inspection(_placed(deployment, own), **listed)  # type: ignore[arg-type]
    return Facts(TargetRef(own, deployment["metadata"]["name"]), cluster=cluster)


def _not_one(objects: Sequence[Json]) -> str:
    """Return why manifests do not tell which Deployment is meant."""
    names = sorted(each["metadata"]["name"] for each in objects if each["kind"] == "Deployment")
    kinds = sorted({each["kind"] for each in objects} & {*WORKLOADS})
    if kinds and not names:
        return f"found a {kinds[0]}, and only a Deployment can be adopted"
    wanted = "expected one Deployment: set --deployment and --namespace"
    return f"{wanted}; found {', '.join(names) or 'none'}"


def _namespace(item: Json, default: str | None) -> str:
    return str(item["metadata"].get("namespace") or default or "default")


def _placed(item: Json, namespace: str) -> Json:
    return {**item, "metadata": {**item["metadata"], "namespace": namespace}}


def app_of(facts: Facts, choices: Choices) -> App:
    """Return the app in what was seen. Raises UnclearError."""
    if facts.cluster is None or facts.cluster.deployment is None or facts.ref is None:
        raise UnclearError(f"Deployment {facts.ref} was not seen")
    services = [each for each in selecting(facts) if not is_of_proxy(each)]
    served = [port for each in services for port in _targets(each, facts)]
    container = _container(apps(facts), served, choices.container)
    number, target_port = _reached(apps(facts), container, served, choices)
    return App(
        facts.ref,
        plain_deployment(facts.cluster.deployment),
        container,
        tuple(map(plain_service, services)),
        number,
        target_port,
        int(facts.cluster.deployment["spec"].get("replicas", 1)),
        facts,
    )


def user_of(app: App, choices: Choices) -> int | None:
    """Return the UID that the app runs as, or None if only its image says so.

    Raises UnclearError if the manifest says another one than the operator.
    """
    said = run_as(app.container, run_as(app.deployment["spec"]["template"]["spec"]))
    if said is not None and choices.user not in (None, said):
        raise UnclearError(
            f"container {app.container['name']}: runAsUser is {said} and --user is {choices.user}; "
            "leave --user out"
        )
    return choices.user if said is None else said


def after(app: App, deployment: Json, services: Iterable[Json], budgets: Iterable[Json]) -> Facts:
    """Return what `doctor` will see once all of it is applied and the pods run."""
    seen = app.facts.cluster or Inspection()
    name = deployment["metadata"]["name"]
    changed = replace(
        seen,
        deployment=deployment,
        services=tuple(services),
        budgets=(*(seen.budgets or ()), *budgets),
        pods=None,
        endpoint_slices=None,
        events=None,
        missing_rights=None,
    )
    return replace(app.facts, ref=TargetRef(app.ref.namespace, name), cluster=changed)


def others(app: App, choices: Choices) -> list[Json]:
    """Return the other Deployments of the namespace, whose names and labels are taken.

    One that the operator names, and that has the routable label, is of an earlier adoption.
    """
    seen = (app.facts.cluster.deployments if app.facts.cluster else None) or ()
    return [
        each
        for each in seen
        if each["metadata"]["name"] != app.ref.deployment
        and not (each["metadata"]["name"] == choices.name and ROUTABLE in pod_labels(each))
    ]


def is_of_proxy(service: Json) -> bool:
    """Return whether a Service belongs to a sticky proxy of ours, which is applied anew."""
    return str(service["metadata"]["name"]) in ROUTES


def _targets(service: Json, facts: Facts) -> list[Any]:
    """Return the ports of the pods that a Service sends users to."""
    return [each for each in leads_to(service) if each not in (facts.exporter_port, PORT_NAME)]


def _container(found: Sequence[Json], served: Sequence[Any], name: str | None) -> Json:
    """Return the container of the app. Raises UnclearError if it is not known."""
    if name is not None:
        named = [each for each in found if each["name"] == name]
    elif len(found) == 1:
        named = list(found)
    else:
        starts = [each for each in found if SERVE.search(" ".join(words(each)))]
        reached = [each for each in found if any(port in served for port in port_names(each))]
        named = next((some for some in (starts, reached) if len(some) == 1), [])
    if len(named) == 1:
        return named[0]
    names = ", ".join(each["name"] for each in found)
    raise UnclearError(f"which container serves the app? Set --container to one of {names}")


def _reached(
    found: Sequence[Json], container: Json, served: Sequence[Any], choices: Choices
) -> tuple[int, Any]:
    """Return the port at which users reach the pods: its number, and its name in the Services.

    The connections of this port are counted before the old pods are deleted, so it is not guessed.
    Raises UnclearError if it is not known.
    """
    numbers = [(_number(found, port), port) for port in served]
    named = {number: port for number, port in reversed(numbers) if isinstance(number, int)}
    ports = [each for each in container.get("ports") or () if each.get("name") != PORT_NAME]
    declared = [each["containerPort"] for each in ports]
    start = {"command": list(choices.start)} if choices.start else container
    told, known = listens_on(start), named or dict(zip(declared, declared, strict=True))
    if choices.port is not None:
        number = choices.port
    elif len(named) == 1:
        [number] = named
    elif told is not None and (told in known or not named):
        number = told
    elif len(known) == 1:
        [number] = known
    elif BOKEH_PORT in known:
        number = BOKEH_PORT
    else:
        listed = ", ".join(map(str, sorted(known)))
        one = f"one of {listed}" if listed else "the port on which the app listens"
        raise UnclearError(f"at which port do users reach the pods? Set --port to {one}")
    return number, named.get(number, number)


def _number(containers: Sequence[Json], port: Any) -> Any:
    """Return the number of a port that any container may name."""
    numbers = (port_number(each, port) for each in containers)
    return next((each for each in numbers if each != port), port)
