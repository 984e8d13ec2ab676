"""What `autoscaler init` writes and prints, held to the real kustomize, API server and Helm."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import yaml

from autoscaler.adapters.kubernetes.pods import ROUTABLE
from autoscaler.adapters.shipped import shipped
from autoscaler.adoption.app import Choices, app_of, seen_in
from autoscaler.adoption.plan import adopt
from autoscaler.cli import main
from tests.adoption import apps
from tests.adoption.apps import APPS, NAMESPACE, Objects
from tests.deploy.chart import render_chart
from tests.deploy.manifests import FOLDER, STICKY, one, render
from tests.deploy.pages import blocks, run_shell
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import wait_until

OLD, NEW = "dashboards", "dashboards-2"
OWN = "bokeh-autoscaler"
SOON = 30.0
# Apps that know nothing of us, and what `init` has to be told of them.
THREE: Mapping[str, tuple[Objects, tuple[str, ...]]] = {
    "bokeh serve by command and args": (apps.app(), ()),
    "panel serve by args alone": (apps.app(apps.PANEL), ()),
    "an image with only CMD": (apps.app(apps.ONLY_CMD), ("--start", "bokeh serve app.py")),
}


def init(folder: Path, objects: Objects, *words: str) -> Path:
    output = folder / "adoption"
    file = apps.write(folder, objects)
    assert main(["init", str(file), "--output", str(output), *words]) == 0
    return output


def comparable(objects: Any) -> Any:
    """Without the order of keys, and of objects."""
    plain = json.loads(json.dumps(list(objects)))
    return {(each["kind"], each["metadata"]["name"]): each for each in plain}


@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
@pytest.mark.parametrize("case", APPS)
def test_kustomize_makes_of_the_folder_what_the_diff_shows(
    case: str, in_place: bool, kubectl: Path, tmp_path: Path
) -> None:
    output = init(tmp_path, APPS[case], *(["--in-place"] if in_place else []))
    choices = Choices(in_place=in_place)
    adoption = adopt(app_of(seen_in(APPS[case], None, None), choices), choices, shipped())

    wanted = [adoption.deployment, *adoption.budgets, *adoption.services]
    assert comparable(render(kubectl, output)) == comparable(wanted)


def test_the_pods_take_the_component_with_the_token(kubectl: Path, tmp_path: Path) -> None:
    output = init(tmp_path, apps.app())
    component = os.path.relpath(FOLDER / "components" / "sidecar-token", output / "pods")
    with (output / "pods" / "kustomization.yaml").open("a") as file:
        file.write(f"components: [{component}]\n")

    spec = one(render(kubectl, output / "pods"), "Deployment", NEW)["spec"]["template"]["spec"]

    sidecar = one_named(spec["initContainers"], "exporter")
    assert sidecar["args"] == ["sidecar", "--port=9550"]
    assert one_named(sidecar["env"], "BOKEH_EXPORTER_TOKEN_FILE")["value"].endswith("/token")
    assert one_named(sidecar["volumeMounts"], "sidecar-token")["mountPath"] == "/etc/sidecar-token"
    assert one_named(spec["volumes"], "sidecar-token")["secret"] == {"secretName": "sidecar-token"}


def one_named(items: Any, name: str) -> Any:
    [found] = [each for each in items if each["name"] == name]
    return found


@pytest.mark.parametrize("change", [apps.without_ports, apps.with_protocol, apps.by_number])
def test_kustomize_names_the_port_for_the_charts_proxy(
    change: apps.Change, kubectl: Path, tmp_path: Path
) -> None:
    objects = apps.app(apps.BOKEH, apps.by_number, change)

    output = init(tmp_path, objects, "--helm", "--sticky", "haproxy")

    choices = Choices(helm=True, sticky="haproxy")
    adoption = adopt(app_of(seen_in(objects, None, None), choices), choices, shipped("haproxy"))
    made = one(render(kubectl, output), "Deployment", NEW)
    assert made["spec"]["template"]["spec"] == adoption.deployment["spec"]["template"]["spec"]


@pytest.mark.parametrize("sticky", STICKY)
def test_the_proxy_in_the_folder_is_ours_and_leads_to_the_app(
    sticky: str, kubectl: Path, tmp_path: Path
) -> None:
    kind = sticky.removeprefix("sticky-")

    output = init(tmp_path, APPS["ports by number"], "--sticky", kind)

    objects = render(kubectl, output / "sticky")
    assert {each["metadata"]["namespace"] for each in objects} == {NAMESPACE}
    everyone = one(objects, "Service", "sticky-all")["spec"]
    assert everyone["selector"] == {"app": NEW}
    assert everyone["ports"] == [{"name": "http", "port": 8000, "targetPort": 8000}]
    assert one(objects, "Service", "sticky-routable")["spec"]["selector"] == {
        "app": NEW,
        ROUTABLE: "true",
    }
    assert one(objects, "Deployment", sticky)["spec"]["replicas"] == 2


@pytest.mark.parametrize("sticky", STICKY)
@pytest.mark.parametrize("own", [{}, {"priorityClassName": "important"}], ids=["none", "its own"])
def test_the_proxy_has_the_priority_of_the_app_so_it_needs_no_class_of_the_daemon(
    own: dict[str, str], sticky: str, kubectl: Path, tmp_path: Path
) -> None:
    objects = apps.app()
    apps.pod(objects).update(own)
    output = init(tmp_path, objects, "--sticky", sticky.removeprefix("sticky-"))

    proxy = one(render(kubectl, output / "sticky"), "Deployment", sticky)["spec"]["template"]

    priority = {key: value for key, value in proxy["spec"].items() if key.startswith("priority")}
    assert priority == own


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_the_proxys_image_comes_from_where_the_steps_say(
    kind: str, kubectl: Path, tmp_path: Path
) -> None:
    output = init(tmp_path, apps.app(), "--sticky", kind)
    [said] = re.findall(r"`(images: .*?)`", (output / "STEPS.md").read_text())
    with (output / "sticky" / "kustomization.yaml").open("a") as file:
        file.write(said + "\n")

    proxy = one(render(kubectl, output / "sticky"), "Deployment", f"sticky-{kind}")

    [container] = proxy["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith(f"registry.example.com/{kind}:")


def test_the_chart_takes_the_values(helm: Path, tmp_path: Path) -> None:
    output = init(tmp_path, apps.app(), "--helm", "--sticky", "haproxy")
    values = yaml.safe_load((output / "values.yaml").read_text())

    objects = render_chart(helm, tmp_path, values)

    patch = yaml.safe_load((output / "pods" / "patch.yaml").read_text())
    labels = patch["spec"]["template"]["metadata"]["labels"]
    everyone = one(objects, "Service", "sticky-all")["spec"]["selector"]
    assert everyone.items() <= labels.items()
    role = one(objects, "Role", OWN)
    assert any(NEW in rule.get("resourceNames", ()) for rule in role["rules"])


class Operator:
    """Somebody with a cluster that has the daemon's Role and policies. Runs what is printed."""

    def __init__(self, folder: Path, cluster: ControlPlane, kubectl: Path) -> None:
        self.folder, self.cluster = folder, cluster
        self._path = str(kubectl.parent)
        self._kubectl = kubectl

    def run(self, script: str) -> str:
        environment = {"KUBECONFIG": str(self.cluster.admin)}
        return run_shell(f'PATH="{self._path}:$PATH"; {script}', self.folder, **environment)

    def init(self, *words: str) -> list[str]:
        """Ask the cluster, and return the printed blocks of commands."""
        where = ("--namespace", NAMESPACE, "--deployment", OLD)
        access = ("--kubeconfig", str(self.cluster.admin))
        output = self.folder / "adoption"
        assert main(["init", *where, *access, "--output", str(output), *words]) == 0
        return blocks(self.steps, "sh")

    @property
    def steps(self) -> Path:
        return self.folder / "adoption" / "STEPS.md"

    def endpoints(self) -> set[str]:
        """The names of the ready pods behind the Service."""
        listed = self.run(
            f"kubectl -n {NAMESPACE} get endpointslices -l kubernetes.io/service-name={OLD} -o yaml"
        )
        return {
            endpoint["targetRef"]["name"]
            for each in yaml.safe_load(listed)["items"]
            for endpoint in each["endpoints"] or ()
            if endpoint["conditions"]["ready"]
        }

    def replicas(self, name: str) -> int:
        return int(self.cluster.apps.read_namespaced_deployment(name, NAMESPACE).spec.replicas)


