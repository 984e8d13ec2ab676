"""`autoscaler simulate`: replay sessions under a policy, and print its score."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from autoscaler.commands import inputs
from autoscaler.commands.lines import complain, say
from autoscaler.commands.progress import progress
from autoscaler.errors import AutoscalerError
from autoscaler.policy import Policy
from autoscaler.simulation import summary
from autoscaler.simulation.engine import Assumptions, Run, simulate
from autoscaler.simulation.score import score, static_fleet
from autoscaler.simulation.timeline import Table
from autoscaler.simulation.trace import Trace
from exporter.texts import visible

BAD_INPUT = 2
DEFAULT_REPORT = Path("simulation.html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    inputs.add_arguments(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help=f"file to write the report to (default: {DEFAULT_REPORT}; with --json: no report)",
    )
    output.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )


def run(args: argparse.Namespace) -> int:
    """Simulate and print the score, and return the exit code: 2 for wrong input."""
    try:
        policy, trace, assumptions = inputs.load(args)
        with progress("simulating") as show:
            result = simulate(policy, trace, assumptions, show)
        _tell(args, policy, trace, assumptions, result)
    except AutoscalerError as error:
        complain(*str(error).split("\n"))
        return BAD_INPUT
    return 0


def _tell(
    args: argparse.Namespace, policy: Policy, trace: Trace, assumptions: Assumptions, result: Run
) -> None:
    own = score(result, trace, policy.replicas.min)
    static = score(static_fleet(trace, assumptions.seats), trace, policy.replicas.min)
    table = summary.table(policy.name, own, static)
    conditions = summary.conditions(policy, trace, assumptions)
    html = args.html or (None if args.json else DEFAULT_REPORT)
    if html:
        zoned = replace(
            result, timeline=replace(result.timeline, timezone=inputs.zone_of(args, policy))
        )
        _write_html(html, policy, zoned, table, conditions)
    if args.json:
        print(json.dumps(summary.document(policy, trace, assumptions, own, static), indent=2))
        return
    _print_table(table)
    say(conditions, f"Report: {html}")


def _write_html(path: Path, policy: Policy, result: Run, table: Table, conditions: str) -> None:
    """Write the report. Raises AutoscalerError if the file cannot be written."""
    from autoscaler.report import write_report  # the import of Bokeh takes a third of a second

    try:
        write_report(path, result.timeline, table, f"Policy {policy.name}, simulated", conditions)
    except OSError as error:
        reason = f"cannot write the report to {path}: {error.strerror}; set another --html"
        raise AutoscalerError(reason) from None


def _print_table(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(box=None, pad_edge=False)
    for index, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if index else "left")
    for row in table.rows:
        shown.add_row(*map(visible, row))
    Console(markup=False, highlight=False).print(shown)
