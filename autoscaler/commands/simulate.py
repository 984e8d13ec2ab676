"""`autoscaler simulate`: replay sessions under a policy, and print its score.

The simulation is imported when it runs, so that `--help` and a wrong option are fast.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from autoscaler.commands import inputs
from autoscaler.commands.arguments import chosen_goal, price
from autoscaler.commands.lines import complain
from autoscaler.commands.progress import progress
from autoscaler.errors import AutoscalerError

MISSED, BAD_INPUT = 1, 2
DEFAULT_REPORT = Path("simulation.html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    inputs.add_arguments(parser)
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
    from autoscaler.commands.scores import tell
    from autoscaler.simulation.comparison import compare

    try:
        contenders, trace, notes = inputs.load(args)
        with progress("simulating") as show:
            results = compare(contenders, trace, show)
        args.html = args.html or (None if args.json else DEFAULT_REPORT)
        tell(args, contenders[0], trace, results, notes)
    except AutoscalerError as error:
        complain(*str(error).split("\n"))
        return BAD_INPUT
    missed = [text for goal in args.goals if (text := goal.missed(results[0].score))]
    complain(*(f"{results[0].name}: {text}" for text in missed))
    return MISSED if missed else 0
