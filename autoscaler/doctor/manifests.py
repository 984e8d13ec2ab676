"""Reading the manifests of a target: its containers, their commands, and who selects its pods."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from autoscaler.adapters.kubernetes.inspection import option, words
from autoscaler.adapters.kubernetes.pods import ROUTABLE, Json, pod_labels
from autoscaler.doctor.ages import container_statuses
from autoscaler.doctor.facts import Facts
from autoscaler.units import seconds

PORT_NAME = "bokeh-metrics"
# The annotation in which kubectl keeps the last manifest.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# What the launcher waits for after SIGTERM, unless its command says otherwise.
DRAIN_DEADLINE = 3600.0
# Seconds from the launcher's stop signal to SIGKILL.
STOP = 30.0
# Reasons of a container that waits and that need nobody.
STARTING = ("PodInitializing", "ContainerCreating")
SHELLS = ("sh", "bash", "dash", "ash")
# The option of a shell before a line, alone or with others: -c, -ec, -lc.
LINE = re.compile(r"-[a-z]*c")
LAUNCH = re.compile(r"exporter launch\b")
# The beginning of a command that starts a server.
SERVE = re.compile(r"(^|[\s/;&])(bokeh|panel|python[\d.]*|gunicorn|uvicorn|hypercorn|daphne)\b")
# That of Bokeh and Panel, which users reach.
BOKEH = re.compile(r"\b(bokeh|panel)(\.\w+)? serve\b")
BOKEH_PORT = 5006
# What a probe by a command asks: a port of the pod, and a path.
ASKED = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\]):(\d+)([^\s'\"]*)")


def template(facts: Facts) -> Json:
    """Return the pod template of the target, or an empty one if it was not seen."""
    if facts.cluster is None or facts.cluster.deployment is None:
        return {}
    found: Json = facts.cluster.deployment["spec"]["template"]
    return found


def is_seen(facts: Facts) -> bool:
    """Return whether the Deployment was seen; most checks of the cluster are about it."""
    return facts.cluster is not None and facts.cluster.deployment is not None


def is_drained(facts: Facts) -> bool:
    """Return whether pods are cordoned before they are removed, as they are by default."""
    return is_seen(facts) and (facts.policy is None or facts.policy.drain is not None)


def labels(facts: Facts) -> Mapping[str, str]:
    """Return the labels of the pod template."""
    seen = facts.cluster.deployment if facts.cluster else None
    return pod_labels(seen) if seen else {}


def pods(facts: Facts) -> list[Json]:
    """Return the target's pods that neither end, as in a rollout, nor have ended."""
    found = (facts.cluster.pods if facts.cluster else None) or ()
    return [
        pod
        for pod in found
        if pod["status"].get("phase") in ("Pending", "Running")
        and not pod["metadata"].get("deletionTimestamp")
    ]


