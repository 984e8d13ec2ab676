"""A run's score next to its baseline: as a table for people, and as one JSON object."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from autoscaler.policy import Policy
from autoscaler.simulation.engine import Assumptions
from autoscaler.simulation.score import Score
from autoscaler.simulation.timeline import Table
from autoscaler.simulation.trace import Trace
from autoscaler.units import duration_text

# Each row: its title, and the function that formats its value.
ROWS: tuple[tuple[str, Callable[[Score], str]], ...] = (
    ("sessions", lambda s: f"{s.sessions:,}"),
    ("peak sessions", lambda s: f"{s.peak_sessions:,}"),
    ("refused: no free seat", lambda s: f"{s.refused:,} ({s.refused_percent:.2f} %)"),
    ("waited for a free seat", lambda s: f"{s.waited:,} ({s.waiting_minutes:,.0f} min)"),
    ("minutes on pods over their seats", lambda s: f"{s.crowded_minutes:,.0f}"),
    ("cut by scaling down", lambda s: f"{s.cut:,}"),
    ("minutes lost by cuts", lambda s: f"{s.minutes_lost:,.0f}"),
    ("replica-hours", lambda s: f"{s.replica_hours:,.1f}"),
    ("  at least, if sessions could move", lambda s: f"{s.bounds.fluid:,.1f}"),
    ("  at least, as sessions stay", lambda s: f"{s.bounds.sticky:,.1f}"),
    ("  at least, with known ends", lambda s: f"{s.bounds.clairvoyant:,.1f}"),
    ("  regret: above the second", lambda s: f"{s.regret:.1f} %"),
    ("peak replicas", lambda s: f"{s.peak_replicas}"),
    ("scale-ups, scale-downs", lambda s: f"{s.scale_ups}, {s.scale_downs}"),
    ("seats in use", lambda s: f"{s.seat_utilization:.1f} %"),
    ("replicas missing (theta_u)", lambda s: f"{s.theta_u:.2f} %"),
    ("replicas in excess (theta_o)", lambda s: f"{s.theta_o:.1f} %"),
    ("time with too few (tau_u)", lambda s: f"{s.tau_u:.2f} %"),
    ("time with too many (tau_o)", lambda s: f"{s.tau_o:.1f} %"),
)


def table(name: str, score: Score, baseline: Score) -> Table:
    """Return the table with the score of the policy `name` and that of a static fleet."""
    columns = ("", f"policy {name}", f"static fleet of {baseline.peak_replicas}")
    return Table(columns, tuple((title, text(score), text(baseline)) for title, text in ROWS))


def conditions(policy: Policy, trace: Trace, assumptions: Assumptions) -> str:
    """Return the assumptions behind the numbers, in words."""
    lead_time, tick = duration_text(assumptions.lead_time), duration_text(assumptions.tick)
    notes = [
        f"Trace: {trace.name}.",
        *([trace.note] if trace.note else []),
        f"One decision every {tick}; a new pod is Ready after {lead_time};",
        f"{assumptions.seats} seats per pod; seed {assumptions.seed}.",
    ]
    kinds = {metric.type for metric in policy.metrics}
    if kinds & {"cpu", "memory"}:
        notes.append(
            f"A session uses {assumptions.cpu_per_session:g} of its pod's 1 core, and "
            f"{assumptions.memory_per_session:g} MB in addition to the pod's 200 MB of 1 GiB."
        )
    if "prometheus" in kinds:
        notes.append("A PromQL query is assumed to return the number of connected sessions.")
    if policy.drain is None:
        notes.append("Pods are removed at random (drain: none); users who are cut do not return.")
    else:
        notes.append("Only pods without sessions are removed.")
    return " ".join(notes)


def document(
    policy: Policy, trace: Trace, assumptions: Assumptions, score: Score, baseline: Score
) -> Mapping[str, Any]:
    """Return the score, and everything that is needed to reproduce it, as JSON values."""
    return {
        **_rounded(score),
        "static": _rounded(baseline),
        "assumptions": asdict(assumptions),
        "seed": assumptions.seed,
        "trace": {"name": trace.name, "sha256": trace.digest, "note": trace.note},
        "policy": {"name": policy.name, "sha256": policy_digest(policy)},
        "versions": {
            "bokeh-autoscaler": version("bokeh-autoscaler"),
            "python": platform.python_version(),
        },
    }


def policy_digest(policy: Policy) -> str:
    """Return the SHA-256 of a policy's content, independent of comments and the order of keys."""
    return hashlib.sha256(policy.model_dump_json(by_alias=True).encode()).hexdigest()


def _rounded(score: Score) -> dict[str, Any]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in asdict(score).items()
    }
