"""The same numbers without a sidecar: from the launcher's port, or on the server's own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.deploy.pages import DEPLOY_PAGE, command
from tests.lab.bokeh_servers import (
    APP,
    BIN,
    PATIENCE,
    STARTS_WITHIN,
    end,
    free_port,
    wait_until,
)
from tests.lab.websocket_user import Users

pytestmark = pytest.mark.slow

PANEL = "import panel as pn\npn.panel('hello').servable()\n"
EMBEDDED = """
import sys
from bokeh.models import Div
from bokeh.server.server import Server
from exporter.plugin import ROUTES

def page(document):
    document.add_root(Div(text="hello"))

Server({"/app": page}, port=int(sys.argv[1]), extra_patterns=ROUTES).run_until_shutdown()
"""
CONNECTED = re.compile(r'^bokeh_sessions\{app="/app",.*state="connected"\} (\S+)$', re.MULTILINE)


@contextmanager
def running(folder: Path, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server until the end of the block; workers outlive a parent that is not our launcher."""
    command = [str(word) for word in words]
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)
    try:
        yield process
    finally:
        end(process)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def page(url: str) -> tuple[int, str]:
    """Status and body; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except urllib.error.URLError:
        return 0, ""


def connected(url: str) -> float:
    """Sessions with a user as /metrics says; -1 where it says nothing."""
    found = CONNECTED.search(page(url)[1])
    return float(found.group(1)) if found else -1.0


def names(text: str) -> set[str]:
    return {sample.name for family in parse_text(text) for sample in family.samples}


def printed(beginning: str) -> list[str]:
    """A command of the deployment page."""
    program, *words = command(DEPLOY_PAGE, beginning)
    return [str(BIN / program), *words]


def launch(port: int, metrics_port: int) -> list[str]:
    words = printed("bokeh-exporter launch --metrics-port")
    words[words.index("9550")] = str(metrics_port)
    words[words.index("bokeh")] = str(BIN / "bokeh")
    words[words.index("4")] = "2"
    own = ["--instance", f"test-{port}"]
    return [*words[:2], *own, *words[2:], "--port", str(port)]


def panel_serve(port: int, *more: str) -> list[str]:
    return [*printed("panel serve"), "--port", str(port), *more]


def test_the_launcher_serves_all_workers_together_and_while_they_drain(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    port, metrics_port = free_port(), free_port()
    own = f"http://127.0.0.1:{metrics_port}"
    with running(tmp_path, *launch(port, metrics_port)) as launcher, Users() as users:
        two = "bokeh_workers 2.0"
        wait_until(lambda: two in page(f"{own}/metrics")[1], "two workers", STARTS_WITHIN)
        wait_until(lambda: page(f"{own}/readyz")[0] == 200, "a server", STARTS_WITHIN)
        there = [users.join(f"http://127.0.0.1:{port}/app") for _ in range(6)]
        assert connected(f"{own}/metrics") == 6

        launcher.send_signal(signal.SIGTERM)
        wait_until(lambda: "bokeh_draining 1.0" in page(f"{own}/metrics")[1], "the drain")
        users.leave(there[0])
        wait_until(lambda: connected(f"{own}/metrics") == 5, "one user less")


@pytest.mark.parametrize("how", ["panel serve --plugins", "Server(extra_patterns)", "launched"])
def test_a_server_of_one_process_has_the_page_on_its_own_port(tmp_path: Path, how: str) -> None:
    (tmp_path / "app.py").write_text(PANEL)
    (tmp_path / "serve.py").write_text(EMBEDDED)
    port = free_port()
    panel = panel_serve(port)
    launched = [BIN / "bokeh-exporter", "launch", "--instance", f"test-{port}", "--"]
    words = {
        "panel serve --plugins": panel,
        "Server(extra_patterns)": [sys.executable, "serve.py", str(port)],
        "launched": [*launched, *panel],  # its agent is there already, and counts once
    }[how]
    own = f"http://127.0.0.1:{port}/metrics"
    with running(tmp_path, *words), Users() as users:
        app = f"http://127.0.0.1:{port}/app"
        user = wait_until(lambda: users.try_join(app), "the server", STARTS_WITHIN)
        assert connected(own) == 1
        text = page(own)[1]
        assert 'bokeh_connections_opened_total{app="/app"} 1.0' in text
        assert {"bokeh_up", "bokeh_message_duration_seconds_count"} <= names(text)
        users.leave(user)
        wait_until(lambda: connected(own) == 0, "the user to be gone")


def test_a_page_that_would_come_from_a_random_worker_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PANEL)
    port = free_port()
    with running(tmp_path, *panel_serve(port, "--num-procs", "2")):
        both = "this server has 2 workers"
        status, text = wait_until(
            lambda: (got := page(f"http://127.0.0.1:{port}/metrics"))[1].startswith(both) and got,
            "both workers",
            STARTS_WITHIN,
        )
        assert status == 503
        assert "bokeh-exporter launch --metrics-port" in text
        assert text.count("\n") == 1


def test_a_server_that_was_there_before_the_agent_is_told_what_to_change() -> None:
    ask = "print(plugin.answer(observe.PodObserver('nobody', None), ''))"
    script = f"from exporter import observe, plugin; {ask}"
    said = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert "status=503" in said
    assert "import exporter.plugin before the Server is created" in said


def test_a_port_in_use_is_one_line_and_no_server_is_started(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("open('started', 'w')")
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            launch(free_port(), port),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    problem = f"cannot open port {port}: Address already in use"
    says = f"bokeh-exporter: {problem}; choose another --metrics-port\n"
    assert (ended.returncode, ended.stderr) == (1, says)


def test_a_copied_launcher_says_what_its_python_lacks(tmp_path: Path) -> None:
    subprocess.run([BIN / "bokeh-exporter", "copy", tmp_path / "agent"], check=True)
    launcher = [sys.executable, "-I", "-S", tmp_path / "agent", "launch"]
    words = [*launcher, "--metrics-port", str(free_port()), "--", "true"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("bokeh-exporter: --metrics-port needs the package h11")
    assert ended.stderr.count("\n") == 1
