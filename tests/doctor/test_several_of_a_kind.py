"""Pods with helpers, Services with several ports, ingresses of others: what doctor says of them."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.doctor.facts import Facts
from tests.doctor.set_ups import Break, Seen, app, broken, found, service, template
from tests.doctor.test_cluster_checks import ingress, named

ENOUGH = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}
COOKIE = {"nginx.ingress.kubernetes.io/affinity": "cookie"}
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def helper(**fields: Any) -> Break:
    """Put a container of somebody else before the app's."""
    made = {"name": "helper", "image": "helper", "resources": ENOUGH, **fields}
    return lambda seen: template(seen)["spec"]["containers"].insert(0, made)


def several(seen: Seen) -> None:
    service(seen)["spec"].pop("sessionAffinity")
    seen["deployment"]["spec"].update(replicas=2)


def noted(**annotations: str) -> Break:
    return lambda seen: service(seen)["metadata"].update(annotations=annotations)


def of_others(seen: Seen) -> None:
    web = named("grafana", defaultBackend={"service": {"name": "grafana"}})
    web["metadata"]["annotations"] = COOKIE
    seen["ingresses"].append(web)


def leading_to(port: Any) -> Break:
    """Let the Service lead to this port, or to the one that it has itself."""

    def change(seen: Seen) -> None:
        [changed] = service(seen)["spec"]["ports"]
        changed.pop("targetPort")
        changed.update({} if port is None else {"targetPort": port})

    return change


def budget(**spec: Any) -> Break:
    return lambda seen: seen["budgets"][0]["spec"].update(spec)


def without(*keys: str) -> Break:
    """Let the PodDisruptionBudget lack these."""
    return lambda seen: [seen["budgets"][0]["spec"].pop(key) for key in keys]


def add_service(seen: Seen, name: str, spec: Any) -> None:
    seen["services"].append(named(name, **spec))
    seen["endpoint_slices"].append(
        {"metadata": {"labels": {"kubernetes.io/service-name": name}}, "endpoints": [{}]}
    )


def for_sticky_proxy(seen: Seen) -> None:
    """Add the headless Service by which somebody's own sticky proxy finds all pods."""
    add_service(seen, "all-pods", {**service(seen)["spec"], "clusterIP": "None"})


def metrics(*, is_named: bool) -> Break:
    """Add a port of the app's own metrics, and a Service of it alone."""

    def change(seen: Seen) -> None:
        spec = {"selector": {"app.kubernetes.io/name": "bokeh-app"}, "ports": [{"port": 9090}]}
        add_service(seen, "metrics", spec)
        if is_named:
            app(seen)["ports"].append({"name": "own", "containerPort": 9090})
        seen["deployment"]["spec"].update(replicas=2)

    return change


SCRIPT: Break = lambda seen: app(seen).update(  # noqa: E731
    command=["bokeh-exporter", "launch", "--"], args=["python", "app.py", "--port", "$(PORT)"]
)
FINE: dict[str, tuple[Break, ...]] = {
    "a helper in Python": (helper(command=["python", "ship.py"]),),
    "a helper in Python with a probe of its own": (
        helper(command=["python", "x.py"], readinessProbe={"httpGet": {"path": "/", "port": 9000}}),
    ),
    "a probe of another port of the app": (
        lambda seen: app(seen).update(livenessProbe={"httpGet": {"path": "/up", "port": 9000}}),
    ),
    "a port of the Service that the manifest does not name": (leading_to(5006),),
    "a port of which nobody knows who listens": (SCRIPT, leading_to(8000)),
    "a port on which a helper may listen": (helper(), leading_to(4180)),
    "a Service of the app's metrics": (metrics(is_named=True),),
    "a Service with cookies": (several, noted(**{"haproxy.org/cookie-persistence": "c"})),
    "a budget that keeps one pod of two": (
        without("maxUnavailable"),
        budget(minAvailable=1),
        lambda seen: seen["deployment"]["spec"].update(replicas=2),
    ),
    "a budget that keeps half of two": (
        without("maxUnavailable"),
        budget(minAvailable="50%"),
        lambda seen: seen["deployment"]["spec"].update(replicas=2),
    ),
}


@pytest.mark.parametrize("case", FINE)
def test_what_is_right_is_not_found(case: str) -> None:
    assert found(broken(*FINE[case])) == {}


WRONG: dict[str, tuple[str, tuple[Break, ...]]] = {
    "an ingress of others has cookies": ("no-session-affinity", (several, of_others)),
    "an ingress passes the sticky proxy by": (
        "no-session-affinity",
        (
            several,
            for_sticky_proxy,
            lambda seen: seen["ingresses"].append(ingress()),
        ),
    ),
    "an ingress switches its cookies off": (
        "no-session-affinity",
        (
            several,
            lambda seen: seen["ingresses"].append(
                ingress(**{"nginx.ingress.kubernetes.io/affinity": "none"})
            ),
        ),
    ),
    "only the last manifest speaks of cookies": (
        "no-session-affinity",
        (several, noted(**{LAST_APPLIED: '{"metadata": {"annotations": {"sticky": "true"}}}'})),
    ),
    "the Service leads to a port on which nobody listens": (
        "service-port-unknown",
        (leading_to(5007),),
    ),
    "the Service leads to its own port": ("service-port-unknown", (leading_to(None),)),
    "a budget keeps the only pod": (
        "disruption-budget-blocks",
        (without("maxUnavailable"), budget(minAvailable=1)),
    ),
    "a budget keeps a share that is rounded up to all": (
        "disruption-budget-blocks",
        (
            without("maxUnavailable"),
            budget(minAvailable="51%"),
            lambda seen: seen["deployment"]["spec"].update(replicas=2),
        ),
    ),
    "two budgets select the pods": (
        "disruption-budget-blocks",
        (lambda seen: seen["budgets"].append(named("all", maxUnavailable=1, selector={})),),
    ),
    "a budget without a selector": ("no-disruption-budget", (without("selector"),)),
}


def test_a_port_that_nobody_names_is_no_unknown_one_where_users_reach_the_app() -> None:
    seen = found(broken(metrics(is_named=False)))

    assert "service-port-unknown" not in seen


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_found_and_nothing_else(case: str) -> None:
    wanted, changes = WRONG[case]

    assert list(found(broken(*changes))) == [wanted]


def unlaunched() -> Facts:
    """A server without the launcher, behind a container of which the image decides."""
    start = {"command": ["python"], "args": ["app.py", "--port=5006"]}
    return broken(lambda seen: app(seen).update(start), helper())


@pytest.mark.parametrize(
    "server", ["bokeh serve", "panel serve", "python", "gunicorn", "uvicorn", "hypercorn", "daphne"]
)
def test_every_server_of_the_pages_needs_the_launcher(server: str) -> None:
    start: dict[str, Any] = {"command": [*server.split(), "app"], "args": ["--port=5006"]}

    assert "no-launcher" in found(broken(lambda seen: app(seen).update(start)))


def test_the_fix_is_for_the_container_of_the_server_and_keeps_its_command() -> None:
    finding = found(unlaunched())["no-launcher"]

    assert "spec.containers, app, command" in finding.where
    assert "- name: app\n" in finding.fix
    assert 'args: ["python", "app.py", "--port=5006"]' in finding.fix