@pytest.fixture
def operator(control_plane: ControlPlane, kubectl: Path, tmp_path: Path) -> Iterator[Operator]:
    """Neither the app nor a policy for it is there yet."""
    operator = Operator(tmp_path, control_plane, kubectl)
    for namespace in (NAMESPACE, OWN):
        operator.run(
            f"kubectl create namespace {namespace} --dry-run=client -o yaml | kubectl apply -f -"
        )
    operator.run(f"kubectl apply -f {FOLDER}/base/rbac.yaml")
    policies = f"--from-file={FOLDER}/base/policies/bokeh-app.yaml"
    operator.run(f"kubectl -n {OWN} create configmap bokeh-autoscaler-policies {policies}")
    yield operator
    operator.run(f"kubectl -n {OWN} delete configmap bokeh-autoscaler-policies")
    every = "deployments,services,poddisruptionbudgets"
    operator.run(f"kubectl -n {NAMESPACE} delete {every} --all --wait=true")
    operator.run(f"kubectl -n {NAMESPACE} wait pod --all --for=delete --timeout=60s")


def apply(operator: Operator, objects: Objects, how: str = "") -> None:
    operator.run(f"kubectl apply {how} -f {apps.write(operator.folder, objects).name}")


def start(operator: Operator, objects: Objects, how: str = "") -> None:
    apply(operator, objects, how)
    operator.run(f"kubectl -n {NAMESPACE} rollout status deployment/{OLD}")
    wait_until(lambda: len(operator.endpoints()) == 3, SOON, "three pods behind the Service")


