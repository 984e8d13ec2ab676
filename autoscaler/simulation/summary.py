"""A run's score beside its baseline: as a table for people, as one object for machines."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from autoscaler.policy import Policy
from autoscaler.quantities import duration_text
from autoscaler.simulation.engine import Assumptions
from autoscaler.simulation.score import Score
from autoscaler.simulation.timeline import Table
from autoscaler.simulation.trace import Trace

# Each row: what it is called, and how it reads.
ROWS: tuple[tuple[str, Callable[[Score], str]], ...] = (
    ("sessions", lambda s: f"{s.sessions:,}"),
    ("peak sessions", lambda s: f"{s.peak_sessions:,}"),
    ("refused: no free seat", lambda s: f"{s.refused:,} ({s.refused_percent:.2f} %)"),
    ("cut by scaling down", lambda s: f"{s.cut:,}"),
    ("minutes lost by cuts", lambda s: f"{s.minutes_lost:,.0f}"),
    ("replica-hours", lambda s: f"{s.replica_hours:,.1f}"),
    ("  if sessions could move", lambda s: f"{s.fluid_bound:,.1f}"),
    ("peak replicas", lambda s: f"{s.peak_replicas}"),
    ("scale-ups, scale-downs", lambda s: f"{s.scale_ups}, {s.scale_downs}"),
    ("seats in use", lambda s: f"{s.seat_utilization:.1f} %"),
    ("replicas missing (theta_u)", lambda s: f"{s.theta_u:.2f} %"),
    ("replicas in excess (theta_o)", lambda s: f"{s.theta_o:.1f} %"),
    ("time with too few (tau_u)", lambda s: f"{s.tau_u:.2f} %"),
    ("time with too many (tau_o)", lambda s: f"{s.tau_o:.1f} %"),
)


def table(name: str, score: Score, baseline: Score) -> Table:
    """The score of the policy `name` beside that of a static fleet."""
    columns = ("", f"policy {name}", f"static fleet of {baseline.peak_replicas}")
    return Table(columns, tuple((title, text(score), text(baseline)) for title, text in ROWS))


def conditions(policy: Policy, trace: Trace, assumptions: Assumptions) -> str:
    """In words for the reader: under which assumptions the numbers were had."""
    lead_time, tick = duration_text(assumptions.lead_time), duration_text(assumptions.tick)
    notes = [
        f"Trace: {trace.name}.",
        f"Decisions every {tick}, {lead_time} from decision to Ready,",
        f"{assumptions.seats} seats a pod, seed {assumptions.seed}.",
    ]
    kinds = {metric.type for metric in policy.metrics}
    if kinds & {"cpu", "memory"}:
        notes.append(
            f"A session uses {assumptions.cpu_per_session:g} of its pod's 1 core and "
            f"{assumptions.memory_per_session:g} MB over 200 MB of its pod's 1 GiB."
        )
    if "prometheus" in kinds:
        notes.append("A PromQL query is taken to answer the number of connected sessions.")
    if policy.drain is None:
        notes.append("Pods are removed at random (drain: none); who is cut does not come back.")
    else:
        notes.append("Only pods without a session are removed.")
    return " ".join(notes)


def document(
    policy: Policy, trace: Trace, assumptions: Assumptions, score: Score, baseline: Score
) -> Mapping[str, Any]:
    """The score, and everything that is needed to have it again."""
    return {
        **_rounded(score),
        "static": _rounded(baseline),
        "assumptions": asdict(assumptions),
        "seed": assumptions.seed,
        "trace": {"name": trace.name, "sha256": trace.digest},
        "policy": {"name": policy.name, "sha256": policy_digest(policy)},
        "versions": {
            "bokeh-autoscaler": version("bokeh-autoscaler"),
            "python": platform.python_version(),
        },
    }


def policy_digest(policy: Policy) -> str:
    """SHA-256 of what a policy says, whatever its comments and the order of its keys."""
    return hashlib.sha256(policy.model_dump_json(by_alias=True).encode()).hexdigest()


def _rounded(score: Score) -> dict[str, Any]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in asdict(score).items()
    }
