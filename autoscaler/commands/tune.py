"""`autoscaler tune`: try many policies on recorded sessions, and recommend one or none."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from autoscaler.adapters.policies.edits import edited_text, text_diff, value_diff, whole_text
from autoscaler.commands import inputs
from autoscaler.commands.arguments import chosen_goal, price, whole
from autoscaler.commands.lines import complain, print_table, say
from autoscaler.commands.progress import progress
from autoscaler.errors import AutoscalerError
from autoscaler.html_report.files import replace_file
from autoscaler.policy import Policy, RefusalTarget
from autoscaler.simulation import tuning_summary
from autoscaler.simulation.candidates import candidates, plain_policy
from autoscaler.simulation.comparison import Contender
from autoscaler.simulation.front import Placement, WhenFull
from autoscaler.simulation.goals import Goal, goal
from autoscaler.simulation.intervals import FEWEST_DAYS, day_edges
from autoscaler.simulation.recommendation import Recommendation, Verdict, recommend
from autoscaler.simulation.summary import conditions, provenance
from autoscaler.simulation.trace import Trace
from autoscaler.simulation.tuning import RunTasks, Study, screened_days, tune
from autoscaler.units import counted

FOUND, MISSED, BAD_INPUT = 0, 1, 2
DEFAULT_REPORT = Path("tune.html")
DEFAULT_CANDIDATES = 200
DEFAULT_REFUSED = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Try other values of a policy on recorded or generated sessions, and recommend the "
        "cheapest policy whose 95 % upper bound of users without a seat meets the goal and that "
        "ends no session."
    ).replace("%", "%%")
    parser.epilog = (
        "Exit code: 0 if a policy is recommended or the current one is to be kept; 1 if none is "
        "known to meet the goal; 2 for wrong input."
    )
    inputs.add_arguments(parser)
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
    group.add_argument(
        "--price",
        type=price,
        metavar="AMOUNT/h",
        help="price of a replica-hour in any currency, such as 0.12/h, to show the cost",
    )
    group.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="file to write the recommended policy to, if there is one",
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
    try:
        [own], trace, notes = inputs.load(args)
        wanted = args.goal or _own_goal(own.policy)
        study = _study(args, own, trace)
        with progress("tuning") as show, _workers(args, study) as run_tasks:
            finalists = tune(study, wanted.number, run_tasks, show)
        found = recommend(finalists, wanted, screened_days(study))
        _tell(args, study, found, wanted, notes)
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


def _own_goal(policy: Policy) -> Goal:
    """Return the goal that the policy itself has, or the default."""
    spare = policy.sessions.spare if policy.sessions else None
    share = spare.refuse if isinstance(spare, RefusalTarget) else DEFAULT_REFUSED
    return goal(f"refused < {share:f}%")


def _study(args: argparse.Namespace, own: Contender, trace: Trace) -> Study:
    """Return what to try. Raises AutoscalerError."""
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


def _tell(
    args: argparse.Namespace,
    study: Study,
    found: Recommendation,
    wanted: Goal,
    notes: Sequence[str],
) -> None:
    """Print the result and write the files. Raises AutoscalerError."""
    tried = len(study.candidates)
    _, policy, assumed = study.candidates[0]
    text, diff = _written(args.policy, found)
    if args.write and text:
        _write(args.write, text, "--write")
    said = tuning_summary.sentence(found, wanted, tried)
    shown = tuning_summary.table(found, args.price)
    walked = tuning_summary.walk_forward(found, wanted)
    how = tuning_summary.method(study, len(found.finalists))
    how = " ".join([how, conditions(policy, study.trace, assumed), *notes])
    if html := args.html or (None if args.json else DEFAULT_REPORT):
        from autoscaler.html_report.pareto import pareto_html

        note = " ".join([*walked, how])
        _write(html, pareto_html(found, wanted.number, shown, said, note), "--html")
    if args.json:
        content = tuning_summary.document(found, wanted, tried, args.price, diff)
        print(json.dumps(content | provenance(policy, study.trace, assumed), indent=2))
        return
    say(said)
    print_table(shown)
    say(*diff, *walked, how)
    say(*([f"Policy: {args.write}"] if args.write and text else []), f"Report: {html}")


def _written(path: Path, found: Recommendation) -> tuple[str, list[str]]:
    """Return the text of the recommended policy, and its diff; empty if none is recommended."""
    if found.recommended is None or not found.recommended.candidate.edits:
        return "", []
    edits, policy, _ = found.recommended.candidate
    before = path.read_bytes().decode("utf-8-sig")
    after = edited_text(before, edits, policy)
    if after is None:
        return whole_text(policy), value_diff(plain_policy(found.current.candidate.policy), edits)
    return after, text_diff(str(path), before, after)


def _write(path: Path, text: str, option: str) -> None:
    """Write a file completely or not at all. Raises AutoscalerError."""
    try:
        replace_file(path, text)
    except OSError as error:
        reason = f"cannot write {path}: {error.strerror}; set another {option}"
        raise AutoscalerError(reason) from None
