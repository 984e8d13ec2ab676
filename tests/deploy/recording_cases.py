"""What each recording rule makes of its series: as in `alert_cases`, with what it must not count.

Two pods belong to one Deployment and the third to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.deploy.alert_cases import Series

# By how much a counter of theirs grows in a minute.
PODS = {"my-app-6f7d9c-x2x7z": 1, "my-app-6f7d9c-8kq4d": 2, "other-app-5b8c4f-p9w2t": 5}
MINE, OTHER = 'deployment="my-app"', 'deployment="other-app"'
APP, NO_APP = 'app="/app"', 'app=""'
BROKEN, CLOSED = ("1006", "1009", "1011", "10000", "10001"), ("1000", "1001", "1005", "other")


@dataclass(frozen=True)
class Recording:
    """One rule. values: all that it records, by the labels beside `namespace`."""

    record: str
    series: Series
    values: Mapping[str, float]


def of_pods(metric: str, labels: str, values: str) -> Series:
    return {
        f'{metric}{{namespace="NS",pod="{pod}",{labels}}}': values.format(number)
        for pod, number in PODS.items()
    }


def constant(metric: str, labels: str) -> Series:
    return of_pods(metric, labels, "{}x30")


def rising(metric: str, labels: str = APP) -> Series:
    """Counters that begin anew after a quarter of an hour, as in a container that restarted."""
    return of_pods(metric, labels, "0+{0}x14 {0}+{0}x15")


def coded(metric: str, *codes: str, app: str = APP) -> Series:
    parts = [rising(metric, f'{app},code="{code}"') for code in codes]
    return {name: values for part in parts for name, values in part.items()}


def slow(metric: str, low: str, high: str, labels: str = APP) -> Series:
    """As many observations on each pod, quick on the first one and slow on the two others."""
    quick, *others = PODS
    return {
        f'{metric}_bucket{{namespace="NS",pod="{pod}",{labels},le="{bound}"}}': f"0+{count}x30"
        for pod in (quick, *others)
        for bound, count in {low: 10 if pod == quick else 0, high: 10, "+Inf": 10}.items()
    }


def too_slow(labels: str) -> Series:
    """Pages beyond every bound, which would be seen if they counted."""
    return rising("bokeh_request_duration_seconds_bucket", f'{labels},le="+Inf"')


def in_ten_minutes(record: str, series: Series, kinds: int = 1) -> Recording:
    """kinds: how many series of each pod count."""
    values = {MINE: 30.0 * kinds, OTHER: 50.0 * kinds}
    return Recording(f"namespace_deployment:{record}:increase10m", series, values)


PAGES = "bokeh_request_duration_seconds"
RECORDINGS = (
    Recording(
        "namespace_deployment:bokeh_sessions_connected:sum",
        constant("bokeh_sessions", f'{APP},state="connected"')
        | constant("bokeh_sessions", f'{APP},state="lingering"'),
        {MINE: 3, OTHER: 5},
    ),
    # Of all in a Deployment one in twenty takes longer: half of mine are between the two bounds.
    Recording(
        "namespace_deployment:bokeh_page_duration_seconds:p95_5m",
        slow(PAGES, "5.0", "10.0", f'{APP},code="2xx"')
        | too_slow(f'{APP},code="1xx"')
        | too_slow(f'{APP},code="5xx"')
        | too_slow(f'{NO_APP},code="2xx"'),
        {MINE: 9.5, OTHER: 9.75},
    ),
    Recording(
        "namespace_deployment:bokeh_message_duration_seconds:p95_5m",
        slow("bokeh_message_duration_seconds", "1.0", "2.5"),
        {MINE: 2.35, OTHER: 2.425},
    ),
    in_ten_minutes(
        "bokeh_pages",
        coded(f"{PAGES}_count", "1xx", "2xx", "3xx", "4xx", "5xx")
        | coded(f"{PAGES}_count", "2xx", app=NO_APP),
        kinds=2,
    ),
    in_ten_minutes("bokeh_session_create_errors", rising("bokeh_session_create_errors_total")),
    in_ten_minutes("bokeh_messages", rising("bokeh_message_duration_seconds_count")),
    in_ten_minutes("bokeh_message_errors", rising("bokeh_message_errors_total")),
    in_ten_minutes(
        "bokeh_connections_closed",
        coded("bokeh_connections_closed_total", *BROKEN, *CLOSED),
        kinds=len(BROKEN + CLOSED),
    ),
    in_ten_minutes(
        "bokeh_connections_broken",
        coded("bokeh_connections_closed_total", *BROKEN, *CLOSED),
        kinds=len(BROKEN),
    ),
    Recording(
        "namespace_deployment_reason:bokeh_connections_rejected:increase10m",
        rising("bokeh_connections_rejected_total", 'reason="auth"')
        | rising("bokeh_connections_rejected_total", 'reason="origin"'),
        {
            f'{deployment},reason="{reason}"': value
            for deployment, value in {MINE: 30.0, OTHER: 50.0}.items()
            for reason in ("auth", "origin")
        },
    ),
    in_ten_minutes("bokeh_sessions_created", rising("bokeh_sessions_created_total")),
    in_ten_minutes("bokeh_sessions_used", rising("bokeh_sessions_used_total")),
)