@pytest.mark.slow
@pytest.mark.control_plane
@pytest.mark.parametrize("case", APPS)
def test_the_api_server_takes_all_of_it(case: str, operator: Operator) -> None:
    output = init(operator.folder, APPS[case])

    said = operator.run(f"kubectl apply --dry-run=server --validate=strict -k {output}")

    assert f"deployment.apps/{NEW} created (server dry run)" in said


@pytest.mark.slow
@pytest.mark.control_plane
@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_the_api_server_takes_the_proxy(kind: str, operator: Operator) -> None:
    output = init(operator.folder, apps.app(), "--sticky", kind)

    said = operator.run(f"kubectl apply --dry-run=server --validate=strict -k {output}/sticky")

    assert f"deployment.apps/sticky-{kind} created (server dry run)" in said


@pytest.mark.slow
@pytest.mark.control_plane
def test_the_written_role_lets_the_daemon_into_another_namespace(operator: Operator) -> None:
    namespace = f"reports-{token_hex(4)}"
    output = init(operator.folder, apps.app(apps.BOKEH, apps.moved_to(namespace)))
    operator.run(f"kubectl create namespace {namespace}")

    def may(what: str) -> bool:
        who = f"--as system:serviceaccount:{OWN}:{OWN}"
        return "yes" in operator.run(f"kubectl -n {namespace} auth can-i {who} {what} || true")

    scales = f"patch deployments/{NEW} --subresource=scale"
    assert not any(map(may, (scales, "patch pods", "create events")))

    operator.run(f"kubectl apply -f {output}/policy-{namespace}-{OLD}/rights.yaml")

    assert all(map(may, (scales, "patch pods", "create events")))
    assert not may("patch deployments/other --subresource=scale")
    operator.run(f"kubectl delete namespace {namespace} --wait=false")


def asked(kubeconfig: Path, folder: Path, name: str = OLD) -> int:
    """The exit code of a question to a cluster."""
    where = ("--namespace", NAMESPACE, "--deployment", name, "--kubeconfig", str(kubeconfig))
    return main(["init", *where, "--output", str(folder / "adoption")])


@pytest.mark.slow
@pytest.mark.control_plane
def test_what_the_cluster_does_not_tell_is_one_line(
    operator: Operator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(operator, apps.app())
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]
    few = operator.cluster.service_account(NAMESPACE, f"onlooker-{token_hex(4)}", rules)

    assert asked(few, tmp_path) == 1
    assert "services" in capsys.readouterr().err
    assert asked(operator.cluster.admin, tmp_path, "reports") == 2
    assert "Deployment bokeh/reports: there is none" in capsys.readouterr().err
    nowhere = few.read_text().replace("127.0.0.1:", "127.0.0.1:1")
    (tmp_path / "nowhere").write_text(nowhere)
    assert asked(tmp_path / "nowhere", tmp_path) == 1
    assert not (tmp_path / "adoption").exists()


