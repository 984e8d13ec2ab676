"""How the app's server is started, probed and given resources, and how users find their pod."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from autoscaler.adapters.kubernetes.inspection import option
from autoscaler.adapters.kubernetes.pods import Json, resources
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, Severity, error, note, warning
from autoscaler.doctor.manifests import (
    apps,
    container_yaml,
    environment,
    field_at,
    is_headless,
    is_seen,
    port_number,
    probes,
    selecting,
    server_words,
    template,
    where,
)
from autoscaler.model import Resources

# Ends and beginnings of paths of a Bokeh or Panel server that create no session.
QUIET_ENDS = ("/favicon.ico", "/metadata", "/healthz", "/readyz", "/health", "/liveness", "/ready")
QUIET_BEGINNINGS = ("/static/", "/liveness", "/api/")
SHORTEST_TOKEN = 3600
SIGNED = ("signed", "external-signed")
# Annotations of ingress controllers and of Traefik's Services for cookies.
COOKIES = ("affinity", "sticky.cookie", "session-cookie")


def probe_creates_sessions(facts: Facts) -> Iterator[Finding]:
    """A probe must not open the app's page."""
    for container, kind, get in probes(apps(facts)):
        port, path = port_number(container, get.get("port")), get.get("path", "/")
        if port != facts.exporter_port and not is_quiet(path):
            yield error(
                "probe-creates-sessions",
                field_at(facts, f"spec.containers, {container['name']}, {kind}.httpGet ({path})"),
                "Each probe creates a session, so no pod ever counts as empty and nothing is "
                "scaled down.",
                container_yaml(
                    container,
                    f"{kind}:",
                    "  tcpSocket: {port: 5006}"
                    if kind == "livenessProbe"
                    else f"  httpGet: {{path: /readyz, port: {facts.exporter_port}}}",
                ),
            )


def is_quiet(path: str) -> bool:
    """Return whether a request of this path creates no session."""
    return path.endswith(QUIET_ENDS) or path.startswith(QUIET_BEGINNINGS)


def no_cpu_request(facts: Facts) -> Iterator[Finding]:
    """The metric cpu is a share of the requests."""
    asked = _resources(facts)
    if asked is not None and asked.cpu_request is None:
        yield Finding(
            "no-cpu-request",
            _severity(facts, "cpu"),
            field_at(facts, "spec.containers, resources.requests.cpu"),
            "A policy with a cpu metric never has a number, and the app gets too little CPU on a "
            "full node.",
            container_yaml(apps(facts)[0], "resources: {requests: {cpu: 100m}}"),
        )


def no_memory_limit(facts: Facts) -> Iterator[Finding]:
    """The metric memory is a share of the limit."""
    asked = _resources(facts)
    if asked is not None and not asked.memory_limits:
        yield Finding(
            "no-memory-limit",
            _severity(facts, "memory"),
            field_at(facts, "spec.containers, resources.limits.memory"),
            "One pod can take the memory of its node, whose kernel then ends others with their "
            "sessions, and a policy with a memory metric never has a number.",
            container_yaml(apps(facts)[0], "resources: {limits: {memory: 384Mi}}"),
        )


def _resources(facts: Facts) -> Resources | None:
    """Return the requests and limits of the template, or None if they cannot be known."""
    try:
        return resources(template(facts)["spec"]) if is_seen(facts) else None
    except (ValueError, KeyError):
        return None


def _severity(facts: Facts, metric: str) -> Severity:
    """Return how bad it is that a metric has no number."""
    kinds = {each.type for each in facts.policy.metrics} if facts.policy else set()
    return Severity.ERROR if metric in kinds else Severity.WARNING


def memory_evicted(facts: Facts) -> Iterator[Finding]:
    """Memory that is not requested can be taken from the pod."""
    for container in apps(facts):
        found = container.get("resources") or {}
        limit = (found.get("limits") or {}).get("memory")
        request = (found.get("requests") or {}).get("memory", limit)
        if limit != request:
            yield note(
                "memory-not-reserved",
                field_at(facts, f"spec.containers, {container['name']}, resources"),
                "When the memory of a node becomes scarce, the pod may be evicted with its "
                "sessions.",
                container_yaml(
                    container,
                    f"resources: {{requests: {{memory: {limit}}}, limits: {{memory: {limit}}}}}",
                ),
            )


