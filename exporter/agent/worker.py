"""One worker process as its agent sees it: servers, loops, totals; and the report of them all."""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from . import cgroup
from .census import AppCensus, Stale, count
from .loop import LoopMonitor
from .tally import Tally

PAGE = os.sysconf("SC_PAGE_SIZE")


class Worker:
    """Everything the agent knows in this process. The loop's thread writes, the agent's reads."""

    def __init__(self, table: ModuleType) -> None:
        self._table = table  # exporter.metrics, by its private name
        self.tally = Tally({spec.name: spec.buckets for spec in table.TABLE})
        self._servers: list[tuple[weakref.ref[Any], Stale]] = []
        self._loops: dict[Any, LoopMonitor] = {}
        self._creating: dict[str, int] = {}
        self._lock = threading.Lock()
        self._activity: dict[str, float] = {}
        self._last_disconnect: float | None = None
        self._mode = "tornado"
        self._cgroup = cgroup.locate() if uses_cgroup() else None
        for reason in table.REJECTIONS:
            self.tally.add("bokeh_connections_rejected_total", reason, amount=0)
        self.tally.declare_histogram("bokeh_event_loop_lag_seconds")

    def serve(self, server: Any, loop: Any, mode: str) -> None:
        """Start watching a server and its loop (asyncio's, or Tornado's around it)."""
        loop = getattr(loop, "asyncio_loop", loop)
        self._mode = mode
        self._servers.append((weakref.ref(server), Stale()))
        if loop not in self._loops:
            self._loops[loop] = LoopMonitor(loop, self.tally)
        for url in server._applications:
            self._declare(url)

    def _declare(self, url: str) -> None:
        """Give every series of an application its zero, so that absence never means 0."""
        self._activity.setdefault(url, time.time())
        for what in ("created", "destroyed", "orphaned"):
            self.tally.add(f"bokeh_sessions_{what}_total", url, amount=0)
        for name in ("session_create_errors", "message_errors", "connections_opened"):
            self.tally.add(f"bokeh_{name}_total", url, amount=0)
        for code in self._table.CLOSE_CODES:
            self.tally.add("bokeh_connections_closed_total", url, code, amount=0)
        for what in ("session", "session_create", "message"):
            self.tally.declare_histogram(f"bokeh_{what}_duration_seconds", url)
        for code in self._table.CODE_CLASSES:
            self.tally.declare_histogram("bokeh_request_duration_seconds", url, code)

    def creation(self, app: str, change: int) -> None:
        """A session's creation began (+1) or ended (-1).

        Counted here because Bokeh 3.9 leaves a failed creation in `_pending_sessions` for ever.
        """
        with self._lock:
            self._creating[app] = self._creating.get(app, 0) + change

    def active(self, app: str) -> None:
        """A client did something."""
        self._activity[app] = time.time()

    def disconnected(self, app: str, code: str) -> None:
        """A client's connection ended with this close code."""
        known = code if code in self._table.CLOSE_CODES else "other"
        self.tally.add("bokeh_connections_closed_total", app, known)
        self._last_disconnect = time.monotonic()
        self.active(app)

    def sample(self) -> None:
        """Take the regular CPU sample of every loop."""
        for monitor in list(self._loops.values()):
            monitor.sample()

    def report(self) -> dict[str, Any]:
        """Everything as JSON values; `exporter/report.py` reads it."""
        self.sample()
        loops = list(self._loops.values())
        ago = self._last_disconnect
        return {
            "at": time.time(),
            "serving": any(monitor.running for monitor in loops),
            "stalled_s": max((m.stalled_seconds() for m in loops), default=0.0),
            "lag_s": max((m.lag_seconds for m in loops), default=0.0),
            "utilization": max((m.utilization() for m in loops), default=0.0),
            "loop_cpu_s": sum(m.cpu_seconds for m in loops),
            "last_disconnect_age_s": None if ago is None else time.monotonic() - ago,
            "apps": {url: self._app(url, census) for url, census in self._census().items()},
            "rss_bytes": rss_bytes(),
            "cpu_s": time.process_time(),
            "cgroup": asdict(self._cgroup.read()) if self._cgroup is not None else None,
            "info": self._info(),
            **self.tally.dump(),
        }

    def _census(self) -> dict[str, AppCensus]:
        """All servers of the process; two with one route are one application to the outside."""
        total: dict[str, AppCensus] = {}
        for reference, stale in list(self._servers):
            server = reference()
            for url, census in count(server, stale).items() if server is not None else ():
                total[url] = total[url].plus(census) if url in total else census
        return total

    def _app(self, url: str, census: AppCensus) -> dict[str, Any]:
        census.pending = self._creating.get(url, 0)
        return {**asdict(census), "last_activity": self._activity.get(url, 0.0)}

    def _info(self) -> dict[str, str]:
        python = ".".join(str(part) for part in sys.version_info[:3])
        return {
            "bokeh_version": getattr(sys.modules.get("bokeh"), "__version__", ""),
            "panel_version": getattr(sys.modules.get("panel"), "__version__", ""),
            "python_version": python,
            "mode": self._mode,
        }


def rss_bytes() -> int:
    """Resident memory of this process: field 2 of statm, in pages."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE


def uses_cgroup() -> bool:
    """Whether the cgroup is this server's own; several servers on one host say `process`."""
    return os.environ.get("BOKEH_EXPORTER_RESOURCES", "cgroup") == "cgroup"
