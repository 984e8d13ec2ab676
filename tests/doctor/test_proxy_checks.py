"""An app behind a sticky proxy: what doctor says of the proxy's Services, pods and Deployment."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from autoscaler.doctor.facts import Facts
from tests.deploy.manifests import FOLDER
from tests.doctor.set_ups import Break, Seen, facts, found, seen_of, shipped

COMPONENTS = FOLDER / "components"
CLASS = 'pods "x-" is forbidden: no PriorityClass with name bokeh-autoscaler was found'


def behind(kind: str, *changes: Break) -> Facts:
    """What we ship with a sticky proxy, after some changes."""
    files = (f"sticky-{kind}/proxy.yaml", "sticky-services/services.yaml")
    texts = [(COMPONENTS / each).read_text() for each in files]
    proxy = [each for text in texts for each in yaml.safe_load_all(text)]
    seen = seen_of([*shipped(), *proxy])
    for change in changes:
        change(seen)
    return facts(seen)


def deployment(seen: Seen, name: str) -> Any:
    return next(each for each in seen["deployments"] if each["metadata"]["name"] == name)


def without_pods(*services: str) -> Break:
    """Let no pod behind these Services be ready."""

    def change(seen: Seen) -> None:
        for each in seen["endpoint_slices"]:
            if each["metadata"]["labels"]["kubernetes.io/service-name"] in services:
                each.update(endpoints=[{"addresses": ["10.0.0.1"], "conditions": {"ready": False}}])

    return change


def switched(kind: str) -> Break:
    """Let the app's own Service lead to the proxy, as after `autoscaler init --sticky`."""
    selector = {"app.kubernetes.io/name": f"sticky-{kind}"}
    return lambda seen: seen["services"][0]["spec"].update(selector=selector)


def not_created(item: Any, message: str) -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    item["status"] = {**item.get("status", {}), "conditions": [{**condition, "message": message}]}


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_a_proxy_without_a_ready_pod_is_found_by_its_service(kind: str) -> None:
    findings = found(behind(kind, without_pods(f"sticky-{kind}")))

    assert list(findings) == ["service-without-ready-pods"]
    said = findings["service-without-ready-pods"]
    assert said.where.startswith(f"Service bokeh/sticky-{kind}, spec.selector")
    assert "no pod of the proxy is ready" in said.feel
    assert f"name=sticky-{kind}" in said.fix


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_a_service_of_the_app_that_leads_to_a_proxy_without_pods_is_found(kind: str) -> None:
    seen = behind(kind, switched(kind), without_pods("bokeh-app"))

    said = found(seen)["service-without-ready-pods"]

    assert said.where.startswith("Service bokeh/bokeh-app, spec.selector")


def test_nothing_is_found_if_the_service_leads_to_a_proxy_that_serves() -> None:
    assert found(behind("haproxy", switched("haproxy"))) == {}


def test_a_proxy_of_another_app_is_not_judged() -> None:
    def of_another(seen: Seen) -> None:
        for each in seen["services"]:
            if each["metadata"]["name"] in ("sticky-routable", "sticky-all"):
                each["spec"]["selector"]["app.kubernetes.io/name"] = "another"
        not_created(deployment(seen, "sticky-haproxy"), CLASS)

    seen = behind("haproxy", of_another, without_pods("sticky-haproxy"))

    assert list(found(seen)) == ["sticky-proxy-without-pods"]


def test_what_leads_to_pods_is_not_known_if_it_may_not_be_read() -> None:
    assert found(behind("haproxy", lambda seen: seen.update(endpoint_slices=None))) == {}


ROLES: dict[str, tuple[Break, str, str]] = {
    "the app": (
        lambda seen: not_created(seen["deployment"], "exceeded quota: pods."),
        "Deployment bokeh/bokeh-app, status.conditions, FailedCreate",
        "No pod of the app can be created: exceeded quota: pods.",
    ),
    "the sticky proxy": (
        lambda seen: not_created(deployment(seen, "sticky-haproxy"), CLASS),
        "Deployment bokeh/sticky-haproxy, status.conditions, FailedCreate",
        f"No pod of the sticky proxy can be created: {CLASS}.",
    ),
    "the daemon": (
        lambda seen: not_created(seen["daemon"], CLASS),
        "Deployment bokeh-autoscaler/bokeh-autoscaler, status.conditions, FailedCreate",
        f"No pod of the daemon can be created: {CLASS}.",
    ),
}


def test_a_quota_that_allows_some_pods_refuses_only_further_ones() -> None:
    def some(seen: Seen) -> None:
        not_created(seen["deployment"], "exceeded quota: pods")
        seen["deployment"]["status"]["replicas"] = 2

    said = found(behind("haproxy", some))["pods-not-created"]

    assert said.feel == "No further pod of the app can be created: exceeded quota: pods."


@pytest.mark.parametrize("role", ROLES)
def test_pods_that_kubernetes_refuses_to_create_are_found_with_its_reason(role: str) -> None:
    change, where, feel = ROLES[role]

    findings = found(behind("haproxy", change))

    assert list(findings) == ["pods-not-created"]
    said = findings["pods-not-created"]
    assert (said.where, said.feel) == (where, feel)
    assert said.fix.startswith("kubectl -n ")
    assert ("priority.yaml" in said.fix) == ("PriorityClass" in feel)
