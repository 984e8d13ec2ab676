"""One observation of the pod: its workers (or an estimate without agents) and its resources."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from math import inf
from operator import add
from typing import Any

from exporter.agent import pod
from exporter.agent.cgroup import CgroupReading
from exporter.collect import Trust
from exporter.estimate import Sockets, network_bytes, read_sockets
from exporter.ledger import Collected, Ledger
from exporter.port_watch import PortView, PortWatch
from exporter.wire import AppReport, Report, empty_for, holders

EXACT, ESTIMATED = "exact", "estimated"
LOOK_SECONDS = 5.0
TABLE_SECONDS = 1.0  # for which a reading of the kernel's tables is reused
CREATED, USED = "bokeh_sessions_created_total", "bokeh_sessions_used_total"
RELEASED = "bokeh_sessions_released_total"


@dataclass(frozen=True, slots=True)
class PodView:
    """The pod at one moment: the source of /metrics and /state.

    apps: the sums over all workers, by application. watched_s: seconds since the observer began;
    it cannot know of earlier sessions, such as those of a worker that had crashed before.
    """

    collected: Collected
    apps: Mapping[str, AppReport]
    port: PortView
    network: tuple[int, int]
    watched_s: float = inf

    @property
    def has_agents(self) -> bool:
        """Whether any process has an agent; without one, only connections can be counted."""
        return bool(self.collected.workers)

    @property
    def has_costs(self) -> bool:
        """Whether an app has said of a session that it takes another number of seats than 1."""
        return any(app.costed for app in self.apps.values())

    @property
    def quality(self) -> str:
        """`exact` while agents see every connection of the served ports, else `estimated`."""
        exact = self.has_agents and self.port.watched and not self.port.unwatched
        return EXACT if exact else ESTIMATED

    @property
    def up(self) -> bool:
        """Whether every worker answered; without agents, whether a port is open."""
        return not self.collected.silent if self.has_agents else self.port.open

    @property
    def ready(self) -> bool:
        """Whether new users can be sent here: an event loop runs, or a port without agents is open.

        A busy or draining server stays ready, because Kubernetes deletes NotReady pods first and
        this pod may have many sessions.
        """
        serving = any(report.serving for report in self.collected.reports)
        return serving or (self.port.open and not self.port.watched)

    @property
    def held_by(self) -> tuple[str, ...]:
        """What keeps the server from being empty, in words; nothing if it is empty."""
        port = self.port
        return holders(
            self.collected.reports, self.collected.silent, port.unwatched, port.delivering
        )

    @property
    def empty_for_s(self) -> float | None:
        """Seconds since the last sign of a user; None while there is one or it is unknown."""
        seen = self.collected
        if not self.ready:
            return None
        served_s = self.watched_s if seen.served_s is None else seen.served_s
        return empty_for(self.held_by, seen.last_disconnect_age_s, served_s, self.watched_s)

    @property
    def never_used(self) -> bool:
        """Whether no session was ever created, as far as agents have seen."""
        seen = self.collected
        quiet = seen.last_disconnect_age_s is None and not self.held_by
        return quiet and self.port.watched and self.created_total == 0

    @property
    def created_total(self) -> int | None:
        """Sessions created so far, including those of ended workers; None without agents."""
        return self._total(CREATED)

    @property
    def released_total(self) -> int | None:
        """Sessions closed so far because nobody used their page; None without agents."""
        return self._total(RELEASED)

    def _total(self, counter: str) -> int | None:
        if not self.collected.workers:
            return None
        counters = self.collected.counters.items()
        return round(sum(value for (name, _), value in counters if name == counter))

    def sessions_per_user(self, url: str) -> float | None:
        """Return the sessions of an application per session used, or None before the first.

        Sessions whose page may still be loading do not count yet.
        """
        counters = self.collected.counters
        created, used = (counters.get((name, (url,)), 0.0) for name in (CREATED, USED))
        return max(used, created - self.apps[url].awaited) / used if used else None

    @property
    def requests(self) -> int | None:
        """HTTP requests in flight; None if no agent reports them."""
        told = [r.requests for r in self.collected.reports if r.requests is not None]
        return sum(told) if told else None

    @property
    def cgroups(self) -> tuple[CgroupReading, ...]:
        """Each container's cgroup once, as in the latest report."""
        by_age = sorted(self.collected.reports, key=lambda report: report.at)
        return tuple({r.cgroup.key: r.cgroup for r in by_age if r.cgroup is not None}.values())

    def resource(self, of: Callable[[CgroupReading], float | None]) -> float | None:
        """Return a value summed over the containers that have it, or None if none has it."""
        values = [value for cgroup in self.cgroups if (value := of(cgroup)) is not None]
        return sum(values) if values else None

    def rss_bytes(self) -> int | None:
        """Return the resident memory of all workers, or None without agents."""
        reports = self.collected.reports
        return sum(report.rss_bytes for report in reports) if reports else None

    def memory(self) -> tuple[float | None, float | None]:
        """Return working set and limit of the container that is nearest to its limit, in bytes.

        The kernel kills that container first; a sum would hide it behind another one with room.
        Without any limit the working set is the sum over the containers, and without any cgroup it
        is the workers' resident memory.
        """
        told = [c for c in self.cgroups if c.working_set_bytes is not None]
        limited = [c for c in told if c.limit_bytes]
        if limited:
            nearest = max(limited, key=lambda c: (c.working_set_bytes or 0) / (c.limit_bytes or 1))
            return nearest.working_set_bytes, nearest.limit_bytes
        if told:
            return sum(c.working_set_bytes or 0 for c in told), None
        return self.rss_bytes(), None

    def cpu_seconds(self) -> float:
        """Return the CPU time of the containers in seconds.

        Without any cgroup, returns that of the workers, including those that have ended.
        """
        used = self.resource(lambda cgroup: cgroup.cpu_seconds)
        return (
            self.collected.counters.get(("bokeh_cpu_seconds_total", ()), 0)
            if used is None
            else used
        )


