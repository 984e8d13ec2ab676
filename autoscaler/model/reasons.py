"""Why a number is what it is: the words of decisions in Events, logs, metrics and pages."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a number is what it is. HPA's own words where it has one.

    The same word appears in logs, Events, metric labels and the documentation.
    """

    # Limits (HPA condition ScalingLimited)
    DESIRED_WITHIN_RANGE = "DesiredWithinRange"
    TOO_FEW_REPLICAS = "TooFewReplicas"
    TOO_MANY_REPLICAS = "TooManyReplicas"
    SCALE_UP_LIMIT = "ScaleUpLimit"
    SCALE_DOWN_LIMIT = "ScaleDownLimit"
    # Windows (HPA condition AbleToScale)
    SCALE_UP_STABILIZED = "ScaleUpStabilized"
    SCALE_DOWN_STABILIZED = "ScaleDownStabilized"
    READY_FOR_NEW_SCALE = "ReadyForNewScale"
    # Metrics (HPA condition ScalingActive)
    VALID_METRIC_FOUND = "ValidMetricFound"
    SCALING_DISABLED = "ScalingDisabled"
    FAILED_GET_RESOURCE_METRIC = "FailedGetResourceMetric"
    FAILED_GET_SESSIONS_METRIC = "FailedGetSessionsMetric"
    FAILED_GET_EXTERNAL_METRIC = "FailedGetExternalMetric"
    FAILED_COMPUTE_METRICS_REPLICAS = "FailedComputeMetricsReplicas"
    # Ours
    METRIC_ABOVE_TARGET = "MetricAboveTarget"
    METRIC_BELOW_TARGET = "MetricBelowTarget"
    PARTIAL_DATA = "PartialData"
    FALLBACK = "Fallback"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    ROLLOUT_PAUSED = "RolloutPaused"
    SCHEDULED_MINIMUM = "ScheduledMinimum"
    SCHEDULED_MAXIMUM = "ScheduledMaximum"
    SCHEDULED_SETTINGS = "ScheduledSettings"
    COOLDOWN_UP = "CooldownUp"
    COOLDOWN_DOWN = "CooldownDown"
    # Drains
    CORDONED = "Cordoned"
    SESSIONS_STILL_OPEN = "SessionsStillOpen"
    WRITES_LIMITED = "WritesLimited"
    DRAINED = "Drained"
    UNCORDONED = "Uncordoned"
    SESSIONS_CUT = "SessionsCut"
    SIDECAR_UNREACHABLE = "SidecarUnreachable"
    IDLE_SESSIONS = "IdleSessions"
    DRAIN_DEADLINE_EXCEEDED = "DrainDeadlineExceeded"
    RECYCLING = "Recycling"
    DELETION_ORDER_UNCERTAIN = "DeletionOrderUncertain"
    FOREIGN_DELETION_COST = "ForeignDeletionCost"
    VICTIM_MISMATCH = "VictimMismatch"
    OTHER_AUTOSCALER = "OtherAutoscaler"
    NOT_CORDONABLE = "NotCordonable"
    FOREIGN_WRITER = "ForeignWriter"
    STALE_CACHE = "StaleCache"
    PAUSED = "Paused"
    RESUMED = "Resumed"