def is_ready(pod: Json) -> bool:
    """Return whether a pod is Ready."""
    conditions = pod["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def waiting(pod: Json) -> Iterator[tuple[str, str, str]]:
    """Yield name, reason and message of each container that waits for help or has just crashed."""
    for each in container_statuses(pod):
        state = (each.get("state") or {}).get("waiting") or _crash(each)
        if state.get("reason", STARTING[0]) not in STARTING:
            yield each["name"], state["reason"], state.get("message", "")


def _crash(status: Json) -> Json:
    """Return how a container ended that was started anew and is not ready since."""
    found: Json = (status.get("lastState") or {}).get("terminated") or {}
    return {} if status.get("ready") else found


def all_containers(spec: Json) -> list[Json]:
    """Return the containers of a pod with its init containers, native sidecars among them."""
    return [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]


def is_exporter(container: Json, port: int) -> bool:
    """Return whether a container serves the exporter's pages: a sidecar, or such a launcher."""
    ports = container.get("ports") or ()
    by_port = any(p.get("containerPort") == port or p.get("name") == PORT_NAME for p in ports)
    said = words(container)
    return by_port or "sidecar" in said or option(said, "--metrics-port") is not None


def exporters(spec: Json, port: int) -> list[Json]:
    """Return the containers of a pod that serve the exporter's pages."""
    return [each for each in all_containers(spec) if is_exporter(each, port)]


def apps(facts: Facts) -> list[Json]:
    """Return the containers of the template that serve the app: all but a sidecar of ours."""
    containers = (template(facts).get("spec") or {}).get("containers") or ()
    return [each for each in containers if "sidecar" not in words(each)]


def servers(facts: Facts) -> list[Json]:
    """Return those of the app's containers that serve its users, or all if no manifest says so.

    A container that only runs Python may be a helper, if users reach another one.
    """
    every = apps(facts)
    lines = [(each, " ".join(words(each))) for each in every]
    if sure := [each for each, line in lines if LAUNCH.search(line) or BOKEH.search(line)]:
        return sure
    start = [each for each, line in lines if SERVE.search(line)]
    wanted = [port for service in selecting(facts) for port in leads_to(service)]
    reached = [each for each in start if any(port in wanted for port in port_names(each))]
    return reached or start or every


def port_names(container: Json) -> Iterator[Any]:
    """Yield what a Service may call the ports of a container: their numbers and their names."""
    for each in container.get("ports") or ():
        yield each["containerPort"]
        if "name" in each:
            yield each["name"]


def launched(container: Json) -> bool | None:
    """Return whether the first process of a container is the launcher; None: the image decides."""
    line = " ".join(words(container))
    if LAUNCH.search(line):
        return True
    shown = line if is_shell(container) else " ".join(container.get("command") or ())
    return False if SERVE.search(shown) else None


def is_shell(container: Json) -> bool:
    """Return whether a container starts its server by a line of a shell."""
    command = words(container)
    return (
        bool(command)
        and command[0].rpartition("/")[2] in SHELLS
        and any(LINE.fullmatch(word) for word in command)
    )


def server_words(facts: Facts) -> list[str]:
    """Return the words of the app's command line, as far as the manifest has them."""
    return [word for container in servers(facts) for word in line_words(container)]


def line_words(container: Json) -> Sequence[str]:
    """Return the words of a command line, those of a shell's line each for itself."""
    if not is_shell(container):
        return words(container)
    line = " ".join(words(container))
    try:
        return shlex.split(line)
    except ValueError:  # a quote without an end
        return line.split()


def listens_on(container: Json) -> int | None:
    """Return the port of a server by its command (--port, --bind, or Bokeh's own), or None."""
    said = line_words(container)
    text = option(said, "--port") or option(said, "-p")
    if text is None:
        bound = option(said, "--bind") or option(said, "-b") or ""
        text = bound.rpartition(":")[2] or None
    if text is None:
        return BOKEH_PORT if BOKEH.search(" ".join(said)) else None
    return int(text) or None if text.isascii() and text.isdecimal() else None


def drain_deadline(facts: Facts) -> float:
    """Return for how many seconds the launcher waits for users after SIGTERM."""
    text = option(server_words(facts), "--drain-deadline")
    try:
        return DRAIN_DEADLINE if text is None else seconds(text)
    except ValueError:
        return DRAIN_DEADLINE


def pre_stop(facts: Facts) -> float:
    """Return the longest sleep of a container before SIGTERM."""
    hooks = ((c.get("lifecycle") or {}).get("preStop") or {} for c in apps(facts))
    return max((float((hook.get("sleep") or {}).get("seconds", 0)) for hook in hooks), default=0.0)


def environment(facts: Facts) -> tuple[set[str], bool]:
    """Return the names of the app's variables, and whether a Secret or ConfigMap adds others."""
    names = {each["name"] for c in servers(facts) for each in c.get("env") or ()}
    return names, any(container.get("envFrom") for container in servers(facts))


def selecting(facts: Facts) -> list[Json]:
    """Return the Services that send users to the target's pods, cordoned or not."""
    services = (facts.cluster.services if facts.cluster else None) or ()
    return [each for each in services if _selects(each, labels(facts)) and _has_users(each, facts)]


def _selects(service: Json, of_pods: Mapping[str, str]) -> bool:
    """Return whether a Service selects such pods, if these had the routable label."""
    selector = dict(service["spec"].get("selector") or {})
    selector.pop(ROUTABLE, None)
    return bool(selector) and selector.items() <= of_pods.items()


def _has_users(service: Json, facts: Facts) -> bool:
    """Return whether a Service has a port that is not the exporter's."""
    return any(port not in (facts.exporter_port, PORT_NAME) for port in leads_to(service))


def target_port(port: Json) -> Any:
    """Return the port of the pods to which a port of a Service leads: a number or a name."""
    return port.get("targetPort", port["port"])


def leads_to(service: Json) -> list[Any]:
    """Return the ports of the pods to which a Service leads by TCP, as it calls them."""
    ports = service["spec"].get("ports") or ()
    return [target_port(each) for each in ports if each.get("protocol", "TCP") == "TCP"]


def used(facts: Facts) -> list[Json]:
    """Return the Services by which users come: no other port of a server, such as of metrics."""
    aside: set[Any] = set()
    for each in servers(facts):
        own = listens_on(each)
        if own in list(port_names(each)):
            others = [port for port in each["ports"] if port["containerPort"] != own]
            aside.update(port_names({"ports": others}))
    return [each for each in selecting(facts) if not aside.issuperset(leads_to(each))]


def is_headless(service: Json) -> bool:
    """Return whether a Service only has DNS entries, as those of a sticky proxy."""
    return bool(service["spec"].get("clusterIP") == "None")


def selects_routable(service: Json) -> bool:
    """Return whether a Service leaves cordoned pods out."""
    return (service["spec"].get("selector") or {}).get(ROUTABLE) == "true"


def matches(selector: Json, found: Mapping[str, str]) -> bool:
    """Return whether a selector of labels selects an object with these labels."""
    equal: Mapping[str, str] = selector.get("matchLabels") or {}
    return equal.items() <= found.items() and all(
        _satisfies(each, found) for each in selector.get("matchExpressions") or ()
    )


def selects(item: Json, found: Mapping[str, str]) -> bool:
    """Return whether a PodDisruptionBudget selects such pods; without a selector, it does none."""
    selector = item["spec"].get("selector")
    return selector is not None and matches(selector, found)


def _satisfies(expression: Json, found: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return found.get(key) in values
        case "NotIn":
            return found.get(key) not in values
        case "Exists":
            return key in found
        case _:
            return key not in found


def where(item: Json, kind: str, field: str = "") -> str:
    """Return which object and field: `Service bokeh/app, spec.selector`."""
    meta = item["metadata"]
    return f"{kind} {meta.get('namespace', '')}/{meta['name']}" + (f", {field}" if field else "")


def deployment_selector(deployment: Json) -> str:
    """Return how kubectl selects the pods of a Deployment."""
    found = deployment["spec"]["selector"].get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in found.items())


def deployment_at(facts: Facts, field: str) -> str:
    """Return where in the target's Deployment."""
    return f"Deployment {facts.ref}, {field}"


def field_at(facts: Facts, field: str) -> str:
    """Return where in the target's pod template."""
    return deployment_at(facts, f"spec.template.{field}")


def kubectl(facts: Facts, command: str) -> str:
    """Return a command in the namespace of the target."""
    namespace = facts.ref.namespace if facts.ref else ""
    return f"kubectl -n {namespace} {command}"


def template_yaml(*lines: str) -> str:
    """Return lines of YAML below `spec.template` of a Deployment."""
    return "\n".join(("spec:", "  template:", *(f"    {line}" for line in lines)))


def probes(containers: Iterable[Json]) -> Iterator[tuple[Json, str, str, Any, str]]:
    """Yield container, kind, handler, port and path of each probe that asks a page."""
    for container in containers:
        for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
            probe = container.get(kind) or {}
            if get := probe.get("httpGet"):
                yield container, kind, "httpGet", get.get("port"), get.get("path", "/")
            elif found := ASKED.search(" ".join((probe.get("exec") or {}).get("command") or ())):
                yield container, kind, "exec", int(found[1]), found[2] or "/"


def port_number(container: Json, port: Any) -> Any:
    """Return the number of a port that a container may name."""
    ports: Sequence[Json] = container.get("ports") or ()
    named = {each.get("name"): each.get("containerPort") for each in ports}
    return named.get(port, port)


def run_as(item: Json, default: int | None = None) -> int | None:
    """Return the UID that the security context of a pod or a container sets."""
    user: int | None = (item.get("securityContext") or {}).get("runAsUser")
    return default if user is None else user


def container_yaml(container: Json, *lines: str, kind: str = "containers") -> str:
    """Return lines of YAML of one container of the template."""
    below = (f"      {line}" for line in lines)
    return template_yaml("spec:", f"  {kind}:", f"    - name: {container['name']}", *below)


def await_rollout(facts: Facts) -> str:
    """Return the command that waits until all pods are those of the template."""
    return kubectl(facts, f"rollout status deployment/{facts.ref.deployment if facts.ref else ''}")
