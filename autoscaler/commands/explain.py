"""`autoscaler explain`: tell one recorded decision in words."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, time
from zoneinfo import ZoneInfo

from autoscaler.adapters.journals import JournalFiles
from autoscaler.commands.arguments import add_journals, timezone
from autoscaler.commands.lines import complain, say
from autoscaler.commands.progress import progress
from autoscaler.core.journal import Entry
from autoscaler.errors import AutoscalerError
from autoscaler.reporting.explanation import explain
from autoscaler.units import duration_text

BAD_INPUT = 2
# A decision that is older than that, or than three intervals, was not the last word of its time.
LONGEST_GAP = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_journals(parser)
    parser.add_argument(
        "--at",
        metavar="TIME",
        type=_moment,
        required=True,
        help="time of the decision: the last one made until then, in ISO 8601 such as "
        "2026-01-12T09:31+01:00, or HH:MM or HH:MM:SS of the last day in the journal",
    )
    parser.add_argument(
        "--policy", metavar="NAME", help="name of the policy (default: the only one in the journal)"
    )
    parser.add_argument(
        "--timezone",
        metavar="NAME",
        type=timezone,
        default="UTC",
        help="time zone of times without an offset and of the output, such as Europe/Berlin "
        "(default: UTC)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the decision and return the exit code, which is 2 if there is none."""
    zone = ZoneInfo(args.timezone)
    with progress("reading the journal") as show:
        files = JournalFiles(args.journals, show)
        try:
            wanted = _wanted(args.at, files.entries(), zone)
            entry = _last_until(wanted, files.entries(), args.policy)
        except AutoscalerError as error:
            complain(*files.problems, f"autoscaler explain: {error}")
            return BAD_INPUT
    complain(*files.problems)

    def clock(at: float) -> str:
        return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S %Z")

    say(*explain(entry, clock), *_gap(entry, wanted))
    return 0


def _wanted(at: datetime | time, entries: Iterable[Entry], zone: ZoneInfo) -> float:
    """Return a time in Unix seconds. Raises AutoscalerError.

    A time of day is one of the last day. Printed times are rounded, so a time stands for all of its
    second, or of its microsecond: the decision of 14:02:07.6 is also that of 14:02:07.
    """
    if isinstance(at, time):
        last = max((entry.at for entry in entries), default=None)
        if last is None:
            raise AutoscalerError("no decision could be read")
        at = datetime.combine(datetime.fromtimestamp(last, zone).date(), at)
    wanted = (at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()
    return wanted + (1e-6 if at.microsecond else 1 - 1e-6)


def _last_until(wanted: float, entries: Iterable[Entry], policy: str | None) -> Entry:
    """Return the last decision of a policy until a time. Raises AutoscalerError without one."""
    found: Entry | None = None
    names, first = set(), float("inf")
    for entry in entries:
        names.add(entry.policy.name)
        if policy in (None, entry.policy.name):
            first = min(first, entry.at)
            if entry.at <= wanted and (found is None or entry.at >= found.at):
                found = entry
    if policy is None and len(names) > 1:
        raise AutoscalerError(
            f"several policies: set --policy to one of {', '.join(sorted(names))}"
        )
    if found is None:
        raise AutoscalerError(_nothing(policy, names, first))
    return found


def _nothing(policy: str | None, names: set[str], first: float) -> str:
    if not names:
        return "no decision could be read"
    if policy is not None and policy not in names:
        return f"no policy {policy}, expected one of {', '.join(sorted(names))}"
    began = datetime.fromtimestamp(first, ZoneInfo("UTC")).isoformat(timespec="seconds")
    return f"no decision until then; the first one was made at {began}"


def _gap(entry: Entry, wanted: float) -> Iterator[str]:
    gap = wanted - entry.at
    if gap > max(LONGEST_GAP, 3 * entry.policy.interval):
        yield ""
        yield (
            f"This was {duration_text(int(gap))} before the time that was asked for. After it, "
            "this journal has no decision until then: the daemon did not run, was no leader, or "
            "could not read the Deployment."
        )


def _moment(text: str) -> datetime | time:
    if re.fullmatch(r"\d\d?:\d\d(:\d\d)?", text, re.ASCII):
        text = text.zfill(len(text) + (text.index(":") == 1))
        read: type[datetime | time] = time
    else:
        read = datetime
    try:
        return read.fromisoformat(text)
    except ValueError:
        wanted = "expected a time such as 2026-01-12T09:31+01:00, or 09:31"
        raise argparse.ArgumentTypeError(f"{text!r}: {wanted}") from None
