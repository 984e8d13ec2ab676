"""Why a number is what it is: the words of decisions in Events, logs, metrics and pages."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a number is what it is. HPA's own words where it has one.

    The same word appears in logs, Events, metric labels and the documentation, which takes the
    meaning of each word from here.
    """

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Reason:
        """Make a member that is its word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member

    # Limits (HPA condition ScalingLimited)
    DESIRED_WITHIN_RANGE = (
        "DesiredWithinRange",
        "The number that the metrics ask for is within the limits.",
    )
    TOO_FEW_REPLICAS = (
        "TooFewReplicas",
        "Fewer replicas are wanted than the minimum, which applies.",
    )
    TOO_MANY_REPLICAS = (
        "TooManyReplicas",
        "More replicas are wanted than the maximum, which applies.",
    )
    SCALE_UP_LIMIT = (
        "ScaleUpLimit",
        "A rate policy of `behavior.scaleUp` allows no more replicas now.",
    )
    SCALE_DOWN_LIMIT = (
        "ScaleDownLimit",
        "A rate policy of `behavior.scaleDown` allows no fewer replicas now.",
    )
    # Windows (HPA condition AbleToScale)
    SCALE_UP_STABILIZED = (
        "ScaleUpStabilized",
        "A lower number of the stabilization window for scaling up applies.",
    )
    SCALE_DOWN_STABILIZED = (
        "ScaleDownStabilized",
        "A higher number of the stabilization window for scaling down applies.",
    )
    # Metrics (HPA condition ScalingActive)
    VALID_METRIC_FOUND = "ValidMetricFound", "A metric has a value, and asks for this number."
    SCALING_DISABLED = (
        "ScalingDisabled",
        "The Deployment was scaled to 0 by hand, so it is not scaled.",
    )
    FAILED_GET_RESOURCE_METRIC = "FailedGetResourceMetric", "CPU or memory cannot be read."
    FAILED_GET_SESSIONS_METRIC = "FailedGetSessionsMetric", "No pod gives a session count."
    FAILED_GET_EXTERNAL_METRIC = (
        "FailedGetExternalMetric",
        "A PromQL query of the policy has no value.",
    )
    # Ours
    METRIC_ABOVE_TARGET = (
        "MetricAboveTarget",
        "The metric that asks for the most replicas is above its target.",
    )
    METRIC_BELOW_TARGET = (
        "MetricBelowTarget",
        "The metric that asks for the most replicas is below its target.",
    )
    PARTIAL_DATA = (
        "PartialData",
        (
            "Some pods give no data, or none that is fresh. They count as full and busy, and "
            "nothing is scaled down."
        ),
    )
    FALLBACK = (
        "Fallback",
        "No metric could be read for `fallback.after`, so there are at least `fallback.replicas`.",
    )
    ROLLOUT_IN_PROGRESS = (
        "RolloutInProgress",
        (
            "During a rollout, the Deployment divides a scale-down among its ReplicaSets as it "
            "likes, so the daemon waits."
        ),
    )
    ROLLOUT_PAUSED = (
        "RolloutPaused",
        "The same, but `spec.paused` of the Deployment keeps the rollout from ending.",
    )
    SCHEDULED_MINIMUM = (
        "ScheduledMinimum",
        "The minimum of an open window of the `schedule` applies.",
    )
    SCHEDULED_MAXIMUM = (
        "ScheduledMaximum",
        "The maximum of an open window of the `schedule` applies.",
    )
    SCHEDULED_SETTINGS = (
        "ScheduledSettings",
        "An open window of the `schedule` sets spare seats, the placement or the drain's deadline.",
    )
    COOLDOWN_UP = "CooldownUp", "The last scale-up is not `cooldown.up` ago."
    COOLDOWN_DOWN = "CooldownDown", "The last change is not `cooldown.down` ago."
    # Drains
    CORDONED = "Cordoned", "A pod gets no new sessions: it is to be deleted, or full."
    SESSIONS_STILL_OPEN = (
        "SessionsStillOpen",
        "A scale-down waits until the sessions of the cordoned pods have ended.",
    )
    WRITES_LIMITED = (
        "WritesLimited",
        (
            "More writes are due than `--writes-per-second` or the API server allows; the next "
            "pass decides anew."
        ),
    )
    DRAINED = "Drained", "Cordoned pods without sessions are deleted."
    UNCORDONED = "Uncordoned", "A pod gets new sessions again."
    SESSIONS_CUT = (
        "SessionsCut",
        "A scale-down ended sessions that had begun after the last look at the pod.",
    )
    SIDECAR_UNREACHABLE = (
        "SidecarUnreachable",
        "The daemon cannot reach the sidecars of some pods, which count as busy.",
    )
    IDLE_SESSIONS = (
        "IdleSessions",
        "Cordoned pods have waited for their last sessions for as long as `drain.tell` says.",
    )
    SEATS_LEARNED = (
        "SeatsLearned",
        "Pods get another number of seats, by what they had to do (`seats: auto`).",
    )
    SESSIONS_RELEASED = (
        "SessionsReleased",
        (
            "A pod that drained was held by sessions that nobody used, or that their app lets be "
            "closed; they were closed, so it is deleted."
        ),
    )
    DRAIN_DEADLINE_EXCEEDED = (
        "DrainDeadlineExceeded",
        "A cordoned pod is deleted with its sessions, because the drain's deadline has passed.",
    )
    RECYCLING = "Recycling", "A pod that is as old as `recycle.age` is replaced."
    DELETION_ORDER_UNCERTAIN = (
        "DeletionOrderUncertain",
        "The ReplicaSet might delete a pod other than the drained one, so nothing is scaled down.",
    )
    FOREIGN_DELETION_COST = (
        "ForeignDeletionCost",
        "Somebody else writes deletion costs on the pods, so nothing is scaled down.",
    )
    VICTIM_MISMATCH = (
        "VictimMismatch",
        (
            "Kubernetes deleted a pod that had not been drained; nothing is scaled down for ten "
            "minutes."
        ),
    )
    OTHER_AUTOSCALER = (
        "OtherAutoscaler",
        "An HPA or ScaledObject has the same target, so nothing is scaled.",
    )
    NOT_CORDONABLE = (
        "NotCordonable",
        (
            "Pods lack the label by which they are cordoned, or the Deployment's own selector has "
            "it, so nothing is scaled down."
        ),
    )
    FOREIGN_WRITER = (
        "ForeignWriter",
        (
            "Somebody else changed `spec.replicas` or the label of a cordoned pod; nothing is "
            "scaled down for ten minutes."
        ),
    )
    STALE_CACHE = (
        "StaleCache",
        (
            "The API server has not confirmed for 45 s what the daemon knows of the target, so "
            "nothing is scaled down, and nothing is scaled up twice."
        ),
    )
    PAUSED = "Paused", "The policy or the Deployment is paused, so nothing is scaled."
    RESUMED = "Resumed", "The pause has ended."
