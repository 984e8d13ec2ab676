"""The scores of several runs side by side: as a table for people, and as one JSON object."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from typing import Any

from autoscaler.policy import Policy
from autoscaler.simulation.bounds import Bounds
from autoscaler.simulation.comparison import Result
from autoscaler.simulation.engine import Assumptions
from autoscaler.simulation.front import Placement, WhenFull
from autoscaler.simulation.score import Score
from autoscaler.simulation.timeline import Phase, Steps, Table, pieces
from autoscaler.simulation.trace import Trace
from autoscaler.simulation.uncertainty import Uncertainty, intervals_of
from autoscaler.units import duration_text

Row = tuple[str, Callable[[Score], str]]


def _hours(phase: Phase, score: Score) -> str:
    return f"{score.hours[phase]:,.1f}" if score.hours else "-"


COST_ROWS: tuple[Row, ...] = (
    ("regret: cost above the bound *", lambda s: f"{s.regret:.1f} %"),
    ("replica-hours", lambda s: f"{s.replica_hours:,.1f}"),
)
# What users met who found no free seat.
FULL_ROWS: Mapping[WhenFull, Row] = {
    WhenFull.REFUSE: (
        "refused: no free seat",
        lambda s: f"{s.refused:,} ({s.refused_percent:.2f} %)",
    ),
    WhenFull.WAIT: (
        "waited for a free seat",
        lambda s: f"{s.waited:,} ({s.waiting_minutes:,.0f} min)",
    ),
    WhenFull.OVERFILL: (
        "minutes on pods over their seats",
        lambda s: f"{s.crowded_minutes:,.0f}",
    ),
}
USER_ROWS: tuple[Row, ...] = (
    ("cut by scaling down", lambda s: f"{s.cut:,}"),
    ("minutes lost by cuts", lambda s: f"{s.minutes_lost:,.0f}"),
)
FLEET_ROWS: tuple[Row, ...] = (
    ("peak replicas", lambda s: f"{s.peak_replicas}"),
    ("seats in use", lambda s: f"{s.seat_utilization:.1f} %"),
)
DETAIL_ROWS: tuple[Row, ...] = (
    *((f"replica-hours: {phase}", partial(_hours, phase)) for phase in Phase),
    ("sessions", lambda s: f"{s.sessions:,}"),
    ("peak sessions", lambda s: f"{s.peak_sessions:,}"),
    ("scale-ups, scale-downs", lambda s: f"{s.scale_ups}, {s.scale_downs}"),
    ("replicas missing (theta_u)", lambda s: f"{s.theta_u:.2f} %"),
    ("replicas in excess (theta_o)", lambda s: f"{s.theta_o:.1f} %"),
    ("time with too few (tau_u)", lambda s: f"{s.tau_u:.2f} %"),
    ("time with too many (tau_o)", lambda s: f"{s.tau_o:.1f} %"),
    ("least replica-hours, if sessions could move", lambda s: f"{s.bounds.fluid:,.1f}"),
    ("* least replica-hours, as sessions stay", lambda s: f"{s.bounds.sticky:,.1f}"),
    ("least replica-hours, with known ends", lambda s: f"{s.bounds.clairvoyant:,.1f}"),
)
# The rows whose titles need a sentence. Replicas that are needed: those for the present sessions.
MEANINGS: Mapping[str, str] = {
    "regret: cost above the bound *": "How much more the policy costs than the cheapest fleet that "
    "keeps each session where it is, and starts pods at once.",
    f"replica-hours: {Phase.BUSY}": "Of pods with sessions, which serve new users while they have "
    "seats.",
    f"replica-hours: {Phase.RESERVE}": "Of pods that have sessions, while new users find seats on "
    "fuller pods.",
    f"replica-hours: {Phase.SPARE}": "Of pods that are Ready and have no session.",
    f"replica-hours: {Phase.STARTING}": "Of pods that are not Ready yet.",
    f"replica-hours: {Phase.DRAINING}": "Of pods that are deleted once their last session has "
    "ended.",
    f"replica-hours: {Phase.DRAINED}": "Of pods that are deleted once their last users can no "
    "longer reconnect.",
    "replicas missing (theta_u)": "On average over time, the share of the needed replicas that was "
    "not ready: 5 % means that one of 20 needed replicas was missing. Lower is better for users.",
    "replicas in excess (theta_o)": "On average over time, how many more replicas were paid for "
    "than needed, as a share of the needed ones. It is the price of free seats.",
    "time with too few (tau_u)": "The share of the time in which any was missing.",
    "time with too many (tau_o)": "The share of the time in which more were paid for than needed.",
}
PLACED: Mapping[Placement, str] = {
    Placement.SERVICE: "A new session goes to a random pod, as by a Service; ",
    Placement.LEASTCONN: "A new session goes to the pod with the fewest sessions; ",
    Placement.ROUND_ROBIN: "New sessions go to the pods in turn; ",
    Placement.PACKED: "A new session goes to the fullest pod with a free seat; ",
}
FULL: Mapping[WhenFull, str] = {
    WhenFull.REFUSE: "if all seats are taken, the user goes away.",
    WhenFull.WAIT: "if all seats are taken, the user waits.",
    WhenFull.OVERFILL: "if all seats are taken, the user shares one.",
}
BARS = "▁▂▃▄▅▆▇█"


def table(
    results: Sequence[Result], when_full: WhenFull, price: float | None, *, brief: bool = False
) -> Table:
    """Return the table with a column for each result.

    price: of a replica-hour, if it is known. brief: only the rows for a terminal, about eight.
    """
    money: tuple[Row, ...] = ()
    if price is not None:
        money = (("cost", lambda score: f"{score.replica_hours * price:,.2f}"),)
    rows = (*money, *COST_ROWS, FULL_ROWS[when_full], *USER_ROWS, *FLEET_ROWS)
    if not brief:
        rows += DETAIL_ROWS
    columns = ("", *(result.name for result in results))
    return Table(
        columns, tuple((title, *(text(each.score) for each in results)) for title, text in rows)
    )


def bounds_text(bounds: Bounds) -> str:
    """Return the least replica-hours at the minimum of the policy, in words."""
    return (
        f"* At the policy's minimum, at least {bounds.sticky:,.1f} replica-hours as sessions stay; "
        f"{bounds.fluid:,.1f} if they could move, {bounds.clairvoyant:,.1f} with known ends."
    )


def seats_text(results: Sequence[Result]) -> list[str]:
    """Return in words which pods have other seats than the first result's; nothing if none do."""
    own = results[0].run.timeline.seats
    others = [each for each in results[1:] if each.run.timeline.seats != own]
    if not others:
        return []
    listed = ", ".join(f"{each.name} {each.run.timeline.seats}" for each in (results[0], *others))
    return [f"Seats per pod, as each policy has them: {listed}; --seats sets one number for all."]


