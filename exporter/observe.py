"""One observation of the pod: the workers, or the estimate without them, and what they run on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from exporter.estimate import PortUse, network_bytes, port_use
from exporter.ledger import Collected, Ledger
from exporter.report import AppReport, CgroupReport, Report

EXACT, ESTIMATED = "exact", "estimated"


@dataclass(frozen=True, slots=True)
class Observation:
    """What /metrics and /state are made of; `apps` sums the workers by application."""

    collected: Collected
    quality: str
    apps: Mapping[str, AppReport]
    port: PortUse | None
    network: tuple[int, int]

    @property
    def up(self) -> bool:
        """Whether every worker answered; without agents, whether the port is served."""
        if self.port is not None:
            return self.port.listening
        return all(worker.ok for worker in self.collected.workers)

    @property
    def ready(self) -> bool:
        """Whether users can be sent here: an event loop runs or, without agents, the port is open.

        A busy or draining server stays ready: NotReady pods are the first that Kubernetes deletes,
        and this one may be full of users.
        """
        if self.port is not None:
            return self.port.listening
        return any(report.serving for report in self.collected.reports)

    @property
    def cgroups(self) -> tuple[CgroupReport, ...]:
        """Each container's cgroup once, as its latest reporter saw it."""
        by_age = sorted(self.collected.reports, key=lambda report: report.at)
        return tuple({r.cgroup.key: r.cgroup for r in by_age if r.cgroup is not None}.values())

    def resource(self, of: Callable[[CgroupReport], float | None]) -> float | None:
        """A value summed over the containers that have it, None if none does."""
        values = [value for cgroup in self.cgroups if (value := of(cgroup)) is not None]
        return sum(values) if values else None

    def rss_bytes(self) -> int | None:
        """Resident memory of all workers, None without agents."""
        reports = self.collected.reports
        return sum(report.rss_bytes for report in reports) if reports else None

    def working_set_bytes(self) -> float | None:
        """Of the containers; the workers' resident memory where no cgroup tells."""
        working_set = self.resource(lambda cgroup: cgroup.working_set_bytes)
        return self.rss_bytes() if working_set is None else working_set

    def cpu_seconds(self) -> float:
        """Of the containers; of the workers, dead ones included, where no cgroup tells."""
        used = self.resource(lambda cgroup: cgroup.cpu_seconds)
        return (
            self.collected.counters.get(("bokeh_cpu_seconds_total", ()), 0)
            if used is None
            else used
        )


class Observer:
    """Observes an instance whenever it is asked to."""

    def __init__(self, instance: str, app_port: int) -> None:
        self._ledger = Ledger(instance)
        self._app_port = app_port
        # Without agents nobody tells of a disconnect: what was before counts as one.
        self._established, self._fell_at = 0, time.time()

    def observe(self) -> Observation:
        """The pod now. Takes as long as the slowest worker, at most half a second."""
        collected = self._ledger.collect()
        if collected.workers:
            return Observation(collected, EXACT, sum_apps(collected.reports), None, network_bytes())
        port = port_use(self._app_port)
        collected = replace(collected, last_disconnect_age_s=self._quiet_for(port, collected.at))
        users = AppReport(connected=port.established, live=port.established)
        return Observation(collected, ESTIMATED, {"": users}, port, network_bytes())

    def _quiet_for(self, port: PortUse, now: float) -> float:
        """Seconds since connections were seen to be fewer than before."""
        if port.established < self._established:
            self._fell_at = now
        self._established = port.established
        return max(0.0, now - self._fell_at)


def sum_apps(reports: Iterable[Report]) -> dict[str, AppReport]:
    """Every application over all workers: counts add up, ages and times are the largest."""
    total: dict[str, AppReport] = {}
    for report in reports:
        for url, app in report.apps.items():
            total[url] = _join(total.get(url, AppReport()), app)
    return total


def _join(one: AppReport, other: AppReport) -> AppReport:
    largest = {"oldest_age_s", "last_activity"}
    values: dict[str, Any] = {
        f.name: (max if f.name in largest else _add)(getattr(one, f.name), getattr(other, f.name))
        for f in fields(AppReport)
    }
    return AppReport(**values)


def _add(one: float, other: float) -> float:
    return one + other
