"""The fault matrix: docs/faults.md is made of it, and each cell is asserted by `test_faults`."""

from __future__ import annotations

from typing import Any

from tests.faults.row import Row, Shown

DECISIONS = "bokeh_autoscaler_decisions_total"
HELD = "bokeh_autoscaler_scale_downs_held_total"
FAILURES = Shown("bokeh_autoscaler_failures_total", "increases")
UNSEEN = Shown("bokeh_autoscaler_pods_without_data", "is 3")
OLD = Shown('bokeh_autoscaler_cache_age_seconds{resource="pods"}', "is above 45")
BLIND: dict[str, Any] = {
    "does": "keeps the replicas and cordons no pod",
    "reason": "FailedGetSessionsMetric",
    "event": "FailedGetSessionsMetric",
    "metric": UNSEEN,
    "alerts": ("BokehNoFreeSeats", "BokehPodsWithoutData", "BokehDecisionsHeld"),
    "recovers": "scales down after a full stabilization window of fresh data",
}
REFUSED: dict[str, Any] = {
    "does": "cannot change the replicas, and tries again",
    "reason": "FailedRescale",
    "event": "FailedRescale",
    "metric": FAILURES,
    "alerts": ("BokehTargetFails",),
    "recovers": "the next pass makes the change",
}
CUT_OFF: dict[str, Any] = {
    "does": "cannot change the replicas",
    "reason": "NotLeader",
    "event": "",
    "alerts": ("BokehTargetFails", "BokehCacheStale", "BokehNobodyLeads"),
    "recovers": "the next pass makes the change",
}
UNWATCHED: dict[str, Any] = {
    "does": "lists everything again every 20 to 40 s, and goes on scaling",
    "reason": "DesiredWithinRange",
    "event": "",
    "metric": Shown("bokeh_autoscaler_watch_failures_total", "increases"),
    "alerts": (),
    "recovers": "goes on from the new count",
    "is_long": True,
}
CLOCK: dict[str, Any] = {
    "does": "goes on scaling",
    "reason": "DesiredWithinRange",
    "event": "",
    "alerts": ("BokehClockWrong",),
    "recovers": "follows the clock, and scales as before",
}