def sparkline(steps: Steps, start: float, end: float, width: int = 60) -> str:
    """Return a line of bars, each as high as the peak of its stretch of time."""
    peaks = [0.0] * width
    stretch = max(end - start, 1e-9) / width
    until = 0.0
    for seconds, (value,) in pieces([steps], start, end):
        since, until = until, until + seconds
        for place in range(int(since / stretch), min(width - 1, int(until / stretch)) + 1):
            peaks[place] = max(peaks[place], value)
    highest = max(*peaks, 1.0)
    return "".join(BARS[round(peak / highest * (len(BARS) - 1))] for peak in peaks)


def conditions(policy: Policy, trace: Trace, assumptions: Assumptions) -> str:
    """Return the assumptions behind the numbers, in words."""
    lead_time, tick = duration_text(assumptions.lead_time), duration_text(assumptions.tick)
    notes = [
        f"Trace: {trace.name}.",
        *([trace.note] if trace.note else []),
        f"One decision every {tick}; a new pod is Ready after {lead_time};",
        f"{assumptions.seats} seats per pod; seed {assumptions.seed}.",
        f"Each pod is scraped every {duration_text(assumptions.scrape_interval)};",
        f"a page is counted {duration_text(assumptions.page_load)} after it took its seat.",
    ]
    if policy.paused:
        notes.append("The policy is paused (paused: true), so its replicas never change.")
    if policy.idle is not None:
        notes.append(
            "The sessions do not tell whether anybody uses them, so no session is released (idle)."
        )
    notes.append(PLACED[assumptions.placement] + FULL[assumptions.when_full])
    kinds = {metric.type for metric in policy.metrics}
    if kinds & {"cpu", "memory"}:
        notes.append(
            f"A session uses {assumptions.cpu_per_session:g} of its pod's 1 core, and "
            f"{assumptions.memory_per_session:g} MB in addition to the pod's 200 MB of 1 GiB."
        )
    if "prometheus" in kinds:
        notes.append("A PromQL query is assumed to return the number of connected sessions.")
    if policy.drain is None:
        notes.append(
            "The ReplicaSet chooses the pods that are removed (drain: none); a user whose session "
            f"is cut is back after {duration_text(assumptions.returns_after)}."
        )
    elif policy.ends_sessions:
        notes.append(
            "Pods are removed without sessions, or when their drain's deadline has passed."
        )
    else:
        notes.append("Only pods without sessions are removed.")
    return " ".join(notes)


def document(
    policy: Policy,
    trace: Trace,
    assumptions: Assumptions,
    results: Sequence[Result],
    price: float | None,
    found: Uncertainty | None = None,
) -> Mapping[str, Any]:
    """Return the scores, and everything that is needed to reproduce them, as JSON values.

    results: the policy's first, that of the static fleet last, and between them the others. found:
    how sure they are, if that is known.
    """
    own, *others, static = figures(results, price, found)
    return {
        **own,
        "static": static,
        "against": {each.name: theirs for each, theirs in zip(results[1:-1], others, strict=True)},
        **provenance(policy, trace, assumptions),
    }


def figures(
    results: Sequence[Result], price: float | None, found: Uncertainty | None
) -> list[dict[str, Any]]:
    """Return the score of each result with its cost and its intervals, as JSON values.

    found: how sure they are, if that is known.
    """
    return [
        values(each.score, price) | (intervals_of(found, number) if found else {})
        for number, each in enumerate(results)
    ]


def provenance(policy: Policy, trace: Trace, assumptions: Assumptions) -> dict[str, Any]:
    """Return everything that is needed to repeat a simulation, as JSON values."""
    return {
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


def values(score: Score, price: float | None) -> dict[str, Any]:
    """Return a score as JSON values, with its cost if the price of a replica-hour is known."""
    found: dict[str, Any] = rounded(asdict(score))
    if price is not None:
        found["cost"] = round(score.replica_hours * price, 4)
    return found


def rounded(value: Any) -> Any:
    """Return plain values with all numbers rounded to four digits after the point."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value
