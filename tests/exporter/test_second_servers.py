"""A launched app with a second server that has no agent, on a port that nobody named."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.bokeh_servers import (
    APP,
    BIN,
    PATIENCE,
    STARTS_WITHIN,
    end,
    free_port,
    listens,
    start,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timing_sensitive]

SECOND = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
clients = []
while True:
    connection = server.accept()[0]
    clients.append(connection)
"""
HELPER = """
import socket, sys, time
while True:
    try:
        client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        break
    except OSError:
        time.sleep(0.1)
print("the helper is connected", flush=True)
time.sleep(1000)
"""


@contextmanager
def launched(
    folder: Path, port: int, second: int, helper: str = ""
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`bokeh serve` beside the second server and a helper that connects to it, and their log."""
    for name, script in (("app", APP), ("second", SECOND), ("helper", helper)):
        (folder / f"{name}.py").write_text(script)
    beside = f"{sys.executable} -I second.py {second} & {sys.executable} -I helper.py {second} &"
    command = ["sh", "-c", f"{beside} exec {BIN / 'bokeh'} serve app.py --port {port}"]
    launch = [str(BIN / "bokeh-exporter"), "launch", "--instance", f"test-{port}"]
    log = folder / "log"
    with log.open("wb") as output:
        options = ["--reconnect", "2s", "--drain-deadline", "60s"]
        launcher = start([*launch, *options, "--", *command], folder, output)
    try:
        wait_until(lambda: listens(port) and listens(second), "both servers", STARTS_WITHIN)
        yield launcher, log
    finally:
        end(launcher)


def test_its_users_hold_the_drain(tmp_path: Path) -> None:
    second = free_port()
    with launched(tmp_path, free_port(), second) as (launcher, log):
        with socket.create_connection(("127.0.0.1", second)):
            launcher.terminate()
            held = "connections without an agent: 1"
            wait_until(lambda: held in log.read_text(), "the drain to begin")
            time.sleep(5)
            assert launcher.poll() is None, log.read_text()
        began = time.monotonic()
        assert launcher.wait(PATIENCE) == 0
        assert time.monotonic() - began > 1.5  # its user might have reconnected


def test_a_connection_of_the_apps_own_helper_does_not(tmp_path: Path) -> None:
    second = free_port()
    with launched(tmp_path, free_port(), second, HELPER) as (launcher, log):
        wait_until(lambda: "the helper is connected" in log.read_text(), "the helper")
        time.sleep(3)
        launcher.terminate()
        assert launcher.wait(PATIENCE) == 0
        assert "without an agent" not in log.read_text()
