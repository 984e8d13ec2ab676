"""`autoscaler simulate`: replay sessions under a policy, and print its score.

The simulation is imported when it runs, so that `--help` and a wrong option are fast.
"""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from autoscaler.commands import input_options, inputs
from autoscaler.commands.arguments import add_price, chosen_goal
from autoscaler.commands.lines import complain
from autoscaler.commands.progress import progress
from autoscaler.errors import AutoscalerError

if TYPE_CHECKING:
    from autoscaler.simulation.trace import Trace

MISSED, BAD_INPUT = 1, 2
DEFAULT_REPORT = Path("simulation.html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    input_options.add_arguments(parser)
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
    add_price(output)
    output.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help=f"file to write the report to (default: {DEFAULT_REPORT}; with --json: no report)",
    )
    output.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )
    output.add_argument("--open", action="store_true", help="open the report in a browser")
    output.add_argument(
        "--watch",
        action="store_true",
        help="simulate again whenever the policy is saved, and show it in the open page",
    )


def run(args: argparse.Namespace) -> int:
    """Simulate and print the scores.

    Returns the exit code: 1 if the policy misses a goal, 2 for wrong input.
    """
    args.html = args.html or (None if args.json else DEFAULT_REPORT)
    if (args.open or args.watch) and not args.html:
        complain("autoscaler simulate: --open and --watch show the report; set --html or no --json")
        return BAD_INPUT
    try:
        inputs.refuse_overwriting(args)
    except AutoscalerError as error:
        complain(f"autoscaler simulate: {error}")
        return BAD_INPUT
    simulation = _Simulation(args)
    if args.watch:
        from autoscaler.commands.watch import watch

        return watch(args, simulation.run)
    code = simulation.run()
    if args.open and code != BAD_INPUT:
        webbrowser.open(args.html.absolute().as_uri())
    return code


class _Simulation:
    """Simulates and tells the scores, and reads the sessions only once."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._trace: Trace | None = None

    def run(self) -> int:
        """Simulate, and return the exit code."""
        from autoscaler.commands.scores import tell
        from autoscaler.simulation.comparison import compare

        args = self._args
        try:
            contenders, self._trace, notes = inputs.load(args, self._trace)
            with progress("simulating") as show:
                results = compare(contenders, self._trace, show)
            tell(args, contenders[0], self._trace, results, notes)
        except AutoscalerError as error:
            complain(*str(error).split("\n"))
            return BAD_INPUT
        missed = [text for goal in args.goals if (text := goal.missed(results[0].score))]
        complain(*(f"{results[0].name}: {text}" for text in missed))
        return MISSED if missed else 0
