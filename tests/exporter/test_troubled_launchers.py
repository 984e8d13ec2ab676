"""Launchers that lack what they need, or whose workers are not where they would be."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.lab.bokeh_servers import APP, BIN, bokeh_serve, free_port, served, wait_until
from tests.lab.websocket_user import Users

pytestmark = pytest.mark.slow

QUICK_TO_STOP = ("--reconnect", "1s")


@pytest.mark.parametrize("log", ["2>&-", "2>/dev/full"], ids=["closed", "on a full disk"])
def test_a_log_that_cannot_be_written_ends_no_session(tmp_path: Path, log: str) -> None:
    quiet = ("sh", "-c", f'exec "$0" "$@" {log}')
    with (
        bokeh_serve(tmp_path, prefix=quiet, options=QUICK_TO_STOP) as server,
        Users() as users,
    ):
        server.wait_workers(1)
        user = users.join(server.url)
        server.terminate()
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        time.sleep(2)
        assert users.is_connected(user)
        users.leave(user)
        server.exit_code()


def test_a_launcher_without_free_descriptors_goes_on(tmp_path: Path) -> None:
    port = str(free_port())
    few = ("sh", "-c", 'ulimit -n 40; exec "$0" "$@"')
    options = ("--metrics-port", port, *QUICK_TO_STOP)
    with bokeh_serve(tmp_path, prefix=few, options=options) as server, Users() as users:
        server.wait_workers(1)
        user = users.join(server.url)
        with ExitStack() as stack:
            for _ in range(60):  # more than it can accept; the rest wait in the kernel
                with suppress(TimeoutError):
                    stack.enter_context(socket.create_connection(("127.0.0.1", int(port)), 0.5))
            wait_until(lambda: "cannot ask the workers" in server.output, "the launcher to fail")
            server.terminate()
            time.sleep(4)
            assert users.is_connected(user)
            assert server.launcher.poll() is None
        users.leave(user)
        assert server.exit_code() == 0


def test_workers_in_a_process_group_of_their_own_are_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    command = ["setsid", "--wait", str(BIN / "bokeh"), "serve", "app.py", "--port", str(port)]
    with served(tmp_path, ["sh", "-c", '"$0" "$@"; exit', *command], port=port) as server:
        server.wait_workers(1)
        server.terminate()
        assert server.exit_code() == 0
        assert server.state()["workers"] == []
