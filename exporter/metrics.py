"""The contract: every metric that the sidecar serves, declared once.

Naming follows the Prometheus conventions: prefix `bokeh_`, base units, `_total` on counters only.
The number of label values depends on the deployment and never on its users: an app's route, a
worker's slot, a close code. The scrape adds namespace and pod.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MetricType = Literal["gauge", "counter", "histogram", "info"]

SESSION_STATES = ("connected", "lingering", "blocked", "pending")
CONNECTION_STATES = ("live", "stale")
# What `exporter.hints` says of a session, with the name of its count in a report.
HINTS = {"busy": "busy", "may_close": "may_close", "cost": "costed"}
# RFC 6455 7.4.1, the codes that Bokeh sends (10000, 10001), and one value for all others.
CLOSE_CODES = ("1000", "1001", "1005", "1006", "1009", "1011", "10000", "10001", "other")
# What a connection was handed to another worker for.
HANDED = ("page", "websocket")
REJECTIONS = ("token_expired", "bad_signature", "origin", "auth", "protocol")
CODE_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")

# Seconds. A session lasts from minutes to a working day; a drain has to wait for that.
SESSION_BUCKETS = (10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0, 43200.0)
# Seconds. From a trivial document (20 ms) to an app that loads its data in half a minute.
CREATE_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Seconds. Discarding 200 idle sessions stalls a Bokeh 3.9 loop for up to 28 s.
LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Seconds. From a range slider's patch (2 ms) to a callback that computes for half a minute.
MESSAGE_BUCKETS = (0.0025, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric as it appears in an exposition; its name ends in `unit`, `buckets` are in it."""

    name: str
    type: MetricType
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


