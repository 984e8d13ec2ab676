"""The scores of a simulation on standard output, and its report."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autoscaler.commands import inputs
from autoscaler.commands.lines import say
from autoscaler.errors import AutoscalerError
from autoscaler.policy import Policy
from autoscaler.simulation import summary
from autoscaler.simulation.comparison import Contender, Result
from autoscaler.simulation.timeline import Table, Timeline
from autoscaler.simulation.trace import Trace
from exporter.texts import visible


def tell(
    args: argparse.Namespace,
    own: Contender,
    trace: Trace,
    results: Sequence[Result],
    notes: Sequence[str],
) -> None:
    """Print the scores, and write the report to `args.html`, if it is set.

    Raises AutoscalerError if the report cannot be written.
    """
    policy, assumed = own.policy, own.assumptions
    conditions = " ".join([summary.conditions(policy, trace, assumed), *notes])
    if args.html:
        whole = summary.table(results, assumed.when_full, args.price)
        timeline = replace(results[0].run.timeline, timezone=inputs.zone_of(args, policy))
        _write_html(args.html, policy, timeline, whole, conditions)
    if args.json:
        content = summary.document(policy, trace, assumed, results, args.price)
        print(json.dumps(content, indent=2))
        return
    say(*_lines(trace, results[0]))
    _print_table(summary.table(results, assumed.when_full, args.price, brief=True))
    say(conditions, f"Report: {args.html}")


def _lines(trace: Trace, own: Result) -> Sequence[str]:
    """Return the sessions and the replicas over time, each as a line of bars."""
    drawn = {"sessions": trace.concurrency, "replicas": own.run.timeline.billed}
    return [
        f"{name}  {summary.sparkline(steps, trace.start, trace.end)}  peak {steps.peak:,.0f}"
        for name, steps in drawn.items()
    ]


def _write_html(
    path: Path, policy: Policy, timeline: Timeline, table: Table, conditions: str
) -> None:
    """Write the report. Raises AutoscalerError if the file cannot be written."""
    from autoscaler.report import write_report  # the import of Bokeh takes a third of a second

    try:
        write_report(path, timeline, table, f"Policy {policy.name}, simulated", conditions)
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
