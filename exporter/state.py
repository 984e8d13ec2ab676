"""/state: an observation as JSON for the daemon, which cannot wait for the next scrape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from exporter.ledger import WorkerView
from exporter.metrics import HINTS
from exporter.observe import PodView
from exporter.wire import AppReport

SESSIONS = ("connected", "lingering", "blocked", "pending")
CONNECTIONS = ("live", "stale")
APPS_BYTES = 24 << 10  # the daemon reads 64 KiB, of which 256 workers take half


def state(seen: PodView) -> dict[str, Any]:
    """Return the observation as JSON values; times in Unix seconds, ages and CPU in seconds."""
    collected, reports = seen.collected, seen.collected.reports
    return {
        "at": collected.at,
        "quality": seen.quality,
        "draining": collected.draining,
        "ready": seen.ready,
        "workers": [_worker(worker) for worker in collected.workers],
        "sessions": _sums(seen.apps.values(), (*SESSIONS, "opening")),
        "connections": _sums(seen.apps.values(), CONNECTIONS),
        "seats_taken": sum(app.seats for app in seen.apps.values()),
        "hints": _hints(seen.apps.values()),
        "requests": seen.requests,
        "created_total": seen.created_total,
        "released_total": seen.released_total,
        "ports": list(seen.port.ports),
        "empty_for_s": seen.empty_for_s,
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
        "apps": _apps(seen.apps),
    }


def _last_activity_age(seen: PodView) -> float | None:
    """Return the seconds since any client was active, or None without agents."""
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


def _hints(apps: Iterable[AppReport]) -> dict[str, int]:
    sums = _sums(apps, tuple(HINTS.values()))
    return {hint: sums[count] for hint, count in HINTS.items()}


def _memory(seen: PodView) -> dict[str, Any]:
    working_set, limit = seen.memory()
    return {
        "working_set_bytes": working_set,
        "limit_bytes": limit,
        "rss_bytes": seen.rss_bytes(),
    }


def _apps(apps: Mapping[str, AppReport]) -> dict[str, Any]:
    """Return the applications by route; if they are too many, those with most connections."""
    left, shown = APPS_BYTES, {}
    for url, app in sorted(apps.items(), key=lambda item: (-item[1].live, item[0])):
        shown[url] = _app(app)
        left -= len(json.dumps({url: shown[url]}))
        if left < 0:
            del shown[url]
            break
    return dict(sorted(shown.items()))


def _app(app: AppReport) -> dict[str, Any]:
    values = asdict(app)
    return {name: values[name] for name in (*SESSIONS, *CONNECTIONS)}
