"""Learned seats against true ones, for apps of known cost: `python -m tests.benchmarks.seats`.

Each app states what a session of it costs the event loop or memory. A real server with it gets half
of the users that it could hold, and what Prometheus scrapes then is the history that seats are
learned from; one recorded step stands for five minutes. In the end as many users come as
there are learned seats, and their load is printed too: 70 % of the loop, or 80 % of memory.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from autoscaler.adapters.prometheus.http import PrometheusSettings
from autoscaler.adapters.prometheus.loads import PrometheusLoads
from autoscaler.core.seating import BUSY, MEMORY, described, estimate
from autoscaler.model import PodLoad, SeatEstimate, TargetRef
from tests.exporter.carriers import UVICORN, carried
from tests.lab.bokeh_servers import Served, bokeh_serve
from tests.lab.build import PROMETHEUS, installed
from tests.lab.prometheus_server import PrometheusServer
from tests.lab.websocket_user import Users

REF, POD = TargetRef("bench", "app"), "app-1-aaaaa"
# The busy time moves once a second. Scraped more often than that, a short step would hold one of
# these moves too many or too few, each time.
SCRAPE, STEP, STAGE, FULL_STAGE = 1.0, 5, 120.0, 60.0
STANDS_FOR = 300.0  # seconds
MEGABYTE = 1 << 20

APP = """
import time
from bokeh.io import curdoc
from bokeh.models import Div

told = Div(text="0")
curdoc().add_root(told)
curdoc().session_context.data = bytearray(b"x") * ({megabytes} << 20)

def spend():
    began = time.perf_counter()
    if {waits}:
        time.sleep({seconds})
    while time.perf_counter() - began < {seconds}:
        pass
    told.text = str(int(told.text) + 1)

if {seconds}:
    curdoc().add_periodic_callback(spend, {period_ms})
"""
# The same app on uvicorn, whose event loop is uvloop's.
ON_UVICORN = """
from bokeh.application import Application
from bokeh.application.handlers import ScriptHandler
from bokeh_fastapi import BokehFastAPI
from fastapi import FastAPI

app = FastAPI()
BokehFastAPI({"/app": Application(ScriptHandler(filename="app.py"))}, app=app)
"""


class App(NamedTuple):
    """An app, and what its sessions cost.

    seconds: of each callback, which comes once in `period_ms`. waits: whether it sleeps instead of
    computing. megabytes: of each session. limit: of the server's memory, in megabytes.
    uvicorn: whether that serves it, and not Bokeh's own server.
    """

    name: str
    seconds: float = 0.0
    period_ms: int = 1000
    waits: bool = False
    megabytes: int = 0
    limit: int = 0
    uvicorn: bool = False

    @property
    def script(self) -> str:
        return APP.format(**self._asdict())


APPS = (
    App("light: 28 ms every two seconds", seconds=0.028, period_ms=2000),
    App("heavy: 250 ms every two seconds", seconds=0.25, period_ms=2000),
    App("waiting: 50 ms a second without CPU", seconds=0.05, waits=True),
    App("uvicorn-light: the same as light", seconds=0.028, period_ms=2000, uvicorn=True),
    App("uvicorn-heavy: the same as heavy", seconds=0.25, period_ms=2000, uvicorn=True),
    App("uvicorn-waiting: the same as waiting", seconds=0.05, waits=True, uvicorn=True),
    App("memory: 20 MB each of 640", megabytes=20, limit=640),
)


class Result(NamedTuple):
    """What was learned of an app. stated: seats by what a session costs. filled: load when full."""

    app: App
    found: SeatEstimate
    stated: float
    filled: float

    @property
    def true(self) -> float:
        """The seats by the load that as many users made as there are learned seats.

        It has what Bokeh itself costs, which no app states.
        """
        return (self.found.seats or 0) * (MEMORY if self.app.megabytes else BUSY) / self.filled


def measure(app: App, folder: Path) -> Result:
    """Learn the seats of an app from half as many users as it could hold, then fill them."""
    with _memory_limit(app) as group:
        prefix = ("sh", "-c", f'echo $$ > {group}; exec "$@"', "sh") if group else ()
        options = () if group else ("--resources", "process")
        with (
            _served(app, folder, prefix=prefix, options=options) as server,
            _scraped(server, folder) as prometheus,
            Users() as users,
        ):
            server.wait_workers(1)
            idle = server.value("bokeh_memory_working_set_bytes")
            true = _true(app, idle)
            _hold(users, server, 0, STAGE / 2)
            for share in (0.25, 0.5):
                _hold(users, server, round(share * true), STAGE)
            found = estimate({POD: _recorded(prometheus)}, STANDS_FOR)
            if found.seats is None:
                return Result(app, found, true, float("nan"))
            _hold(users, server, found.seats, FULL_STAGE)
            return Result(app, found, true, _load(app, server, FULL_STAGE / 2))


def _served(app: App, folder: Path, **more: Any) -> AbstractContextManager[Served]:
    if not app.uvicorn:
        return bokeh_serve(folder, app=app.script, **more)
    (folder / "app.py").write_text(app.script)
    return carried(folder, ON_UVICORN, [*UVICORN, "--loop=uvloop"], **more)


def _true(app: App, idle: float) -> float:
    """Return how many sessions an app can hold by what it states. idle: bytes without any."""
    if app.megabytes:
        return (MEMORY * app.limit * MEGABYTE - idle) / (app.megabytes * MEGABYTE)
    return BUSY / (app.seconds * 1000 / app.period_ms)


def _hold(users: Users, server: Served, count: int, seconds: float) -> None:
    """Have so many users come, and stay for a time."""
    for _ in range(count - server.connected()):
        users.join(server.url)
    time.sleep(seconds)


def _recorded(prometheus: PrometheusServer) -> Sequence[PodLoad]:
    """Return what was scraped, with five minutes between two steps."""
    settings = PrometheusSettings(prometheus.url, scrape_interval=SCRAPE)
    found = PrometheusLoads(settings).loads(REF, time.time(), 3600, STEP)[POD]
    return [load._replace(at=load.at * STANDS_FOR / STEP) for load in found]


def _load(app: App, server: Served, seconds: float) -> float:
    """Return the load of a server: the share of its memory limit, or of its loop's time."""
    if app.megabytes:
        return server.value("bokeh_memory_working_set_bytes") / (app.limit * MEGABYTE)
    busy, began = server.value("bokeh_event_loop_busy_seconds_total"), time.monotonic()
    time.sleep(seconds)
    spent = server.value("bokeh_event_loop_busy_seconds_total") - busy
    return spent / (time.monotonic() - began)


