"""`autoscaler notify` on a real API server, with the daemon's rights, real sidecars and a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from autoscaler.cli import main
from exporter.doorkeeper import TokenGuard
from exporter.observe import PodObserver
from exporter.sidecar import server
from exporter.tokens import TokenFile
from tests.lab.bokeh_servers import APP, Served, bokeh_serve, instance_at
from tests.lab.processes import free_ports, wait_until
from tests.lab.websocket_user import Users
from tests.lab.world import REAL_WORLD, WITHIN, World

pytestmark = REAL_WORLD
TEXT = "A new version comes"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Served]:
    with bokeh_serve(tmp_path, app=APP) as found:
        found.wait_workers(1)
        yield found


def addresses(world: World, count: int) -> list[str]:
    """The addresses of so many pods of the Deployment, which the scripted node has given them."""
    world.deploy(count)

    def found() -> list[str]:
        pods = world.access.core.list_namespaced_pod(world.namespace).items
        known = [pod.status.pod_ip for pod in pods if pod.status.pod_ip]
        return known if len(known) == count else []

    listed: list[str] = wait_until(found, WITHIN, "the pods' addresses")
    return listed


@contextmanager
def sidecar(app: Served, address: str, port: int, token: Path) -> Iterator[None]:
    """A sidecar of the app at the address of a pod, which no process has otherwise."""
    app_port = int(app.url.split(":")[2].partition("/")[0])
    observer = PodObserver(instance_at("127.0.0.1", app_port), app_port)
    pages = server(observer, address, port, TokenGuard(TokenFile(token), ["/state"]))
    pages.start()
    try:
        yield
    finally:
        pages.close()


def notify(world: World, port: int, token: Path, target: str = "") -> int:
    where = ["--kubeconfig", str(world.kubeconfig), "--exporter-port", str(port)]
    named = target or f"{world.namespace}/bokeh-app"
    return main(["notify", named, TEXT, "--in", "5m", *where, "--sidecar-token-file", str(token)])


def test_users_of_all_pods_are_told(
    world: World, app: Served, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    with ExitStack() as stack:
        for address in addresses(world, 2):
            stack.enter_context(sidecar(app, address, port, token))
        users = stack.enter_context(Users())
        user = users.join(app.url)
        wait_until(lambda: app.connected() == 1, WITHIN, "the user")

        assert notify(world, port, token) == 0

        said = f"{world.namespace}/bokeh-app: shown to 2 sessions in 2 pods\n"  # both have this app
        assert capsys.readouterr().out == said
        wait_until(lambda: TEXT in "".join(user.texts), WITHIN, "the text at the user")


def test_pods_whose_users_do_not_read_it_are_named(
    world: World, app: Served, token: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    first, _ = addresses(world, 2)
    with sidecar(app, first, port, token):
        assert notify(world, port, token) == 1
        said = capsys.readouterr()
        assert said.out.endswith("shown to 0 sessions in 1 pod\n")
        assert f":{port}/notice refused the connection\n" in said.err
        (tmp_path / "wrong").write_text("wrong\n")
        assert notify(world, port, tmp_path / "wrong") == 1
        assert "set --sidecar-token-file to its token" in capsys.readouterr().err


def test_a_deployment_that_is_not_there_is_an_error(
    world: World, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert notify(world, 9550, token, f"{world.namespace}/other") == 1
    assert capsys.readouterr().err.startswith("autoscaler notify: ")
