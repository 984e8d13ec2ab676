"""`autoscaler init` on manifests: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
import re
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.adapters.kubernetes.pods import ROUTABLE
from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.adapters.shipped import shipped
from autoscaler.adoption.app import Choices, UnclearError, app_of, seen_in
from autoscaler.adoption.plan import Adoption, adopt
from autoscaler.cli import main
from autoscaler.doctor.findings import Severity
from tests.adoption import apps
from tests.adoption.apps import APPS, Objects
from tests.deploy.manifests import one
from tests.deploy.pages import UPGRADE_PAGE

COPIED = ["python", "/bokeh-exporter", "launch", "--"]
POLICY = "policy-dashboards/policy.yaml"
PATIENT = ["--session-token-expiration=86400", "--unused-session-lifetime=60000"]


def adopted(objects: Objects, **choices: Any) -> Adoption:
    chosen = Choices(**choices)
    return adopt(app_of(seen_in(objects, None, None), chosen), chosen, shipped(chosen.sticky))


def init(folder: Path, objects: Objects, *words: str) -> int:
    """Run the command on manifests, into `adoption/`."""
    file = apps.write(folder, objects)
    return main(["init", str(file), "--output", str(folder / "adoption"), *words])


def of_app(adoption: Adoption, name: str = "app") -> Any:
    containers = adoption.deployment["spec"]["template"]["spec"]["containers"]
    return next(each for each in containers if each["name"] == name)


def selectors(adoption: Adoption) -> dict[str, Any]:
    """What changes in the selector of each Service, by its name."""
    return {name: each["selector"] for name, each in adoption.switches.items()}


def errors(adoption: Adoption) -> list[str]:
    return [each.id for each in adoption.found if each.severity is Severity.ERROR]


@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
@pytest.mark.parametrize("case", APPS)
def test_doctor_finds_no_error_in_the_result(case: str, in_place: bool) -> None:
    adoption = adopted(APPS[case], in_place=in_place)

    assert errors(adoption) == []


@pytest.mark.parametrize("sticky", ["haproxy", "nginx"])
@pytest.mark.parametrize("case", APPS)
def test_a_sticky_proxy_follows_the_pods_of_any_app(case: str, sticky: str) -> None:
    adoption = adopted(APPS[case], sticky=sticky)

    assert "sticky-proxy-without-pods" not in {each.id for each in adoption.found}
    labels = adoption.deployment["spec"]["template"]["metadata"]["labels"]
    old = adoption.app.deployment["spec"]["template"]["metadata"]["labels"]
    routable, everyone = (each["spec"]["selector"] for each in adoption.proxies)
    assert routable == {**everyone, ROUTABLE: "true"}
    assert everyone.items() <= labels.items()
    assert not everyone.items() <= old.items(), "the pods without a launcher are not behind it"


def proxy_for(**labels: str) -> Any:
    """A Service of a sticky proxy that the namespace has already."""
    spec = {"selector": {**labels, ROUTABLE: "true"}, "ports": [{"port": 5006}]}
    meta = {"name": "sticky-routable", "namespace": "bokeh"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


@pytest.mark.parametrize("helm", [False, True], ids=["kustomize", "helm"])
def test_a_namespace_has_room_for_one_sticky_proxy(helm: bool) -> None:
    objects = [*apps.app(), proxy_for(app="reports")]

    with pytest.raises(UnclearError, match="sticky proxy for the pods with app=reports, and has"):
        adopted(objects, sticky="haproxy", helm=helm)
    assert adopted(objects).proxies == ()


def test_the_proxy_of_the_same_app_is_written_anew() -> None:
    first = adopted(apps.app(), sticky="haproxy")

    again = adopted([*apps.app(), *first.proxies], sticky="haproxy")

    assert again.proxies == first.proxies


@pytest.mark.parametrize("case", APPS)
def test_beside_the_first_no_selector_has_pods_of_both(case: str) -> None:
    adoption = adopted(APPS[case])
    old = adoption.app.deployment["spec"]["template"]["metadata"]["labels"]
    new = adoption.deployment["spec"]["template"]["metadata"]["labels"]
    selector = adoption.deployment["spec"]["selector"]["matchLabels"]

    assert selector.items() <= new.items()
    assert not selector.items() <= old.items()
    assert ROUTABLE not in selector
    for before, after in zip(adoption.app.services, adoption.services, strict=True):
        first, second = before["spec"]["selector"], after["spec"]["selector"]
        assert first.items() <= old.items()
        assert not first.items() <= new.items(), "new pods get no users before they are Ready"
        assert second.items() <= new.items()
        assert not second.items() <= old.items(), "and the old ones none after the switch"


@pytest.mark.parametrize("case", APPS)
def test_in_place_name_selector_and_other_labels_stay(case: str) -> None:
    adoption = adopted(APPS[case], in_place=True)
    before, after = adoption.app.deployment, adoption.deployment

    assert after["metadata"] == before["metadata"]
    assert after["spec"]["selector"] == before["spec"]["selector"]
    labels = before["spec"]["template"]["metadata"]["labels"]
    assert after["spec"]["template"]["metadata"]["labels"] == {**labels, ROUTABLE: "true"}


@pytest.mark.parametrize("case", APPS)
def test_no_manifest_sets_replicas(case: str) -> None:
    assert "replicas" not in adopted(APPS[case]).deployment["spec"]


# What the manifest says, and --start: what the launcher starts.
STARTS = {
    "command and args": (apps.BOKEH, "", ["bokeh", "serve", *PATIENT, "app.py", apps.ORIGIN]),
    "only args": (apps.PANEL, "", ["panel", "serve", *PATIENT, "app.py", "--port=5006"]),
    "only a CMD, which is said": (
        *(apps.ONLY_CMD, "bokeh serve app.py"),
        ["bokeh", "serve", *PATIENT, "app.py"],
    ),
    "a shell": (apps.SHELL, "", apps.SHELL["command"]),
    "a script": (apps.SCRIPT, "", ["python", "app.py"]),
    "a module": (
        *({"command": ["python", "-m", "bokeh", "serve", "app.py"]}, ""),
        ["python", "-m", "bokeh", "serve", *PATIENT, "app.py"],
    ),
    "an ENTRYPOINT and args, which are said": (
        *({"args": ["serve", "app.py"]}, "tini -- panel serve app.py"),
        ["tini", "--", "panel", "serve", *PATIENT, "app.py"],
    ),
    "own arguments of the app": (
        *({"command": ["bokeh", "serve", "app.py", "--args", "serve", "--x"]}, ""),
        ["bokeh", "serve", *PATIENT, "app.py", "--args", "serve", "--x"],
    ),
    "one of the options": (
        *({"command": ["bokeh", "serve", "a.py", "--session-token-expiration", "600"]}, ""),
        ["bokeh", "serve", PATIENT[1], "a.py", "--session-token-expiration", "600"],
    ),
}


@pytest.mark.parametrize("case", STARTS)
def test_the_launcher_starts_what_the_app_is_started_by(case: str) -> None:
    container, start, args = STARTS[case]

    found = of_app(adopted(apps.app(container), start=tuple(start.split())))

    assert found["command"] == COPIED
    assert found["args"] == args


UNKNOWN = {
    "an image with only CMD": (apps.ONLY_CMD, "neither command nor args"),
    "an ENTRYPOINT with args": ({"args": ["serve", "app.py"]}, "only its args (serve app.py)"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_start_that_only_the_image_knows_is_not_thrown_away(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    container, said = UNKNOWN[case]

    assert init(tmp_path, apps.app(container)) == 2

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert "docker inspect registry.example.com/dashboards:1" in error
    assert not (tmp_path / "adoption").exists()


def test_an_image_that_has_the_launcher_needs_no_copy(tmp_path: Path) -> None:
    adoption = adopted(APPS["bokeh serve by command and args"], zero_touch=False)

    assert of_app(adoption)["command"] == ["bokeh-exporter", "launch", "--"]
    pod = adoption.deployment["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["initContainers"]] == ["exporter"]
    assert "volumes" not in pod


@pytest.mark.parametrize("container", [apps.ONLY_CMD, apps.PANEL], ids=["CMD", "args"])
def test_an_image_whose_entrypoint_is_the_launcher_starts_as_before(container: Any) -> None:
    found = of_app(adopted(apps.app(container), zero_touch=False))

    assert "command" not in found
    assert found.get("args") == container.get("args")


def test_the_container_behind_a_proxy_in_the_pod_is_the_app() -> None:
    adoption = adopted(APPS["a proxy in the same pod"], sticky="nginx")

    assert of_app(adoption)["command"] == COPIED
    assert "command" not in of_app(adoption, "oauth")
    [port, other] = [each["spec"]["ports"][0] for each in adoption.proxies]
    assert port == other == {"name": "http", "port": 4180, "targetPort": "web"}


def test_probes_that_open_the_page_keep_their_numbers_but_for_readiness() -> None:
    found = of_app(adopted(APPS["probes that open the page"]))

    assert found["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 9550}
    assert "initialDelaySeconds" not in found["readinessProbe"]
    assert found["livenessProbe"] == {"periodSeconds": 45, "tcpSocket": {"port": "http"}}
    assert found["startupProbe"] == {"failureThreshold": 90, "tcpSocket": {"port": "http"}}


def test_a_liveness_that_creates_no_session_stays() -> None:
    case = "probes that create no session"

    found = of_app(adopted(APPS[case]))

    assert found["livenessProbe"] == apps.pod(APPS[case])["containers"][0]["livenessProbe"]
    assert found["readinessProbe"]["httpGet"]["port"] == 9550
    assert "tcpSocket" not in found["readinessProbe"]


# runAsUser of the container and of the pod, --user, and the sidecar's own: None is the pod's.
USERS: dict[str, tuple[int | None, int | None, int | None, int | None]] = {
    "of the container": (1000, None, None, 1000),
    "of the container, in a pod of our user": (1000, 65532, None, 1000),
    "ours, in a pod of another user": (65532, 1000, None, 65532),
    "root, in a pod of another user": (0, 1000, None, 65532),
    "of the pod": (None, 1000, None, None),
    "of the image, which the operator says": (None, None, 1000, 1000),
    "root by the image, which the operator says": (None, None, 0, None),
    "of the image, which is ours": (None, None, 65532, None),
    "of the image, which nobody says": (None, None, None, None),
    "said twice": (1000, None, 1000, 1000),
}


@pytest.mark.parametrize("case", USERS)
def test_the_sidecar_runs_as_a_user_who_trusts_the_apps(case: str) -> None:
    container, of_pod, said, own = USERS[case]

    def run_as(objects: Objects) -> None:
        pod = apps.pod(objects)
        pod["securityContext"] = {} if of_pod is None else {"runAsUser": of_pod}
        if container is not None:
            pod["containers"][0]["securityContext"] = {"runAsUser": container}

    adoption = adopted(apps.app(apps.BOKEH, run_as), user=said)

    agent, exporter = adoption.deployment["spec"]["template"]["spec"]["initContainers"]
    assert exporter["securityContext"].get("runAsUser") == own
    assert "runAsUser" not in agent["securityContext"]


OURS = [{"name": "BOKEH_EXPORTER_TRUSTED_UIDS", "value": "65532"}]
# What the container of the app has, and what the agents in it are then told of the sidecar's user.
TRUSTS: dict[str, tuple[dict[str, Any], int | None, Any]] = {
    "root by the image, which nobody says": ({}, None, OURS),
    "root by the image, which the operator says": ({}, 0, OURS),
    "root by the manifest": ({"securityContext": {"runAsUser": 0}}, None, OURS),
    "the user of the sidecar": ({"securityContext": {"runAsUser": 1000}}, None, None),
    "a list with the sidecar's user": ({"env": OURS}, None, OURS),
    "a list without it": (
        {"env": [{**OURS[0], "value": "7"}, {"name": "A", "value": "b"}]},
        None,
        [{**OURS[0], "value": "7,65532"}, {"name": "A", "value": "b"}],
    ),
    "a list in a ConfigMap": (
        {"env": [{"name": OURS[0]["name"], "valueFrom": {"configMapKeyRef": {"key": "uids"}}}]},
        None,
        [{"name": OURS[0]["name"], "valueFrom": {"configMapKeyRef": {"key": "uids"}}}],
    ),
}


@pytest.mark.parametrize("case", TRUSTS)
def test_the_app_takes_notices_from_the_user_of_the_sidecar(case: str) -> None:
    fields, user, env = TRUSTS[case]
    objects = apps.app(apps.BOKEH, lambda found: apps.pod(found)["containers"][0].update(fields))

    adoption = adopted(objects, user=user)

    assert of_app(adoption).get("env") == env
    assert "notices-not-taken" not in {each.id for each in adoption.found}


def test_the_steps_say_what_notices_need_before_the_first_of_them(tmp_path: Path) -> None:
    assert init(tmp_path, apps.app()) == 0

    before, _, _ = (tmp_path / "adoption" / "STEPS.md").read_text().partition("## 1.")
    assert "docs/security.md, A token for the sidecars" in before
    assert "components/sidecar-token]` to pods/kustomization.yaml" in before


def test_a_known_user_needs_no_look(tmp_path: Path) -> None:
    assert init(tmp_path, apps.app(), "--user", "1000") == 0

    steps = (tmp_path / "adoption" / "STEPS.md").read_text()
    assert "id -u" not in steps


def test_a_headless_service_keeps_cordoned_pods() -> None:
    adoption = adopted(APPS["a headless Service too"])

    assert selectors(adoption) == {
        "dashboards": {"app": "dashboards-2", ROUTABLE: "true"},
        "names": {"app": "dashboards-2"},
    }


def test_only_the_services_of_the_pods_change() -> None:
    adoption = adopted(APPS["Services by different labels"])

    assert selectors(adoption) == {
        "dashboards": {"app": "dashboards-2", ROUTABLE: "true"},
        "by-tier": {"tier": "web-2", ROUTABLE: "true"},
    }


@pytest.mark.parametrize("replicas", [0, 1, 7, 2_000_000_000])
def test_the_policy_is_valid_for_any_number_of_pods(replicas: int, tmp_path: Path) -> None:
    def many(objects: Objects) -> None:
        objects[0]["spec"]["replicas"] = replicas

    assert init(tmp_path, apps.app(apps.BOKEH, many)) == 0

    found = load_policy(tmp_path / "adoption" / POLICY).replicas
    assert found.min == max(1, replicas) or replicas > found.max
    assert found.max >= found.min


NAMES = {"dashboards": "dashboards-2", "dashboards-2": "dashboards-3", "a-9": "a-10", "v1": "v1-2"}


@pytest.mark.parametrize("name", NAMES)
def test_the_second_deployment_has_the_next_name(name: str) -> None:
    first = [apps.deployment(name=name), apps.service(selector={"app": name})]

    assert adopted(first).name == NAMES[name]


def test_a_longer_grace_stays() -> None:
    def patient(objects: Objects) -> None:
        apps.pod(objects)["terminationGracePeriodSeconds"] = 7200
        hook = {"preStop": {"sleep": {"seconds": 60}}}
        apps.pod(objects)["containers"][0]["lifecycle"] = hook

    template = adopted(apps.app(apps.BOKEH, patient)).deployment["spec"]["template"]

    assert template["spec"]["terminationGracePeriodSeconds"] == 7200
    [container] = template["spec"]["containers"]
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 60}}}


def test_what_is_adopted_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adoption = adopted(APPS["bokeh serve by command and args"])
    objects: Any = [adoption.deployment, *adoption.services]

    assert init(tmp_path, objects) == 0

    said = "Deployment bokeh/dashboards-2 is adopted already; nothing was written.\n"
    assert capsys.readouterr().out == said
    assert not (tmp_path / "adoption").exists()


def test_what_is_half_adopted_keeps_what_it_has() -> None:
    whole = adopted(APPS["bokeh serve by command and args"], in_place=True)
    half: Any = [whole.deployment, *whole.app.services]  # rolled out, and the Service is not yet

    again = adopted(half, in_place=True)

    assert again.deployment == whole.deployment
    assert again.services == whole.services
    assert errors(again) == []


def test_the_folder_has_a_valid_policy_for_the_adopted_deployment(tmp_path: Path) -> None:
    assert init(tmp_path, apps.app(), "--seats", "8") == 0

    policy = load_policy(tmp_path / "adoption" / POLICY)
    assert str(policy.target.ref) == "bokeh/dashboards-2"
    assert (policy.replicas.min, policy.replicas.max) == (3, 10)
    assert [(each.type, each.seats) for each in policy.metrics] == [("sessions", 8)]


def test_the_steps_are_printed_and_in_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path, apps.app()) == 0

    said = capsys.readouterr().out
    assert (tmp_path / "adoption" / "STEPS.md").read_text() in said
    assert "--- Deployment bokeh/dashboards\n+++ Deployment bokeh/dashboards-2\n" in said
    assert '+        bokeh-autoscaler/routable: "true"\n' in said
    order = ("apply -k", "rollout status", "doctor --n", "patch service", "delete deployment")
    places = [said.index(f" {words}") for words in order]
    assert places == sorted(places)


def test_in_place_the_price_is_said_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path, apps.app(), "--in-place") == 0

    said = capsys.readouterr().out
    order = ("ends every open session", "set-last-applied", "apply -k", "patch service")
    places = [said.index(words) for words in order]
    assert places == sorted(places)
    assert "delete deployment" not in said


def test_files_that_are_there_stay_without_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path, apps.app()) == 0
    policy = tmp_path / "adoption" / POLICY
    policy.write_text("mine")
    capsys.readouterr()

    assert init(tmp_path, apps.app()) == 2
    said = capsys.readouterr()
    assert said.err.endswith(": exists; set another --output, or --force\n")
    assert not said.out
    assert policy.read_text() == "mine"

    assert init(tmp_path, apps.app(), "--force") == 0
    assert load_policy(policy).name == "dashboards"
    assert "Not written by this run" not in capsys.readouterr().out


def test_files_of_an_earlier_run_with_other_options_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "adoption"
    assert init(tmp_path, apps.app(), "--sticky", "haproxy") == 0
    old = {file for file in folder.rglob("*") if file.is_file()}
    assert init(tmp_path, apps.app(), "--force") == 0

    last = capsys.readouterr().out.splitlines()[-1]
    words = "Not written by this run, so delete what an earlier one left: "
    assert last.startswith(words)
    named = {folder / name for name in last.removeprefix(words).split(", ")}
    assert named < old
    assert folder / "sticky" / "haproxy" / "haproxy.cfg" in named


def test_a_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = apps.write(tmp_path, apps.app())

    assert main(["init", str(file), "--output", str(file / "adoption")]) == 1

    said = capsys.readouterr()
    assert "cannot be written" in said.err
    assert said.err.count("\n") == 1
    assert not said.out


def test_values_for_the_chart_have_policy_and_proxy(tmp_path: Path) -> None:
    assert init(tmp_path, apps.app(), "--helm", "--sticky", "nginx") == 0

    folder = tmp_path / "adoption"
    values = yaml.safe_load((folder / "values.yaml").read_text())
    assert values["proxy"] == {
        "enabled": True,
        "kind": "nginx",
        "app": "dashboards-2",
        "port": 5006,
    }
    [policy] = values["policies"]
    assert policy["target"] == {"namespace": "bokeh", "deployment": "dashboards-2"}
    assert not (folder / "sticky").exists()
    assert not (folder / POLICY).exists()
    patch = yaml.safe_load((folder / "pods" / "patch.yaml").read_text())
    labels = patch["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "dashboards-2"


# The ports of the app, by what the Deployment and its Service say, after the chart's proxy.
HTTP = {"name": "http", "containerPort": 8000}
PORTS: dict[str, tuple[tuple[apps.Change, ...], list[Any]]] = {
    "without a name": ((apps.by_number,), [HTTP]),
    "not in the manifest": ((apps.by_number, apps.without_ports), [HTTP]),
    "named, and reached by number": ((apps.by_number, apps.named_http), [HTTP]),
    "as the API server completes it": (
        (apps.by_number, apps.with_protocol),
        [{**HTTP, "protocol": "TCP"}],
    ),
}


@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
@pytest.mark.parametrize("case", PORTS)
def test_the_charts_proxy_finds_the_port_by_its_name(case: str, in_place: bool) -> None:
    changes, ports = PORTS[case]

    adoption = adopted(
        apps.app(apps.BOKEH, *changes), helm=True, sticky="haproxy", in_place=in_place
    )

    assert of_app(adoption)["ports"] == ports
    assert errors(adoption) == []


def test_the_port_of_another_container_gets_its_name_there() -> None:
    def unnamed(objects: Objects) -> None:
        apps.pod(objects)["containers"][0]["ports"] = [{"containerPort": 4180}]
        apps.pod(objects)["containers"][1]["ports"] = [{"containerPort": 5006}]
        objects[1]["spec"]["ports"][0]["targetPort"] = 4180

    adoption = adopted(apps.app(apps.BOKEH, apps.beside, unnamed), helm=True, sticky="haproxy")

    assert of_app(adoption, "oauth")["ports"] == [{"name": "http", "containerPort": 4180}]
    assert of_app(adoption)["ports"] == [{"containerPort": 5006}]


def test_the_values_are_added_to_the_file_of_all_upgrades(tmp_path: Path) -> None:
    assert init(tmp_path, apps.app(), "--helm") == 0

    steps = (tmp_path / "adoption" / "STEPS.md").read_text()
    [upgrade] = [line for line in steps.splitlines() if line.startswith("helm upgrade ")]
    assert upgrade in UPGRADE_PAGE.read_text(), "the next upgrade keeps the policy"
    assert "Add the content of" in steps


def test_another_namespace_gets_the_daemons_role(tmp_path: Path) -> None:
    assert init(tmp_path, apps.app(apps.BOKEH, apps.moved_to("reports"))) == 0

    folder = tmp_path / "adoption"
    role, binding = yaml.safe_load_all(
        (folder / "policy-reports-dashboards" / "rights.yaml").read_text()
    )
    meta = {"name": "bokeh-autoscaler-dashboards-2", "namespace": "reports"}
    assert role["metadata"] == binding["metadata"] == meta
    assert binding["roleRef"]["name"] == meta["name"]
    [scale] = [each for each in role["rules"] if "deployments/scale" in each["resources"]]
    assert scale["resourceNames"] == ["dashboards-2"]
    steps = (folder / "STEPS.md").read_text()
    assert f"kubectl apply -f {folder}/policy-reports-dashboards/rights.yaml" in steps
    assert "patch role" not in steps
    assert steps.index("Let Prometheus scrape reports") < steps.index("Give the daemon its policy")


@pytest.mark.parametrize(
    ("namespace", "words"), [("bokeh", ()), ("reports", ("--helm",))], ids=["ours", "the chart"]
)
def test_a_namespace_that_has_the_role_gets_none(
    namespace: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    assert init(tmp_path, apps.app(apps.BOKEH, apps.moved_to(namespace)), *words) == 0

    assert not [*(tmp_path / "adoption").glob("policy-*/rights.yaml")]


# Ways to have the proxy, and what the steps say of its image and of the Service that selects it.
PROXIES: dict[str, tuple[Objects, tuple[str, ...], str]] = {
    "the image of HAProxy": (
        *(apps.app(), ("--sticky", "haproxy")),
        "`images: [{name: haproxy, newName: registry.example.com/haproxy}]`",
    ),
    "the image of the chart": (apps.app(), ("--sticky", "nginx", "--helm"), "set `proxy.image`"),
    "the app's Service selects it": (
        *(apps.app(), ("--sticky", "haproxy")),
        '"bokeh-autoscaler/routable": null, "app.kubernetes.io/name": "sticky-haproxy"}}}',
    ),
    "the app's Service of a port by number selects it": (
        *(APPS["ports by number"], ("--sticky", "nginx")),
        '"ports": [{"port": 80, "targetPort": "http"}]',
    ),
}


@pytest.mark.parametrize("in_place", [(), ("--in-place",)], ids=["beside", "in place"])
@pytest.mark.parametrize("case", PROXIES)
def test_the_steps_say_how_users_and_the_image_come_to_the_proxy(
    case: str, in_place: tuple[str, ...], tmp_path: Path
) -> None:
    objects, words, said = PROXIES[case]

    assert init(tmp_path, objects, *words, *in_place) == 0

    steps = (tmp_path / "adoption" / "STEPS.md").read_text()
    assert said in steps
    assert steps.index("rollout status") < steps.index("Send users to the sticky proxy")


def test_doctor_looks_before_users_come_to_the_proxy(tmp_path: Path) -> None:
    assert init(tmp_path, apps.app(), "--sticky", "haproxy") == 0

    steps = (tmp_path / "adoption" / "STEPS.md").read_text()
    order = ("Start the sticky proxy", "doctor --n", "Send users to the sticky", "patch service")
    places = [steps.index(words) for words in order]
    assert places == sorted(places)


# By what the Services are: how many of the patches lead to the proxy, and how many to the pods.
SWITCHES: dict[str, tuple[str, int, int]] = {
    "one Service leads to the proxy in one step": ("bokeh serve by command and args", 1, 0),
    "a headless Service cannot, and selects the new pods": ("a headless Service too", 1, 1),
    "no Service is left as it is": ("no Service", 0, 0),
}


@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
@pytest.mark.parametrize("case", SWITCHES)
def test_users_come_to_the_proxy_in_one_step(case: str, in_place: bool, tmp_path: Path) -> None:
    app, by_proxy, to_pods = SWITCHES[case]
    words = ("--in-place",) if in_place else ()

    assert init(tmp_path, APPS[app], "--sticky", "haproxy", *words) == 0

    text = (tmp_path / "adoption" / "STEPS.md").read_text().partition("## The way back")[0]
    patches = [line for line in text.splitlines() if re.match(r"kubectl .* patch service", line)]
    assert sum("sticky-haproxy" in line for line in patches) == by_proxy
    assert sum("sticky-haproxy" not in line for line in patches) == (0 if in_place else to_pods)
    assert text.count("Send users to the sticky proxy") == 1


def test_the_daemon_may_read_the_namespace_before_it_has_the_policy(tmp_path: Path) -> None:
    assert init(tmp_path, apps.app(apps.BOKEH, apps.moved_to("reports"))) == 0

    steps = (tmp_path / "adoption" / "STEPS.md").read_text()
    assert steps.index("kubectl apply -f ") < steps.index("patch configmap")


def test_nginx_connects_to_the_port_of_the_pods(tmp_path: Path) -> None:
    assert init(tmp_path, APPS["ports by number"], "--sticky", "nginx") == 0

    text = (tmp_path / "adoption" / "sticky" / "nginx" / "kubernetes.conf").read_text()
    assert ":8000" in text
    assert ":5006" not in text


def test_manifests_come_from_standard_input_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = yaml.safe_dump_all(apps.app()).encode()
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(text)))

    assert main(["init", "-", "--output", str(tmp_path / "adoption")]) == 0

    assert (tmp_path / "adoption" / "pods" / "patch.yaml").exists()


HPA = {
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "cpu", "namespace": "bokeh"},
    "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "dashboards"}},
}
ALLOWED = {
    "kind": "NetworkPolicy",
    "metadata": {"name": "let-in", "namespace": "bokeh"},
    "spec": {"podSelector": {"matchLabels": {"app": "dashboards"}}},
}


def claimed(objects: Objects) -> None:
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "shared"}}
    apps.pod(objects)["volumes"] = [claim]


def of_argo(objects: Objects) -> None:
    objects[0]["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "dashboards:x"}


def alone(objects: Objects) -> None:
    objects[0]["spec"]["replicas"] = 1
    del objects[1]["spec"]["sessionAffinity"]


# What is beside or in the app, and what the steps say of it.
NOTES = {
    "an HPA": (
        [*apps.app(), HPA],
        "HorizontalPodAutoscaler cpu scales the app, and deletes pods that have sessions,",
    ),
    "a ScaledObject": (
        [*apps.app(), {**HPA, "kind": "ScaledObject"}],
        "ScaledObject cpu scales the app",
    ),
    "a NetworkPolicy of the old pods": ([*apps.app(), ALLOWED], "NetworkPolicy bokeh/let-in"),
    "a claimed volume": (apps.app(apps.BOKEH, claimed), "The pods mount shared."),
    "no Service": (apps.app()[:1], "No Service was found"),
    "Argo CD": (apps.app(apps.BOKEH, of_argo), "Argo CD applies it"),
    "only args": (apps.app(apps.PANEL), "If the image has an ENTRYPOINT too"),
    "a user that only the image knows": (
        apps.app(),
        "`kubectl -n bokeh exec deployment/dashboards -c app -- id -u`",
    ),
    "one pod, and nothing that leads users back to it": (
        apps.app(apps.BOKEH, alone),
        "repeat this command with `--sticky haproxy --name dashboards-2 --force`",
    ),
    "the number of pods before the adoption": (
        apps.app(),
        "It had 3 pods when this page was written",
    ),
    "how the daemon loses the policy again": (
        apps.app(),
        """--type=merge --patch '{"data": {"dashboards.yaml": null}}'""",
    ),
    "no key": (apps.app(), "* warning `no-signing-key`"),
    "a Secret for the key": (apps.app(), "kubectl -n bokeh create secret generic dashboards-2 "),
    "the key's place": (apps.app(), "- secretRef: {name: dashboards-2}"),
    "what a key costs later": (apps.app(), "Later it is a rollout, which ends no session"),
}


@pytest.mark.parametrize("case", NOTES)
def test_what_an_operator_has_to_know_is_in_the_steps(case: str, tmp_path: Path) -> None:
    objects, said = NOTES[case]

    assert init(tmp_path, objects) == 0

    assert said in (tmp_path / "adoption" / "STEPS.md").read_text()


def test_a_copy_has_nothing_by_which_a_tool_takes_it_for_its_own(tmp_path: Path) -> None:
    assert init(tmp_path, apps.app(apps.BOKEH, of_argo)) == 0

    assert "argoproj" not in (tmp_path / "adoption" / "pods" / "deployment.yaml").read_text()


def without(*path: str | int) -> Objects:
    """The app without a value."""
    objects: Any = apps.app()
    inner = objects
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return objects


def with_value(value: Any, *path: str | int) -> Objects:
    objects: Any = apps.app()
    inner = objects
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return objects


CONTAINERS = (0, "spec", "template", "spec", "containers")
# Objects, options, and what the only line on standard error says.
REFUSED = {
    "no Deployment": ([apps.service()], (), "found none"),
    "two Deployments": (
        *([*apps.app(), apps.deployment(name="reports")], ()),
        "expected one Deployment: set --deployment and --namespace; found dashboards, reports",
    ),
    "another name": (apps.app(), ("--deployment", "report"), "found dashboards"),
    "two apps in a pod": (
        *(with_value([apps.container(apps.BOKEH, n) for n in "ab"], *CONTAINERS), ()),
        "Set --container to one of a, b",
    ),
    "a user that the manifest contradicts": (
        *(APPS["another user"], ("--user", "2000")),
        "container app: runAsUser is 1000 and --user is 2000; leave --user out",
    ),
    "a container that is not there": (
        *(apps.app(), ("--container", "web")),
        "Set --container to one of app",
    ),
    "a selector that cannot be changed": (
        *(apps.app(apps.BOKEH, apps.label_in_selector), ("--in-place",)),
        "leave --in-place out",
    ),
    "a name of nothing": (apps.app(), ("--in-place", "--name", "x"), "--name is of a second"),
    "no template": (without(0, "spec", "template"), (), "spec.template: is nothing, expected a"),
    "a container without a name": (
        *(without(*CONTAINERS, 0, "name"), ()),
        "containers[0].name: is nothing, expected a name",
    ),
    "a name that is a command": (
        *(with_value("x; reboot", 1, "metadata", "name"), ()),
        'metadata.name: is "x; reboot", expected a name of lower-case letters',
    ),
    "a command that is a text": (
        *(with_value("bokeh serve", *CONTAINERS, 0, "command"), ()),
        'containers[0].command: is "bokeh serve", expected a list',
    ),
    "the chart's proxy for a port of another name": (
        *(apps.app(apps.BOKEH, apps.port_named("web")), ("--helm", "--sticky", "haproxy")),
        "it is not called so; leave --helm out, for a proxy that connects to web",
    ),
    "the chart's proxy for an app with another port of that name": (
        *(apps.app(apps.BOKEH, apps.by_number, apps.other_http), ("--helm", "--sticky", "haproxy")),
        "another port of the pod, 9000, is called so; leave --helm out",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_unclear_is_one_line_and_writes_nothing(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects, words, said = REFUSED[case]

    assert init(tmp_path, objects, *words) == 2

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert not (tmp_path / "adoption").exists()


def test_a_second_deployment_leaves_the_label_out_of_its_selector() -> None:
    adoption = adopted(apps.app(apps.BOKEH, apps.label_in_selector))

    assert adoption.deployment["spec"]["selector"] == {"matchLabels": {"app": "dashboards-2"}}
    assert errors(adoption) == []


def test_without_manifests_the_cluster_needs_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--output", str(tmp_path / "x")]) == 2

    assert "name a manifest, or --namespace with --deployment" in capsys.readouterr().err


def test_every_written_value_is_read_back_as_it_was(tmp_path: Path) -> None:
    objects = APPS["texts that need quotes"]
    assert init(tmp_path, objects) == 0

    written = yaml.safe_load((tmp_path / "adoption" / "pods" / "deployment.yaml").read_text())

    env = written["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env == apps.pod(json.loads(json.dumps(objects)))["containers"][0]["env"]


def test_the_objects_of_a_namespace_are_those_of_the_deployment() -> None:
    elsewhere = apps.service("elsewhere")
    elsewhere["metadata"]["namespace"] = "other"

    adoption = adopted([*apps.app(), elsewhere])

    assert [each["metadata"]["name"] for each in adoption.services] == ["dashboards"]
    assert one(list(adoption.budgets), "PodDisruptionBudget", "dashboards-2")
