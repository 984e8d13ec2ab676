"""The contract: every metric the sidecar serves, declared once.

Naming follows the Prometheus conventions: prefix `bokeh_`, base units, `_total` on counters only.
Labels are bounded by the deployment, never by its users: an app's route, a worker's slot, a close
code. Namespace and pod are added by the scrape, so nothing here repeats them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MetricType = Literal["gauge", "counter", "histogram", "info"]

SESSION_STATES = ("connected", "lingering", "blocked", "pending")
CONNECTION_STATES = ("live", "stale")
# RFC 6455 7.4.1, what Bokeh itself sends (10000, 10001), and one bin for whatever a client invents.
CLOSE_CODES = ("1000", "1001", "1005", "1006", "1009", "1011", "10000", "10001", "other")
REJECTIONS = ("token_expired", "bad_signature", "origin", "auth", "protocol")
CODE_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")

# Seconds. A session lasts minutes to a working day; this is what a drain has to wait for.
SESSION_BUCKETS = (10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0, 43200.0)
# Seconds. From a trivial document (20 ms) to an app that loads its data for half a minute.
CREATE_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Seconds. Discarding 200 idle sessions stalls a Bokeh 3.9 loop for up to 28 s.
LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Seconds. From a range slider's patch (2 ms) to a callback that computes for half a minute.
MESSAGE_BUCKETS = (0.0025, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric as it appears in an exposition; `unit` ends its name, `buckets` are in it."""

    name: str
    type: MetricType
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


