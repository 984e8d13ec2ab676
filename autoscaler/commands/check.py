"""`autoscaler check`: every error of every policy file, or one line for each file that is well."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from autoscaler.adapters.policy_files import PolicyFile, PolicyFiles
from autoscaler.policy import Policy

BAD_INPUT = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="FILE",
        help="policy file, or a directory of them; names and targets must differ among all",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of lines"
    )


def run(args: argparse.Namespace) -> int:
    """Check `args.paths` and print; 0 where all is well, else 2."""
    files = PolicyFiles(args.paths).examine()
    well = not any(file.problems for file in files)
    if args.json:
        document = {"ok": well, "files": [_as_json(file) for file in files]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for file in files for line in _lines(file))
    return 0 if well else BAD_INPUT


def _lines(file: PolicyFile) -> tuple[str, ...]:
    if file.problems or file.policy is None:
        return file.messages
    return (f"{file.name}: ok, {describe(file.policy)}",)


def describe(policy: Policy) -> str:
    """A policy in one line, such as `policy cpu for bokeh/app, 2..20 replicas, metrics cpu`."""
    metrics = ", ".join(metric.type for metric in policy.metrics)
    bounds = f"{policy.replicas.min}..{policy.replicas.max}"
    return f"policy {policy.name} for {policy.target.ref}, {bounds} replicas, metrics {metrics}"


def _as_json(file: PolicyFile) -> dict[str, Any]:
    described = file.policy and {
        "name": file.policy.name,
        "target": str(file.policy.target.ref),
        "metrics": [metric.type for metric in file.policy.metrics],
    }
    return {
        "file": file.name,
        "ok": not file.problems,
        "policy": described,
        "problems": [problem._asdict() for problem in file.problems],
    }