TABLE: tuple[MetricSpec, ...] = (
    MetricSpec("bokeh_up", "gauge", "1 if the server runs and every worker answered."),
    MetricSpec("bokeh_workers", "gauge", "Number of live server processes."),
    MetricSpec(
        "bokeh_worker_up", "gauge", "1 if the worker answered this scrape.", "", ("worker",)
    ),
    MetricSpec(
        "bokeh_worker_stalled_seconds",
        "gauge",
        "Time for which the worker's event loop has been blocked, 0 if it runs.",
        "seconds",
        ("worker",),
    ),
    MetricSpec(
        "bokeh_sessions",
        "gauge",
        "Sessions by state: connected (has a live connection), lingering (has none and will be "
        "discarded), blocked (has none but the app keeps it), pending (being created).",
        "",
        ("app", "state", "quality"),
    ),
    MetricSpec(
        "bokeh_connections",
        "gauge",
        "WebSocket connections by state: live, or stale (two pings were not answered).",
        "",
        ("app", "state", "quality"),
    ),
    MetricSpec(
        "bokeh_seats_taken",
        "gauge",
        "Seats that the connected sessions take: 1 each, unless the app has said another cost; "
        "absent while all take 1.",
        "",
        ("app", "quality"),
    ),
    MetricSpec(
        "bokeh_sessions_hinted",
        "gauge",
        "Sessions for which the app has given a hint: busy (it works in them, also without a "
        "connection), may_close and cost (of those with a connection).",
        "",
        ("app", "hint"),
    ),
    MetricSpec("bokeh_sessions_created_total", "counter", "Sessions created.", "", ("app",)),
    MetricSpec(
        "bokeh_sessions_used_total",
        "counter",
        "Sessions created to which a client has connected, counted at its first connection.",
        "",
        ("app",),
    ),
    MetricSpec(
        "bokeh_sessions_per_user_ratio",
        "gauge",
        "Sessions created per session used: 1 if each page and its WebSocket reach the same "
        "worker. Sessions younger than 30 s whose page may still be loading do not count.",
        "ratio",
        ("app",),
    ),
    MetricSpec("bokeh_sessions_destroyed_total", "counter", "Sessions discarded.", "", ("app",)),
    MetricSpec(
        "bokeh_sessions_released_total",
        "counter",
        "Sessions closed because nobody answered the notice in their page, or because their app "
        "lets them be closed in a drain; they are not cut.",
        "",
        ("app",),
    ),
    MetricSpec(
        "bokeh_sessions_orphaned_total",
        "counter",
        "Sessions discarded to which no client ever connected; causes are missing session "
        "affinity, probes and crawlers.",
        "",
        ("app",),
    ),
    MetricSpec(
        "bokeh_sessions_lost_total",
        "counter",
        "Connected sessions that ended because their worker crashed, was killed or ran out of "
        "memory; sessions ended by a drain are not counted.",
        "",
        ("app",),
    ),
    MetricSpec(
        "bokeh_session_create_errors_total",
        "counter",
        "Sessions for which the application's code failed during their creation.",
        "",
        ("app",),
    ),
    MetricSpec(
        "bokeh_connections_opened_total", "counter", "WebSocket connections opened.", "", ("app",)
    ),
    MetricSpec(
        "bokeh_connections_closed_total",
        "counter",
        "WebSocket connections closed, by close code; 1006 means that the client disappeared.",
        "",
        ("app", "code"),
    ),
    MetricSpec(
        "bokeh_connections_rejected_total",
        "counter",
        "WebSocket connections rejected, by reason.",
        "",
        ("reason",),
    ),
    MetricSpec(
        "bokeh_connections_handed_total",
        "counter",
        "Connections that a forked worker handed to another one, by request: page (the other one "
        "has its session, or fewer sessions), websocket (the other one has its session).",
        "",
        ("request",),
    ),
    MetricSpec(
        "bokeh_message_duration_seconds",
        "histogram",
        "Time from the arrival of a WebSocket message to its answer: the time a user waits for "
        "callbacks after a click.",
        "seconds",
        ("app",),
        MESSAGE_BUCKETS,
    ),
    MetricSpec(
        "bokeh_message_errors_total",
        "counter",
        "WebSocket messages answered with an error: a callback raised or the content was invalid.",
        "",
        ("app",),
    ),
    MetricSpec(
        "bokeh_session_duration_seconds",
        "histogram",
        "Time from a session's creation to its last disconnect, observed when it is discarded.",
        "seconds",
        ("app",),
        SESSION_BUCKETS,
    ),
    MetricSpec(
        "bokeh_session_create_duration_seconds",
        "histogram",
        "Time to create a session: the time a new user waits for the application's code.",
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
        "Time at which a client last connected, disconnected or sent a message, or at which a hint "
        "of the app last said that it works in a session; the start of the server before that.",
        "seconds",
        ("app",),
    ),
    MetricSpec(
        "bokeh_request_duration_seconds",
        "histogram",
        "Duration of HTTP requests, by application (empty for static files) and status class.",
        "seconds",
        ("app", "code"),
        REQUEST_BUCKETS,
    ),
    MetricSpec(
        "bokeh_event_loop_lag_seconds",
        "histogram",
        "Delay with which the event loop ran a timer. Use it for alerts, not for scaling.",
        "seconds",
        (),
        LAG_BUCKETS,
    ),
    MetricSpec(
        "bokeh_event_loop_utilization_ratio",
        "gauge",
        "Share of the last 10 s in which the event loop did not wait for events, or in which its "
        "threads used a CPU if that is more; a worker at 0.7 is full.",
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
        "bokeh_event_loop_busy_seconds_total",
        "counter",
        "Time in which the event loops did not wait for events, or in which their threads used a "
        "CPU if that is more, summed over all workers.",
        "seconds",
    ),
    MetricSpec(
        "bokeh_memory_rss_bytes",
        "gauge",
        "Resident memory summed over the workers; shared pages are counted several times.",
        "bytes",
    ),
    MetricSpec(
        "bokeh_memory_working_set_bytes",
        "gauge",
        "Working set, as the kubelet computes it, of the container that is nearest to its memory "
        "limit.",
        "bytes",
    ),
    MetricSpec(
        "bokeh_memory_limit_bytes",
        "gauge",
        "Memory limit of the container nearest to its limit; absent if no container has one.",
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
        "CPU time of the container, or of the workers if no cgroup can be read.",
        "seconds",
    ),
    MetricSpec(
        "bokeh_cpu_throttled_seconds_total",
        "counter",
        "Time for which the container was throttled by its CPU limit.",
        "seconds",
    ),
    MetricSpec(
        "bokeh_cpu_periods_total", "counter", "Scheduler periods in which a CPU limit applied."
    ),
    MetricSpec(
        "bokeh_cpu_throttled_periods_total",
        "counter",
        "Scheduler periods in which the container reached its CPU limit.",
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
        "bokeh_draining",
        "gauge",
        "1 while the launcher waits for sessions to end before it stops the server.",
    ),
    MetricSpec(
        "bokeh_server_info",
        "info",
        "Versions of Bokeh, Panel and Python in the server, and its mode (tornado or asgi).",
        "",
        ("bokeh_version", "panel_version", "python_version", "mode"),
    ),
    MetricSpec(
        "bokeh_exporter_build_info",
        "info",
        "Version and commit of this exporter.",
        "",
        ("version", "commit"),
    ),
)

BY_NAME = {spec.name: spec for spec in TABLE}
