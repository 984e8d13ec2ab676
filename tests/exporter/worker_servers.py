"""Servers of four workers as users start them, and the ways by which their users come."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.bokeh_servers import Served, served
from tests.lab.processes import Processes
from tests.proxies.fleet import KEEP_SESSIONS, PORT, SOON_EMPTY
from tests.proxies.programs import PROXIES

WORKERS = 4
WITHIN = 120.0  # seconds
WAYS = ("directly", *(proxy.name for proxy in PROXIES))


@contextmanager
def launched(folder: Path, server_of: str, text: str) -> Iterator[Served]:
    """A server of four workers at an address of its own, as pods have one.

    server_of: `bokeh serve` or `panel serve`, or else a script that is told the address and port.
    """
    address = f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}.1"
    (folder / "app.py").write_text(text)
    program, _, command = server_of.partition(" ")
    where = ["--address", address, "--port", str(PORT), "--num-procs", str(WORKERS)]
    line = [sys.executable, "-m", program, command, "app.py", *where, *KEEP_SESSIONS]
    if not command:
        line = [sys.executable, "app.py", address, str(PORT)]
    log = folder / "termination-log"
    log.touch()
    with served(
        folder,
        line,
        port=PORT,
        address=address,
        options=SOON_EMPTY,
        environment={"BOKEH_EXPORTER_TERMINATION_LOG": str(log)},
    ) as server:
        server.wait_workers(WORKERS, WITHIN)
        yield server


@contextmanager
def through(way: str, folder: Path, server: Served) -> Iterator[str]:
    """The app's address, directly or through a proxy with the configuration that we ship."""
    kinds = {proxy.name: proxy for proxy in PROXIES}
    if way not in kinds:
        yield server.url
        return
    (folder / way).mkdir()
    with Processes(folder) as processes:
        proxy = kinds[way](folder / way, processes)
        proxy.start([server.url.split("/")[2].split(":")[0]])
        yield proxy.url