def no_key(facts: Facts) -> Iterator[Finding]:
    """All pods must sign with the same key, or nobody must sign."""
    if not is_seen(facts):
        return
    names, is_open = environment(facts)
    if is_open or "BOKEH_SECRET_KEY" in names:
        return
    signs = "BOKEH_SIGN_SESSIONS" in names or option(server_words(facts), "--session-ids") in SIGNED
    make = error if signs else warning
    yield make(
        "no-signing-key",
        field_at(facts, "spec.containers, env"),
        "A page that reaches another pod than its token is refused, because each pod has its own "
        "key."
        if signs
        else "Sessions are not signed: anybody who guesses a session id can join the session.",
        container_yaml(
            apps(facts)[0],
            "envFrom:",
            "  - secretRef: {name: bokeh-app}    # BOKEH_SECRET_KEY, BOKEH_SIGN_SESSIONS=yes",
        ),
    )


def token_expiration(facts: Facts) -> Iterator[Finding]:
    """A page must be able to reconnect for as long as it may be open."""
    words = server_words(facts)
    if "serve" not in words:
        return
    text = option(words, "--session-token-expiration") or "300"
    if text.isdecimal() and int(text) < SHORTEST_TOKEN:
        yield warning(
            "token-expires-early",
            field_at(facts, f"spec.containers, args, --session-token-expiration ({text} s)"),
            f"A page that has been open for longer than {text} s cannot reconnect, and stays dead.",
            "args: [bokeh, serve, app.py, --session-token-expiration=86400]",
        )


def session_discarded(facts: Facts) -> Iterator[Finding]:
    """A session must wait for a user who reconnects, for longer than Bokeh's 15 s."""
    command = server_words(facts)
    if "serve" in command and option(command, "--unused-session-lifetime") is None:
        yield note(
            "session-discarded-early",
            field_at(facts, "spec.containers, args, --unused-session-lifetime (15 s)"),
            "A user whose connection is broken for longer than 15 s has lost the session.",
            "args: [bokeh, serve, app.py, --unused-session-lifetime=60000]    # milliseconds",
        )


def any_origin(facts: Facts) -> Iterator[Finding]:
    """Not every site may open the app's WebSockets."""
    words = server_words(facts)
    if "--allow-websocket-origin=*" in words or ("--allow-websocket-origin", "*") in pairwise(
        words
    ):
        yield warning(
            "any-origin-allowed",
            field_at(facts, "spec.containers, args, --allow-websocket-origin (*)"),
            "Any website that a user visits can control the app with the user's cookies.",
            "args: [bokeh, serve, app.py, --allow-websocket-origin=app.example.com]",
        )


def no_affinity(facts: Facts) -> Iterator[Finding]:
    """Several pods need something that leads a user back to the same one."""
    services = [each for each in selecting(facts) if not is_headless(each)]
    if not services or _is_sticky(facts) or _most_pods(facts) < 2:
        return
    for service in services:
        if service["spec"].get("sessionAffinity", "None") == "None":
            yield warning(
                "no-session-affinity",
                where(service, "Service", "spec.sessionAffinity"),
                "A page and its WebSocket reach different pods, so the app runs twice for each "
                "user, and users whose connection breaks lose their work.",
                "spec: {sessionAffinity: ClientIP}    # for users who connect directly\n"
                "# behind an ingress: the component sticky-haproxy (deploy/kubernetes/README.md)",
            )


def _is_sticky(facts: Facts) -> bool:
    """Return whether a sticky proxy or an ingress with cookies seems to be in front."""
    if any(is_headless(each) for each in selecting(facts)):
        return True
    ingresses = (facts.cluster.ingresses if facts.cluster else None) or ()
    noted = [*ingresses, *selecting(facts)]
    return any(name in key for each in noted for key in _annotations(each) for name in COOKIES)


def _annotations(item: Json) -> Any:
    return item["metadata"].get("annotations") or {}


def _most_pods(facts: Facts) -> int:
    deployment = facts.cluster.deployment if facts.cluster else None
    now = int((deployment or {}).get("spec", {}).get("replicas", 1))
    return max(now, facts.policy.replicas.max if facts.policy else now)
