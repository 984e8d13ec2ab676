"""When each alert fires, with what it says, and when it does not: series a minute apart.

Values are promtool's: `0+3x30` grows by 3 a minute for half an hour, `950x30` stays. NS stands for
a namespace that no other case has, so that all can share one database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Series = Mapping[str, str]

POD = 'namespace="NS",pod="my-app-6f7d9c-x2x7z"'
WORKER = f'{POD},worker="0"'
APP = f'{POD},app="/app"'
UP = f'up{{{POD},job="apps",instance="NS:9550"}}'
BUILD_INFO = f"bokeh_exporter_build_info{UP.removeprefix('up')}"
LIMIT = {f"bokeh_memory_limit_bytes{{{POD}}}": "1000x30"}
TARGET = 'policy="dashboards",namespace="NS",deployment="my-app"'

OF_POD = {"namespace": "NS", "pod": "my-app-6f7d9c-x2x7z"}
OF_APP = {"namespace": "NS", "deployment": "my-app"}
OF_POLICY = {**OF_APP, "policy": "dashboards"}


@dataclass(frozen=True)
class Case:
    """One alert. labels: without `severity`. quiet: why it must not fire, and with which series.

    after: when it is looked at.
    """

    alert: str
    fires: Series
    labels: Mapping[str, str]
    says: str
    quiet: Mapping[str, Series]
    after: str = "20m"


def memory(used: int) -> dict[str, str]:
    return {f"bokeh_memory_working_set_bytes{{{POD}}}": f"{used}x30"}


def failures(metric: str, failed: int, tried: int) -> Series:
    """Pages or messages a minute, and how many of them failed."""
    pages = f'bokeh_request_duration_seconds_count{{{APP},code="2xx"}}'
    messages = f"bokeh_message_duration_seconds_count{{{APP}}}"
    return {
        f"{metric}_total{{{APP}}}": f"0+{failed}x30",
        messages if "message" in metric else pages: f"0+{tried}x30",
    }


def sessions(created: str, used: str) -> Series:
    """Sessions, and those of them that a client has connected to."""
    return {
        f"bokeh_sessions_created_total{{{APP}}}": created,
        f"bokeh_sessions_used_total{{{APP}}}": used,
    }


def seats(capacity: int, free: int, replicas: int) -> Series:
    return {
        f'bokeh_autoscaler_seats{{{TARGET},kind="capacity"}}': f"{capacity}x30",
        f'bokeh_autoscaler_seats{{{TARGET},kind="free"}}': f"{free}x30",
        f'bokeh_autoscaler_replicas{{{TARGET},kind="current"}}': f"{replicas}x30",
    }


def replicas(desired: int, low: int, high: int) -> Series:
    kinds = {"desired": desired, "min": low, "max": high}
    return {
        f'bokeh_autoscaler_replicas{{{TARGET},kind="{kind}"}}': f"{count}x30"
        for kind, count in kinds.items()
    }


def decisions(reason: str, each: int, fine: int) -> Series:
    """Decisions a minute that hold with a reason, and those that are as they should be."""
    series = "bokeh_autoscaler_decisions_total"
    return {
        f'{series}{{{TARGET},direction="none",reason="{reason}"}}': f"0+{each}x30",
        f'{series}{{{TARGET},direction="none",reason="DesiredWithinRange"}}': f"0+{fine}x30",
    }


def closes(broken: int, closed: int) -> Series:
    """Connections a minute that end with 1006 and with 1000."""
    series = "bokeh_connections_closed_total"
    return {
        f'{series}{{{APP},code="1006"}}': f"0+{broken}x30",
        f'{series}{{{APP},code="1000"}}': f"0+{closed}x30",
    }


def durations(metric: str, bounds: Mapping[str, int], more: str = "") -> Series:
    """A histogram: how many observations a minute are within each bound."""
    return {
        f'{metric}_bucket{{{APP},le="{bound}"{more}}}': f"0+{count}x30"
        for bound, count in bounds.items()
    }


def last_pass(at: str, interval: int, **labels: str) -> Series:
    own = "".join(f',{name}="{value}"' for name, value in labels.items())
    daemon = f'{{namespace="NS",job="autoscaler"{own}}}'
    return {
        f"bokeh_autoscaler_last_pass_timestamp_seconds{daemon}": at,
        f"bokeh_autoscaler_pass_interval_seconds{daemon}": f"{interval}x30",
    }


CACHE_AGE = 'bokeh_autoscaler_cache_age_seconds{namespace="NS",job="autoscaler",resource="pods"}'

CLOCK_OFFSET = 'bokeh_autoscaler_clock_offset_seconds{namespace="NS",pod="daemon-0"}'

CASES = (
    Case(
        "BokehMemoryNearLimit",
        memory(950) | LIMIT,
        OF_POD,
        "NS/my-app-6f7d9c-x2x7z uses 95% of its memory limit. "
        "At 100% the kernel kills it with all its sessions.",
        {"there is room": memory(850) | LIMIT, "there is no limit": memory(950)},
    ),
    Case(
        "BokehSessionsLost",
        {f"bokeh_sessions_lost_total{{{APP}}}": "0x15 3x15"},
        {**OF_POD, "app": "/app"},
        "NS/my-app-6f7d9c-x2x7z lost 3 sessions of /app in 10 minutes: "
        "a worker crashed, was killed or ran out of memory.",
        {"none were": {f"bokeh_sessions_lost_total{{{APP}}}": "3x30"}},
    ),
    Case(
        "BokehLoopSaturated",
        {f"bokeh_event_loop_utilization_ratio{{{WORKER}}}": "0.97x30"},
        {**OF_POD, "worker": "0"},
        "Worker 0 of NS/my-app-6f7d9c-x2x7z is busy 97% of the time. "
        "Above 90% every click waits; 70% is a full worker.",
        {
            "it is full": {f"bokeh_event_loop_utilization_ratio{{{WORKER}}}": "0.7x30"},
            "for a moment": {f"bokeh_event_loop_utilization_ratio{{{WORKER}}}": "0.2x17 1x3"},
        },
    ),
    Case(
        "BokehWorkerStalled",
        {f"bokeh_worker_stalled_seconds{{{WORKER}}}": "45x30"},
        {**OF_POD, "worker": "0"},
        "The event loop of worker 0 of NS/my-app-6f7d9c-x2x7z has been stuck for 45s. "
        "All its users wait.",
        {"a garbage collection": {f"bokeh_worker_stalled_seconds{{{WORKER}}}": "20x30"}},
    ),
    Case(
        "BokehSlowPages",
        durations(
            "bokeh_request_duration_seconds", {"5.0": 10, "10.0": 20, "+Inf": 20}, ',code="2xx"'
        ),
        OF_APP,
        "One page in twenty of NS/my-app takes longer than 9.5s.",
        {
            "pages are quick": durations(
                "bokeh_request_duration_seconds", {"5.0": 20, "10.0": 20, "+Inf": 20}, ',code="2xx"'
            ),
            "only WebSockets last": durations(
                "bokeh_request_duration_seconds", {"5.0": 10, "10.0": 20, "+Inf": 20}, ',code="1xx"'
            ),
        },
    ),
    Case(
        "BokehSlowClicks",
        durations("bokeh_message_duration_seconds", {"1.0": 10, "2.5": 20, "+Inf": 20}),
        OF_APP,
        "One message in twenty of NS/my-app is answered after more than 2.35s.",
        {
            "one in a hundred is slow": durations(
                "bokeh_message_duration_seconds", {"1.0": 99, "2.5": 100, "+Inf": 100}
            )
        },
    ),
    Case(
        "BokehPagesFail",
        failures("bokeh_session_create_errors", 1, 10),
        OF_APP,
        "10% of the pages of NS/my-app failed in the last 10 minutes.",
        {
            "one in fifty": failures("bokeh_session_create_errors", 1, 50),
            "nobody is there": failures("bokeh_session_create_errors", 0, 0),
        },
    ),
    Case(
        "BokehClicksFail",
        failures("bokeh_message_errors", 1, 10),
        OF_APP,
        "10% of the messages of users of NS/my-app ended in an error in the last 10 minutes.",
        {"one in fifty": failures("bokeh_message_errors", 1, 50)},
    ),
    Case(
        "BokehWebSocketErrors",
        closes(broken=4, closed=4),
        OF_APP,
        "50% of the connections of NS/my-app that ended in the last 10 minutes broke.",
        {
            "one in five": closes(broken=1, closed=4),
            "it is one user": {f'bokeh_connections_closed_total{{{APP},code="1006"}}': "0x15 1x15"},
        },
    ),
    Case(
        "BokehUsersRefused",
        {f'bokeh_connections_rejected_total{{{POD},reason="origin"}}': "0+3x30"},
        {**OF_APP, "reason": "origin"},
        "NS/my-app refused 30 WebSockets in 10 minutes, with the reason origin.",
        {
            "two pages from yesterday that try again": {
                f'bokeh_connections_rejected_total{{{POD},reason="token_expired"}}': "0x15 12x15"
            }
        },
    ),
    Case(
        "BokehSessionsOrphaned",
        sessions(created="0+7x30", used="0+4x30"),
        OF_APP,
        "NS/my-app created 1.75 sessions for each one that a user connected to in the last "
        "10 minutes. Each costs memory and a run of the app.",
        {
            "one in ten": sessions(created="0+10x30", used="0+9x30"),
            "a look with curl": sessions(created="0x15 2x15", used="0x30"),
        },
    ),
    Case(
        "BokehSessionsOrphaned",
        sessions(created="0+2x30", used="0x30"),
        OF_APP,
        "NS/my-app created 20.00 sessions for each one that a user connected to in the last "
        "10 minutes. Each costs memory and a run of the app.",
        {"nobody comes": sessions(created="0x30", used="0x30")},
    ),
    Case(
        "BokehServerDown",
        {f"bokeh_up{{{POD}}}": "0x30"},
        OF_POD,
        "At least one worker of NS/my-app-6f7d9c-x2x7z has not answered for 5 minutes. "
        "Its last session count is kept.",
        {"it answers": {f"bokeh_up{{{POD}}}": "1x30"}},
    ),
    Case(
        "BokehExporterDown",
        {UP: "1x10 0x20", BUILD_INFO: "1x10 stale"},
        {**OF_POD, "job": "apps", "instance": "NS:9550"},
        "The exporter of NS/my-app-6f7d9c-x2x7z has not answered for 2 minutes. "
        "Its pod counts as full and busy, so the Deployment is not scaled down.",
        {
            "it answers": {UP: "1x30", BUILD_INFO: "1x30"},
            "another job": {UP.replace("apps", "logs"): "0x30", BUILD_INFO: "1x30"},
            "the pod is gone": {UP: "1x10 stale", BUILD_INFO: "1x10 stale"},
        },
    ),
    Case(
        "BokehNoFreeSeats",
        seats(capacity=40, free=0, replicas=2),
        {**OF_POLICY, "kind": "capacity"},
        "None of the 40 seats of NS/my-app has been free for 5 minutes. "
        "New users overload the pods.",
        {
            "one is free": seats(capacity=40, free=1, replicas=2),
            "scaled to zero by hand": seats(capacity=0, free=0, replicas=0),
        },
    ),
    Case(
        "BokehAtMaxReplicas",
        replicas(desired=5, low=1, high=5),
        OF_POLICY,
        "NS/my-app has been at the maximum of 5 replicas of policy dashboards for 15 minutes.",
        {
            "it may scale up": replicas(desired=4, low=1, high=5),
            "there is one number only": replicas(desired=5, low=5, high=5),
        },
    ),
    Case(
        "BokehPodsWithoutData",
        {f"bokeh_autoscaler_pods_without_data{{{TARGET}}}": "2x30"},
        OF_POLICY,
        "Pods of NS/my-app without a session count for 5 minutes: 2. "
        "They count as full and busy, so the Deployment is not scaled down.",
        {"all have": {f"bokeh_autoscaler_pods_without_data{{{TARGET}}}": "0x30"}},
    ),
    Case(
        "BokehSidecarUnreachable",
        {
            f"bokeh_autoscaler_unreachable_sidecars{{{TARGET}}}": "2x30",
            f'bokeh_autoscaler_unreachable_pod{{{TARGET},pod="my-app-a"}}': "1x30",
            f'bokeh_autoscaler_unreachable_pod{{{TARGET},pod="my-app-b"}}': "1x30",
        },
        OF_POLICY,
        "Pods of NS/my-app whose sidecar the daemon cannot reach: 2 (my-app-a, my-app-b). "
        "They count as busy and are never removed.",
        {"all answer": {f"bokeh_autoscaler_unreachable_sidecars{{{TARGET}}}": "0x30"}},
    ),
    Case(
        "BokehDecisionsHeld",
        decisions("FailedGetSessionsMetric", each=12, fine=0),
        {**OF_POLICY, "reason": "FailedGetSessionsMetric"},
        "100% of the decisions of policy dashboards for NS/my-app in the last 10 minutes "
        "kept the replicas, with the reason FailedGetSessionsMetric.",
        {
            "now and then": decisions("PartialData", each=6, fine=6),
            "for users who stay": decisions("SessionsStillOpen", each=12, fine=0),
        },
    ),
    Case(
        "BokehPaused",
        # Another daemon takes over: for a few minutes nobody tells of the pause.
        {
            f'bokeh_autoscaler_paused{{{TARGET},pod="a"}}': "1x700 stale",
            f'bokeh_autoscaler_paused{{{TARGET},pod="b"}}': "_x705 1x795",
        },
        OF_POLICY,
        "Policy dashboards has not scaled NS/my-app for a day, because somebody paused it.",
        {
            "it ended after 23 hours": {f"bokeh_autoscaler_paused{{{TARGET}}}": "1x1380 stale"},
            "it ended and began again": {
                f"bokeh_autoscaler_paused{{{TARGET}}}": "1x700 stale _x60 1x740"
            },
        },
        after="1500m",
    ),
    Case(
        "BokehSessionsCut",
        {f"bokeh_autoscaler_sessions_cut_total{{{TARGET}}}": "0x15 2x15"},
        OF_POLICY,
        "Scale-downs of NS/my-app by policy dashboards ended 2 sessions in the last hour. "
        "The goal is none.",
        {"none were": {f"bokeh_autoscaler_sessions_cut_total{{{TARGET}}}": "2x30"}},
    ),
    Case(
        "BokehVictimMismatch",
        {f"bokeh_autoscaler_victim_mismatches_total{{{TARGET}}}": "0x15 1x15"},
        OF_POLICY,
        "Scale-downs of NS/my-app by policy dashboards in the last hour in which Kubernetes "
        "deleted a pod that had not been drained: 1. Scale-downs pause for 10 minutes after each.",
        {"none did": {f"bokeh_autoscaler_victim_mismatches_total{{{TARGET}}}": "0x30"}},
    ),
    Case(
        "BokehPolicyFileRejected",
        {'bokeh_autoscaler_policy_file_errors{file="NS.yaml"}': "3x30"},
        {"file": "NS.yaml"},
        "Errors in NS.yaml: 3. Its last valid version, if any, stays active until the daemon is "
        "restarted.",
        {"it was fixed": {'bokeh_autoscaler_policy_file_errors{file="NS.yaml"}': "3x10 stale"}},
    ),
    Case(
        "BokehJournalEnded",
        {'bokeh_autoscaler_journal_writing{namespace="NS",pod="a"}': "1x15 0x15"},
        {"namespace": "NS", "pod": "a"},
        "An error has ended the journal of daemon a in NS. Scaling continues, and no decision is "
        "recorded until the daemon is restarted.",
        {
            "it is written": {'bokeh_autoscaler_journal_writing{namespace="NS",pod="a"}': "1x30"},
            "the daemon was restarted": {
                'bokeh_autoscaler_journal_writing{namespace="NS",pod="a"}': "0x5 stale",
                'bokeh_autoscaler_journal_writing{namespace="NS",pod="b"}': "_x6 1x24",
            },
        },
    ),
    Case(
        "BokehTargetFails",
        {f"bokeh_autoscaler_failures_total{{{TARGET}}}": "0+12x30"},
        OF_POLICY,
        "60 passes in 5 minutes could not read or scale NS/my-app for policy dashboards.",
        {"for a moment": {f"bokeh_autoscaler_failures_total{{{TARGET}}}": "0x15 2x15"}},
    ),
    Case(
        "BokehCacheStale",
        {CACHE_AGE: "0+60x30"},
        {"namespace": "NS", "job": "autoscaler", "resource": "pods"},
        "The API server has not confirmed what the daemon knows of pods for 20m 0s. "
        "Scale-downs are held.",
        {
            "watches end and begin": {CACHE_AGE: "0 15 30 " * 10},
            "one is silent for two minutes": {CACHE_AGE: "0 60 120 0 " * 7},
        },
    ),
    Case(
        "BokehClockWrong",
        {CLOCK_OFFSET: "-3600x30"},
        {"namespace": "NS", "pod": "daemon-0"},
        "For 10 minutes the clock of the node of daemon daemon-0 in NS has differed from the clock "
        "of the Kubernetes API server, now by 1h 0m 0s. The daemon uses the clock of the API "
        "server.",
        {
            "it is a little ahead": {CLOCK_OFFSET: "5x30"},
            "it was set right": {CLOCK_OFFSET: "3600x8 0x22"},
        },
    ),
    Case(
        "BokehAutoscalerStalled",
        last_pass("60x30", interval=5),
        {"namespace": "NS", "job": "autoscaler"},
        "No reconcile pass of the daemon in NS has ended for 19m 0s. Nothing is scaled.",
        {
            "it passes": last_pass("0+60x30", interval=5),
            "every ten minutes": last_pass("0x10 600x20", interval=600),
            "another one passes": {
                **last_pass("0x30", interval=5, pod="standby"),
                **last_pass("0+60x30", interval=5, pod="leader"),
            },
        },
    ),
    Case(
        "BokehNobodyLeads",
        {'bokeh_autoscaler_leader{namespace="NS",shard="1",pod="a"}': "0x30"},
        {"namespace": "NS", "shard": "1"},
        "For 5 minutes no daemon in NS has led in shard 1. Nothing is scaled in its namespaces.",
        {
            "another one does": {
                'bokeh_autoscaler_leader{namespace="NS",shard="1",pod="a"}': "0x30",
                'bokeh_autoscaler_leader{namespace="NS",shard="1",pod="b"}': "1x30",
            }
        },
    ),
    Case(
        "BokehPolicyNotEvaluated",
        {f'bokeh_autoscaler_unevaluated_policies{{{TARGET},pod="b"}}': "1x30"},
        OF_POLICY,
        "For 5 minutes no daemon has evaluated policy dashboards for NS/my-app. "
        "A standby has it, but the leader does not.",
        {
            "the leader has it": {
                f'bokeh_autoscaler_unevaluated_policies{{{TARGET},pod="b"}}': "0x30"
            },
            "the daemon that was a standby leads by now": {
                f'bokeh_autoscaler_unevaluated_policies{{{TARGET},pod="b"}}': "1x3 _x27"
            },
        },
    ),
    Case(
        "BokehAutoscalerDown",
        {},
        {},
        "No daemon has answered Prometheus for 5 minutes. If none runs, nothing is scaled.",
        {
            "it answers": {"bokeh_autoscaler_info": "1x30"},
            "it restarts": {"bokeh_autoscaler_info": "1x16 _x3 1x10"},
        },
    ),
)
