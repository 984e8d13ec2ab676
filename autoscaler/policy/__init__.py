"""A scaling policy: the YAML that people edit, as frozen models.

Unknown keys are rejected, and each message says what was expected. `adapters.policies` reads files
into these models and adds the file, the line and the path to every error. It may import `model` and
`units`.
"""

from autoscaler.policy.behavior import Behavior, RatePolicy, ScalingRules
from autoscaler.policy.drain import Drain, Recycle
from autoscaler.policy.metrics import (
    SPARE_TAGS,
    CpuMetric,
    MemoryMetric,
    PrometheusMetric,
    RefusalTarget,
    SessionsMetric,
    Spare,
)
from autoscaler.policy.placement import Packing
from autoscaler.policy.policy import Policy

__all__ = [
    "SPARE_TAGS",
    "Behavior",
    "CpuMetric",
    "Drain",
    "MemoryMetric",
    "Packing",
    "Policy",
    "PrometheusMetric",
    "RatePolicy",
    "Recycle",
    "RefusalTarget",
    "ScalingRules",
    "SessionsMetric",
    "Spare",
]
