"""The messages between agent, launcher, sidecar and daemon, and the one definition of empty.

Agent, launcher and sidecar may have different versions: unknown keys are ignored at every level,
and a missing newer key is None, which means unknown and never 0 sessions. An answer is discarded as
a whole if a value has a wrong type, is not finite or is out of range, or if the answer is too long
or would take too much memory. Totals that the metric table lacks are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from math import isfinite
from typing import Any

from exporter.agent.cgroup import CgroupReading
from exporter.metrics import BY_NAME

SeriesKey = tuple[str, tuple[str, ...]]  # metric name, label values

DRAIN = b'{"drain": true}\n'  # tells an agent to take no new sessions from now on
RECONNECT_SECONDS = 30.0  # BokehJS reconnects after 0, 2, 4, 8 and 16 s
STALLED_SECONDS = 2.0  # of an event loop, in which requests may wait unread and uncounted
LARGEST = 1e18  # more bytes, seconds or inodes than any machine has; sums of it stay finite
MOST_BRACKETS = 60_000  # an application has about 70; each takes up to 90 bytes of memory
MOST_APPS = 1000
MOST_SOCKETS = 50_000
MOST_ROWS = 6000  # of counters, and as many of histograms; an application has 15 and 8
MOST_USERS = 10_000_000  # sessions, connections or requests of one worker
MOST_SEATS = 1000  # that one session may take
LONGEST_TEXT = 500  # characters of a route or a label


@dataclass(frozen=True, slots=True)
class AppReport:
    """One application in one worker.

    opening: pages whose WebSocket is not open yet. awaited: sessions that no client has connected
    to, and whose page may still be loading. By hints of the application (see `exporter.hints`):
    busy: sessions in which it works. may_close: connected sessions that may be closed. costed:
    connected sessions that take another number of seats than 1, in all costs.
    """

    connected: int = 0
    lingering: int = 0
    blocked: int = 0
    pending: int = 0
    opening: int = 0
    awaited: int = 0
    live: int = 0
    stale: int = 0
    oldest_age_s: float = 0.0
    last_activity: float = 0.0
    busy: int = 0
    may_close: int = 0
    costed: int = 0
    costs: float = 0.0

    @property
    def seats(self) -> float:
        """The seats that the connected sessions take: 1 each, unless a hint says another cost."""
        return max(0, self.connected - self.costed) + self.costs


@dataclass(frozen=True, slots=True)
class HistogramTotal:
    """Observations per bucket (not cumulative, the last is +Inf) and their sum in seconds."""

    counts: tuple[int, ...]
    sum: float

    def plus(self, other: HistogramTotal) -> HistogramTotal:
        """Return the sum of both."""
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return HistogramTotal(counts, self.sum + other.sum)


@dataclass(frozen=True, slots=True)
class Report:
    """One worker at `at` (Unix seconds).

    requests: HTTP requests in flight. sockets: inode numbers of the process's sockets. watching:
    whether the agent sees every server of its process; False means that the connections of the
    process must be counted from the port. started_age_s: seconds since it began to serve. notice:
    the ID of the last notice that it took. notice_sessions: connected sessions in that moment. A
    value is None if an agent of an older version does not report it.
    """

    at: float
    serving: bool = False
    stalled_s: float = 0.0
    lag_s: float = 0.0
    utilization: float = 0.0
    loop_cpu_s: float = 0.0
    loop_busy_s: float | None = None
    last_disconnect_age_s: float | None = None
    requests: int | None = None
    watching: bool | None = None
    started_age_s: float | None = None
    notice: str | None = None
    notice_sessions: int | None = None
    rss_bytes: int = 0
    cpu_s: float = 0.0
    apps: Mapping[str, AppReport] = field(default_factory=dict)
    sockets: frozenset[int] | None = None
    cgroup: CgroupReading | None = None
    info: Mapping[str, str] = field(default_factory=dict)
    counters: Mapping[SeriesKey, float] = field(default_factory=dict)
    histograms: Mapping[SeriesKey, HistogramTotal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LauncherReport:
    """The launcher's own report.

    ports: on which its descendants listen. sockets: inode numbers of the descendants' sockets. Both
    are None if they are unknown.
    """

    draining: bool
    ports: tuple[int, ...] | None = None
    sockets: tuple[int, ...] | None = None


def parse(answer: bytes, port: int | None = None) -> Report | None:
    """Parse a worker's answer. Returns None if it is truncated or not a report.

    port: the served port. An application that was only requested on other `ports`, such as a
    dashboard that a library serves within the app, is left out with all its totals.
    """
    try:
        values = _loaded(answer)
        elsewhere = _elsewhere(values["apps"], port)
        if elsewhere:
            values = _without(values, elsewhere)
        report = Report(**_plain(Report, values), **_nested(values))
    except MALFORMED:
        return None
    most = max(report.requests or 0, report.notice_sessions or 0)
    return report if most <= MOST_USERS else None


def parse_launcher(answer: bytes) -> LauncherReport | None:
    """Parse the launcher's answer. Returns None if it is not one."""
    try:
        return LauncherReport(**_plain(LauncherReport, _loaded(answer)))
    except MALFORMED:
        return None


def termination_message(cut: int) -> str:
    """Return the line that tells the daemon how many sessions the launcher cut."""
    return json.dumps({"bokeh-exporter": {"cut": cut}}) + "\n"


def _loaded(answer: bytes) -> Any:
    """Return the parsed JSON. Raises ValueError if it would take too much memory.

    RecursionError bounds the depth.
    """
    if answer.count(b"[") + answer.count(b"{") > MOST_BRACKETS:
        raise ValueError("the answer has too many brackets")
    return json.loads(answer.decode())


