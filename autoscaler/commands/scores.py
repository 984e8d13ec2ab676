"""The scores of a simulation on standard output, and its report."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoscaler.commands import inputs
from autoscaler.commands.lines import say
from autoscaler.errors import AutoscalerError
from autoscaler.simulation import summary
from autoscaler.simulation.comparison import Contender, Result
from autoscaler.simulation.timeline import Table
from autoscaler.simulation.trace import Trace
from autoscaler.simulation.uncertainty import lines, uncertainty
from autoscaler.simulation.verdict import verdict
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
    zone = inputs.zone_of(args, policy)
    found = uncertainty(results, trace, zone)
    sure = list(lines(found, assumed.when_full)) if found else []
    seats = summary.seats_text(results)
    conditions = " ".join([summary.conditions(policy, trace, assumed), *seats, *notes])
    result = verdict(policy, assumed, results[0].score)
    if args.html:
        whole = summary.table(results, assumed.when_full, args.price)
        run = results[0].run.timeline
        timeline = replace(run, timezone=zone, demand=trace.concurrency)
        rivals = {each.name: each.run.timeline for each in results[1:]}
        title = f"Policy {policy.name}, simulated"
        note = " ".join([*sure, conditions])
        _write_html(args.html, timeline, whole, title, note, rivals, result)
    if args.json:
        content = summary.document(policy, trace, assumed, results, args.price, found)
        print(json.dumps({**content, "verdict": result}, indent=2))
        return
    say(*_lines(trace, results[0]))
    print_table(summary.table(results, assumed.when_full, args.price, brief=True))
    say(
        summary.bounds_text(results[0].score.bounds),
        *sure[: len(results) - 1],
        conditions,
        result,
        f"Report: {args.html}",
    )


def _lines(trace: Trace, own: Result) -> Sequence[str]:
    """Return the sessions and the replicas over time, each as a line of bars."""
    drawn = {"sessions": trace.concurrency, "replicas": own.run.timeline.billed}
    return [
        f"{name}  {summary.sparkline(steps, trace.start, trace.end)}  peak {steps.peak:,.0f}"
        for name, steps in drawn.items()
    ]


def _write_html(path: Path, *content: Any) -> None:
    """Write the report. Raises AutoscalerError if the file cannot be written."""
    from autoscaler.html_report.page import write_report  # Bokeh's import takes a third of a second

    try:
        write_report(path, *content)
    except OSError as error:
        reason = f"cannot write the report to {path}: {error.strerror}; set another --html"
        raise AutoscalerError(reason) from None


def print_table(table: Table) -> None:
    """Print a table on standard output."""
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(box=None, pad_edge=False)
    for index, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if index else "left")
    for row in table.rows:
        shown.add_row(*map(visible, row))
    Console(markup=False, highlight=False).print(shown)
