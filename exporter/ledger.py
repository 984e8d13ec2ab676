"""State between two scrapes, so that counters never decrease when workers hang or exit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from exporter.agent import pod
from exporter.agent.pod import LAUNCHER, Name
from exporter.collect import ALL_ANSWERS, Peers, Trust
from exporter.wire import (
    DRAIN,
    AppReport,
    HistogramTotal,
    LauncherReport,
    Report,
    SeriesKey,
    parse,
    parse_launcher,
)

LOST = "bokeh_sessions_lost_total"
MOST_SERIES = 20_000  # of workers that have ended; further series are dropped


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A live worker: its last report (None if it never sent one) and whether it answered now."""

    name: Name
    ok: bool
    report: Report | None
    stalled_s: float


@dataclass(frozen=True, slots=True)
class Collected:
    """One collection; ages in seconds, `at` in Unix seconds.

    served_s: seconds since the first of these workers began to serve, None while none does.
    launcher_ports: ports on which descendants of the launcher listen. launcher_sockets: inode
    numbers of their sockets. Both are None if unknown.
    """

    at: float
    workers: tuple[WorkerView, ...] = ()
    draining: bool = False
    last_disconnect_age_s: float | None = None
    served_s: float | None = None
    launcher_ports: tuple[int, ...] | None = None
    launcher_sockets: tuple[int, ...] | None = None
    counters: Mapping[SeriesKey, float] = field(default_factory=dict)
    histograms: Mapping[SeriesKey, HistogramTotal] = field(default_factory=dict)

    @property
    def reports(self) -> tuple[Report, ...]:
        """The last report of every live worker that has sent one."""
        return tuple(w.report for w in self.workers if w.report is not None)

    @property
    def silent(self) -> int:
        """The number of workers that do not answer, or never have."""
        return sum(not worker.ok for worker in self.workers)


class Totals:
    """Counters and histograms by series, summed."""

    def __init__(self) -> None:
        self.counters: dict[SeriesKey, float] = {}
        self.histograms: dict[SeriesKey, HistogramTotal] = {}

    def add(self, report: Report) -> None:
        """Add a worker's totals, including its CPU times as counters."""
        own = {("bokeh_cpu_seconds_total", ()): report.cpu_s}
        own["bokeh_event_loop_cpu_seconds_total", ()] = report.loop_cpu_s
        if report.loop_busy_s is not None:
            own["bokeh_event_loop_busy_seconds_total", ()] = report.loop_busy_s
        zeros: dict[SeriesKey, float] = {(LOST, (url,)): 0.0 for url in report.apps}
        for series, value in (*report.counters.items(), *own.items(), *zeros.items()):
            self.count(series, value)
        for series, total in report.histograms.items():
            known = self.histograms.get(series)
            if known is not None:
                self.histograms[series] = known.plus(total)
            elif len(self.histograms) < MOST_SERIES:
                self.histograms[series] = total

    def count(self, series: SeriesKey, value: float) -> None:
        """Add to a counter; adding 0 creates the series."""
        if series in self.counters or len(self.counters) < MOST_SERIES:
            self.counters[series] = self.counters.get(series, 0.0) + value

    def plus(self, reports: Iterable[Report]) -> Totals:
        """Return a copy with these reports added."""
        total = Totals()
        total.counters, total.histograms = dict(self.counters), dict(self.histograms)
        for report in reports:
            total.add(report)
        return total


