"""`autoscaler decide`: one decision and how it came about; changes nothing."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from autoscaler.adapters.policy_files import PolicyFiles
from autoscaler.commands import connect
from autoscaler.controller import Controller, Outcome
from autoscaler.errors import AutoscalerError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of one decision."""
    parser.add_argument("--policy", metavar="FILE", type=Path, required=True)
    connect.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the decision: 0; 1 if the target or the API cannot be read, 2 for a wrong policy."""
    policies = PolicyFiles([args.policy])
    problems = policies.load().problems
    if problems:
        print("\n".join(line for lines in problems.values() for line in lines), file=sys.stderr)
        return 2
    try:
        ports = connect.ports(args, policies)
    except AutoscalerError as error:
        print(f"autoscaler decide: {error}", file=sys.stderr)
        return 1
    controller = Controller(
        policies, ports.metrics, ports.cluster, ports.sidecars, ports.clock, dry_run=True
    )
    outcome = controller.run_pass().outcomes[0]
    if outcome.problem or outcome.decision is None:
        print(f"{outcome.policy.name}: {outcome.problem}", file=sys.stderr)
        return 1
    print(as_json(outcome) if args.json else as_text(outcome))
    return 0


def as_text(outcome: Outcome) -> str:
    """The decision as a person reads it: what was seen, each metric, each step, the number."""
    decision, observed = outcome.decision, outcome.observed
    if decision is None or observed is None:
        return ""
    ready = sum(pod.serving for pod in observed.pods)
    target = outcome.policy.target.ref
    lines = [f"{outcome.policy.name} for {target}: {decision.current} replicas, {ready} ready"]
    for metric in decision.recommendations:
        number = "no number" if metric.replicas is None else f"{metric.replicas} replicas"
        lines.append(f"  asks     {number:>12}  {metric.detail}")
    lines += [
        f"  {'->':<8} {step.replicas:>3} replicas  {step.reason}: {step.detail}"
        for step in decision.steps
    ]
    lines.append(f"  decision {decision.desired:>3} replicas  (nothing was changed)")
    return "\n".join(lines)


def as_json(outcome: Outcome) -> str:
    """The decision as one JSON object."""
    decision = outcome.decision
    if decision is None:
        return "{}"
    return json.dumps(
        {
            "policy": outcome.policy.name,
            "target": outcome.policy.target.ref._asdict(),
            "current": decision.current,
            "desired": decision.desired,
            "direction": decision.direction,
            "reason": decision.reason,
            "recommendations": [asdict(metric) for metric in decision.recommendations],
            "steps": [step._asdict() for step in decision.steps],
        }
    )
