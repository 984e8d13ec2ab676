"""The inputs of a simulation: a recorded trace or a generated workload, and its assumptions.

What reads them is imported when it is needed, so that `--help` and a wrong option are fast.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.traces import flights
from autoscaler.adapters.traces.dates import DateOrder
from autoscaler.adapters.traces.times import LocalClock
from autoscaler.commands import connect
from autoscaler.commands.progress import Progress, progress
from autoscaler.errors import AutoscalerError
from autoscaler.simulation.front import Placement, WhenFull
from autoscaler.simulation.trace import Trace
from autoscaler.simulation.workloads import DEFAULT_WORKLOAD, WORKLOADS
from autoscaler.units import duration_text

if TYPE_CHECKING:
    from autoscaler.policy import Policy
    from autoscaler.simulation.comparison import Contender
    from autoscaler.simulation.engine import Assumptions

DEFAULT_LAST = 14 * 86_400.0
DEFAULT_SEATS = 20
DEFAULT_LEAD_TIME = 60.0
DEFAULT_CPU, DEFAULT_MEMORY = 0.05, 40.0
# Seconds between decisions, at least; with 15 s for more than two days a week takes seconds.
LEAST_TICK = 5.0
LONG_TRACE = 2 * 86_400.0
LONG_TRACE_TICK = 15.0
# Options for files that are written; all other paths are read.
OUTPUTS = ("html", "write")


def load(
    args: argparse.Namespace, trace: Trace | None = None
) -> tuple[list[Contender], Trace, list[str]]:
    """Return the policy, then those of --against, and the sessions to replay.

    trace: the sessions, if they were read before. The texts are the settings of the baselines that
    the simulation does not know. Raises AutoscalerError.
    """
    from autoscaler.adapters.policies.baselines import load_baselines
    from autoscaler.adapters.policies.policy_file import load_policy
    from autoscaler.simulation.comparison import Contender, distinct

    policy = load_policy(args.policy)
    baselines = [each for text in args.against for each in load_baselines(text, policy)]
    trace = trace or _trace(args, policy, *(each.policy for each in baselines))
    stated = next((each.seats for each in baselines if each.seats), None)
    assumed = _assumptions(args, policy, trace, stated)
    contenders = [Contender(f"policy {policy.name}", policy, assumed)]
    for each in baselines:
        tick, window = _tick_for(args, each.policy, trace), each.cpu_window or assumed.cpu_window
        seats = args.seats or _learned(each.policy, trace) or each.seats or assumed.seats
        theirs = replace(assumed, seats=seats, tick=tick, cpu_window=window)
        name = distinct(each.name, {contender.name for contender in contenders})
        contenders.append(Contender(name, each.policy, theirs))
    notes = [
        f"{each.name} without {', '.join(each.left_out)}." for each in baselines if each.left_out
    ]
    return contenders, trace, notes


def refuse_overwriting(args: argparse.Namespace) -> None:
    """Raise AutoscalerError for a file to write that is also read, or written by another option.

    `--write` may be the policy file: a recommended policy takes the place of the current one.
    """
    files = [(name, value) for name, value in vars(args).items() if isinstance(value, Path)]
    files += [("against", Path(text)) for text in args.against]
    for output, written in files:
        if output not in OUTPUTS or (written.exists() and not written.is_file()):
            continue
        for name, other in files:
            if name != output and {name, output} != {"write", "policy"} and _same(written, other):
                option = f"--{name.replace('_', '-')}"
                raise AutoscalerError(
                    f"--{output} {written} would replace the file of {option}; "
                    f"set another --{output}"
                )


def _same(one: Path, other: Path) -> bool:
    """Return whether two paths are one file, also through links."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def zone_of(args: argparse.Namespace, policy: Policy) -> str:
    """Return the time zone of the report and of generated sessions."""
    chosen: str | None = args.timezone
    return chosen or (policy.schedule[0].timezone if policy.schedule else "UTC")


def _learned(policy: Policy, trace: Trace) -> int | None:
    """Return the seats that the daemon would have learned; None if it learns none, or unknown."""
    from autoscaler.core import seating

    found = trace.measured.limit
    return seating.settled(policy.learn, found) if policy.learn and found else None