def _elsewhere(apps: Mapping[str, Any], port: int | None) -> set[str]:
    seen_at = {url: app.get("ports") for url, app in apps.items()}
    return {url for url, ports in seen_at.items() if port and ports and port not in _counts(ports)}


def _without(values: Mapping[str, Any], urls: set[str]) -> dict[str, Any]:
    """Return the answer without these applications.

    The route is the first label of an application's totals.
    """
    left = {url: app for url, app in values["apps"].items() if url not in urls}
    totals = {
        kind: [row for row in values.get(kind, ()) if not row[1] or row[1][0] not in urls]
        for kind in ("counters", "histograms")
    }
    return {**values, "apps": left, **totals}


def _plain(shape: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of `shape` that have plain values and are in the answer."""
    known = ((each.name, READERS.get(str(each.type))) for each in fields(shape))
    return {name: read(values[name]) for name, read in known if read is not None and name in values}


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    cgroup, sockets, apps = values.get("cgroup"), values.get("sockets"), values["apps"]
    if len(apps) > MOST_APPS or len(sockets or ()) > MOST_SOCKETS:
        raise ValueError("the answer has more applications or sockets than any worker")
    info = values.get("info", {})
    return {
        "apps": {_text(url): AppReport(**_app(app)) for url, app in apps.items()},
        "sockets": None if sockets is None else frozenset(_counts(sockets)),
        "cgroup": None if cgroup is None else CgroupReading(**_plain(CgroupReading, cgroup)),
        "info": {name: _text(info[name]) for name in INFO if name in info},
        "counters": {
            series: _number(value) for series, value in _rows(values, "counters", "counter")
        },
        "histograms": {
            series: HistogramTotal(_counts(counts), _number(total))
            for series, counts, total in _rows(values, "histograms", "histogram")
            if len(counts) == len(BY_NAME[series[0]].buckets) + 1
        },
    }


def _rows(values: Mapping[str, Any], key: str, kind: str) -> Iterator[tuple[Any, ...]]:
    """Yield the totals of this kind that the metric table has; another version may send more."""
    for name, labels, *total in islice(values.get(key, ()), MOST_ROWS):
        texts = _labels(labels)
        spec = BY_NAME.get(_text(name))
        if spec is not None and (spec.type, len(spec.labels)) == (kind, len(texts)):
            yield ((name, texts), *total)


def _app(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an application's counts. Raises KeyError without `live`, which is essential."""
    counts = {"live": values["live"], **_plain(AppReport, values)}
    if any(value > MOST_USERS for value in counts.values() if type(value) is int):
        raise ValueError("the answer has more sessions than any worker")
    if counts.get("costs", 0.0) > MOST_SEATS * counts.get("costed", 0):
        raise ValueError("the answer has sessions that take more seats than any session")
    return counts


def _labels(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError("labels are not a list")
    return tuple(map(_text, values))


def _number(value: Any) -> float:
    """Return a number; 0 for a negative one, which comes from the jitter of a clock."""
    if type(value) not in (int, float) or not isfinite(value) or abs(value) > LARGEST:
        raise ValueError(f"{value!r} is not a number of a report")
    return max(0.0, float(value))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"{value!r} is not a count")
    return value


def _counts(value: Any) -> tuple[int, ...]:
    if type(value) is not list:
        raise ValueError(f"{value!r} is not a list of counts")
    return tuple(map(_count, value))


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _text(value: Any) -> str:
    """Return a text that can be encoded. Raises ValueError, as for a lone surrogate."""
    if type(value) is not str or len(value) > LONGEST_TEXT:
        raise ValueError("the value is not a text of a report")
    value.encode()
    return value


def _or_none(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


INFO = BY_NAME["bokeh_server_info"].labels
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError)
READERS: dict[str, Callable[[Any], Any]] = {  # by the annotation of a field
    "int": _count,
    "float": _number,
    "bool": _truth,
    "str": _text,
    "int | None": _or_none(_count),
    "float | None": _or_none(_number),
    "str | None": _or_none(_text),
    "bool | None": _or_none(_truth),
    "tuple[int, ...] | None": _or_none(_counts),
}


def holders(
    reports: Iterable[Report], silent: int, unwatched: int, delivering: int
) -> tuple[str, ...]:
    """Return what keeps a server from being empty, in words; nothing if it is empty.

    silent: number of workers that do not answer, and may have sessions. unwatched: number of
    established connections of the served port that belong to no watched process. delivering: number
    of connections whose client is still receiving bytes from the kernel.
    """
    listed = list(reports)
    apps = [app for report in listed for app in report.apps.values()]
    found = {
        "connections": sum(app.live for app in apps),
        "sessions being created": sum(app.pending for app in apps),
        "pages being loaded": sum(app.opening for app in apps),
        "HTTP requests": sum(report.requests or 0 for report in listed),
        "sessions that block their expiration": sum(app.blocked for app in apps),
        "blocked event loops": sum(r.stalled_s >= STALLED_SECONDS for r in listed),
        "workers that do not answer": silent,
        "connections without an agent": unwatched,
        "responses still being delivered": delivering,
    }
    return tuple(f"{what}: {count}" for what, count in found.items() if count)


def empty_for(
    held_by: tuple[str, ...], last_sign_s: float | None, served_s: float, watched_s: float
) -> float | None:
    """Return the seconds since the last sign of a user, or None while the server may have users.

    last_sign_s: since a connection ended, broke or became stale, or the delivery of a response
    ended; None if none ever did. served_s: since the server began to serve, which counts if it
    never had a connection. watched_s: since the observation began, because signs before that are
    unknown.
    """
    if held_by:
        return None
    return max(0.0, min(watched_s, served_s if last_sign_s is None else last_sign_s))