class Ledger:
    """Collects the reports of an instance repeatedly. Several threads may share it.

    trusts: returns whether an agent or a launcher is trusted.
    """

    def __init__(self, instance: str, trusts: Trust = pod.may_answer) -> None:
        self.peers = Peers(instance, trusts)
        self._lock = threading.Lock()
        self._port: int | None = None
        self._sizes: dict[Name, int] = {}
        self._last: dict[Name, tuple[float, Report | None]] = {}
        self._serves_since: dict[Name, float] = {}
        self._retired = Totals()
        self._draining = False
        self._last_disconnect: float | None = None

    def collect(self, *, drain: bool = False, port: int | None = None) -> Collected:
        """Ask all workers now; a worker that does not answer keeps its last report.

        drain: tells them to take no new sessions from now on. port: the served port, if known;
        applications that are served on other ports are left out.
        """
        with self._lock:
            self._port = port
            names = self.peers.present()
            answers = self.peers.ask(names, DRAIN if drain else b"")
            if len(answers) < len(names):  # a worker exited or hangs; one that exited is absent now
                names = self.peers.present()
            return self._book(names, answers, time.monotonic())

    def _book(self, names: Iterable[Name], answers: Mapping[Name, bytes], now: float) -> Collected:
        """Update the state. now: of the monotonic clock, so that no step changes an age."""
        present = [name for name in names if name.slot != LAUNCHER]
        was_draining = self._draining
        launchers = [parse_launcher(answers[n]) for n in answers if n.slot == LAUNCHER]
        self._draining = any(told is not None and told.draining for told in launchers)
        self._retire(set(self._last) - set(present), now, told=was_draining or self._draining)
        workers = tuple(self._view(name, answers.get(name), now) for name in present)
        totals = self._retired.plus(w.report for w in workers if w.report is not None)
        return Collected(
            at=time.time(),
            workers=workers,
            draining=self._draining,
            launcher_ports=_joined(launchers, lambda told: told.ports),
            launcher_sockets=_joined(launchers, lambda told: told.sockets),
            last_disconnect_age_s=self._disconnect_age(now),
            served_s=max((now - self._serves_since[n] for n in self._serves_since), default=None),
            counters=totals.counters,
            histograms=totals.histograms,
        )

    def _retire(self, gone: Iterable[Name], now: float, *, told: bool) -> None:
        """Remove workers that have ended from the gauges, and keep what they counted.

        told: the server is being stopped on purpose, so its sessions do not count as lost.
        """
        for name in gone:
            _, report = self._last.pop(name)
            self._sizes.pop(name, None)
            self._serves_since.pop(name, None)
            if report is None:
                continue
            self._retired.add(report)
            if report.requests or any(map(_is_used, report.apps.values())):
                self._last_disconnect = now  # its clients lost their connections with it
            for url, app in report.apps.items():
                self._retired.count((LOST, (url,)), 0 if told else app.connected)

    def _view(self, name: Name, answer: bytes | None, now: float) -> WorkerView:
        report = None
        if answer is not None and self._can_keep(name, len(answer)):
            report = parse(answer, self._port)
        if answer is not None and report is not None:
            self._sizes[name] = len(answer)
            self._last[name] = (now, report)
            self._note_disconnect(report, now)
            if report.serving:
                self._serves_since.setdefault(name, now - (report.started_age_s or 0.0))
            return WorkerView(name, True, report, report.stalled_s)
        seen, last = self._last.setdefault(name, (now, None))
        silent = now - seen
        return WorkerView(name, False, last, silent + (last.stalled_s if last is not None else 0.0))

    def _can_keep(self, name: Name, size: int) -> bool:
        """Return whether an answer of this size fits beside those of the other live workers."""
        others = sum(kept for other, kept in self._sizes.items() if other != name)
        return size + others <= ALL_ANSWERS

    def _note_disconnect(self, report: Report, now: float) -> None:
        """Remember the latest disconnect. now: when the report arrived."""
        if report.last_disconnect_age_s is not None:
            when = now - report.last_disconnect_age_s
            last = self._last_disconnect
            self._last_disconnect = when if last is None else max(when, last)

    def _disconnect_age(self, now: float) -> float | None:
        return None if self._last_disconnect is None else max(0.0, now - self._last_disconnect)


def _is_used(app: AppReport) -> bool:
    return bool(app.live or app.pending or app.opening or app.blocked)


def _joined(
    launchers: list[LauncherReport | None], of: Callable[[LauncherReport], tuple[int, ...] | None]
) -> tuple[int, ...] | None:
    """Return the values of all launchers, or None if there is none or one does not know its own."""
    found: set[int] = set()
    for told in launchers:
        values = None if told is None else of(told)
        if values is None:
            return None
        found.update(values)
    return tuple(sorted(found)) if launchers else None