def _trace(args: argparse.Namespace, policy: Policy, *others: Policy) -> Trace:
    from autoscaler.adapters.traces.files import ReadingOptions, load_trace
    from autoscaler.adapters.traces.journal import is_journal, load_journal

    _refuse_contradictions(args)
    if args.prometheus_url:
        with progress("querying") as show:
            trace = history(args, policy, show)
        learns = any(each.learn for each in (policy, *others))
        return _with_limit(args, policy, trace) if learns and not args.seats else trace
    if not args.trace:
        workload = WORKLOADS[args.workload or DEFAULT_WORKLOAD]
        return workload(args.seed, zone_of(args, policy))
    order = DateOrder(args.dates) if args.dates else None
    options = ReadingOptions(args.columns, _local_clock(args.timezone, policy), order)
    with progress("reading") as show:
        if str(args.trace) == flights.NAME and not args.trace.exists():
            return flights.load_flights(show)
        if is_journal(args.trace):
            return load_journal(args.trace, policy.target.ref, show)
        return load_trace(args.trace, options, show)


def _refuse_contradictions(args: argparse.Namespace) -> None:
    """Raise AutoscalerError for options that do not belong together."""
    sources = {
        "--trace": args.trace,
        "--workload": args.workload,
        "--prometheus": args.prometheus_url,
    }
    if len(given := [name for name, value in sources.items() if value]) > 1:
        raise AutoscalerError(f"{' and '.join(given)}: set only one of them")
    if (args.columns or args.dates) and not args.trace:
        raise AutoscalerError("--columns and --dates need --trace")
    if args.last and not args.prometheus_url:
        raise AutoscalerError("--last needs --prometheus")


def history(args: argparse.Namespace, policy: Policy, show: Progress) -> Trace:
    """Return the history of the policy's target. Raises AutoscalerError."""
    from autoscaler.adapters.prometheus.history import PrometheusHistory
    from autoscaler.simulation.history import trace_of_history

    source = PrometheusHistory(connect.prometheus_settings(args, patience=args.prometheus_timeout))
    last = args.last or DEFAULT_LAST
    name = f"{'/'.join(policy.target.ref)}, the last {duration_text(last)}"
    found = source.read(policy.target.ref, SystemClock().now(), last, show)
    try:
        return trace_of_history(name, found, args.seed)
    except ValueError as error:
        raise AutoscalerError(f"{name}: {error}") from None


def _with_limit(args: argparse.Namespace, policy: Policy, trace: Trace) -> Trace:
    """Return the history with how many sessions a pod can hold. Raises AutoscalerError."""
    from autoscaler.adapters.prometheus.loads import PrometheusLoads
    from autoscaler.control.learned_seats import SPAN, STEP
    from autoscaler.core import seating

    source = PrometheusLoads(connect.prometheus_settings(args, patience=args.prometheus_timeout))
    with progress("reading the loads") as show:
        loads = source.loads(policy.target.ref, SystemClock().now(), SPAN, STEP, show)
    found = seating.estimate(seating.of_image(loads), STEP)
    begins = "Learned seats are the first guess"
    if found.seats is not None:
        begins = f"Learned from the loads of the last {duration_text(SPAN)}"
    note = f"{trace.note} {begins}: {seating.described(found)}."
    return replace(trace, note=note, measured=replace(trace.measured, limit=found))


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


def _assumptions(
    args: argparse.Namespace, policy: Policy, trace: Trace, seats: int | None
) -> Assumptions:
    """Return the assumptions: as set, else as measured, else the defaults.

    seats: those of a pod if the policy does not state them, but one that it is compared with does.
    """
    from autoscaler.simulation.engine import Assumptions

    measured = trace.measured
    own = policy.sessions.seats if policy.sessions else seats or measured.seats
    usual, slow = args.lead_time or (None, None)
    return Assumptions(
        seats=args.seats or _learned(policy, trace) or own or DEFAULT_SEATS,
        tick=_tick_for(args, policy, trace),
        lead_time=_first(usual, measured.lead_time, DEFAULT_LEAD_TIME),
        slow_lead_time=slow,
        cpu_per_session=_first(args.cpu_per_session, measured.cpu_per_session, DEFAULT_CPU),
        memory_per_session=_first(
            args.memory_per_session, measured.memory_per_session, DEFAULT_MEMORY
        ),
        placement=Placement(args.placement),
        when_full=WhenFull(args.when_full),
        scrape_interval=args.scrape_interval,
        page_load=args.page_load,
        seed=args.seed,
    )


def _tick_for(args: argparse.Namespace, policy: Policy, trace: Trace) -> float:
    least = LONG_TRACE_TICK if trace.end - trace.start > LONG_TRACE else LEAST_TICK
    chosen: float | None = args.tick
    return chosen or max(policy.interval, least)


def _first(chosen: float | None, measured: float | None, default: float) -> float:
    return next(value for value in (chosen, measured, default) if value is not None)