TABLE: tuple[MetricSpec, ...] = (
    MetricSpec("bokeh_up", "gauge", "1 if the server is there and every worker answered."),
    MetricSpec("bokeh_workers", "gauge", "Live server processes."),
    MetricSpec(
        "bokeh_worker_up", "gauge", "1 if the worker answered this scrape.", "", ("worker",)
    ),
    MetricSpec(
        "bokeh_worker_stalled_seconds",
        "gauge",
        "How long the worker's event loop has been stuck, 0 if it runs.",
        "seconds",
        ("worker",),
    ),
    MetricSpec(
        "bokeh_sessions",
        "gauge",
        "Sessions by state: connected (a live client), lingering (none, to be discarded), "
        "blocked (none, but kept on purpose), pending (being created).",
        "",
        ("app", "state", "quality"),
    ),
    MetricSpec(
        "bokeh_connections",
        "gauge",
        "WebSocket connections by state: live, or stale (two pings unanswered).",
        "",
        ("app", "state", "quality"),
    ),
    MetricSpec("bokeh_sessions_created_total", "counter", "Sessions created.", "", ("app",)),
    MetricSpec("bokeh_sessions_destroyed_total", "counter", "Sessions discarded.", "", ("app",)),
    MetricSpec(
        "bokeh_sessions_orphaned_total",
        "counter",
        "Sessions discarded that no client ever connected to: a missing session affinity, "
        "probes or crawlers.",
        "",
        ("app",),
    ),
    MetricSpec(
        "bokeh_sessions_lost_total",
        "counter",
        "Connected sessions whose worker ended under them, drains apart: it crashed, was killed or "
        "ran out of memory.",
        "",
        ("app",),
    ),
    MetricSpec(
        "bokeh_session_create_errors_total",
        "counter",
        "Sessions whose application code failed while they were created.",
        "",
        ("app",),
    ),
    MetricSpec(
        "bokeh_connections_opened_total", "counter", "WebSocket connections opened.", "", ("app",)
    ),
    MetricSpec(
        "bokeh_connections_closed_total",
        "counter",
        "WebSocket connections closed, by close code; 1006 is a client that vanished.",
        "",
        ("app", "code"),
    ),
    MetricSpec(
        "bokeh_connections_rejected_total",
        "counter",
        "WebSocket connections refused, by reason.",
        "",
        ("reason",),
    ),
    MetricSpec(
        "bokeh_message_duration_seconds",
        "histogram",
        "From the arrival of a WebSocket message to the answer: what a click waits for callbacks.",
        "seconds",
        ("app",),
        MESSAGE_BUCKETS,
    ),
    MetricSpec(
        "bokeh_message_errors_total",
        "counter",
        "WebSocket messages answered with an error, because a callback raised or on bad content.",
        "",
        ("app",),
    ),
    MetricSpec(
        "bokeh_session_duration_seconds",
        "histogram",
        "From a session's creation to its last client's leaving, seen when it is discarded.",
        "seconds",
        ("app",),
        SESSION_BUCKETS,
    ),
    MetricSpec(
        "bokeh_session_create_duration_seconds",
        "histogram",
        "Time to create a session: what a new user waits for the application's code.",
        "seconds",
        ("app",),
        CREATE_BUCKETS,
    ),
    MetricSpec(
        "bokeh_session_oldest_age_seconds",
        "gauge",
        "Age of the oldest connected session, 0 without one.",
        "seconds",
        ("app",),
    ),
    MetricSpec(
        "bokeh_last_client_activity_timestamp_seconds",
        "gauge",
        "When a client last connected, left or sent a message; the server's start before that.",
        "seconds",
        ("app",),
    ),
    MetricSpec(
        "bokeh_request_duration_seconds",
        "histogram",
        "HTTP requests by application (empty for static files) and status class.",
        "seconds",
        ("app", "code"),
        REQUEST_BUCKETS,
    ),
    MetricSpec(
        "bokeh_event_loop_lag_seconds",
        "histogram",
        "How late the event loop ran a timer. An alarm signal, not a capacity signal.",
        "seconds",
        (),
        LAG_BUCKETS,
    ),
    MetricSpec(
        "bokeh_event_loop_utilization_ratio",
        "gauge",
        "Share of the last 10 s that the serving threads spent on a CPU; 0.7 is a full worker.",
        "ratio",
        ("worker",),
    ),
    MetricSpec(
        "bokeh_event_loop_cpu_seconds_total",
        "counter",
        "CPU time of the serving threads of all workers.",
        "seconds",
    ),
    MetricSpec(
        "bokeh_memory_rss_bytes",
        "gauge",
        "Resident memory summed over the workers; pages they share count several times.",
        "bytes",
    ),
    MetricSpec(
        "bokeh_memory_working_set_bytes",
        "gauge",
        "Memory of the container that cannot be reclaimed, as the kubelet computes it.",
        "bytes",
    ),
    MetricSpec(
        "bokeh_memory_limit_bytes",
        "gauge",
        "The container's memory limit; absent without one.",
        "bytes",
    ),
    MetricSpec(
        "bokeh_memory_oom_kills_total",
        "counter",
        "Processes of the container killed by the OOM killer.",
    ),
    MetricSpec(
        "bokeh_cpu_seconds_total",
        "counter",
        "CPU time of the container, or of the workers where no cgroup says.",
        "seconds",
    ),
    MetricSpec(
        "bokeh_cpu_throttled_seconds_total",
        "counter",
        "Time the container was kept off the CPU by its limit.",
        "seconds",
    ),
    MetricSpec("bokeh_cpu_periods_total", "counter", "Scheduler periods with a CPU limit."),
    MetricSpec(
        "bokeh_cpu_throttled_periods_total", "counter", "Scheduler periods that hit the CPU limit."
    ),
    MetricSpec(
        "bokeh_network_receive_bytes_total",
        "counter",
        "Bytes received by the pod, loopback excluded.",
        "bytes",
    ),
    MetricSpec(
        "bokeh_network_transmit_bytes_total",
        "counter",
        "Bytes sent by the pod, loopback excluded.",
        "bytes",
    ),
    MetricSpec(
        "bokeh_draining", "gauge", "1 while the launcher waits for sessions to end before it stops."
    ),
    MetricSpec(
        "bokeh_server_info",
        "info",
        "Versions of what serves the applications.",
        "",
        ("bokeh_version", "panel_version", "python_version", "mode"),
    ),
    MetricSpec("bokeh_exporter_build_info", "info", "Version of this exporter.", "", ("version",)),
)

BY_NAME = {spec.name: spec for spec in TABLE}
