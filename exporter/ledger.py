"""Workers come, hang and die; totals only grow. The collector's memory between two scrapes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from exporter import collect
from exporter.collect import LAUNCHER, Name
from exporter.report import HistogramTotal, Report, Series, parse, parse_launcher

LOST = "bokeh_sessions_lost_total"


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A live worker: its last report (None if it never gave one) and whether it answered now."""

    name: Name
    ok: bool
    report: Report | None
    stalled_s: float


@dataclass(frozen=True, slots=True)
class Collected:
    """One collection; ages in seconds, `at` in unix seconds."""

    at: float
    workers: tuple[WorkerView, ...] = ()
    draining: bool = False
    last_disconnect_age_s: float | None = None
    counters: Mapping[Series, float] = field(default_factory=dict)
    histograms: Mapping[Series, HistogramTotal] = field(default_factory=dict)

    @property
    def reports(self) -> tuple[Report, ...]:
        """The last report of every live worker that ever gave one."""
        return tuple(w.report for w in self.workers if w.report is not None)


class Totals:
    """Counters and histograms by series, summed."""

    def __init__(self) -> None:
        self.counters: dict[Series, float] = {}
        self.histograms: dict[Series, HistogramTotal] = {}

    def add(self, report: Report) -> None:
        """Add a worker's totals; its CPU times count as counters like any other."""
        own = {("bokeh_cpu_seconds_total", ()): report.cpu_s}
        own["bokeh_event_loop_cpu_seconds_total", ()] = report.loop_cpu_s
        zeros: dict[Series, float] = {(LOST, (url,)): 0.0 for url in report.apps}
        for series, value in (*report.counters.items(), *own.items(), *zeros.items()):
            self.count(series, value)
        for series, total in report.histograms.items():
            known = self.histograms.get(series)
            self.histograms[series] = known.plus(total) if known is not None else total

    def count(self, series: Series, value: float) -> None:
        """Add to a counter; 0 makes its series exist."""
        self.counters[series] = self.counters.get(series, 0.0) + value

    def plus(self, reports: Iterable[Report]) -> Totals:
        """A copy with these reports added."""
        total = Totals()
        total.counters, total.histograms = dict(self.counters), dict(self.histograms)
        for report in reports:
            total.add(report)
        return total


class Ledger:
    """Collects an instance again and again; safe to be called from several threads."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._lock = threading.Lock()
        self._last: dict[Name, tuple[float, Report | None]] = {}
        self._retired = Totals()
        self._draining = False
        self._last_disconnect: float | None = None

    def collect(self) -> Collected:
        """Ask all workers now. Never fails because one of them does."""
        with self._lock:
            names = collect.find(self._instance)
            answers = collect.ask(names)
            if len(answers) < len(names):  # somebody died or hangs: who is still there tells which
                names = collect.find(self._instance)
            return self._book(names, answers, time.time())

    def _book(self, names: Iterable[Name], answers: Mapping[Name, bytes], now: float) -> Collected:
        present = [name for name in names if name.slot != LAUNCHER]
        was_draining = self._draining
        self._draining = any(_draining(name, answer) for name, answer in answers.items())
        self._retire(set(self._last) - set(present), now, told=was_draining or self._draining)
        workers = tuple(self._view(name, answers.get(name), now) for name in present)
        totals = self._retired.plus(w.report for w in workers if w.report is not None)
        return Collected(
            at=now,
            workers=workers,
            draining=self._draining,
            last_disconnect_age_s=self._disconnect_age(now),
            counters=totals.counters,
            histograms=totals.histograms,
        )

    def _retire(self, gone: Iterable[Name], now: float, *, told: bool) -> None:
        """A dead worker leaves every gauge at once; what it had counted stays counted.

        told: the server is being stopped, so its sessions are not lost by accident.
        """
        for name in gone:
            _, report = self._last.pop(name)
            if report is None:
                continue
            self._retired.add(report)
            self._note_disconnect(report)
            if any(app.live for app in report.apps.values()):
                self._last_disconnect = now  # its clients lost their connection just now
            for url, app in report.apps.items():
                self._retired.count((LOST, (url,)), 0 if told else app.connected)

    def _view(self, name: Name, answer: bytes | None, now: float) -> WorkerView:
        report = parse(answer) if answer is not None else None
        if report is not None:
            self._last[name] = (now, report)
            self._note_disconnect(report)
            return WorkerView(name, True, report, report.stalled_s)
        seen, last = self._last.setdefault(name, (now, None))
        silent = now - seen
        return WorkerView(name, False, last, silent + (last.stalled_s if last is not None else 0.0))

    def _note_disconnect(self, report: Report) -> None:
        if report.last_disconnect_age_s is not None:
            when = report.at - report.last_disconnect_age_s
            self._last_disconnect = max(when, self._last_disconnect or when)

    def _disconnect_age(self, now: float) -> float | None:
        return None if self._last_disconnect is None else max(0.0, now - self._last_disconnect)


def _draining(name: Name, answer: bytes) -> bool:
    values = parse_launcher(answer) if name.slot == LAUNCHER else None
    return values is not None and bool(values["draining"])
