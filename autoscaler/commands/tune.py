"""`autoscaler tune`: try many policies on recorded sessions, and recommend one or none."""

from __future__ import annotations

import argparse
import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from autoscaler.commands import input_options, inputs
from autoscaler.commands.arguments import add_price, chosen_goal, whole
from autoscaler.commands.lines import complain
from autoscaler.commands.progress import progress
from autoscaler.errors import AutoscalerError
from autoscaler.simulation.front import Placement, WhenFull
from autoscaler.units import counted

if TYPE_CHECKING:
    from autoscaler.simulation.comparison import Contender
    from autoscaler.simulation.goals import Goal
    from autoscaler.simulation.trace import Trace
    from autoscaler.simulation.tuning import RunTasks, Study

FOUND, MISSED, BAD_INPUT = 0, 1, 2
DEFAULT_REPORT = Path("tune.html")
DEFAULT_CANDIDATES = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Try other values of a policy on recorded or generated sessions, and recommend the "
        "cheapest policy whose 95 % upper bound of users without a seat meets the goal and that "
        "ends no session."
    )
    parser.epilog = (
        "Exit code: 0 if a policy is recommended or the current one is to be kept; 1 if none is "
        "known to meet the goal; 2 for wrong input."
    )
    parser.add_argument(
        "--policy", type=Path, required=True, metavar="FILE", help="policy file to tune"
    )
    input_options.add_replay(parser)
    parser.set_defaults(against=[])
    _add_search(parser.add_argument_group("search"))
    _add_output(parser.add_argument_group("output"))


def _add_search(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--goal",
        type=_goal,
        metavar="GOAL",
        help="share of users without a seat that the policy must meet, such as 'refused < 0.5%%' "
        "(default: the policy's {refuse: ...}, else 'refused < 0.1%%')",
    )
    group.add_argument(
        "--candidates",
        type=lambda text: whole(text, 2, 10_000),
        default=DEFAULT_CANDIDATES,
        metavar="N",
        help=f"number of policies to try (default: {DEFAULT_CANDIDATES})",
    )
    group.add_argument(
        "--try-placement",
        action="append",
        default=[],
        type=Placement,
        choices=list(Placement),
        help="also try all policies with another placement of new sessions (repeatable)",
    )
    workers = group.add_mutually_exclusive_group()
    workers.add_argument(
        "--jobs",
        type=lambda text: whole(text, 1, 1_000),
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="number of processes on this machine (default: one for each core)",
    )
    workers.add_argument(
        "--dask",
        type=_scheduler,
        metavar="ADDRESS",
        help="scheduler of a Dask cluster to use in place of processes, such as "
        "tcp://scheduler:8786; its workers need this package",
    )


def _add_output(group: argparse._ArgumentGroup) -> None:
    add_price(group)
    group.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="file to write the recommended policy to, if there is one; it may be the policy file",
    )
    group.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help=f"file to write the plot of cost against users without a seat to (default: "
        f"{DEFAULT_REPORT}; with --json: none)",
    )
    group.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """Tune the policy and print the recommendation.

    Returns the exit code: 1 if no policy is known to meet the goal, 2 for wrong input.
    """
    from autoscaler.commands.recommended import tell
    from autoscaler.simulation.goals import own_goal
    from autoscaler.simulation.recommendation import Verdict, recommend
    from autoscaler.simulation.tuning import screened_days, tune

    args.html = args.html or (None if args.json else DEFAULT_REPORT)
    try:
        inputs.refuse_overwriting(args)
        [own], trace, _ = inputs.load(args)
        goal = args.goal or own_goal(own.policy)
        study = _study(args, own, trace)
        with progress("tuning") as show, _workers(args, study) as run_tasks:
            finalists = tune(study, goal.number, run_tasks, show)
        found = recommend(finalists, goal, screened_days(study))
        tell(args, study, found)
    except AutoscalerError as error:
        complain(*str(error).split("\n"))
        return BAD_INPUT
    known = found.current_meets or found.verdict is Verdict.BETTER
    return FOUND if known else MISSED


def _goal(text: str) -> Goal:
    wanted = chosen_goal(text)
    if (wanted.figure, wanted.unit) != ("refused", "%") or wanted.operator not in ("<", "<="):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a share, such as 'refused < 0.1%'")
    return wanted


def _scheduler(text: str) -> str:
    if not re.fullmatch(r"(tcp|tls)://[^/\s]+:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected tcp://HOST:PORT or tls://HOST:PORT")
    return text


def _study(args: argparse.Namespace, own: Contender, trace: Trace) -> Study:
    """Return what to try. Raises AutoscalerError."""
    from autoscaler.simulation.candidates import candidates
    from autoscaler.simulation.intervals import FEWEST_DAYS, day_edges
    from autoscaler.simulation.tuning import Study

    if own.assumptions.when_full is not WhenFull.REFUSE:
        raise AutoscalerError("--when-full: tune counts users who are refused; leave it out")
    edges = day_edges(trace.start, trace.end, inputs.zone_of(args, own.policy))
    if (days := len(edges) - 1) < FEWEST_DAYS:
        wanted = f"expected sessions of at least {FEWEST_DAYS} days"
        raise AutoscalerError(f"{trace.name}: {counted(days, 'day')}, {wanted}")
    tried = candidates(own.policy, own.assumptions, args.try_placement, args.candidates)
    return Study(tuple(tried), trace, edges)


def _workers(args: argparse.Namespace, study: Study) -> AbstractContextManager[RunTasks]:
    if args.dask:
        from autoscaler.adapters.workers.dask_cluster import dask_cluster

        return dask_cluster(study, args.dask)
    from autoscaler.adapters.workers.processes import local_processes

    return local_processes(study, args.jobs)
