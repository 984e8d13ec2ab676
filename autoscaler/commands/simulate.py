"""`autoscaler simulate`: what a policy would have done to a week of sessions."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from autoscaler.adapters.policy_files import load_policy
from autoscaler.errors import AutoscalerError
from autoscaler.policy import Policy
from autoscaler.quantities import seconds
from autoscaler.simulation import summary
from autoscaler.simulation.engine import Assumptions, Run, simulate
from autoscaler.simulation.score import score, static_fleet
from autoscaler.simulation.timeline import Table
from autoscaler.simulation.trace import Trace, office_week
from autoscaler.simulation.trace_file import load_trace

BAD_INPUT = 2
DEFAULT_REPORT = Path("simulation.html")
DEFAULT_SEATS = 20
# Decided on every 5 s, a trace of more than two days every 15 s: a week then takes seconds.
LEAST_TICK = 5.0
LONG_TRACE = 2 * 86_400.0
LONG_TRACE_TICK = 15.0
# Beyond a minute `decide` takes the silence for an outage of its own and holds.
LONGEST_TICK = 60.0
PATIENCE = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help="policy to try")
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="CSV",
        help="sessions to replay: columns start,end in ISO 8601 or seconds "
        "(default: a made-up week of office hours)",
    )
    parser.add_argument(
        "--seed", type=_seed, default=1, metavar="N", help="for everything random (default: 1)"
    )
    _add_assumptions(parser)
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help=f"where to write the report (default: {DEFAULT_REPORT}; with --json: nowhere)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def _add_assumptions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lead-time",
        type=_duration,
        default=60.0,
        metavar="TIME",
        help="from a decision to a Ready pod (default: 60s)",
    )
    parser.add_argument(
        "--seats",
        type=_seats,
        metavar="N",
        help="sessions that a pod holds (default: the policy's, else 20)",
    )
    parser.add_argument(
        "--tick",
        type=_tick,
        metavar="TIME",
        help="time between decisions, 1s to 60s (default: the policy's interval, "
        "but at least 5s, and 15s for a trace of more than two days)",
    )
    parser.add_argument(
        "--cpu-per-session",
        type=_amount,
        default=0.05,
        metavar="CORES",
        help="of a pod's 1 core (default: 0.05)",
    )
    parser.add_argument(
        "--memory-per-session",
        type=_amount,
        default=40.0,
        metavar="MB",
        help="over 200 MB, of a pod's 1 GiB (default: 40)",
    )


def run(args: argparse.Namespace) -> int:
    """Simulate and print; 0, or 2 with the reason on standard error."""
    try:
        policy, trace = _load(args)
        assumptions = _assumptions(args, policy, trace)
        with _progress() as progress:
            result = simulate(policy, trace, assumptions, progress)
        _tell(args, policy, trace, assumptions, result)
    except AutoscalerError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    return 0


def _load(args: argparse.Namespace) -> tuple[Policy, Trace]:
    """The policy, and the trace in the time zone of its schedule. Raises AutoscalerError."""
    policy = load_policy(args.policy)
    return policy, load_trace(args.trace) if args.trace else office_week(args.seed, _zone(policy))


def _zone(policy: Policy) -> str:
    return policy.schedule[0].timezone if policy.schedule else "UTC"


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
        _write_html(html, policy, result, table, conditions)
    if args.json:
        print(json.dumps(summary.document(policy, trace, assumptions, own, static), indent=2))
        return
    _print_table(table)
    print(f"{conditions}\nReport: {html}")


def _write_html(path: Path, policy: Policy, result: Run, table: Table, conditions: str) -> None:
    """Raises AutoscalerError if the file cannot be written."""
    from autoscaler.report import write_report  # Bokeh takes a third of a second

    timeline = replace(result.timeline, timezone=_zone(policy))
    try:
        write_report(path, timeline, table, f"Policy {policy.name}, simulated", conditions)
    except OSError as error:
        reason = f"{path}: {error.strerror}: expected a file that can be written"
        raise AutoscalerError(reason) from None


def _print_table(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(box=None, pad_edge=False)
    for index, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if index else "left")
    for row in table.rows:
        shown.add_row(*row)
    Console(markup=False, highlight=False).print(shown)


class Progress(Protocol):
    """Hears the share that is done, from 0 to 1."""

    def __call__(self, share: float, /) -> None:
        """Take note."""


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal's standard error, for what takes longer than two seconds."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    began = time.monotonic()
    with ExitStack() as stack:
        bar: Any = None

        def show(share: float) -> None:
            nonlocal bar
            if bar is None and time.monotonic() - began > PATIENCE:
                bar = stack.enter_context(_bar())
            if bar is not None:
                bar.update(bar.task_ids[0], completed=share)

        yield show


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    bar = RichProgress(console=Console(stderr=True), transient=True)
    bar.add_task("simulating", total=1.0)
    return bar


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def _tick(text: str) -> float:
    tick = _duration(text)
    if not 1.0 <= tick <= LONGEST_TICK:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time from 1s to 60s")
    return tick


def _seats(text: str) -> int:
    return _whole(text, 1, 100_000)


def _seed(text: str) -> int:
    return _whole(text, 0, 2**32 - 1)


def _whole(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, {low} to {high}")
    return int(text)


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0.0 <= amount <= 1_000_000.0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of at least 0")
    return amount
