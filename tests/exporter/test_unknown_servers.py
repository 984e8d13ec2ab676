"""A launcher that cannot know whether its server has users serves until the drain deadline."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from exporter.agent.pod import Name
from exporter.child_processes import ProcessTree
from exporter.estimate import sockets_of
from exporter.kernel_tables import printed
from exporter.launch import Launcher
from exporter.ledger import Collected, WorkerView
from exporter.observe import PodObserver, PodView
from exporter.port_watch import PortView
from exporter.wire import Report
from tests.lab.bokeh_servers import BIN, end, free_port, start, wait_until

NOTHING = PortView()
BARE = PortView((8000,), open=True, watched=False)
WORKER = Name("x/0/1/n", "0", 10)


def seen(port: PortView = NOTHING, *, serving: bool | None = None) -> PodView:
    """An observation; serving: whether the loop of the only worker runs, None without a worker."""
    told = [] if serving is None else [Report(1.0, serving)]
    workers = tuple(WorkerView(WORKER, True, report, 0.0) for report in told)
    return PodView(Collected(1.0, workers), {}, port, (0, 0), watched_s=900.0)


@pytest.mark.parametrize(
    ("ports", "view", "stops"),
    [
        pytest.param((), seen(), True, id="nothing listens"),
        pytest.param((), seen(serving=False), True, id="a worker that still starts"),
        pytest.param((8000,), seen(BARE), True, id="a port that nobody used for long"),
        pytest.param(None, seen(serving=True), True, id="of another user, with an agent"),
        pytest.param(None, seen(BARE), True, id="of another user, at a known port"),
        pytest.param(None, seen(), False, id="of another user, at an unknown port"),
        pytest.param(None, seen(serving=False), False, id="an agent that sees no server"),
        pytest.param((8000,), seen(), False, id="a port of which nothing is known"),
        pytest.param((8000,), seen(serving=False), True, id="a worker that begins to listen"),
    ],
)
def test_a_launcher_stops_if_nobody_can_be_there(
    ports: tuple[int, ...] | None, view: PodView, stops: bool
) -> None:
    launcher = Launcher([], "x", 60.0, 30.0, PodObserver("x", None), ProcessTree(), ports=ports)
    assert launcher._may_stop(view) is stops


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="starts a server as another user")
def test_a_server_of_another_user_at_an_unknown_port_serves_until_the_deadline(
    tmp_path: Path,
) -> None:
    without_rights = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]
    python = shutil.which("python3", path="/usr/bin") or "python3"
    port, log = free_port(), tmp_path / "log"
    server = ["setpriv", "--reuid", "1000", "--clear-groups", python, "-I", "-m", "http.server"]
    launch = [str(BIN / "bokeh-exporter"), "launch", "--instance", f"test-{port}"]
    # In a network of its own: a server of another test on Bokeh's port would be taken for this one.
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    with log.open("wb") as output:
        options = ["--drain-deadline", "6s"]
        line = [*alone, *without_rights, *launch, *options, "--", *server, str(port)]
        launcher = start(line, tmp_path, output)
    try:
        wait_until(lambda: _listens(launcher.pid, port), "the server")
        launcher.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            launcher.wait(3)
        assert _listens(launcher.pid, port)
        launcher.wait(20)
    finally:
        end(launcher)
    lines = [line for line in log.read_text().splitlines() if line.startswith("bokeh-exporter:")]
    assert len([line for line in lines if "name the port of the app with --app-port" in line]) == 2
    assert "received SIGTERM; draining for at most 6s" in lines[0]
    assert "drain deadline exceeded" in lines[1]


def _listens(process: int, port: int) -> bool:
    """Tell whether anybody listens on a port of the network that the process is in."""
    return port in sockets_of(printed(Path(f"/proc/{process}/net"))).listening