class PodObserver:
    """Observes an instance whenever it is asked to.

    given: the served port, if known. trusts: returns whether an agent or a launcher is trusted.
    """

    def __init__(self, instance: str, given: int | None, trusts: Trust = pod.may_answer) -> None:
        self._ledger = Ledger(instance, trusts)
        self.peers = self._ledger.peers
        self._given = given
        self._watch = PortWatch(given)
        self._lock = threading.Lock()
        self._began = self._observed = time.monotonic()
        self._table, self._table_until = Sockets(), self._began

    def observe(self, *, drain: bool = False) -> PodView:
        """Observe the pod now. Takes as long as the slowest worker, at most half a second.

        drain: tells the workers to take no new sessions from now on.
        """
        with self._lock:
            before = self._sockets()
            served = self._given if self._given in before.listening else None
            collected = self._ledger.collect(drain=drain, port=served)
            port = self._watch.look(before, collected)
            if not port.watched or not _tell_of_sockets(collected):
                self._table_until = time.monotonic()
            self._observed = time.monotonic()
            watched_s = self._observed - self._began
        ages = [collected.last_disconnect_age_s, port.left_s]
        if not collected.workers:  # no agent knows when clients left: assume when we began
            ages.append(watched_s)
        left_s = min((age for age in ages if age is not None), default=None)
        collected = replace(collected, last_disconnect_age_s=left_s)
        apps = sum_apps(collected.reports)
        if port.unwatched or not collected.workers:
            unseen = AppReport(connected=port.unwatched, live=port.unwatched)
            apps[""] = _join(apps.get("", AppReport()), unseen)
        return PodView(collected, apps, port, network_bytes(), watched_s)

    def _sockets(self) -> Sockets:
        """Return the kernel's tables; read again if connections are all that can be counted."""
        now = time.monotonic()
        if now >= self._table_until:
            self._table, self._table_until = read_sockets(), now + TABLE_SECONDS
        return self._table

    def look(self) -> None:
        """Observe, unless that was done within the last 5 s.

        So the sessions of a worker that crashes are known. If the observation fails, the next call
        tries again.
        """
        if time.monotonic() - self._observed >= LOOK_SECONDS:
            with suppress(OSError):
                self.observe()


def _tell_of_sockets(collected: Collected) -> bool:
    reports = collected.reports
    return bool(reports) and all(report.sockets is not None for report in reports)


def sum_apps(reports: Iterable[Report]) -> dict[str, AppReport]:
    """Sum each application over all workers; ages and times are the largest of all."""
    total: dict[str, AppReport] = {}
    for report in reports:
        for url, app in report.apps.items():
            total[url] = _join(total.get(url, AppReport()), app)
    return total


def _join(one: AppReport, other: AppReport) -> AppReport:
    joins: dict[str, Callable[[Any, Any], Any]] = {"oldest_age_s": max, "last_activity": max}
    pairs = ((f.name, getattr(one, f.name), getattr(other, f.name)) for f in fields(AppReport))
    return AppReport(**{name: joins.get(name, add)(a, b) for name, a, b in pairs})
