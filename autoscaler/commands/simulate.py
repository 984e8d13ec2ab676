"""`autoscaler simulate`: replay sessions under a policy, and print its score."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

from autoscaler.adapters.policies.files import load_policy
from autoscaler.adapters.traces.files import load_trace
from autoscaler.adapters.traces.times import LocalClock
from autoscaler.commands.arguments import amount, duration, timezone, whole
from autoscaler.commands.lines import complain, say
from autoscaler.commands.progress import progress
from autoscaler.errors import AutoscalerError
from autoscaler.policy import Policy
from autoscaler.simulation import summary
from autoscaler.simulation.engine import Assumptions, Run, simulate
from autoscaler.simulation.score import score, static_fleet
from autoscaler.simulation.timeline import Table
from autoscaler.simulation.trace import Trace, office_week
from exporter.texts import visible

BAD_INPUT = 2
DEFAULT_REPORT = Path("simulation.html")
DEFAULT_SEATS = 20
# Seconds between decisions, at least; with 15 s for more than two days a week takes seconds.
LEAST_TICK = 5.0
LONG_TRACE = 2 * 86_400.0
LONG_TRACE_TICK = 15.0
# After more than a minute without a decision, `decide` assumes an outage of the daemon and holds.
LONGEST_TICK = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--policy", type=Path, required=True, metavar="FILE", help="policy file to simulate"
    )
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="CSV",
        help="CSV file of sessions to replay, with the columns start,end in ISO 8601 or seconds "
        "since 1970 (default: a generated week of office hours)",
    )
    parser.add_argument(
        "--timezone",
        type=timezone,
        metavar="NAME",
        help="time zone of times without an offset and of the report, such as Europe/Berlin "
        "(default: the zone of the policy's schedule, else UTC)",
    )
    parser.add_argument(
        "--seed", type=_seed, default=1, metavar="N", help="seed of random numbers (default: 1)"
    )
    _add_assumptions(parser)
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help=f"file to write the report to (default: {DEFAULT_REPORT}; with --json: no report)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )


def _add_assumptions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lead-time",
        type=duration,
        default=60.0,
        metavar="TIME",
        help="time for a new pod to become Ready (default: 60s)",
    )
    parser.add_argument(
        "--seats",
        type=_seats,
        metavar="N",
        help="number of sessions that a pod can hold (default: the policy's seats, else 20)",
    )
    parser.add_argument(
        "--tick",
        type=_tick,
        metavar="TIME",
        help="time between decisions, from 1s to 60s (default: the policy's interval, but at least "
        "5s, or 15s for a trace of more than two days)",
    )
    parser.add_argument(
        "--cpu-per-session",
        type=amount,
        default=0.05,
        metavar="CORES",
        help="CPU that a session uses of its pod's 1 core (default: 0.05)",
    )
    parser.add_argument(
        "--memory-per-session",
        type=amount,
        default=40.0,
        metavar="MB",
        help="memory that a session adds to its pod's 200 MB, of 1 GiB (default: 40)",
    )


def run(args: argparse.Namespace) -> int:
    """Simulate and print the score, and return the exit code: 2 for wrong input."""
    try:
        policy, trace = _load(args)
        assumptions = _assumptions(args, policy, trace)
        with progress("simulating") as show:
            result = simulate(policy, trace, assumptions, show)
        _tell(args, policy, trace, assumptions, result)
    except AutoscalerError as error:
        complain(*str(error).split("\n"))
        return BAD_INPUT
    return 0


def _load(args: argparse.Namespace) -> tuple[Policy, Trace]:
    """Load the policy and the trace, or generate one in the schedule's zone.

    Raises AutoscalerError.
    """
    policy = load_policy(args.policy)
    if args.trace:
        return policy, load_trace(args.trace, _local_clock(args.timezone, policy))
    return policy, office_week(args.seed, _zone(args.timezone, policy))


def _zone(chosen: str | None, policy: Policy) -> str:
    return chosen or (policy.schedule[0].timezone if policy.schedule else "UTC")


def _local_clock(chosen: str | None, policy: Policy) -> LocalClock:
    """Return the clock for times without an offset.

    It has no zone if the windows of the schedule have several zones.
    """
    if chosen:
        return LocalClock(ZoneInfo(chosen), "by --timezone")
    zones = list(dict.fromkeys(window.timezone for window in policy.schedule))
    if not zones:
        return LocalClock(ZoneInfo("UTC"), "as the policy has no schedule (or set --timezone)")
    if len(zones) > 1:
        return LocalClock(None, f"the policy's schedule has the zones {', '.join(zones)}")
    why = "the zone of the policy's schedule (or set --timezone)"
    return LocalClock(ZoneInfo(zones[0]), why)


def _assumptions(args: argparse.Namespace, policy: Policy, trace: Trace) -> Assumptions:
    least = LONG_TRACE_TICK if trace.end - trace.start > LONG_TRACE else LEAST_TICK
    own = policy.sessions.seats if policy.sessions else DEFAULT_SEATS
    return Assumptions(
        seats=args.seats or own,
        tick=args.tick or max(policy.interval, least),
        lead_time=args.lead_time,
        cpu_per_session=args.cpu_per_session,
        memory_per_session=args.memory_per_session,
        seed=args.seed,
    )


def _tell(
    args: argparse.Namespace, policy: Policy, trace: Trace, assumptions: Assumptions, result: Run
) -> None:
    own = score(result, trace, policy.replicas.min)
    static = score(static_fleet(trace, assumptions.seats), trace, policy.replicas.min)
    table = summary.table(policy.name, own, static)
    conditions = summary.conditions(policy, trace, assumptions)
    html = args.html or (None if args.json else DEFAULT_REPORT)
    if html:
        _write_html(html, policy, result, table, conditions, args.timezone)
    if args.json:
        print(json.dumps(summary.document(policy, trace, assumptions, own, static), indent=2))
        return
    _print_table(table)
    say(conditions, f"Report: {html}")


def _write_html(
    path: Path, policy: Policy, result: Run, table: Table, conditions: str, timezone: str | None
) -> None:
    """Write the report. Raises AutoscalerError if the file cannot be written."""
    from autoscaler.report import write_report  # the import of Bokeh takes a third of a second

    timeline = replace(result.timeline, timezone=_zone(timezone, policy))
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


def _tick(text: str) -> float:
    tick = duration(text)
    if not 1.0 <= tick <= LONGEST_TICK:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time from 1s to 60s")
    return tick


def _seats(text: str) -> int:
    return whole(text, 1, 100_000)


def _seed(text: str) -> int:
    return whole(text, 0, 2**32 - 1)
