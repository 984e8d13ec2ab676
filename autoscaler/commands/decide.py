"""`autoscaler decide`: print one decision and how it was made. Changes nothing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from autoscaler.adapters.policies.files import PolicyFiles
from autoscaler.commands import connect
from autoscaler.commands.lines import complain
from autoscaler.control.controller import Controller
from autoscaler.control.pass_result import Outcome
from autoscaler.core.holds import blocking
from autoscaler.core.now import Now
from autoscaler.errors import AutoscalerError
from autoscaler.reporting.decision_fields import decision_fields
from autoscaler.reporting.events import unreachable
from autoscaler.units import counted
from exporter.texts import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--policy", metavar="FILE", type=Path, required=True, help="policy file to decide by"
    )
    connect.add_arguments(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of text lines"
    )


def run(args: argparse.Namespace) -> int:
    """Print the decision and return the exit code.

    It is 1 if the target or the API cannot be read, and 2 for an invalid policy.
    """
    policies = PolicyFiles([args.policy])
    problems = policies.load().problems
    if problems:
        complain(*(line for lines in problems.values() for line in lines))
        return 2
    try:
        ports = connect.ports(args, policies, once=True)
    except AutoscalerError as error:
        complain(f"autoscaler decide: {error}")
        return 1
    controller = Controller(
        policies, ports.metrics, ports.cluster, ports.sidecars, ports.clock, dry_run=True
    )
    outcome = controller.run_pass().outcomes[0]
    if outcome.problem or outcome.decision is None:
        complain(f"{outcome.policy.name}: {outcome.problem}")
        return 1
    print(as_json(outcome) if args.json else as_text(outcome))
    return 0


def as_text(outcome: Outcome) -> str:
    """Return the decision as text: the target, each metric, each step, the result, all holds."""
    decision, observed = outcome.decision, outcome.observed
    if decision is None or observed is None:
        return ""
    ready = sum(pod.serving for pod in observed.pods)
    target = outcome.policy.target.ref
    lines = [f"{outcome.policy.name} for {target}: {decision.current} replicas, {ready} ready"]
    if outcome.seats is not None:
        seats = counted(outcome.seats.seats, "seat")
        told = "the first guess; `autoscaler status` has those that the daemon has learned"
        lines.append(f"  {'seats':<8} {seats:>12}  {told}")
    for metric in decision.recommendations:
        number = "unknown" if metric.replicas is None else f"{metric.replicas} replicas"
        lines.append(f"  {'metric':<8} {number:>12}  {metric.detail}")
    lines += [
        f"  {'->':<8} {step.replicas:>3} replicas  {step.reason}: {step.detail}"
        for step in decision.steps
    ]
    lines.append(f"  decision {decision.desired:>3} replicas  (nothing was changed)")
    if blocks := _blocks(outcome):
        lines.append("A scale-down is blocked by")
        lines += [f"  {each['reason']}: {each['detail']}" for each in blocks]
    return "\n".join(map(visible, lines))


def _blocks(outcome: Outcome) -> list[dict[str, str]]:
    """Return all that holds a scale-down now, whether or not the decision came to it."""
    decided = outcome.decided
    if decided is None:
        return []
    metrics, now = decided.decision.recommendations, Now(decided.at)
    steps = blocking(outcome.policy, decided.observed, metrics, decided.before, now)
    told = [{"reason": step.reason.value, "detail": step.detail} for step in steps]
    if outcome.unreachable:
        message = unreachable(outcome.unreachable)
        told.append({"reason": message.reason, "detail": message.text})
    return told


def as_json(outcome: Outcome) -> str:
    """Return the decision as one JSON object."""
    decision = outcome.decision
    if decision is None:
        return "{}"
    return json.dumps(
        {
            "policy": outcome.policy.name,
            "target": outcome.policy.target.ref._asdict(),
            **decision_fields(decision),
            "blocks": _blocks(outcome),
        }
    )
