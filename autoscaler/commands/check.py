"""`autoscaler check`: print every error of each policy file, or one line for a valid file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.policies.files import PolicyFiles
from autoscaler.adapters.policies.policy_file import PolicyFile
from autoscaler.commands import connect
from autoscaler.commands.lines import complain, say
from autoscaler.commands.survey import Finding, survey
from autoscaler.errors import AutoscalerError
from autoscaler.policy import Policy

UNREADABLE, BAD_INPUT = 1, 2
# Seconds for which to wait for a query; nothing else depends on the answers here.
PATIENCE = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Check policy files. With --prometheus-url, also run each query once and print its result "
        "(type, value, age, number of series, or an error), and how many pods of each target have "
        "the signals that its policy needs."
    )
    parser.epilog = (
        "Exit code: 0 if everything is valid; 2 if a file is invalid; 1 if all files are valid but "
        "a query or signal cannot be read."
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="FILE",
        help="policy file, or a directory of policy files; all names and targets must be different",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of text lines"
    )
    connect.add_prometheus(parser, required=False)


def run(args: argparse.Namespace) -> int:
    """Check `args.paths`, print the result, and return the exit code (see the command's help)."""
    files = PolicyFiles(args.paths).examine()
    try:
        found = _survey(args, [f.policy for f in files if f.policy and not f.problems])
    except AutoscalerError as error:
        complain(f"autoscaler check: {error}")
        return UNREADABLE
    right = not any(file.problems for file in files)
    readable = not any(finding.problem for each in found.values() for finding in each)
    if args.json:
        documents = [_as_json(file, _of(file, found)) for file in files]
        document = {"ok": right and readable, "files": documents}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        say(*(line for file in files for line in _lines(file, _of(file, found))))
    if not right:
        return BAD_INPUT
    return 0 if readable else UNREADABLE


def _survey(args: argparse.Namespace, policies: Sequence[Policy]) -> dict[str, tuple[Finding, ...]]:
    """Return what Prometheus has for the valid policies; nothing without --prometheus-url."""
    if args.prometheus_url is None:
        return {}
    return survey(connect.prometheus(args, patience=PATIENCE), policies, SystemClock().now)


def _of(file: PolicyFile, found: dict[str, tuple[Finding, ...]]) -> tuple[Finding, ...]:
    return found.get(file.policy.name, ()) if file.policy and not file.problems else ()


def _lines(file: PolicyFile, found: Sequence[Finding]) -> tuple[str, ...]:
    if file.problems or file.policy is None:
        return file.messages
    told = (f"  {finding.line}" for finding in found)
    return (f"{file.name}: ok, {describe(file.policy)}", *told)


def describe(policy: Policy) -> str:
    """Return a line such as `policy cpu for bokeh/app, 2..20 replicas, metrics cpu`."""
    metrics = ", ".join(metric.type for metric in policy.metrics)
    bounds = f"{policy.replicas.min}..{policy.replicas.max}"
    return f"policy {policy.name} for {policy.target.ref}, {bounds} replicas, metrics {metrics}"


def _as_json(file: PolicyFile, found: Sequence[Finding]) -> dict[str, Any]:
    described = file.policy and {
        "name": file.policy.name,
        "target": str(file.policy.target.ref),
        "metrics": [metric.type for metric in file.policy.metrics],
    }
    document: dict[str, Any] = {
        "file": file.name,
        "ok": not file.problems and not any(finding.problem for finding in found),
        "policy": described,
        "problems": [problem._asdict() for problem in file.problems],
    }
    return {**document, "prometheus": [each.document for each in found]} if found else document
