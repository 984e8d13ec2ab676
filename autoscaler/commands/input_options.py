"""The options of the commands that simulate: a trace or a workload, and what is assumed.

What reads the inputs that they name is in `inputs`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from autoscaler.adapters.traces import flights
from autoscaler.adapters.traces.columns import ROLES
from autoscaler.adapters.traces.dates import DateOrder
from autoscaler.commands import connect
from autoscaler.commands.arguments import amount, duration, timezone, whole
from autoscaler.simulation.front import Placement, WhenFull
from autoscaler.simulation.workloads import DEFAULT_WORKLOAD, WORKLOADS

# Seconds; a day of many pods takes longer than the queries of the daemon.
QUERY_TIMEOUT = 30.0
SHORTEST_HISTORY = 600.0
DEFAULT_PAGE_LOAD = 2.0
# After more than a minute without a decision, `decide` assumes an outage of the daemon and holds.
LONGEST_TICK = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for the policy, the sessions and the assumptions."""
    parser.add_argument(
        "--policy", type=Path, required=True, metavar="FILE", help="policy file to simulate"
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="FILE",
        help="what to compare with (repeatable): a file with HPAs, ScaledObjects of KEDA or other "
        "policies, or static:N for N replicas",
    )
    add_replay(parser)


def add_replay(parser: argparse.ArgumentParser) -> None:
    """Add the options for the sessions and the assumptions."""
    parser.add_argument(
        "--seed", type=_seed, default=1, metavar="N", help="seed of random numbers (default: 1)"
    )
    _add_sessions(parser.add_argument_group("sessions"))
    connect.add_prometheus(parser, required=False, timeout=QUERY_TIMEOUT, short=True)
    _add_assumptions(parser.add_argument_group("assumptions"))


def _add_sessions(group: argparse._ArgumentGroup) -> None:
    _add_trace(group)
    group.add_argument(
        "--workload",
        choices=WORKLOADS,
        metavar="NAME",
        help=f"generated sessions in place of a trace: {', '.join(WORKLOADS)} "
        f"(default: {DEFAULT_WORKLOAD})",
    )

    group.add_argument(
        "--last",
        type=_last,
        metavar="TIME",
        help="with --prometheus: time up to now of which the sessions of the policy's target are "
        "rebuilt (default: 14d)",
    )


def _add_trace(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="recorded sessions to replay: CSV or JSON, also with gzip, or Parquet, with the start "
        "and the end or duration of sessions, with joins and leaves, or with counts over time; "
        "a journal of `autoscaler run --journal`; "
        f"{flights.NAME} for four weeks of flights of the package {flights.PACKAGE}",
    )
    group.add_argument(
        "--columns",
        type=_columns,
        default={},
        metavar="ROLE=NAME,...",
        help=f"columns of the trace by their names or numbers, such as start=began,duration=length "
        f"(roles: {', '.join(ROLES)}; default: known names)",
    )
    group.add_argument(
        "--dates",
        choices=[order.value for order in DateOrder],
        help="order of dates such as 03/04/2026 in the trace (default: as another date shows it)",
    )
    group.add_argument(
        "--timezone",
        type=timezone,
        metavar="NAME",
        help="time zone of times without an offset and of the report, such as Europe/Berlin "
        "(default: the zone of the policy's schedule, else UTC)",
    )


def _add_assumptions(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--lead-time",
        type=_lead_time,
        metavar="TIME[/SLOW]",
        help="time for a new pod to become Ready, and that of the slowest 5 %% if it is another "
        "one, as in 40s/2m (default: as measured, else 60s)",
    )
    group.add_argument(
        "--placement",
        choices=[each.value for each in Placement],
        default=Placement.LEASTCONN.value,
        help="pod that a new session goes to: a random one as by a Service, the one with the "
        "fewest sessions as by the recommended proxy, each in turn, or the fullest one "
        "(default: leastconn)",
    )
    group.add_argument(
        "--when-full",
        choices=[each.value for each in WhenFull],
        default=WhenFull.REFUSE.value,
        help="what happens to users who find no free seat: they go away, wait, or share a full "
        "pod, as behind a Service or a proxy without limits (default: refuse)",
    )
    group.add_argument(
        "--seats",
        type=_seats,
        metavar="N",
        help="number of sessions that a pod can hold, with which policies that learn their seats "
        "also plan (default: each policy's own seats, or what it would have learned, else 20)",
    )
    group.add_argument(
        "--tick",
        type=_tick,
        metavar="TIME",
        help="time between decisions, from 1s to 60s (default: the policy's interval, but at least "
        "5s, or 15s for a trace of more than two days)",
    )
    group.add_argument(
        "--page-load",
        type=duration,
        default=DEFAULT_PAGE_LOAD,
        metavar="TIME",
        help="time from the request of a page, which takes a seat, to its WebSocket, from which on "
        "the session is counted (default: 2s)",
    )
    group.add_argument(
        "--cpu-per-session",
        type=amount,
        metavar="CORES",
        help="CPU that a session uses of its pod's 1 core (default: as measured, else 0.05)",
    )
    group.add_argument(
        "--memory-per-session",
        type=amount,
        metavar="MB",
        help="memory that a session adds to its pod's 200 MB, of 1 GiB (default: as measured, "
        "else 40)",
    )


def _columns(text: str) -> dict[str, str]:
    """Return the names of columns by their roles."""
    columns: dict[str, str] = {}
    for part in text.split(","):
        role, sign, name = (each.strip() for each in part.partition("="))
        if not sign or not name or role not in ROLES or role in columns:
            raise argparse.ArgumentTypeError(
                f"{part!r}: expected ROLE=NAME, such as start=began,end=finished; "
                f"each role once: {', '.join(ROLES)}"
            )
        columns[role] = name
    return columns


def _lead_time(text: str) -> tuple[float, float | None]:
    """Return the usual time and that of the slowest, if it is another one."""
    first, slash, second = text.partition("/")
    usual, slow = duration(first), duration(second) if slash else None
    if slow is not None and not 0 < usual < slow:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a longer time after the /")
    return usual, slow


def _last(text: str) -> float:
    if (last := duration(text)) < SHORTEST_HISTORY:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time of at least 10m")
    return last


def _tick(text: str) -> float:
    tick = duration(text)
    if not 1.0 <= tick <= LONGEST_TICK:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time from 1s to 60s")
    return tick


def _seats(text: str) -> int:
    return whole(text, 1, 100_000)


def _seed(text: str) -> int:
    return whole(text, 0, 2**32 - 1)
