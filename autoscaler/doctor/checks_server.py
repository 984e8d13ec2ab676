"""How the app's server is started and probed, and how users find their pod."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from autoscaler.adapters.kubernetes.inspection import option
from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adapters.policies.autoscalers import KEDA_MAX
from autoscaler.doctor.autoscalers import autoscalers_of
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error, note, warning
from autoscaler.doctor.manifests import (
    LAST_APPLIED,
    apps,
    container_yaml,
    environment,
    field_at,
    is_headless,
    is_seen,
    kubectl,
    listens_on,
    port_number,
    probes,
    server_words,
    servers,
    used,
    where,
)

# Ends and beginnings of paths of a Bokeh or Panel server that create no session.
QUIET_ENDS = ("/favicon.ico", "/metadata", "/healthz", "/readyz", "/health", "/liveness", "/ready")
QUIET_BEGINNINGS = ("/static/", "/liveness", "/api/")
SHORTEST_TOKEN = 3600
SIGNED = ("signed", "external-signed")
ALLOWED, ALLOWED_ENV = "--allow-websocket-origin", "BOKEH_ALLOW_WS_ORIGIN"
# Words in annotations of ingresses, and of Services that ingresses read, which say that they are
# sticky: of ingress-nginx, NGINX, Traefik, HAProxy, the ALB and GKE, in this order.
COOKIES = (
    "affinity",
    "upstream-hash-by",
    "sticky",
    "cookie-persistence",
    "stickiness.enabled=true",
    "backend-config",
)
# Values of such an annotation that switch it off.
OFF = ("", "none", "false", "off", "no", "0")


def probe_creates_sessions(facts: Facts) -> Iterator[Finding]:
    """A probe must not open the app's page."""
    for container, kind, handler, port, path in probes(servers(facts)):
        if _is_page(container, port_number(container, port), facts) and not is_quiet(path):
            instead = (
                f"tcpSocket: {{port: {port}}}"
                if kind == "livenessProbe"
                else f"httpGet: {{path: /readyz, port: {facts.exporter_port}}}"
            )
            # Of two handlers in one probe, Kubernetes refuses both.
            old = () if instead.startswith(handler) else (f"  {handler}: null",)
            yield error(
                "probe-creates-sessions",
                field_at(facts, f"spec.containers, {container['name']}, {kind}.{handler} ({path})"),
                "Each probe creates a session, so no pod ever counts as empty and nothing is "
                "scaled down.",
                container_yaml(container, f"{kind}:", *old, f"  {instead}"),
            )


def _is_page(container: Json, port: Any, facts: Facts) -> bool:
    """Return whether a port may be that of the page, and not the exporter's or a helper's."""
    own = listens_on(container)
    return bool(port != facts.exporter_port if own is None else port == own)


def is_quiet(path: str) -> bool:
    """Return whether a request of this path creates no session."""
    return path.endswith(QUIET_ENDS) or path.startswith(QUIET_BEGINNINGS)


def no_key(facts: Facts) -> Iterator[Finding]:
    """All pods must sign with the same key, or nobody must sign."""
    if not is_seen(facts):
        return
    names, is_open = environment(facts)
    signs = "BOKEH_SIGN_SESSIONS" in names or option(server_words(facts), "--session-ids") in SIGNED
    if is_open or ("BOKEH_SECRET_KEY" in names and signs):
        return
    make = error if signs else warning
    yield make(
        "no-signing-key",
        field_at(facts, "spec.containers, env"),
        "A page that reaches another pod than its token is refused, because each pod has its own "
        "key."
        if signs
        else "Sessions are not signed: anybody who guesses a session id can join the session.",
        signing(facts),
    )