PROMETHEUS = (
    Row("prometheus-down", "Prometheus is down", **BLIND),
    Row("prometheus-slow", "Prometheus answers later than `--prometheus-timeout`", **BLIND),
    Row("prometheus-500", "Prometheus answers 500", **BLIND),
    Row("prometheus-html", "Prometheus answers 200 with a page of HTML", **BLIND),
    Row("prometheus-partial", "Prometheus answers with a warning of missing stores", **BLIND),
    Row("prometheus-stale", "Prometheus has no sample younger than two scrapes", **BLIND),
    Row(
        "prometheus-one-pod",
        "Prometheus has no sample of one pod, and the users of the others leave",
        does="adds a pod, for that one counts as full; cordons none",
        reason="PartialData",
        event="PartialData",
        metric=Shown("bokeh_autoscaler_pods_without_data", "is 1"),
        alerts=("BokehPodsWithoutData", "BokehDecisionsHeld"),
        recovers="scales down in the next passes",
    ),
    Row(
        "prometheus-zeros",
        "Prometheus was down, and then says that no pod has a session, which is wrong",
        does="cordons pods, and deletes none that has sessions",
        reason="SessionsStillOpen",
        event="Cordoned",
        metric=Shown(f'{HELD}{{reason="SessionsStillOpen"}}', "increases"),
        alerts=(),
        recovers="uncordons the pods",
    ),
)
API_SERVER = (
    Row("api-down", "The API server is down", metric=FAILURES, **CUT_OFF),
    Row(
        "api-hung",
        "The API server accepts connections and answers nothing",
        metric=OLD,
        **CUT_OFF,
        is_long=True,
    ),
    Row("api-conflict", "The API server answers 409 to each change of the scale", **REFUSED),
    Row("api-forbidden", "The API server answers 403 to each change of the scale", **REFUSED),
    Row(
        "api-too-many",
        "The API server answers 429 to each change of the scale",
        does="keeps the replicas, and tries again after any wait that was asked for",
        reason="WritesLimited",
        event="",
        metric=Shown(f'{DECISIONS}{{reason="WritesLimited"}}', "increases"),
        alerts=("BokehDecisionsHeld",),
        recovers="the next pass makes the change",
    ),
    Row(
        "api-answer-lost",
        "The connection is reset after the API server has changed the scale",
        does="the change has taken effect; it sends no other one for 10 s",
        reason="FailedRescale",
        event="FailedRescale",
        metric=FAILURES,
        alerts=("BokehTargetFails",),
        recovers="goes on from the new count",
    ),
    Row("watch-silent", "The watches of the API server fall silent", **UNWATCHED),
    Row("watch-refused", "The API server answers 500 to each watch", **UNWATCHED),
    Row(
        "reads-refused",
        "The API server answers 500 to each watch and list",
        does="keeps the replicas and cordons no pod",
        reason="StaleCache",
        event="StaleCache",
        metric=OLD,
        alerts=("BokehCacheStale", "BokehDecisionsHeld"),
        recovers="scales down in the next passes",
        is_long=True,
    ),
    Row(
        "watch-replays",
        "A watch repeats old objects",
        does="goes on scaling",
        reason="DesiredWithinRange",
        event="",
        metric=Shown("bokeh_autoscaler_changes_total", "is 1"),
        alerts=(),
        recovers="goes on from the new count",
    ),
    Row(
        "etcd-restored",
        "etcd is restored from before a scale-up",
        does="lists everything again, and pauses scale-downs for 10 minutes",
        reason="MetricAboveTarget",
        event="ForeignWriter",
        metric=Shown("bokeh_autoscaler_changes_total", "is 2"),
        alerts=(),
        recovers="the next pass makes the change",
        is_long=True,
    ),
)
PODS = (
    Row(
        "sidecars-unreachable",
        "The daemon cannot connect to the sidecars; Prometheus can",
        does="cordons pods, and deletes none",
        reason="SessionsStillOpen",
        event="SidecarUnreachable",
        metric=Shown("bokeh_autoscaler_unreachable_sidecars", "is 3"),
        alerts=("BokehSidecarUnreachable",),
        recovers="deletes the pods once their sidecars answer",
        is_long=True,
    ),
    Row(
        "sidecar-killed",
        "The sidecar of a pod is killed",
        does="keeps the replicas; the pod counts as full and busy",
        reason="FailedGetSessionsMetric",
        event="SidecarUnreachable",
        metric=Shown("bokeh_autoscaler_unreachable_sidecars", "is 1"),
        alerts=(
            "BokehExporterDown",
            "BokehNoFreeSeats",
            "BokehPodsWithoutData",
            "BokehSidecarUnreachable",
            "BokehDecisionsHeld",
        ),
        recovers="counts as before once the sidecar runs again",
        is_long=True,
    ),
    Row(
        "worker-killed",
        "A worker of a Bokeh server is killed",
        does="counts the sessions that are left",
        reason="DesiredWithinRange",
        event="",
        metric=Shown("bokeh_sessions_lost_total", "increases"),
        alerts=("BokehSessionsLost",),
        recovers="the server starts another worker, which counts from then on",
    ),
)
DAEMON = (
    Row(
        "policy-half-written",
        "A policy file is half written",
        does="goes on scaling",
        reason="DesiredWithinRange",
        event="PolicyFileRejected",
        metric=Shown("bokeh_autoscaler_policy_file_errors", "is above 0"),
        alerts=("BokehPolicyFileRejected",),
        recovers="loads the file as soon as it is valid",
    ),
    Row(
        "journal-disk-full",
        "The disk of the journal is full",
        does="goes on scaling",
        reason="DesiredWithinRange",
        event="",
        metric=Shown("bokeh_autoscaler_journal_writing", "is 0"),
        alerts=("BokehJournalEnded",),
        recovers="restart the daemon: it continues the journal",
    ),
    Row(
        "clock-ahead",
        "The clock of the daemon's machine is set one hour ahead",
        metric=Shown("bokeh_autoscaler_clock_offset_seconds", "is above 3500"),
        **CLOCK,
    ),
    Row(
        "clock-behind",
        "The clock of the daemon's machine is set one hour back",
        metric=Shown("bokeh_autoscaler_clock_offset_seconds", "is below -3500"),
        **CLOCK,
    ),
    Row(
        "daemon-killed",
        "The daemon is killed after a write, whichever it is",
        does="nothing; no other write is lost or made twice",
        reason="",
        event="",
        metric=Shown("bokeh_autoscaler_sessions_cut_total", "is 0"),
        alerts=("BokehAutoscalerDown",),
        recovers="the next daemon goes on where it stopped, and ends no session",
        is_long=True,
    ),
)
OTHERS = (
    Row(
        "deployment-deleted",
        "The Deployment is deleted, and created again",
        does="has nothing to scale",
        reason="FailedGetScale",
        event="FailedGetScale",
        metric=FAILURES,
        alerts=("BokehTargetFails",),
        recovers="starts afresh with the new Deployment",
    ),
    Row(
        "scaled-by-hand",
        "Somebody else sets the replicas",
        does="keeps the count that was set, for 10 minutes",
        reason="ForeignWriter",
        event="ForeignWriter",
        metric=Shown(f'{HELD}{{reason="ForeignWriter"}}', "increases"),
        alerts=("BokehDecisionsHeld",),
        recovers="scales up at once, if needed; down after 10 minutes",
    ),
    Row(
        "hpa",
        "A HorizontalPodAutoscaler scales the same Deployment",
        does="keeps the replicas and cordons no pod",
        reason="OtherAutoscaler",
        event="OtherAutoscaler",
        metric=Shown(f'{HELD}{{reason="OtherAutoscaler"}}', "increases"),
        alerts=("BokehDecisionsHeld",),
        recovers="scales down in the next passes",
    ),
)
GROUPS = {
    "Prometheus": PROMETHEUS,
    "The API server and etcd": API_SERVER,
    "Sidecars and servers": PODS,
    "The daemon, its files and its machine": DAEMON,
    "Whoever else changes the Deployment": OTHERS,
}
ROWS = tuple(row for rows in GROUPS.values() for row in rows)
