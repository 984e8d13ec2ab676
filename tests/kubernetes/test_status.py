"""The status of a real daemon, asked for through a real API server with a reader's few rights."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.leases import KubernetesLeases
from autoscaler.cli import main
from autoscaler.core.lease import Lease, Place
from autoscaler.core.membership import Member, to_text
from tests.deploy.manifests import kubectl, run_kubectl
from tests.deploy.pages import DASHBOARD_PAGE, STATUS_PAGE, blocks, commands, run_shell, run_until
from tests.lab.access import Rule
from tests.lab.own_programs import write_programs
from tests.lab.processes import free_ports, wait_until
from tests.lab.world import AUTOSCALER, REAL_WORLD, WITHIN, World

pytestmark = REAL_WORLD
Shown = Callable[..., tuple[int, str, str]]


def own_address() -> str:
    """An address of this machine, which an API server may connect to: it refuses loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        address: str = probe.getsockname()[0]
    return address


@pytest.fixture
def home(world: World) -> Iterator[str]:
    """The namespace of the daemon and its Leases."""
    name = f"{world.namespace}-daemon"
    world.access.create_namespace(name)
    yield name
    world.access.delete_namespace(name)


@pytest.fixture
def port(world: World, home: str) -> int:
    """A daemon that drains two of three pods, in the pod that the API server has of its name."""
    try:
        address = own_address()
    except OSError:
        pytest.skip("NO NETWORK: this machine has loopback alone, to which no API server connects")
    world.users.per_pod = lambda index: 1 if index < 3 else 0
    world.deploy(3)
    world.kubeconfig, world.lease_namespace = world.access.admin, home
    name = socket.gethostname()
    containers = [{"name": "autoscaler", "image": "bokeh-autoscaler"}]
    spec = {"schedulerName": "nobody", "containers": containers}
    world.access.core.create_namespaced_pod(home, {"metadata": {"name": name}, "spec": spec})
    running = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    world.access.core.patch_namespaced_pod_status(name, home, {"status": running})
    (port,) = free_ports(1)
    world.start("--listen", f"{address}:{port}")
    wait_until(lambda: world.cordoned() == 2, WITHIN, "two pods to be drained")
    return port


def rules() -> list[dict[str, Any]]:
    """The rules of the reader's Role on the page."""
    objects = [each for text in blocks(STATUS_PAGE, "yaml") for each in yaml.safe_load_all(text)]
    [role] = [each for each in objects if each["kind"] == "Role"]
    found: list[dict[str, Any]] = role["rules"]
    return found


def words(world: World, port: int, kubeconfig: Path, *options: str) -> list[str]:
    where = ["--lease-namespace", world.lease_namespace, "--port", str(port)]
    return ["status", *where, "--kubeconfig", str(kubeconfig), *options]


def reader(world: World, name: str, allowed: Sequence[Rule]) -> Path:
    return world.access.service_account(world.lease_namespace, name, allowed)


@pytest.fixture
def show(world: World, port: int, capsys: pytest.CaptureFixture[str]) -> Shown:
    """Run the command as a reader by the rules, and return its exit code and what it prints."""

    def run(allowed: Sequence[Rule], *options: str) -> tuple[int, str, str]:
        account = reader(world, "reader", allowed)
        capsys.readouterr()
        code = main(words(world, port, account, *options))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_reader_sees_what_the_leader_sees(world: World, port: int, show: Shown) -> None:
    account = reader(world, "machine", rules())

    def draining() -> Any:
        told = subprocess.run(
            [AUTOSCALER, *words(world, port, account, "-o", "json")],
            capture_output=True,
            text=True,
            check=True,
        )
        [policy] = json.loads(told.stdout)["policies"]
        return policy if policy["pods"]["draining"] == 2 else None

    policy = wait_until(draining, WITHIN, "the status of the drain")

    assert (policy["sessions"], policy["pods"]["waiting"]) == (3, 2)
    assert (policy["namespace"], policy["leader"], policy["problem"]) == (world.namespace, True, "")
    code, out, _ = show(rules())
    head, line, *more = out.splitlines()
    assert code == 0
    assert head.split() == ["TARGET", "USERS", "SEATS", "REPLICAS", "DRAINING", "REASON", "AGE"]
    assert line.split()[:7] == [f"{world.namespace}/bokeh-app", "3", "10", "3", "2", "(2", "users)"]
    assert more == []