@contextmanager
def _scraped(server: Served, folder: Path) -> Iterator[PrometheusServer]:
    address = server.sidecar_url.removeprefix("http://")
    labels: Mapping[str, str] = {"namespace": REF.namespace, "pod": POD}
    installation = installed(PROMETHEUS)
    assert installation is not None
    place = folder / "prometheus"
    place.mkdir()
    with PrometheusServer(
        installation / "prometheus", place, targets=[(address, labels)], scrape_interval=SCRAPE
    ) as prometheus:
        yield prometheus


@contextmanager
def _memory_limit(app: App) -> Iterator[Path | None]:
    """Make a cgroup with the memory limit of an app, for whoever writes its ID there."""
    if not app.limit:
        yield None
        return
    mount = Path("/sys/fs/cgroup")
    is_v2 = (mount / "cgroup.controllers").exists()
    group = (mount if is_v2 else mount / "memory") / f"bokeh-seats-{os.getpid()}"
    group.mkdir()
    try:
        limit = "memory.max" if is_v2 else "memory.limit_in_bytes"
        (group / limit).write_text(str(app.limit * MEGABYTE))
        yield group / "cgroup.procs"
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    until = time.monotonic() + 20
    while group.exists() and time.monotonic() < until:
        try:
            group.rmdir()
        except OSError:  # a process of it has not ended yet
            time.sleep(0.2)


def main(names: list[str]) -> int:
    print(f"{'app':<38}{'stated':>7}{'learned':>9}{'off':>7}{'full':>7}{'true':>7}{'off':>7}")
    for app in APPS:
        if names and app.name.partition(":")[0] not in names:
            continue
        if app.limit and os.geteuid():
            print(f"{app.name:<38}needs root, for a cgroup with a memory limit")
            continue
        with tempfile.TemporaryDirectory() as folder:
            result = measure(app, Path(folder))
        seats = result.found.seats or 0
        by_stated, by_true = (f"{seats / each - 1:+.0%}" for each in (result.stated, result.true))
        line = f"{app.name:<38}{result.stated:>7.1f}{seats:>9}{by_stated:>7}"
        print(f"{line}{result.filled:>7.0%}{result.true:>7.1f}{by_true:>7}", flush=True)
        print(f"    {described(result.found)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