@pytest.mark.slow
@pytest.mark.control_plane
@pytest.mark.parametrize("case", THREE)
def test_the_printed_steps_adopt_an_app_that_the_cluster_has(
    case: str, operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    objects, words = THREE[case]
    start(operator, objects)
    old = operator.endpoints()

    beside, give, look, switch, _count, delete, *_ = operator.init(*words)

    operator.run(beside)
    assert operator.replicas(NEW) == 3
    operator.run(give)
    said = operator.run(look)
    assert "ERROR" not in said
    assert "WARNING no-service\n" in said
    assert operator.endpoints() == old, "no user comes to a new pod before the switch"
    operator.run(switch)
    wait_until(lambda: len(operator.endpoints() - old) == 3, SOON, "the new pods")
    operator.run(delete)
    assert operator.run(look).splitlines()[-1] in ("2 warnings", "1 warning")
    assert given(operator) == {"bokeh-app.yaml", f"{OLD}.yaml"}
    kept = operator.run("kubectl apply -k adoption")
    assert operator.replicas(NEW) == 3
    assert f"service/{OLD} configured" in kept

    again = ("init", "-n", NAMESPACE, "--deployment", NEW, "--output", str(operator.folder / "b"))
    assert main([*again, "--kubeconfig", str(operator.cluster.admin)]) == 0
    said = f"Deployment {NAMESPACE}/{NEW} is adopted already; nothing was written.\n"
    assert capsys.readouterr().out.endswith(said)


def given(operator: Operator) -> set[str]:
    """The files of the daemon's policies."""
    found: Any = operator.cluster.core.read_namespaced_config_map("bokeh-autoscaler-policies", OWN)
    return set(found.data)


APPLIED_BY = {
    "kubectl": "",
    "kubectl, by the server": "--server-side",
    "another one, by the server": "--server-side --field-manager=kustomize-controller",
}


@pytest.mark.slow
@pytest.mark.control_plane
@pytest.mark.parametrize("case", APPLIED_BY)
def test_the_printed_steps_in_place_leave_the_replicas(case: str, operator: Operator) -> None:
    start(operator, apps.app(), APPLIED_BY[case])

    take, roll, switch, give, look, *_ = operator.init("--in-place")

    assert operator.run(take).endswith("3")
    if case.startswith("another"):
        assert "kustomize-controller applies it" in operator.steps.read_text()
        [without, service] = apps.app()
        del without["spec"]["replicas"]
        apply(operator, [without, service], APPLIED_BY[case])
    operator.run(roll)
    assert operator.replicas(OLD) == 3
    wait_until(lambda: len(operator.endpoints()) == 3, SOON, "three pods behind the Service")
    operator.run(switch)
    operator.run(give)
    assert "error" not in operator.run(look).splitlines()[-1]
    operator.run(f"kubectl apply {APPLIED_BY[case]} -k adoption")
    assert operator.replicas(OLD) == 3
    wait_until(lambda: len(operator.endpoints()) == 3, SOON, "three pods behind the Service")


@pytest.mark.slow
@pytest.mark.control_plane
def test_the_switch_is_reverted_by_the_printed_command(operator: Operator) -> None:
    start(operator, apps.app())
    old = operator.endpoints()
    beside, _give, _look, switch, *_ = operator.init()
    operator.run(beside)
    operator.run(switch)
    wait_until(lambda: not operator.endpoints() & old, SOON, "only new pods")

    operator.run(operator.steps.read_text().split("switch back: `")[1].split("`")[0])

    wait_until(lambda: operator.endpoints() == old, SOON, "the old pods again")


@pytest.mark.slow
@pytest.mark.control_plane
def test_the_printed_commands_take_over_from_an_hpa_and_give_back(operator: Operator) -> None:
    start(operator, apps.app())
    hpa = f"kubectl -n {NAMESPACE} get hpa -o name"
    operator.run(
        f"kubectl -n {NAMESPACE} autoscale deployment/{OLD} --name=by-cpu --max=7 --cpu=70%"
    )

    beside, convert, give, _look, end, switch, *others = operator.init("--seats", "8")

    for block in (beside, convert, give):
        operator.run(block)
    found: Any = operator.cluster.core.read_namespaced_config_map("bokeh-autoscaler-policies", OWN)
    policy = yaml.safe_load(found.data[f"{OLD}.yaml"])
    assert policy["target"] == {"namespace": NAMESPACE, "deployment": NEW}
    assert policy["replicas"] == {"min": 1, "max": 7}
    assert [each["type"] for each in policy["metrics"]] == ["sessions", "cpu"]
    assert "by-cpu" in operator.run(hpa), "it scales the old pods until users leave them"
    operator.run(end)
    operator.run(switch)
    assert operator.run(hpa) == ""
    assert operator.replicas(OLD) == 3

    [restore] = [each for each in others if "autoscaler-by-cpu.yaml" in each]
    operator.run(restore)

    assert "by-cpu" in operator.run(hpa)
    operator.run(f"kubectl -n {NAMESPACE} delete hpa by-cpu")
