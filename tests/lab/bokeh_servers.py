"""Real Bokeh servers under the real launcher, each with its own sidecar, on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tests.lab import processes

PATIENCE = 20.0
STARTS_WITHIN = 60.0  # seconds; the imports of several servers may share few processors
ENDS_WITHIN = 60.0  # seconds; the launcher alone gives workers half a minute
BIN = Path(sys.executable).parent
EXPORTER = (str(BIN / "bokeh-exporter"),)
# By default Bokeh takes up to 32 s to discard the copy of a session that its page left at another
# worker. A drain waits for that: the page's user might still come.
QUICK = ("--unused-session-lifetime", "500", "--check-unused-sessions", "300")

# ?busy=S sleeps while the session is created, ?gil=S does so in C code that keeps the GIL. The
# message `sleep` sleeps in a callback, which raises if it is told anything but seconds.
APP = """
import ctypes, time
from bokeh.io import curdoc
from bokeh.models import Div

arguments = curdoc().session_context.request.arguments
if "busy" in arguments:
    time.sleep(float(arguments["busy"][0]))
if "gil" in arguments:
    ctypes.PyDLL(None).usleep(int(float(arguments["gil"][0]) * 1e6))
if "fail" in arguments:
    raise RuntimeError("asked to")
curdoc().add_root(Div(text="hello"))
curdoc().on_message("sleep", time.sleep)
"""


def free_port() -> int:
    (port,) = processes.free_ports(1)
    return port


def wait_until(done: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Poll a real process until `done` gives something true; fail loudly after `patience`."""
    return processes.wait_until(done, patience, what)


@dataclass
class Served:
    """A launched server and its sidecar. `output` is what the launcher and all below it wrote.

    token: sent with each request to the sidecar.
    """

    url: str
    sidecar_url: str
    launcher: subprocess.Popen[bytes]
    sidecar: subprocess.Popen[bytes]
    output_file: Path
    signalled: bool = field(default=False)
    token: str = ""

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    def get(self, page: str, accept: str = "", body: bytes | None = None) -> tuple[int, str, str]:
        """Status, Content-Type and body of a page of the sidecar; with a body it is posted."""
        headers = {"Accept": accept}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.sidecar_url + page, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, response.headers["Content-Type"], response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    def state(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.get("/state")[2])
        return values

    def connected(self) -> int:
        return int(self.state()["sessions"]["connected"])

    def value(self, series: str) -> float:
        """The value of one series of /metrics, written as there; NaN if it is absent."""
        line = re.search(rf"^{re.escape(series)} (\S+)$", self.get("/metrics")[2], re.MULTILINE)
        return float(line.group(1)) if line else float("nan")

    def terminate(self) -> None:
        os.kill(self.launcher.pid, signal.SIGTERM)

    def kill_workers(self) -> None:
        """End all below the launcher: Bokeh takes up to a second for each session to end itself."""
        children = Path(f"/proc/{self.launcher.pid}/task/{self.launcher.pid}/children")
        with suppress(OSError):  # it has ended, or its child leads no group
            for child in children.read_text().split():
                os.killpg(int(child), signal.SIGKILL)

    def wait_workers(self, count: int, patience: float = STARTS_WITHIN) -> list[dict[str, Any]]:
        def ready() -> bool:
            assert self.launcher.poll() is None, f"the server ended: {self.output}"
            answered = [w["ok"] for w in self.state()["workers"]]
            return answered == [True] * count and self.get("/readyz")[0] == 200

        wait_until(ready, f"{count} workers", patience)
        workers: list[dict[str, Any]] = self.state()["workers"]
        return workers

    def exit_code(self) -> int:
        return self.launcher.wait(ENDS_WITHIN)


def instance_at(address: str, port: int) -> str:
    """The name that keeps a test's server apart from others on the machine."""
    return f"test-{port}" if address == "127.0.0.1" else f"test-{address}-{port}"


@contextmanager
def served(
    folder: Path,
    command: list[str],
    *,
    port: int,
    address: str = "127.0.0.1",
    route: str = "/app",
    options: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    prefix: tuple[str, ...] = (),
    launcher: Sequence[str] = EXPORTER,
    beside: Sequence[str] = EXPORTER,
) -> Iterator[Served]:
    """Launch `command` in `folder`, with a sidecar; both are gone afterwards.

    launcher, beside: how `bokeh-exporter` is run to launch it, and as its sidecar.
    """
    instance = instance_at(address, port)
    sidecar_port = free_port()
    log = folder / f"{instance}.log"
    everything = {**os.environ, **(environment or {})}
    common = ["--instance", instance, "--app-port", str(port)]
    launch = [*prefix, *launcher, "launch", *common, *options, "--", *command]
    sidecar = [*beside, "sidecar", *common, "--port", str(sidecar_port)]
    with log.open("wb") as output:
        lines = (launch, [*sidecar, "--address", "127.0.0.1"])
        processes = [start(line, folder, output, everything) for line in lines]
    found = Served(
        f"http://{address}:{port}{route}", f"http://127.0.0.1:{sidecar_port}", *processes, log
    )
    try:
        wait_until(lambda: listens(sidecar_port), "the sidecar's port")
        yield found
    finally:
        found.kill_workers()
        for process in processes:
            end(process)


def stop_at_once(process: subprocess.Popen[bytes]) -> None:
    """A launcher or sidecar hears two signals: the second one ends whatever the first began."""
    for number in (signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop at once and wait for it."""
    stop_at_once(process)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE)
        raise


def start(
    line: list[str], folder: Path, output: BinaryIO, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command without a terminal, as in a container; `end` ends it."""
    return subprocess.Popen(
        line,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def bokeh_serve(
    folder: Path,
    *arguments: str,
    app: str = APP,
    options: tuple[str, ...] = (),
    port: int | None = None,
    **more: Any,
) -> Iterator[Served]:
    """`bokeh serve app.py`. app: the script."""
    (folder / "app.py").write_text(app)
    port = port or free_port()
    command = [str(BIN / "bokeh"), "serve", "app.py", "--port", str(port), *arguments]
    with served(folder, command, port=port, options=options, **more) as server:
        yield server
