"""What the proxies' components promise: the Services that they follow, and a slow goodbye."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.chart import render_chart
from tests.deploy.manifests import STICKY, Object, one, overlay, render

APP = {"app.kubernetes.io/name": "bokeh-app"}
ROUTABLE = {"bokeh-autoscaler/routable": "true"}
SECONDS = {"s": 1, "m": 60, "h": 3600}


@pytest.fixture(scope="module", params=STICKY)
def component(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def objects(
    kubectl: Path, component: str, tmp_path_factory: pytest.TempPathFactory
) -> list[Object]:
    return render(kubectl, overlay(tmp_path_factory.mktemp(component), [component]))


@pytest.fixture(scope="module")
def pod(objects: list[Object], component: str) -> Any:
    return one(objects, "Deployment", component)["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def settings(objects: list[Object], component: str, pod: Any) -> str:
    """All the text of the files that the pod mounts."""
    [name] = [v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v]
    assert name.startswith(f"{component}-")  # with its digest: an edit is a rollout
    return "\n".join(one(objects, "ConfigMap", name)["data"].values())


def test_new_users_come_by_the_label_and_cookies_lead_to_every_pod(objects: list[Object]) -> None:
    new = one(objects, "Service", "sticky-routable")["spec"]
    everyone = one(objects, "Service", "sticky-all")["spec"]

    assert new["selector"] == {**APP, **ROUTABLE}
    assert new["selector"] == one(objects, "Service", "bokeh-app")["spec"]["selector"]
    assert everyone["selector"] == APP
    assert everyone["publishNotReadyAddresses"]
    assert "publishNotReadyAddresses" not in new
    assert (new["clusterIP"], everyone["clusterIP"]) == ("None", "None")


def test_the_proxy_follows_services_and_ports_that_are_there(
    objects: list[Object], settings: str
) -> None:
    """nginx asks for addresses and knows the port, HAProxy asks for the port called http."""
    followed = re.findall(r"(?:_http\._tcp\.)?(sticky-\w+)\.\$\{?\w+\}?(?::(\d+))?", settings)

    assert {name for name, _ in followed} == {"sticky-routable", "sticky-all"}
    for name, number in followed:
        [port] = one(objects, "Service", name)["spec"]["ports"]
        assert port["name"] == "http"
        assert number in {"", str(port["port"])}


def test_the_proxys_service_leads_to_where_it_listens(
    objects: list[Object], component: str, pod: Any, settings: str
) -> None:
    [container] = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listening = re.findall(r"(?:listen |bind :|PORT=)(\d+)", settings + container["args"][0])

    assert {int(port) for port in listening} == set(ports.values())
    [port] = one(objects, "Service", component)["spec"]["ports"]
    assert port["targetPort"] == "http"
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}


def test_a_proxy_that_goes_has_time_for_its_open_connections(pod: Any, settings: str) -> None:
    [container] = pod["containers"]
    hook = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    [(number, unit)] = re.findall(
        r"(?:worker_shutdown_timeout|hard-stop-after) (\d+)([smh])", settings
    )

    assert pod["terminationGracePeriodSeconds"] >= hook + int(number) * SECONDS[unit] + 30


def test_there_is_always_a_proxy_that_takes_new_users(
    objects: list[Object], component: str
) -> None:
    spec = one(objects, "Deployment", component)["spec"]

    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert one(objects, "PodDisruptionBudget", component)["spec"]["maxUnavailable"] == 1


def test_the_gateways_route_leads_to_the_apps_service(kubectl: Path, tmp_path: Path) -> None:
    objects = render(kubectl, overlay(tmp_path, ["gateway-api"]))
    [rule] = one(objects, "HTTPRoute", "bokeh-app")["spec"]["rules"]
    [backend] = rule["backendRefs"]

    ports = one(objects, "Service", backend["name"])["spec"]["ports"]
    assert backend["port"] in [port["port"] for port in ports]


def test_the_key_of_haproxys_cookies_is_in_a_secret_and_in_no_manifest(
    kubectl: Path, tmp_path: Path
) -> None:
    objects = render(kubectl, overlay(tmp_path, ["sticky-haproxy"]))
    pod = one(objects, "Deployment", "sticky-haproxy")["spec"]["template"]["spec"]
    [variable] = pod["containers"][0]["env"]

    assert variable["valueFrom"] == {
        "secretKeyRef": {"name": "sticky-haproxy", "key": variable["name"]}
    }
    [text] = [e["data"]["haproxy.cfg"] for e in objects if "haproxy.cfg" in e.get("data", ())]
    assert re.findall(r"dynamic-cookie-key (.*)", text) == [f'"${{{variable["name"]}}}"']


@pytest.mark.parametrize(
    ("kind", "file", "line"),
    [("nginx", "trusted.conf", "10.0.0.0/8 1;"), ("haproxy", "trusted.lst", "10.0.0.0/8")],
)
def test_the_chart_names_the_proxies_that_are_trusted(
    helm: Path, tmp_path: Path, kind: str, file: str, line: str
) -> None:
    proxy = {"enabled": True, "kind": kind, "trustedProxies": ["10.0.0.0/8", "2001:db8::1"]}
    objects = render_chart(helm, tmp_path, {"proxy": proxy})

    lines = one(objects, "ConfigMap", f"sticky-{kind}")["data"][file].splitlines()

    assert [each for each in lines if not each.startswith("#")] == [
        line,
        line.replace("10.0.0.0/8", "2001:db8::1"),
    ]
