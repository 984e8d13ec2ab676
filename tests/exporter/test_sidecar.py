"""The sidecar's pages over real HTTP, with and without an agent behind them."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from autoscaler.adapters.sidecars import occupancy
from exporter.metrics import BY_NAME
from tests.lab.bokeh_servers import (
    APP,
    BIN,
    PATIENCE,
    STARTS_WITHIN,
    bokeh_serve,
    end,
    free_port,
    served,
    wait_until,
)
from tests.lab.websocket_user import Users

pytestmark = pytest.mark.slow

# Isolated mode ignores PYTHONPATH, so no agent gets in.
WITHOUT_AGENT = [sys.executable, "-I", str(BIN / "bokeh"), "serve", "app.py"]


def test_a_real_server_has_every_metric_of_the_contract(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, "--num-procs", "2") as server, Users() as users:
        server.wait_workers(2)
        users.join(server.url)
        status, content_type, body = server.get("/metrics")
        assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
        text = {sample.name for family in parse_text(body) for sample in family.samples}
        status, content_type, body = server.get("/metrics", "application/openmetrics-text")
        assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        openmetrics = {s.name for family in parse_openmetrics(body) for s in family.samples}
        # Those of a cgroup, and what only a hint of the app brings.
        some = ("bokeh_memory", "bokeh_cpu", "bokeh_seats_taken")
        optional = {name for name in BY_NAME if name.startswith(some)}
        histograms = {name for name, spec in BY_NAME.items() if spec.buckets}
        expected = set(BY_NAME) - optional - histograms
        for names in (text, openmetrics):
            assert expected <= names
            assert {f"{name}_count" for name in histograms} <= names


def test_without_an_agent_connections_are_counted_and_labelled_estimated(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    when_told = 'until test -e go; do sleep 0.1; done; exec "$0" "$@"'
    command = ["sh", "-c", when_told, *WITHOUT_AGENT, "--port", str(port)]
    options = ("--reconnect", "1s")
    with served(tmp_path, command, port=port, options=options) as server, Users() as users:
        assert server.get("/readyz")[0] == 503
        (tmp_path / "go").touch()
        wait_until(lambda: server.get("/readyz")[0] == 200, "the port to be open", STARTS_WITHIN)
        there = [users.join(server.url) for _ in range(3)]
        wait_until(lambda: server.connected() == 3, "three connections")
        assert server.state()["quality"] == "estimated"
        assert server.state()["workers"] == []
        assert getattr(occupancy(server.state()), "live", None) == 3, "what the daemon reads"
        assert server.value('bokeh_sessions{app="",quality="estimated",state="connected"}') == 3
        assert server.value("bokeh_up") == 1
        server.terminate()
        users.leave(there[0])
        wait_until(lambda: server.connected() == 2, "two connections left")
        assert server.launcher.poll() is None  # drains without an agent, too
        for user in there[1:]:
            users.leave(user)
        server.exit_code()


@pytest.mark.parametrize(
    ("page", "status"), [("/healthz", 200), ("/readyz", 503), ("/state", 200), ("/other", 404)]
)
def test_pages_answer_when_nothing_is_there_to_count(page: str, status: int) -> None:
    port = free_port()
    command = ["sidecar", "--port", str(port), "--instance", f"test-{port}", "--app-port", "1"]
    sidecar = subprocess.Popen([str(BIN / "bokeh-exporter"), *command])
    try:
        wait_until(lambda: answers(port), "the sidecar")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        for method in ("GET", "HEAD", "GET"):  # on one connection, as Prometheus does
            connection.request(method, f"{page}?x=1")
            response = connection.getresponse()
            assert response.status == status
            assert bool(response.read()) == (method == "GET")
        connection.close()
    finally:
        end(sidecar)
    assert sidecar.returncode == 0


def test_connections_cannot_take_the_memory_or_the_pages_of_a_sidecar() -> None:
    port = free_port()
    words = ["sidecar", f"--port={port}", f"--instance=test-{port}", "--address=127.0.0.1"]
    sidecar = subprocess.Popen([str(BIN / "bokeh-exporter"), *words])
    line = b"A: " + b"x" * 65500 + b"\r\n"
    try:
        wait_until(lambda: answers(port), "the sidecar")
        assert largest_memory(sidecar.pid) < 30 << 20
        with ExitStack() as clients:
            for number in range(400):
                client = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
                with suppress(ConnectionError):
                    client.sendall(b"GET /state HTTP/1.1\r\nX:")
                    for _ in range(98 if number < 100 else 0):
                        client.sendall(line)
            assert answers(port)
        assert largest_memory(sidecar.pid) < 40 << 20  # of the 64 MiB that it has in a pod
    finally:
        end(sidecar)


def largest_memory(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kib) << 10


def answers(port: int, page: str = "/healthz") -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=PATIENCE):
            return True
    except OSError:
        return False


def test_after_sigterm_the_sidecar_serves_on_until_the_app_has_drained(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, options=("--reconnect", "1s")) as server, Users() as users:
        server.wait_workers(1)
        user = users.join(server.url)
        os.kill(server.sidecar.pid, signal.SIGTERM)
        server.terminate()
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        assert server.connected() == 1
        users.leave(user)
        assert server.exit_code() == 0
        assert server.sidecar.wait(PATIENCE) == 0


def test_the_users_own_sitecustomize_still_runs(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text("import sys; sys.stderr.write('their own ran\\n')\n")
    environment = {"PYTHONPATH": str(theirs)}
    with bokeh_serve(tmp_path, environment=environment) as server, Users() as users:
        server.wait_workers(1)
        users.join(server.url)
        assert server.connected() == 1
        assert server.output.count("their own ran") >= 1


def test_an_app_with_a_module_called_exporter_is_not_disturbed(tmp_path: Path) -> None:
    (tmp_path / "exporter.py").write_text("WHO = 'the application'\n")
    script = "import bokeh.server.tornado, exporter; print(exporter.WHO)"
    output = subprocess.check_output(
        [str(BIN / "bokeh-exporter"), "launch", "--", sys.executable, "-c", script],
        cwd=tmp_path,
        text=True,
    )
    assert output == "the application\n"


@pytest.fixture
def bokeh_of_another_shape(tmp_path: Path) -> Path:
    """A folder with a package `bokeh` that no agent can work in."""
    (tmp_path / "bokeh" / "server").mkdir(parents=True)
    for module in ("bokeh/__init__.py", "bokeh/server/__init__.py", "bokeh/server/contexts.py"):
        (tmp_path / module).write_text("")
    return tmp_path


def test_an_agent_that_cannot_work_is_one_line_and_the_app_runs(
    bokeh_of_another_shape: Path,
) -> None:
    script = "import bokeh.server.contexts; print('runs')"
    ended = subprocess.run(
        [str(BIN / "bokeh-exporter"), "launch", "--", sys.executable, "-c", script],
        cwd=bokeh_of_another_shape,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "runs\n")
    assert ended.stderr.startswith("bokeh-exporter: cannot load the agent in this process: ")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("silence", ["sys.stderr = None", "sys.stderr.close()"])
def test_an_agent_that_cannot_work_and_cannot_say_so_leaves_the_app_running(
    silence: str, bokeh_of_another_shape: Path
) -> None:
    script = f"import sys; {silence}; import bokeh.server.contexts; print('runs')"
    output = subprocess.check_output(
        [str(BIN / "bokeh-exporter"), "launch", "--", sys.executable, "-c", script],
        cwd=bokeh_of_another_shape,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert output == "runs\n"