def signing(facts: Facts) -> str:
    """Return how all pods get one key: the command for a Secret, and the YAML that names it.

    The Secret comes first, because no pod starts that names one which is not there.
    """
    name = facts.ref.deployment if facts.ref else ""
    create = kubectl(facts, f"create secret generic {name} --from-literal=BOKEH_SIGN_SESSIONS=yes")
    key = '--from-literal=BOKEH_SECRET_KEY="$(openssl rand -hex 32)"'
    yaml = container_yaml(servers(facts)[0], "envFrom:", f"  - secretRef: {{name: {name}}}")
    return f"# first the Secret, without which no pod starts:\n{create} {key}\n{yaml}"


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
    allowed = [value for name, value in pairwise(words) if name == ALLOWED]
    allowed += [word.partition("=")[2] for word in words if word.startswith(f"{ALLOWED}=")]
    if "*" in allowed:
        yield _any_origin(
            facts, f"args, {ALLOWED}", f"args: [bokeh, serve, app.py, {ALLOWED}=app.example.com]"
        )
    for container in apps(facts):
        for each in container.get("env") or ():
            if each["name"] == ALLOWED_ENV and "*" in (each.get("value") or "").split(","):
                fix = "env:", f"  - {{name: {ALLOWED_ENV}, value: app.example.com}}"
                yield _any_origin(facts, f"env, {ALLOWED_ENV}", container_yaml(container, *fix))


def _any_origin(facts: Facts, field: str, fix: str) -> Finding:
    return warning(
        "any-origin-allowed",
        field_at(facts, f"spec.containers, {field} (*)"),
        "Any website that a user visits can control the app with the user's cookies.",
        fix,
    )


def no_affinity(facts: Facts) -> Iterator[Finding]:
    """Several pods need something that leads a user back to the same one."""
    every = used(facts)
    if _most_pods(facts) < 2:
        return
    apart = {each["metadata"]["name"] for each in every if not _is_sticky(each)}
    behind = set()
    for ingress in _ingresses(facts):
        behind |= _backends(ingress)
        if _backends(ingress) & apart and not _is_sticky(ingress):
            yield _apart(
                where(ingress, "Ingress", "metadata.annotations"),
                "metadata:\n  annotations: {nginx.ingress.kubernetes.io/affinity: cookie}"
                "    # ingress-nginx\n"
                "# any other one: the component sticky-haproxy (deploy/kubernetes/README.md)",
            )
    if any(is_headless(each) for each in every):
        return  # it is that of a sticky proxy, which users may reach in a way that is not seen here
    for service in every:
        alone = service["spec"].get("sessionAffinity", "None") == "None"
        if alone and service["metadata"]["name"] in apart - behind:
            yield _apart(
                where(service, "Service", "spec.sessionAffinity"),
                "spec: {sessionAffinity: ClientIP}    # for users who connect directly\n"
                "# behind an ingress: the component sticky-haproxy (deploy/kubernetes/README.md)",
            )


def _apart(place: str, fix: str) -> Finding:
    return warning(
        "no-session-affinity",
        place,
        "A page and its WebSocket reach different pods, so the app runs twice for each user, and "
        "users whose connection breaks lose their work.",
        fix,
    )


def _ingresses(facts: Facts) -> Sequence[Json]:
    return (facts.cluster.ingresses if facts.cluster else None) or ()


def _backends(ingress: Json) -> set[str]:
    """Return the names of the Services to which an ingress sends users."""
    spec = ingress.get("spec") or {}
    paths = [
        p for rule in spec.get("rules") or () for p in (rule.get("http") or {}).get("paths", ())
    ]
    found = [spec.get("defaultBackend") or {}, *(path["backend"] for path in paths)]
    return {each["service"]["name"] for each in found if "service" in each}


def _is_sticky(item: Json) -> bool:
    """Return whether the annotations of an ingress or a Service seem to make it sticky."""
    noted = item["metadata"].get("annotations") or {}
    said = [
        f"{key}={value}"
        for key, value in noted.items()
        if key != LAST_APPLIED and value.lower() not in OFF
    ]
    return any(word in line for line in said for word in COOKIES)


def _most_pods(facts: Facts) -> int:
    """Return how many pods there are, or will be by a policy or by another autoscaler."""
    deployment = facts.cluster.deployment if facts.cluster else None
    now = int((deployment or {}).get("spec", {}).get("replicas", 1))
    named = facts.daemon_policies.policies if facts.daemon_policies else ()
    policies = [each for each in (facts.policy, *named) if each and each.target.ref == facts.ref]
    others = (each["spec"] for _, _, each in autoscalers_of(facts))
    most = [int(s.get("maxReplicas") or s.get("maxReplicaCount", KEDA_MAX)) for s in others]
    return max([now, *most, *(each.replicas.max for each in policies)])
