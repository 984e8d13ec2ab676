"""`autoscaler init` takes no name that another object has, and guesses no port that users reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.adapters.kubernetes.pods import ROUTABLE
from autoscaler.adapters.shipped import shipped
from autoscaler.adoption.app import Choices, UnclearError, app_of, seen_in
from autoscaler.adoption.plan import Adoption, adopt
from autoscaler.adoption.steps import page
from autoscaler.cli import main
from tests.adoption import apps
from tests.adoption.apps import Objects
from tests.adoption.test_init import adopted, errors

METRICS = {"name": "metrics", "port": 9090, "targetPort": 9090}
WEB = {"name": "http", "port": 80, "targetPort": 5006}


def listening(*words: str, ports: tuple[int, ...] = (), services: Any = None) -> Objects:
    """An app with this command, these ports in its manifest, and these in its Service."""
    objects = apps.app({"command": list(words)})
    container = apps.pod(objects)["containers"][0]
    container["ports"] = [{"containerPort": each} for each in ports]
    if services is None:
        return objects[:1]
    objects[1]["spec"]["ports"] = services
    return objects


SERVE = ("bokeh", "serve", "app.py")
PORTS: dict[str, tuple[Objects, int]] = {
    "the Service has the port of its metrics first": (
        listening(*SERVE, ports=(9090, 5006), services=[METRICS, WEB]),
        5006,
    ),
    "the command tells which of several ports": (
        listening(*SERVE, "--port=8080", services=[METRICS, {"port": 80, "targetPort": 8080}]),
        8080,
    ),
    "no Service, and the command tells it": (listening(*SERVE, "--port", "8080"), 8080),
    "no Service, and a shell's line tells it": (
        listening("sh", "-c", "exec panel serve app.py --port 7000"),
        7000,
    ),
    "no Service, and daphne has it": (listening("daphne", "-p", "8000", "site.asgi:app"), 8000),
    "no Service, and gunicorn binds it": (listening("gunicorn", "-b", "0.0.0.0:8000", "m:a"), 8000),
    "no Service, and the manifest has one": (listening("python", "app.py", ports=(8000,)), 8000),
    "no Service, and a server with its own default": (listening(*SERVE), 5006),
    "a Service of UDP beside it": (
        listening(*SERVE, services=[{"protocol": "UDP", "port": 53}, WEB]),
        5006,
    ),
    "one port of the Service, whatever the command tells": (
        listening(*SERVE, "--port=5006", services=[{"port": 80, "targetPort": 4180}]),
        4180,
    ),
}


@pytest.mark.parametrize("case", PORTS)
def test_the_connections_of_the_port_that_users_reach_are_counted(case: str) -> None:
    objects, port = PORTS[case]

    adoption = adopted(objects)

    assert adoption.app.port == port
    assert f":{port:04X} " in page(adoption, "adoption")


UNKNOWN: dict[str, tuple[Objects, str]] = {
    "two ports of which none is told": (
        listening("python", "app.py", services=[METRICS, {"port": 80, "targetPort": 8000}]),
        "Set --port to one of 8000, 9090",
    ),
    "a script that says nothing": (listening("python", "app.py"), "Set --port to the port on"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_port_that_nothing_tells_is_asked_for(case: str) -> None:
    objects, said = UNKNOWN[case]

    with pytest.raises(UnclearError, match=said):
        adopted(objects)
    assert adopted(objects, port=8000).app.port == 8000


@pytest.mark.parametrize("sticky", ["haproxy", "nginx"])
def test_a_sticky_proxy_leads_to_the_app_and_not_to_its_metrics(sticky: str) -> None:
    objects, _ = PORTS["the Service has the port of its metrics first"]

    proxies = adopted(objects, sticky=sticky).proxies

    targets = {port["targetPort"] for each in proxies for port in each["spec"]["ports"]}
    assert targets == {5006}


def named(name: str, **labels: str) -> Any:
    found = apps.deployment(name=name)
    found["spec"]["template"]["metadata"]["labels"] |= labels
    return found


def adopted_of(objects: Objects, deployment: str, **choices: Any) -> Adoption:
    chosen = Choices(**choices)
    return adopt(app_of(seen_in(objects, None, deployment), chosen), chosen, shipped(None))


def test_the_name_of_another_deployment_is_left_to_it() -> None:
    every = [named("dash-1"), apps.service(selector={"app": "dash-1"}), named("dash-2")]

    adoption = adopted_of(every, "dash-1")

    assert adoption.name == "dash-3"
    assert adoption.deployment["spec"]["selector"]["matchLabels"] == {"app": "dash-3"}
    assert "Another Deployment is called dash-2" in page(adoption, "adoption")


def test_labels_of_the_pods_of_another_deployment_are_left_to_it() -> None:
    first, other = named("dashboards"), named("reports", tier="web-2")
    first["spec"]["template"]["metadata"]["labels"]["tier"] = "web"
    services = [apps.service(), apps.service("by-tier", selector={"tier": "web"})]

    labels = adopted_of([first, other, *services], "dashboards").deployment["spec"]["template"][
        "metadata"
    ]["labels"]

    assert labels["tier"] == "web-3"


@pytest.mark.parametrize("name", ["dashboards", "reports"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    every = [*apps.app(), named("reports")]

    with pytest.raises(UnclearError, match=f"--name {name}"):
        adopted_of(every, "dashboards", name=name)


def test_the_name_of_an_earlier_adoption_is_taken_again_if_it_is_said() -> None:
    every = [*apps.app(), named("dashboards-2", **{ROUTABLE: "true"})]

    assert adopted_of(every, "dashboards", name="dashboards-2").name == "dashboards-2"
    assert adopted_of(every, "dashboards").name == "dashboards-3"


def test_an_adoption_that_is_written_again_keeps_its_name_and_its_budget() -> None:
    """Without the name there would be a third Deployment, and without the budget one is left."""
    first = adopted_of(apps.app(), "dashboards")
    assert "`--user 1000 --name dashboards-2 --force`" in page(first, "adoption")

    applied = [{"kind": "Deployment", **first.deployment}, *first.budgets]
    again = adopted_of([*apps.app(), *applied], "dashboards", name=first.name, user=1000)

    assert again.budgets == first.budgets
    assert again.name == first.name


@pytest.mark.parametrize("length", [61, 62, 63])
def test_a_name_stays_within_the_limit_of_labels(length: int) -> None:
    for name in ("d" * length, "d" * (length - 2) + "-9"):
        objects = [named(name), apps.service(selector={"app": name})]

        assert len(adopted(objects).name) <= 63


@pytest.mark.parametrize("helm", [False, True], ids=["kustomize", "helm"])
def test_apps_of_one_name_in_two_namespaces_have_two_policies(helm: bool, tmp_path: Path) -> None:
    names = set()
    for namespace in ("team-a", "team-b", "n" * 63):
        folder = tmp_path / namespace
        folder.mkdir()
        file = apps.write(folder, apps.app(apps.BOKEH, apps.moved_to(namespace)))
        words = ["--output", str(folder / "adoption"), *(["--helm"] if helm else [])]
        assert main(["init", str(file), *words]) == 0
        [file] = (folder / "adoption").glob("values.yaml" if helm else "policy-*/policy.yaml")
        found = yaml.safe_load(file.read_text())
        policy = found["policies"][0] if helm else found
        steps = (folder / "adoption" / "STEPS.md").read_text()
        assert helm or f"--from-file={policy['name']}.yaml=" in steps
        assert helm or f"  - policy-{policy['name']}\n" in steps
        assert len(policy["name"]) <= 63
        names.add(policy["name"])

    assert len(names) == 3


def of_others(objects: Objects) -> None:
    """Containers and a volume of the app that are called as ours are."""
    spec = apps.pod(objects)
    spec["containers"] += [{"name": "agent", "image": "datadog/agent"}]
    spec["initContainers"] = [{"name": "exporter", "image": "otel", "command": ["x"]}]
    spec["volumes"] = [{"name": "agent", "configMap": {"name": "agent"}}]


def test_containers_and_volumes_of_the_app_keep_their_names() -> None:
    objects = apps.app(apps.BOKEH, of_others)

    adoption = adopted(objects)

    spec = adoption.deployment["spec"]["template"]["spec"]
    names = [each["name"] for kind in ("initContainers", "containers") for each in spec[kind]]
    assert sorted(names) == ["agent", "app", "bokeh-agent", "bokeh-exporter", "exporter"]
    volumes = {each["name"]: set(each) - {"name"} for each in spec["volumes"]}
    assert volumes == {"agent": {"configMap"}, "bokeh-agent": {"emptyDir"}}
    main = next(each for each in spec["containers"] if each["name"] == "app")
    assert [each["name"] for each in main["volumeMounts"]] == ["bokeh-agent"]
    assert errors(adoption) == []
    assert "The sidecar is called bokeh-exporter here" in page(adoption, "adoption")


def of_node(objects: Objects) -> None:
    apps.pod(objects)["hostNetwork"] = True


def port_of_node(objects: Objects) -> None:
    apps.pod(objects)["containers"][0]["ports"][0]["hostPort"] = 80


SELECTOR = {"labelSelector": {"matchLabels": {"app": "dashboards"}}}


def spread(objects: Objects) -> None:
    zone = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    apps.pod(objects)["topologySpreadConstraints"] = [{**zone, **SELECTOR}]


def apart(objects: Objects) -> None:
    preferred = [{"weight": 1, "podAffinityTerm": {"topologyKey": "host", **SELECTOR}}]
    rules = {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
    apps.pod(objects)["affinity"] = {"podAntiAffinity": rules}


NOTED = {
    "the network of the node": (of_node, "a node has room for one of them"),
    "a port of the node": (port_of_node, "a node has room for one of them"),
    "spread over zones": (spread, "write their labels into these"),
    "apart from each other": (apart, "write their labels into these"),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_keeps_new_pods_from_their_nodes_is_told(case: str) -> None:
    change, told = NOTED[case]

    assert told in page(adopted(apps.app(apps.BOKEH, change)), "adoption")
    assert told not in page(adopted(apps.app()), "adoption")


def test_in_place_the_labels_stay_and_so_do_the_rules() -> None:
    adoption = adopted(apps.app(apps.BOKEH, spread), in_place=True)

    assert "write their labels" not in page(adoption, "adoption")


@pytest.mark.parametrize("in_place", [False, True])
def test_a_deployment_whose_rollouts_are_paused_starts_the_adopted_pods(*, in_place: bool) -> None:
    def paused(objects: Objects) -> None:
        objects[0]["spec"]["paused"] = True

    adoption = adopted(apps.app(apps.BOKEH, paused), in_place=in_place)

    assert "paused" not in adoption.deployment["spec"]
    assert adoption.patch["spec"]["paused"] is None
    assert adoption.app.deployment["spec"]["paused"] is True, "it is as it was, for the way back"


FAMILIES: dict[str, tuple[dict[str, Any], bool]] = {
    "what the API server fills in": (
        {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"},
        False,
    ),
    "IPv6": ({"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}, True),
    "both": ({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"}, True),
    "users of the same node": ({"internalTrafficPolicy": "Local"}, True),
    "users of any node": ({"internalTrafficPolicy": "Cluster"}, False),
}


@pytest.mark.parametrize("case", FAMILIES)
def test_a_service_keeps_what_its_author_chose(case: str) -> None:
    fields, is_kept = FAMILIES[case]

    adoption = adopted([apps.deployment(), apps.service(**fields)])

    [service] = adoption.services
    assert (fields.items() <= service["spec"].items()) == is_kept
    assert is_kept or not fields.keys() & service["spec"].keys()


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Rollout"])
def test_what_only_a_deployment_can_have_is_said(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "app.json"
    file.write_text(json.dumps({"kind": kind, "metadata": {"name": "app"}}))

    assert main(["init", str(file), "--output", str(tmp_path / "adoption")]) == 2

    said = f"autoscaler init: found a {kind}, and only a Deployment can be adopted\n"
    assert capsys.readouterr().err == said


def test_an_image_without_a_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["init", "app.yaml", "--exporter-image", ""])

    assert ended.value.code == 2
    assert "'': expected the name of an image" in capsys.readouterr().err
