"""The sessions read from a file: checked together, and made into a trace. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from math import isnan

from autoscaler.adapters.traces.problems import Problems, TraceError
from autoscaler.adapters.traces.tables import Table
from autoscaler.adapters.traces.times import TimeKind, TimeReader
from autoscaler.simulation.trace import SHORTEST_SESSION, Session

# Seconds, as the longest duration of a policy; a replay makes 2 million decisions in that time.
LONGEST = 366 * 86_400.0
# Day numbers of spreadsheets from 1970 to 2100, and the longest session in days to look for.
DAY_NUMBERS = (25_569.0, 73_050.0)
LONGEST_IN_DAYS = 5.0
# A time without any arrival of more than this share of a trace, and of a day, is told.
LONG_GAP, LONG_GAP_SECONDS = 0.5, 86_400.0


@dataclass
class Log:
    """The sessions of a file that has been read so far, with NaN for an end that is open.

    lines: of each session. ids: hashes of the sessions' identifiers, if there are any.
    """

    starts: array[float] = field(default_factory=lambda: array("d"))
    ends: array[float] = field(default_factory=lambda: array("d"))
    lines: array[int] = field(default_factory=lambda: array("Q"))
    ids: array[int] = field(default_factory=lambda: array("q"))

    def add(self, start: float, end: float, line: int) -> None:
        """Add a session."""
        self.starts.append(start)
        self.ends.append(end)
        self.lines.append(line)


def refuse_mixed_times(table: Table, reader: TimeReader) -> None:
    """Raise TraceError if some times have an offset from UTC and others have none."""
    line = reader.first.get(TimeKind.LOCAL)
    for kind in (TimeKind.OFFSET, TimeKind.NUMBER):
        if line is not None and kind in reader.first:
            raise TraceError(
                f"{table.place(line)}: a time without an offset, but line {reader.first[kind]} has"
                f" {kind.value}, expected an offset such as +01:00 or Z in all times, or in none"
            )


def refuse_day_numbers(table: Table, reader: TimeReader, log: Log) -> None:
    """Raise TraceError for day numbers, which as seconds would be a few hours of 1970."""
    low, high = DAY_NUMBERS
    alike = sum(
        low <= start <= high and (isnan(end) or end - start <= LONGEST_IN_DAYS)
        for start, end in zip(log.starts, log.ends, strict=True)
    )
    if reader.first.keys() == {TimeKind.NUMBER} and 2 * alike > len(log.starts):
        raise TraceError(
            f"{table.place(log.lines[0])}: start: {log.starts[0]:.10g}: looks like the day number"
            " of a spreadsheet, expected a time; format both columns as yyyy-mm-dd hh:mm:ss and"
            " export again (if they are seconds, add 1000000 to each)"
        )


def finished(
    log: Log, table: Table, problems: Problems, *, recorded: bool
) -> tuple[list[Session], list[str]]:
    """Return the sessions in order, and what to tell about them. Raises TraceError.

    recorded: whether each session was recorded by itself.
    """
    if not log.starts:
        problems.check()
        raise TraceError(f"{table.path}: no sessions, expected lines below the header")
    kept = _without_far_ones(log, table, problems)
    problems.check()
    last = max(_last(log, index) for index in kept)
    notes = []
    if still := sum(isnan(log.ends[index]) for index in kept):
        verb = "has no end and is" if still == 1 else "have no end and are"
        notes.append(
            f"{still:,} of {len(kept):,} sessions {verb} assumed to last until the end of the"
            f" trace, {_day(last):%Y-%m-%d %H:%M:%S} UTC."
        )
    kept, twice = _without_repetitions(log, kept)
    sessions = [
        Session(start, max(last, start + SHORTEST_SESSION) if isnan(end) else end)
        for start, end in ((log.starts[index], log.ends[index]) for index in kept)
    ]
    sessions.sort()
    if twice:
        verb, left = ("row repeats", "is") if twice == 1 else ("rows repeat", "are")
        notes.append(
            f"{twice:,} {verb} an earlier session, with the same identifier, and {left} left out."
        )
    equal = _equal(sessions) if recorded else []
    return sessions, [*notes, *equal, *_gap(sessions)]


def _equal(sessions: Sequence[Session]) -> list[str]:
    """Return a sentence about sessions with the same times, if there are any."""
    if not (alike := sum(one == other for one, other in pairwise(sessions))):
        return []
    verb, kept = ("starts and ends", "is") if alike == 1 else ("start and end", "are")
    told = f"{alike:,} of {len(sessions):,} sessions {verb} with another one, and {kept} kept"
    return [f"{told} as those of different users."]


def _last(log: Log, index: int) -> float:
    end = log.ends[index]
    return log.starts[index] if isnan(end) else end


def _without_far_ones(log: Log, table: Table, problems: Problems) -> Sequence[int]:
    """Return the sessions within a year of the median, if the others are few. Raises TraceError."""
    every = range(len(log.starts))
    first = min(every, key=log.starts.__getitem__)
    last = max(every, key=lambda index: _last(log, index))
    if _last(log, last) - log.starts[first] <= LONGEST:
        return every
    middle = sorted(log.starts)[len(log.starts) // 2]
    low, high = middle - LONGEST / 2, middle + LONGEST / 2
    kept = [index for index in every if low <= log.starts[index] and _last(log, index) <= high]
    if len(every) - len(kept) <= 0.01 * problems.rows:
        for index in sorted(set(every).difference(kept)):
            problems.add(log.lines[index], "more than half a year before or after most sessions")
        return kept
    raise TraceError(
        f"{table.path}: from {_day(log.starts[first]):%Y-%m-%d} (line {log.lines[first]}) to"
        f" {_day(_last(log, last)):%Y-%m-%d} (line {log.lines[last]}),"
        " expected a span of at most 366 days"
    )


def _without_repetitions(log: Log, kept: Sequence[int]) -> tuple[Sequence[int], int]:
    """Return the sessions without repetitions, and how many of these there are.

    A repetition has the identifier, the start and the end of another session.
    """
    if not log.ids:
        return kept, 0
    order = sorted(kept, key=lambda index: (log.starts[index], log.ids[index]))
    unique: list[int] = []
    for index in order:
        earlier = unique[-1] if unique else None
        if earlier is None or not _is_same(log, earlier, index):
            unique.append(index)
    return unique, len(kept) - len(unique)


def _is_same(log: Log, one: int, other: int) -> bool:
    ends = (log.ends[one], log.ends[other])
    same_end = ends[0] == ends[1] or (isnan(ends[0]) and isnan(ends[1]))
    return log.starts[one] == log.starts[other] and log.ids[one] == log.ids[other] and same_end


def _gap(sessions: Sequence[Session]) -> list[str]:
    """Return a sentence about a time without arrivals that takes most of the trace."""
    end = max(session.end for session in sessions)
    starts = [session.start for session in sessions]
    gap, begins = max(
        (later - start, start) for start, later in zip(starts, [*starts[1:], end], strict=True)
    )
    if len(sessions) < 10 or gap <= max(LONG_GAP_SECONDS, LONG_GAP * (end - starts[0])):
        return []
    first, last = (f"{_day(at):%Y-%m-%d %H:%M}" for at in (begins, begins + gap))
    told = f"Nothing starts from {first} to {last} UTC, most of the trace; check its times."
    return [told]


def _day(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
