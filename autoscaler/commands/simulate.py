"""`autoscaler simulate`: replay sessions under a policy, and print its score."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoscaler.commands import inputs
from autoscaler.commands.arguments import chosen_goal, price
from autoscaler.commands.lines import complain, print_table, say
from autoscaler.commands.progress import progress
from autoscaler.errors import AutoscalerError
from autoscaler.simulation import summary
from autoscaler.simulation.comparison import Contender, Result, compare
from autoscaler.simulation.trace import Trace

MISSED, BAD_INPUT = 1, 2
DEFAULT_REPORT = Path("simulation.html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    inputs.add_arguments(parser)
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="FILE",
        help="what to compare with (repeatable): an HPA, a ScaledObject of KEDA, another policy, "
        "or static:N for N replicas",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--assert",
        dest="goals",
        action="append",
        default=[],
        type=chosen_goal,
        metavar="GOAL",
        help="exit with 1 unless the policy meets this, such as 'cut == 0', 'refused < 0.1%%' or "
        "'regret < 10%%' (repeatable)",
    )
    output.add_argument(
        "--price",
        type=price,
        metavar="AMOUNT/h",
        help="price of a replica-hour in any currency, such as 0.12/h, to show the cost",
    )
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
    """Simulate and print the scores.

    Returns the exit code: 1 if the policy misses a goal, 2 for wrong input.
    """
    try:
        contenders, trace, notes = inputs.load(args)
        with progress("simulating") as show:
            results = compare(contenders, trace, show)
        _tell(args, contenders[0], trace, results, notes)
    except AutoscalerError as error:
        complain(*str(error).split("\n"))
        return BAD_INPUT
    missed = [text for goal in args.goals if (text := goal.missed(results[0].score))]
    complain(*(f"{results[0].name}: {text}" for text in missed))
    return MISSED if missed else 0


def _tell(
    args: argparse.Namespace,
    own: Contender,
    trace: Trace,
    results: Sequence[Result],
    notes: Sequence[str],
) -> None:
    policy, assumed = own.policy, own.assumptions
    conditions = " ".join([summary.conditions(policy, trace, assumed), *notes])
    html = args.html or (None if args.json else DEFAULT_REPORT)
    if html:
        whole = summary.table(results, assumed.when_full, args.price)
        timeline = replace(results[0].run.timeline, timezone=inputs.zone_of(args, policy))
        rivals = {each.name: each.run.timeline for each in results[1:]}
        title = f"Policy {policy.name}, simulated"
        _write_html(html, timeline, whole, title, conditions, rivals)
    if args.json:
        content = summary.document(policy, trace, assumed, results, args.price)
        print(json.dumps(content, indent=2))
        return
    say(*_lines(trace, results[0]))
    print_table(summary.table(results, assumed.when_full, args.price, brief=True))
    say(conditions, f"Report: {html}")


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
