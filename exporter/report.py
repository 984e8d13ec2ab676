"""What a worker's agent answered, parsed. The other end is `exporter/agent/worker.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Series = tuple[str, tuple[str, ...]]  # metric name, label values


@dataclass(frozen=True, slots=True)
class AppReport:
    """One application in one worker; `opening` are new sessions whose page is still loading."""

    connected: int = 0
    lingering: int = 0
    blocked: int = 0
    pending: int = 0
    opening: int = 0
    live: int = 0
    stale: int = 0
    oldest_age_s: float = 0.0
    last_activity: float = 0.0


@dataclass(frozen=True, slots=True)
class HistogramTotal:
    """Observations per bucket (not cumulative, the last is +Inf) and their sum in seconds."""

    counts: tuple[int, ...]
    sum: float

    def plus(self, other: HistogramTotal) -> HistogramTotal:
        """Both together; an older agent with other bounds is left out, not mixed in."""
        if len(self.counts) != len(other.counts):
            return self
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return HistogramTotal(counts, self.sum + other.sum)


@dataclass(frozen=True, slots=True)
class CgroupReport:
    """See `exporter.agent.cgroup.Reading`."""

    key: str
    memory_bytes: int | None = None
    working_set_bytes: int | None = None
    limit_bytes: int | None = None
    oom_kills: int | None = None
    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    throttled_periods: int | None = None
    periods: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One worker at `at` (unix seconds)."""

    at: float
    serving: bool = False
    stalled_s: float = 0.0
    lag_s: float = 0.0
    utilization: float = 0.0
    loop_cpu_s: float = 0.0
    last_disconnect_age_s: float | None = None
    apps: Mapping[str, AppReport] = field(default_factory=dict)
    rss_bytes: int = 0
    cpu_s: float = 0.0
    cgroup: CgroupReport | None = None
    info: Mapping[str, str] = field(default_factory=dict)
    counters: Mapping[Series, float] = field(default_factory=dict)
    histograms: Mapping[Series, HistogramTotal] = field(default_factory=dict)


def parse(answer: bytes) -> Report | None:
    """The report in an answer, None if it is cut short or no report at all."""
    try:
        values = json.loads(answer)
        return Report(**{**values, **_nested(values)})
    except (ValueError, TypeError, KeyError):
        return None


def parse_launcher(answer: bytes) -> Mapping[str, Any] | None:
    """The launcher's own answer, None if it is no such thing."""
    try:
        values = json.loads(answer)
    except ValueError:
        return None
    return values if isinstance(values, dict) and "draining" in values else None


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    cgroup = values["cgroup"]
    return {
        "apps": {url: AppReport(**app) for url, app in values["apps"].items()},
        "cgroup": CgroupReport(**cgroup) if cgroup is not None else None,
        "counters": {(name, tuple(labels)): value for name, labels, value in values["counters"]},
        "histograms": {
            (name, tuple(labels)): HistogramTotal(tuple(counts), total)
            for name, labels, counts, total in values["histograms"]
        },
    }
