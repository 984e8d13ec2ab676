"""The launcher as the parent of a real server: signals, drains, exit codes, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.bokeh_servers import (
    BIN,
    PATIENCE,
    QUICK,
    Served,
    bokeh_serve,
    free_port,
    served,
    wait_until,
)
from tests.lab.websocket_user import Users, token_in

pytestmark = [pytest.mark.slow, pytest.mark.mostly_idle, pytest.mark.timing_sensitive]

QUICK_TO_STOP = ("--reconnect", "1s")  # of the launcher, which otherwise waits half a minute
LAUNCH = [str(BIN / "bokeh-exporter"), "launch", "--instance", "test-launching"]
# The session and its token outlive a broken connection.
LONG_LIVED = ("--unused-session-lifetime", "60000", "--session-token-expiration", "86400")
OWN_SCRIPT = """
import sys
from bokeh.models import Div
from bokeh.server.server import Server

def page(document):
    document.add_root(Div(text="hello"))

server = Server(
    {"/app": page},
    port=int(sys.argv[1]),
    num_procs=int(sys.argv[2]),
    unused_session_lifetime_milliseconds=500,
    check_unused_sessions_milliseconds=300,
)
server.start()
server.run_until_shutdown()
"""
PANEL_SCRIPT = """
import sys
import panel as pn
pn.serve(
    {"app": lambda: pn.pane.Markdown("hello")}, port=int(sys.argv[1]), show=False,
    num_procs=int(sys.argv[2]), unused_session_lifetime_milliseconds=500,
    check_unused_sessions_milliseconds=300,
)
"""
OWN_LOOP = OWN_SCRIPT.replace("server.run_until_shutdown()", "server.io_loop.start()")


def can_unshare() -> bool:
    return subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode == 0


def entrypoint(dockerfile: Path) -> list[str]:
    (words,) = re.findall(r"^ENTRYPOINT (.+)$", dockerfile.read_text(), re.MULTILINE)
    command: list[str] = json.loads(words)
    return command


def group_of(server: Served) -> int:
    """The process group of everything below the launcher: its child is the leader."""
    children = Path(f"/proc/{server.launcher.pid}/task/{server.launcher.pid}/children")
    return int(children.read_text().split()[0])


def group_lives(group: int) -> bool:
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False


@pytest.mark.parametrize("processes", [1, 3], ids=["one process", "three workers"])
def test_sigterm_without_users_ends_everything_quickly_with_the_workers_code(
    tmp_path: Path, processes: int
) -> None:
    with bokeh_serve(tmp_path, "--num-procs", str(processes)) as server:
        server.wait_workers(processes)
        group = group_of(server)
        began = time.monotonic()
        server.terminate()
        assert server.exit_code() == 0
        assert time.monotonic() - began < 10  # nobody was there: no window is waited for
        assert not group_lives(group)
        assert "Traceback" not in server.output


def test_sigterm_keeps_serving_until_the_last_user_leaves(tmp_path: Path) -> None:
    two_workers = bokeh_serve(tmp_path, "--num-procs", "2", *QUICK, options=QUICK_TO_STOP)
    with two_workers as server, Users() as users:
        server.wait_workers(2)
        first, second = users.join(server.url), users.join(server.url)
        server.terminate()
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        assert server.value("bokeh_draining") == 1
        users.leave(first)
        time.sleep(1.5)  # three looks of the launcher
        assert server.launcher.poll() is None
        assert users.is_connected(second)
        assert server.get("/readyz")[0] == 200
        users.leave(second)
        assert server.exit_code() == 0


def test_a_page_that_is_still_loading_when_sigterm_comes_gets_its_session(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, options=QUICK_TO_STOP) as server, Users() as users:
        server.wait_workers(1)
        page = users.get(server.url)
        server.terminate()
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        time.sleep(1)
        user = users.connect(server.url, page.split('"token":"')[1].split('"')[0])
        time.sleep(5)
        assert users.is_connected(user)
        users.leave(user)
        assert server.exit_code() == 0


def test_the_drain_deadline_ends_the_wait(tmp_path: Path) -> None:
    options = ("--drain-deadline", "2s")
    with bokeh_serve(tmp_path, options=options) as server, Users() as users:
        server.wait_workers(1)
        user = users.join(server.url)
        began = time.monotonic()
        server.terminate()
        assert server.exit_code() == 0
        assert 2 <= time.monotonic() - began < 8
        wait_until(lambda: not users.is_connected(user), "the user to be cut off")
        assert "drain deadline exceeded; stopping the server" in server.output


@pytest.mark.parametrize("forced_by", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_the_drain(tmp_path: Path, forced_by: signal.Signals) -> None:
    with bokeh_serve(tmp_path, "--num-procs", "2") as server, Users() as users:
        server.wait_workers(2)
        users.join(server.url)
        group = group_of(server)
        server.terminate()
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        server.launcher.send_signal(forced_by)
        assert server.exit_code() == 0
        assert not group_lives(group)


def test_without_a_drain_deadline_sigterm_stops_at_once(tmp_path: Path) -> None:
    with (
        bokeh_serve(tmp_path, options=("--drain-deadline", "0s")) as server,
        Users() as users,
    ):
        server.wait_workers(1)
        users.join(server.url)
        server.terminate()
        assert server.exit_code() == 0


def test_workers_outlive_nothing_when_their_parent_is_killed(tmp_path: Path) -> None:
    with bokeh_serve(tmp_path, "--num-procs", "2") as server:
        server.wait_workers(2)
        group = group_of(server)
        os.kill(group, signal.SIGKILL)
        assert server.exit_code() == 128 + signal.SIGKILL
        assert not group_lives(group)


def test_users_whose_connections_broke_come_back_to_a_server_that_drains(tmp_path: Path) -> None:
    with (
        bokeh_serve(tmp_path, *LONG_LIVED, options=("--reconnect", "8s")) as server,
        Users() as users,
    ):
        server.wait_workers(1)
        tokens = [token_in(users.get(server.url)) for _ in range(3)]
        there = [users.connect(server.url, token) for token in tokens]
        server.terminate()
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        for user in there:
            users.leave(user)
        time.sleep(2)
        back = [users.connect(server.url, token) for token in tokens]
        assert server.connected() == 3
        for user in back:
            users.leave(user)
        left = time.monotonic()
        assert server.exit_code() == 0
        assert 7 < time.monotonic() - left < 14


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
def test_another_stop_signal_of_an_image_drains(
    tmp_path: Path, stop_signal: signal.Signals
) -> None:
    with bokeh_serve(tmp_path, options=QUICK_TO_STOP) as server, Users() as users:
        server.wait_workers(1)
        user = users.join(server.url)
        server.launcher.send_signal(stop_signal)
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        time.sleep(1.5)
        assert users.is_connected(user)
        users.leave(user)
        assert server.exit_code() == 0


@pytest.mark.parametrize(
    ("script", "code"),
    [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 15)", 143), ("", 0)],
    ids=["its own code", "128 + signal", "success"],
)
def test_the_exit_code_passes_through(script: str, code: int) -> None:
    ended = subprocess.run([*LAUNCH, "--", sys.executable, "-c", script], check=False)
    assert ended.returncode == code


def test_the_child_starts_with_default_signals_and_an_empty_mask() -> None:
    output = subprocess.check_output(
        [*LAUNCH, "--", "grep", "-E", "SigBlk|SigIgn", "/proc/self/status"], text=True
    )
    masks = [int(line.split()[1], 16) for line in output.splitlines()]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        assert not any(mask & (1 << (number - 1)) for mask in masks), number.name


@pytest.mark.parametrize(
    ("script", "processes"),
    [
        pytest.param(OWN_SCRIPT, 1, id="a server"),
        pytest.param(OWN_SCRIPT, 2, id="a server of two workers"),
        pytest.param(OWN_LOOP, 2, id="a server of two workers, with an event loop of its own"),
        pytest.param(PANEL_SCRIPT, 4, id="pn.serve with four workers"),
    ],
)
def test_a_script_with_its_own_server_is_counted_and_ends_with_code_0(
    tmp_path: Path, script: str, processes: int
) -> None:
    (tmp_path / "serve.py").write_text(script)
    port = free_port()
    command = [sys.executable, "serve.py", str(port), str(processes)]
    with (
        served(tmp_path, command, port=port, options=QUICK_TO_STOP) as server,
        Users() as users,
    ):
        server.wait_workers(processes)
        there = [users.join(server.url) for _ in range(3)]
        assert server.connected() == 3
        assert set(server.state()["apps"]) == {"/app"}
        for user in there:
            users.leave(user)
        server.terminate()
        assert server.exit_code() == 0
        assert "restarting" not in server.output


# With one worker each: `test_bokeh_releases` has `panel serve` with two, and above is `pn.serve`.
@pytest.mark.parametrize("way", ["panel serve", "pn.serve"])
def test_panel_servers_are_counted_and_drained(tmp_path: Path, way: str) -> None:
    port = free_port()
    (tmp_path / "app.py").write_text("import panel as pn\npn.panel('hello').servable()\n")
    (tmp_path / "serve.py").write_text(PANEL_SCRIPT)
    serve = [str(BIN / "panel"), "serve", "app.py", "--port", str(port)]
    command = {
        "panel serve": serve,
        "pn.serve": [sys.executable, "serve.py", str(port), "1"],
    }[way]
    with served(tmp_path, command, port=port) as server, Users() as users:
        server.wait_workers(1)
        user = users.join(server.url)
        users.join(server.url)
        assert server.connected() == 2
        assert 'panel_version="' in server.get("/metrics")[2]
        assert 'panel_version=""' not in server.get("/metrics")[2]
        users.leave(user)
        wait_until(lambda: server.connected() == 1, "one user left over")
        server.terminate()
        wait_until(lambda: server.state()["draining"], "the drain to begin")


@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "two workers"])
def test_as_pid_1_it_drains_ends_and_takes_the_namespace_with_it(
    tmp_path: Path, processes: int
) -> None:
    if not can_unshare():
        pytest.skip("SKIPPED LOUDLY: no permission for `unshare --pid`, PID 1 was not tested")
    prefix = ("unshare", "--pid", "--fork", "--mount-proc")
    options = ("--num-procs", str(processes), *QUICK)
    as_pid_1 = bokeh_serve(tmp_path, *options, prefix=prefix, options=QUICK_TO_STOP)
    with as_pid_1 as server, Users() as users:
        server.wait_workers(processes)
        user = users.join(server.url)
        os.kill(group_of(server), signal.SIGTERM)  # unshare's only child
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        assert users.is_connected(user)
        users.leave(user)
        assert server.exit_code() == 0


@pytest.mark.parametrize(("image", "code"), [("exporter", 0), ("example", 128 + signal.SIGTERM)])
def test_in_our_images_a_signal_that_comes_before_anything_listens_is_heard(
    image: str, code: int
) -> None:
    if not can_unshare():
        pytest.skip("SKIPPED LOUDLY: no permission for `unshare --pid`, PID 1 was not tested")
    entry = entrypoint(Path(f"deploy/images/{image}.Dockerfile"))
    at = entry.index("bokeh-exporter")
    too_early = ["sh", "-c", 'kill -TERM $$; exec "$@"', "sh"]
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *entry[:at], *too_early]
    port = str(free_port())
    sidecar = ["sidecar", "--port", port, "--instance", f"test-{port}"]
    words = sidecar if image == "exporter" else ["sleep", "1000"]
    ours = [str(BIN / entry[at]), *entry[at + 1 :], *words]
    assert subprocess.run([*inside, *ours], timeout=PATIENCE, check=False).returncode == code


def test_as_pid_1_it_reaps_the_orphans_of_others(tmp_path: Path) -> None:
    if not can_unshare():
        pytest.skip("SKIPPED LOUDLY: no permission for `unshare --pid`, PID 1 was not tested")
    # A grandchild outlives its parent and ends as a zombie of PID 1, which must collect it.
    script = """
import os, time
read, write = os.pipe()
if os.fork() == 0:
    if (orphan := os.fork()) == 0:
        time.sleep(0.2)
        os._exit(0)
    os.write(write, str(orphan).encode())
    os._exit(0)
os.wait()
orphan = f"/proc/{os.read(read, 20).decode()}"
until = time.monotonic() + 10
while os.path.exists(orphan) and time.monotonic() < until:
    time.sleep(0.05)
raise SystemExit(3 if os.path.exists(orphan) else 0)
"""
    inside = ["unshare", "--pid", "--fork", "--mount-proc", *LAUNCH, "--", sys.executable]
    assert subprocess.run([*inside, "-c", script], timeout=PATIENCE, check=False).returncode == 0
