"""The agent's data on one worker process, its loops, sessions and totals, and its report."""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from . import board, cgroup, hinting, pod, siblings
from .admission import Admission
from .census import AppCensus, Census, is_library_app, mark_of, members, route_of
from .loop import LoopMonitor
from .notice import parsed
from .notices import Notices
from .tally import Tally
from .visits import OpeningPages, Visit, snapshot

PAGE = os.sysconf("SC_PAGE_SIZE")


class Worker:
    """All data of the agent in this process. The loop's thread writes; the agent's thread reads.

    table: exporter.metrics, by its private name. of_process: returns the worker of the process that
    calls it, which in a forked child is another one.
    """

    def __init__(
        self,
        table: ModuleType,
        contexts: weakref.WeakSet[Any],
        of_process: Callable[[], Worker],
    ) -> None:
        self._table = table
        self._contexts = contexts
        self._of_process = of_process
        self.tally = Tally({spec.name: spec.buckets for spec in table.TABLE})
        self._census = Census(self._left)
        self.pages = OpeningPages()
        self.admission = Admission(contexts, self.pages)
        self.notices = Notices(contexts, self.tally)
        self._notified = 0
        self._elsewhere = siblings.Elsewhere()
        self._visits: set[Visit] = set()
        self._loops: dict[Any, LoopMonitor] = {}
        self._creating: dict[str, int] = {}
        self._parting: dict[Any, str] = {}  # sessions that are being discarded: their routes
        self._lock = threading.Lock()
        self._activity: dict[str, float] = {}
        self._ports: dict[str, set[int]] = {}
        self._last_disconnect: float | None = None
        self._mode = "tornado"
        self._cgroup = cgroup.locate() if uses_cgroup() else None
        for reason in table.REJECTIONS:
            self.tally.add("bokeh_connections_rejected_total", reason, amount=0)
        for request in table.HANDED:
            self.tally.add("bokeh_connections_handed_total", request, amount=0)
        self.tally.declare_histogram("bokeh_event_loop_lag_seconds")

    @staticmethod
    def slot() -> int:
        """Return Tornado's task ID, which a restarted worker keeps; 0 for other servers."""
        process = sys.modules.get("tornado.process")
        task_id = process.task_id() if process is not None else None
        return task_id or 0

    # What begins here ----------------------------------------------------------------------------

    def watch(self, loop: Any, mode: str, contexts: Iterable[Any], *, whole: bool) -> None:
        """Watch a loop (asyncio's, or Tornado's around it) and the applications that it serves.

        whole: whether the agent sees every request of the server on this loop.
        """
        loop = getattr(loop, "asyncio_loop", loop)
        known = self._loops.get(loop)
        if known is None:
            self._mode = mode
            moved = partial(self._moved, loop, mode, weakref.WeakSet(contexts), whole=whole)
            self._loops[loop] = LoopMonitor(loop, self.tally, moved, whole)
            hinting.serve(loop)
        elif whole:
            known.whole = True
        for context in contexts:
            self.adopt(context)

    def _moved(self, loop: Any, mode: str, served: weakref.WeakSet[Any], *, whole: bool) -> None:
        """Watch a loop in the forked child in which it runs."""
        self._of_process().watch(loop, mode, members(served), whole=whole)

    def watches(self, loop: Any) -> bool:
        """Return whether this loop is watched and all requests of its server are seen."""
        monitor = self._loops.get(loop)
        return monitor is not None and monitor.whole

    def adopt(self, context: Any) -> None:
        """Count this application's sessions in this worker."""
        if not is_library_app(context) and self._census.adopt(context):
            self._declare(route_of(context))

    def _declare(self, url: str) -> None:
        """Create every series of an application with 0, so that an absent series never means 0."""
        self._activity.setdefault(url, time.time())
        for what in ("created", "used", "destroyed", "orphaned", "released"):
            self.tally.add(f"bokeh_sessions_{what}_total", url, amount=0)
        for name in ("session_create_errors", "message_errors", "connections_opened"):
            self.tally.add(f"bokeh_{name}_total", url, amount=0)
        for code in self._table.CLOSE_CODES:
            self.tally.add("bokeh_connections_closed_total", url, code, amount=0)
        for what in ("session", "session_create", "message"):
            self.tally.declare_histogram(f"bokeh_{what}_duration_seconds", url)
        for code in self._table.CODE_CLASSES:
            self.tally.declare_histogram("bokeh_request_duration_seconds", url, code)

    # Events --------------------------------------------------------------------------------------

    def arrive(self, visit: Visit) -> None:
        """Record the start of a request, or of a WebSocket that is not a Bokeh connection yet."""
        self._visits.add(visit)

    def leave(self, visit: Visit) -> None:
        """Record that a response was sent completely or broken off, or that a WebSocket ended."""
        self._visits.discard(visit)
        visit.ended = True
        for connection in visit.connections:
            self.unsubscribed(connection)
        if visit.pages and not visit.refused:
            app = visit.app or self._app_of(visit.path)
            self._came_to(app, visit.port)
            for session_id in visit.pages:
                self.pages.sent(session_id, app)
            if self.admission.closed:
                siblings.send(siblings.SENT, visit.pages)

    def made_page(self, visit: Visit, session_id: str) -> None:
        """Record that the response to a request will contain this session's page."""
        visit.pages.append(session_id)
        if self.admission.closed:  # its WebSocket may reach another worker before the response ends
            siblings.send(siblings.SENT, [session_id])

    def _came_to(self, app: str, port: int) -> None:
        """Remember on which port an application was requested."""
        if port:
            self._ports.setdefault(app, set()).add(port)

    def _app_of(self, path: str) -> str:
        """Return the application whose page has this path, for visits without one."""
        path = path.partition("?")[0].removesuffix("/autoload.js").rstrip("/")
        routes = sorted(map(route_of, members(self._contexts)), key=len, reverse=True)
        inside = [route for route in routes if path.endswith(route.rstrip("/"))]
        return (inside or routes or ["/"])[0]

    def creation(self, app: str, change: int) -> None:
        """Record that the creation of a session began (+1) or ended (-1).

        Bokeh's `_pending_sessions` is not used, because Bokeh 3.9 leaves a failed creation in it.
        """
        with self._lock:
            self._creating[app] = self._creating.get(app, 0) + change

    @contextmanager
    def parting(self, session: Any, app: str) -> Iterator[None]:
        """Count a session as blocked while its application handles its destruction."""
        self._parting[session] = app
        try:
            yield
        finally:
            self._parting.pop(session, None)

    def subscribed(self, session: Any, connection: Any, visit: Visit | None) -> None:
        """Record that a WebSocket has become a connection of a session."""
        app = self._census.subscribed(session, connection, visit)
        if (mark := mark_of(session)) is not None:
            mark.opened = time.monotonic()
        if visit is not None:
            self._came_to(app, visit.port)
            visit.connections.append(connection)
            self._visits.discard(visit)
        made_here = self.pages.arrived(session.id)
        for other in list(self._visits):  # a page's visit may outlast it by its background tasks
            if session.id in other.pages:
                other.pages.remove(session.id)
        # Where connections are handed, no other worker made a page of this session.
        if not made_here or board.seat() is None:
            self._elsewhere.note(session.id)
        self.tally.add("bokeh_connections_opened_total", app)
        self.active(app)

    def unsubscribed(self, connection: Any) -> None:
        """Record the end of a connection, which Bokeh and the WebSocket may report repeatedly."""
        known = self._census.ended(connection)
        if known is None:
            return
        # None means that the connection broke (RFC 6455's 1006); under ASGI the code is unknown.
        code = str(getattr(connection._socket, "close_code", "other") or 1006)
        code = code if code in self._table.CLOSE_CODES else "other"
        self.tally.add("bokeh_connections_closed_total", known.app, code)
        self._left()
        self.active(known.app)

    def destroyed(self, session: Any) -> None:
        """Record a destroyed session. Ends its connections too, which bokeh-django never does."""
        for connection in self._census.abandoned(session):
            self.unsubscribed(connection)

    def active(self, app: str) -> None:
        """Record that a client was active."""
        self._activity[app] = time.time()

    def _left(self) -> None:
        """Record that a connection ended, broke or became stale; its client may reconnect."""
        self._last_disconnect = time.monotonic()

    # Called by the agent's thread ----------------------------------------------------------------

    def on_message(self, said: dict[str, Any], by: pod.Peer) -> bool:
        """Act on a message from a client of the agent's socket, if that client is allowed to.

        A trusted process, as the sidecar is, may show a notice. An ancestor of this process, as the
        launcher is, may start a drain. Another worker may report pages that arrived there or were
        sent from there. Returns whether the client waits for a report.
        """
        if said.get("drain") is True and pod.may_drain(by) and not self.admission.closed:
            self.admission.close(others=siblings.others())
            board.drain()
            coming = [session_id for visit in list(self._visits) for session_id in visit.pages]
            siblings.send(siblings.SENT, self.pages.sessions() + coming)
        if self.admission.closed:
            self.notices.close_allowed(list(self._loops))
        if "notice" in said and pod.may_answer(by):
            with suppress(ValueError):  # of a sidecar of another version
                notice = parsed(said["notice"])
                # Counted first, because a page that may be closed can be gone before the report.
                self._notified = sum(app.connected for app in self._census.count().values())
                self.notices.take(notice, list(self._loops))
        if by.pid and pod.may_answer(by):
            self.admission.expect(siblings.digests(said, siblings.SENT))
            self.pages.arrived_elsewhere(siblings.digests(said, siblings.ARRIVED))
        return not siblings.is_news(said)

    def sample(self) -> None:
        """Do the periodic work: sample the loops, find stale connections, announce arrivals."""
        for monitor in list(self._loops.values()):
            monitor.sample()
        self._census.look()
        self._elsewhere.tell()

    def report(self) -> dict[str, Any]:
        """Return the report as JSON values, which `exporter/wire.py` parses."""
        self.sample()
        loops = list(self._loops.values())
        running = [monitor for monitor in loops if monitor.running]
        now, left = time.monotonic(), self._last_disconnect
        return {
            "at": time.time(),
            "serving": bool(running),
            "watching": any(monitor.whole for monitor in running),
            "draining": self.admission.closed,
            "notice": self.notices.taken,
            "notice_sessions": self._notified,
            "started_age_s": now - min(m.began for m in running) if running else None,
            "stalled_s": max((m.stalled_seconds() for m in running), default=0.0),
            "lag_s": max((m.lag_seconds for m in running), default=0.0),
            "utilization": max((m.utilization() for m in running), default=0.0),
            "loop_cpu_s": sum(m.cpu_seconds for m in loops),
            "loop_busy_s": sum(m.busy_seconds for m in loops),
            "last_disconnect_age_s": None if left is None else now - left,
            "requests": len(self._visits) + board.coming(),
            "sockets": socket_inodes(),
            "apps": self._apps(),
            "rss_bytes": rss_bytes(),
            "cpu_s": time.process_time(),
            "cgroup": asdict(self._cgroup.read()) if self._cgroup is not None else None,
            "info": self._info(),
            **self.tally.dump(),
        }

    def _apps(self) -> dict[str, dict[str, Any]]:
        """Return the counts of each application by route; equal routes count as one."""
        found, opening = self._census.count(), self.pages.opening()
        for url in opening:
            found.setdefault(url, AppCensus())
        for session, url in snapshot(self._parting):
            found.setdefault(url, AppCensus()).blocked += session.destroyed
        for url, census in found.items():
            census.pending = self._creating.get(url, 0)
            census.opening = opening.get(url, 0)
        return {url: self._app(url, census) for url, census in found.items()}

    def _app(self, url: str, census: AppCensus) -> dict[str, Any]:
        activity = time.time() if census.busy else self._activity.get(url, 0.0)
        ports = sorted(self._ports.get(url, ()))
        return {**asdict(census), "last_activity": activity, "ports": ports}

    def _info(self) -> dict[str, str]:
        python = ".".join(str(part) for part in sys.version_info[:3])
        return {
            "bokeh_version": getattr(sys.modules.get("bokeh"), "__version__", ""),
            "panel_version": getattr(sys.modules.get("panel"), "__version__", ""),
            "python_version": python,
            "mode": self._mode,
        }


def socket_inodes() -> list[int]:
    """Return the inode numbers of this process's sockets, as in /proc/net/tcp; takes 1 us each."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - a Path for each takes twice as long
        try:
            status = os.fstat(int(name))
        except OSError:  # it was closed in the meantime
            continue
        if stat.S_ISSOCK(status.st_mode):
            found.append(status.st_ino)
    return found


def rss_bytes() -> int:
    """Return the resident memory of this process in bytes; field 2 of statm, in pages."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE


def uses_cgroup() -> bool:
    """Return whether to read the cgroup; servers that share a machine set `process` instead."""
    return os.environ.get("BOKEH_EXPORTER_RESOURCES", "cgroup") == "cgroup"
