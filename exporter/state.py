"""/state: an observation as JSON, for the daemon, which must not wait for a scrape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from exporter.ledger import WorkerView
from exporter.observe import Observation
from exporter.report import AppReport

SESSIONS = ("connected", "lingering", "blocked", "pending")
CONNECTIONS = ("live", "stale")


def state(seen: Observation) -> dict[str, Any]:
    """The observation with plain names; times in unix seconds, ages and CPU in seconds."""
    collected, reports = seen.collected, seen.collected.reports
    return {
        "at": collected.at,
        "quality": seen.quality,
        "draining": collected.draining,
        "ready": seen.ready,
        "workers": [_worker(worker) for worker in collected.workers],
        "sessions": _sums(seen.apps.values(), (*SESSIONS, "opening")),
        "connections": _sums(seen.apps.values(), CONNECTIONS),
        "last_disconnect_age_s": collected.last_disconnect_age_s,
        "last_activity_age_s": _last_activity_age(seen),
        "memory": _memory(seen),
        "cpu": {
            "seconds_total": seen.cpu_seconds(),
            "throttled_seconds_total": seen.resource(lambda cgroup: cgroup.throttled_seconds),
        },
        "loop": {
            "utilization": max((report.utilization for report in reports), default=0.0),
            "lag_s": max((max(w.stalled_s, _lag(w)) for w in collected.workers), default=0.0),
        },
        "apps": {url: _app(app) for url, app in sorted(seen.apps.items())},
    }


def _last_activity_age(seen: Observation) -> float | None:
    """Since any client did something, in seconds; None without agents, which alone see it."""
    latest = max((app.last_activity for app in seen.apps.values()), default=0.0)
    return max(0.0, seen.collected.at - latest) if latest else None


def _worker(worker: WorkerView) -> dict[str, Any]:
    return {
        "slot": int(worker.name.slot),
        "pid": worker.name.pid,
        "ok": worker.ok,
        "stalled_s": worker.stalled_s,
        "at": worker.report.at if worker.report is not None else None,
        "utilization": worker.report.utilization if worker.report is not None else None,
    }


def _lag(worker: WorkerView) -> float:
    return worker.report.lag_s if worker.report is not None else 0.0


def _sums(apps: Iterable[AppReport], names: tuple[str, ...]) -> dict[str, int]:
    listed = list(apps)
    return {name: sum(getattr(app, name) for app in listed) for name in names}


def _memory(seen: Observation) -> dict[str, Any]:
    return {
        "working_set_bytes": seen.working_set_bytes(),
        "limit_bytes": seen.resource(lambda cgroup: cgroup.limit_bytes),
        "rss_bytes": seen.rss_bytes(),
    }


def _app(app: AppReport) -> dict[str, Any]:
    values = asdict(app)
    return {name: values[name] for name in (*SESSIONS, *CONNECTIONS)}
