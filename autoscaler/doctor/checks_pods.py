"""Whether the pods of the app start, and become Ready."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.doctor.ages import container_statuses, unready_for
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error
from autoscaler.doctor.manifests import (
    apps,
    exporters,
    kubectl,
    pods,
    port_number,
    probes,
    servers,
    waiting,
    where,
)
from autoscaler.doctor.trusting import trusting_sidecar
from autoscaler.units import duration_text

# Seconds after which a pod whose containers run should be Ready.
PATIENCE = 180.0


def pods_not_starting(facts: Facts) -> Iterator[Finding]:
    """A container of the app may crash, or lack its image or its Secret."""
    for pod in pods(facts):
        for name, reason, message in waiting(pod):
            if name in {each["name"] for each in apps(facts)}:
                yield error(
                    "pod-not-starting",
                    where(pod, "Pod", f"container {name}, {reason}"),
                    "The pod serves nobody, and pods that are added may not start either"
                    + (f": {message}." if message else "."),
                    kubectl(facts, f"describe pod {pod['metadata']['name']}")
                    + "\n"
                    + kubectl(facts, f"logs {pod['metadata']['name']} -c {name} --previous"),
                )


def pods_not_ready(facts: Facts) -> Iterator[Finding]:
    """A pod whose containers all run must become Ready."""
    found = [pod for pod in pods(facts) if _is_stuck(facts, pod)]
    if not found:
        return
    pod, last = found[0], duration_text(round(unready_for(facts, found[0])))
    count = f", one of {len(found)}" if len(found) > 1 else ""
    yield error(
        "pod-not-ready",
        where(pod, "Pod", f"status.conditions, not Ready for {last}{count} ({_condition(pod)})"),
        "No user is sent to such a pod although its containers run, pods that are added may not "
        "become Ready either, and nothing is scaled down meanwhile.",
        "\n".join(_reasons(facts, pod)),
    )


def _is_stuck(facts: Facts, pod: Json) -> bool:
    """Return whether a pod runs and is not Ready for minutes, which nothing else explains."""
    if unready_for(facts, pod) < PATIENCE or any(waiting(pod)):
        return False
    return all(map(_has_started, container_statuses(pod)))


def _has_started(status: Json) -> bool:
    """Return whether a container runs, or has done what it had to do before the others."""
    state = status.get("state") or {}
    return "running" in state or (state.get("terminated") or {}).get("exitCode") == 0


def _condition(pod: Json) -> str:
    """Return why Kubernetes says that a pod is not Ready."""
    ready = next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")
    return str(ready.get("message") or ready.get("reason") or "no reason given")


def _reasons(facts: Facts, pod: Json) -> Iterator[str]:
    """Yield the commands that show the reason."""
    name = pod["metadata"]["name"]
    yield kubectl(facts, f"describe pod {name}") + "    # Events: Readiness probe failed"
    sidecars = exporters(pod["spec"], facts.exporter_port)
    if sidecars and _asks_exporter(facts):
        yield "# /readyz of the exporter answers 503 until it counts a server:"
        yield trusting_sidecar(facts, pod, sidecars[0])
    else:
        lacking = (each["name"] for each in container_statuses(pod) if not each.get("ready"))
        yield from (kubectl(facts, f"logs {name} -c {each}") for each in lacking)


def _asks_exporter(facts: Facts) -> bool:
    """Return whether the readiness of a server is what the exporter says."""
    return any(
        kind == "readinessProbe" and port_number(container, port) == facts.exporter_port
        for container, kind, _, port, _ in probes(servers(facts))
    )