def test_a_quota_that_refuses_pods_is_told_below_the_table(
    world: World, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"count/pods": "3"}}}
    world.access.core.create_namespaced_resource_quota(world.namespace, quota)

    def is_in_force() -> bool:
        read = world.access.core.read_namespaced_resource_quota("team", world.namespace)
        return bool(read.status.hard)

    wait_until(is_in_force, WITHIN, "the quota")
    world.users.per_pod = lambda _: 12  # the pods are more than full, so the daemon adds some

    start = f"{world.namespace}/bokeh-app: Kubernetes creates no further pod: pods "

    def notes() -> list[str]:
        assert main(words(world, port, world.access.admin)) == 0
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith(start)]

    [note] = wait_until(notes, WITHIN, "a note")

    assert "exceeded quota: team" in note


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        (0, "add get on leases to the Role"),
        (1, "add get on pods/proxy to the Role"),
    ],
    ids=["no Leases", "no pods/proxy"],
)
def test_a_right_that_is_missing_is_named(show: Shown, lacking: int, told: str) -> None:
    code, out, error = show([rule for at, rule in enumerate(rules()) if at != lacking])

    assert (code, out) == (1, "")
    assert told in error
    assert error.count("\n") == 1


def test_a_daemon_that_does_not_listen_is_one_line_with_a_way_around(
    world: World, show: Shown
) -> None:
    (closed,) = free_ports(1)

    code, out, error = show(rules(), "--port", str(closed))

    assert (code, out) == (1, "")
    assert "connection refused" in error
    forward = f"kubectl -n {world.lease_namespace} port-forward {socket.gethostname()} {closed}"
    assert f"run {forward} and set --url http://localhost:{closed}" in error
    assert error.count("\n") == 1


def test_without_a_lease_it_says_where_it_looked(
    world: World, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(words(world, port, world.access.admin, "--lease", "other"))

    told = f"no daemon leads: there is no Lease {world.lease_namespace}/other-daemons; set --lease"
    assert code == 1
    assert told in capsys.readouterr().err


def test_all_leaders_are_asked_and_one_that_is_gone_hides_no_other(
    world: World, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    home = world.lease_namespace
    leases = KubernetesLeases(KubernetesCluster.connect(world.access.admin).api, home, "two")
    listed = (Member("a", 2, 1), Member("b", 2, 1))
    for name, lease in (
        ("two-daemons", Lease(state=to_text(listed))),
        ("two-0", Lease(f"{socket.gethostname()}_0a")),
        ("two-1", Lease("gone_0b")),
    ):
        leases.write(Place(home, name), lease, taken=True)

    code = main(words(world, port, world.access.admin, "--lease", "two"))

    said = capsys.readouterr()
    assert code == 1
    assert f"{world.namespace}/bokeh-app" in said.out
    assert f'cannot get pods/proxy {home}/gone:{port}: pods "gone" not found' in said.err


def test_a_watch_on_no_terminal_appends_and_ends_on_ctrl_c(world: World, port: int) -> None:
    command = words(world, port, world.access.admin, "--watch", "--every", "0.2s")
    with subprocess.Popen(
        [sys.executable, "-m", "autoscaler.cli", *command], stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        lines = [watch.stdout.readline() for _ in range(6)]
        watch.send_signal(signal.SIGINT)
        assert watch.wait(WITHIN) == 0

    assert sum(line.startswith("TARGET ") for line in lines) == 3
    assert not any("\x1b" in line for line in lines)


def test_the_printed_commands_work_also_as_a_plugin_of_kubectl(
    world: World, port: int, tmp_path: Path
) -> None:
    program = kubectl()
    if program is None:
        pytest.skip("NO KUBECTL: `make parts` builds it")
    programs = write_programs(tmp_path / "bin")
    path = f"{programs}:{program.parent}:{os.environ['PATH']}"
    options = f"--lease-namespace {world.lease_namespace} --port {port}"
    printed = [each for each in commands(STATUS_PAGE) if "autoscaler status" in each]
    assert any(each.startswith("kubectl autoscaler") for each in printed)

    for command in printed:
        here = command.replace("-n bokeh", f"-n {world.namespace}")
        here = here.replace("bokeh/bokeh-app", f"{world.namespace}/bokeh-app")
        here = here.replace("http://localhost:9551", f"http://{own_address()}:{port}")
        variables = {"PATH": path, "KUBECONFIG": str(world.access.admin)}
        if "--watch" in command:
            run_until("bokeh-app", f"{here} {options}", tmp_path, **variables)
        else:
            said = run_shell(f"{here} {options}", tmp_path, **variables)
            assert "bokeh-app" in said, command


@pytest.mark.parametrize("page", [STATUS_PAGE, DASHBOARD_PAGE], ids=["status", "dashboard"])
def test_an_api_server_takes_the_objects_of_the_page(
    page: Path, world: World, tmp_path: Path
) -> None:
    program = kubectl()
    if program is None:
        pytest.skip("NO KUBECTL: `make parts` builds it")
    here = f"namespace: {world.namespace}"
    for number, text in enumerate(blocks(page, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text.replace("namespace: bokeh-autoscaler", here))
        access = ("--kubeconfig", world.access.admin, "--validate=strict")
        run_kubectl(program, "apply", *access, "-f", file)
