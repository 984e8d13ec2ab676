"""`autoscaler seats`: how many sessions a pod can hold, by what Prometheus has recorded."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoscaler.adapters.clock import SystemClock
from autoscaler.commands.arguments import positive_duration, target
from autoscaler.commands.connect import HISTORY_TIMEOUT, add_prometheus, prometheus_settings
from autoscaler.commands.lines import complain, say
from autoscaler.commands.progress import progress
from autoscaler.errors import AutoscalerError
from autoscaler.model import Line, PodLoad, SeatEstimate
from autoscaler.units import counted, duration_text

if TYPE_CHECKING:
    from autoscaler.simulation.timeline import Table

FOUND, UNKNOWN, BAD_INPUT = 0, 1, 2
WEEK = 604_800.0
# Seconds between two loads of a pod; each of them needs a few scrapes.
SHORTEST_STEP, LONGEST_STEP, SCRAPES = 60, 300, 4
Loads = Mapping[str, Sequence[PodLoad]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Print how many sessions a pod can hold: as many as keep its event loop busy for 70 % of "
        "the time, or fill 80 % of its memory limit. It is what `seats: auto` learns from the same "
        "history."
    )
    parser.epilog = "Exit code: 0 if a number is known, 1 if none is, 2 for wrong input."
    parser.add_argument(
        "target",
        metavar="NAMESPACE/DEPLOYMENT",
        type=target,
        help="the Deployment whose pods have served sessions",
    )
    parser.add_argument(
        "--all-pods",
        action="store_true",
        help="count the pods of all ReplicaSets (default: those of the newest one, because others "
        "may have run another image)",
    )
    add_prometheus(parser, required=True, timeout=HISTORY_TIMEOUT, short=True)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--last",
        metavar="DURATION",
        type=positive_duration,
        default=WEEK,
        help="how much of the history to use (default: 7d)",
    )
    output.add_argument(
        "--html", metavar="FILE", type=Path, help="file to write a picture of the loads to"
    )
    output.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """Print the seats. Return 1 if none are known, 2 for wrong input."""
    from autoscaler.core import seating

    now = SystemClock().now()
    try:
        pods, step, left_out = _pods(args, now)
        found = seating.estimate(pods, step)
        if args.html is not None:
            _write(args, pods, found)
    except AutoscalerError as error:
        complain(f"autoscaler seats: {error}")
        return BAD_INPUT
    if args.json:
        print(json.dumps(_document(args, pods, found), indent=2))
    else:
        say(*_lines(args, pods, found))
        if found.seats is None:
            say(f"  recorded: {_recorded(pods, step, now)} of {counted(len(pods), 'pod')}")
        if left_out:
            pods_left = counted(left_out, "pod")
            say(f"  left out: {pods_left} of earlier ReplicaSets; --all-pods counts them")
    return FOUND if seating.is_limited(found) else UNKNOWN


def _step(last: float, scrape_interval: float) -> int:
    """Return the seconds between two loads: the more history, the fewer in an hour."""
    wanted = min(max(last / LONGEST_STEP, SHORTEST_STEP), LONGEST_STEP)
    return round(max(wanted, SCRAPES * scrape_interval))


def _pods(args: argparse.Namespace, now: float) -> tuple[Loads, int, int]:
    """Return the pods that count, the step of their loads, and how many pods were left out.

    A load lies between two steps. Of pods that are recorded since a short time, steps that fit to
    the whole span would lose the first and the last minutes, and so most of it. Raises
    AutoscalerError.
    """
    from autoscaler.core.seating import of_image

    step = _step(args.last, args.scrape_interval)
    known = _loads(args, now, args.last, step)
    pods = known if args.all_pods else of_image(known)
    left_out = len(known) - len(pods)
    last = min(args.last, now - _first(pods, step, now) + step)
    finer = _step(last, args.scrape_interval)
    if finer < step:
        step, known = finer, _loads(args, now, last, finer)
        pods = known if args.all_pods else of_image(known)
    if not pods:
        name = f"{args.target}, the last {duration_text(args.last)}"
        raise AutoscalerError(
            f"no sessions of {name} are recorded; check the name of the target, that Prometheus "
            "scrapes its exporters, and --match"
        )
    return pods, step, left_out


def _loads(args: argparse.Namespace, now: float, last: float, step: int) -> Loads:
    """Return what is recorded. Raises AutoscalerError."""
    from autoscaler.adapters.prometheus.loads import PrometheusLoads

    history = PrometheusLoads(prometheus_settings(args, patience=HISTORY_TIMEOUT))
    with progress("reading Prometheus") as show:
        return history.loads(args.target, now, last, step, show)


def _first(pods: Loads, step: int, now: float) -> float:
    """Return when the first load began. Without any, less than two steps are recorded."""
    return min((loads[0].at for loads in pods.values() if loads), default=now) - step


def _recorded(pods: Loads, step: int, now: float) -> str:
    """Return in words for how long the pods are recorded."""
    if not any(pods.values()):
        return f"less than {duration_text(2 * step)}"
    return f"the last {duration_text((now - _first(pods, step, now)) // 60 * 60)}"


def _lines(args: argparse.Namespace, pods: Loads, found: SeatEstimate) -> Iterator[str]:
    from autoscaler.core.seating import is_limited, reason

    name = f"{args.target}, the last {duration_text(args.last)}"
    if found.seats is None or not is_limited(found):
        yield f"{name}: no seats are known: {reason(found)}"
    else:
        yield f"{name}: {counted(found.seats, 'seat')}"
        yield f"  {reason(found)}"
    if found.seats is None:
        return
    yield from (f"  {title}: {text}" for title, text in _table(pods, found).rows)
    if found.seats > 2 * found.most:
        yield f"  no pod has held half as many: begin with {2 * found.most:.0f}, and ask again"


def _table(pods: Loads, found: SeatEstimate) -> Table:
    """Return what the number is made of."""
    from autoscaler.core.seating import BUSY, MEMORY
    from autoscaler.simulation.timeline import Table

    rows = []
    if found.busy is not None:
        rows.append(("event loop", _words(found.busy, BUSY, 100, "%")))
    if found.memory is not None:
        limit = None if found.limit is None else MEMORY * found.limit
        words = _words(found.memory, limit, 1e-6, "MB")
        rows.append(("memory", words if limit else f"{words}; the container has no memory limit"))
    seen = f"{found.hours:.0f} session-hours of {counted(len(pods), 'pod')}"
    rows.append(("known from", f"{seen}, up to {counted(round(found.most), 'session')} in one"))
    return Table(("", "by the pods"), tuple(rows))


def _words(line: Line, limit: float | None, scale: float, unit: str) -> str:
    """Return a line in words. scale: by which its costs are shown in the unit."""
    base, each = line.base * scale, line.each * scale
    words = f"{each:.3g} {unit} for each session, {base:.3g} {unit} without any"
    if limit is None or not line.each:
        return words
    return f"{words}: {line.sessions_at(limit):.1f} sessions at {limit * scale:.0f} {unit}"


def _document(args: argparse.Namespace, pods: Loads, found: SeatEstimate) -> dict[str, Any]:
    from autoscaler.core.seating import is_limited, reason

    return {
        "target": str(args.target),
        "seats": found.seats if is_limited(found) else None,
        "why": found.why if is_limited(found) else reason(found),
        "event_loop": found.busy and found.busy._asdict(),
        "memory": found.memory and found.memory._asdict(),
        "memory_limit": found.limit,
        "most_sessions": found.most,
        "session_hours": round(found.hours, 2),
        "pods": sorted(pods),
    }


def _write(args: argparse.Namespace, pods: Loads, found: SeatEstimate) -> None:
    """Write the picture. Raises AutoscalerError."""
    from autoscaler.html_report.files import replace_file
    from autoscaler.html_report.seats import seats_html

    loads = [load for each in pods.values() for load in each]
    title = f"Seats of {args.target}"
    note = "Each point is one pod at one time. Dashed: the limit; green: the seats."
    try:
        replace_file(args.html, seats_html(loads, found, _table(pods, found), title, note))
    except OSError as error:
        reason = f"cannot write the picture to {args.html}: {error.strerror}; set another --html"
        raise AutoscalerError(reason) from None
