"""Event logs of joins and leaves, such as those of JupyterHub, made into sessions. Pure."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import nan

from autoscaler.adapters.traces.columns import Columns
from autoscaler.adapters.traces.log import Log
from autoscaler.adapters.traces.problems import Problems, TraceError, quoted
from autoscaler.adapters.traces.sessions import refuse_extra_cells
from autoscaler.adapters.traces.tables import Table
from autoscaler.adapters.traces.times import TimeReader
from autoscaler.simulation.trace import SHORTEST_SESSION

# The words for joins and leaves, without capitals and signs. A log may have several families of
# them for the same users; the first one that it has counts.
_JOINS = (
    "start started join joined enter entered open opened connect connected begin began create"
    " created launch launched spawn arrive arrival sessionstart sessionstarted sessioncreated"
    " sessionopened serverstart in"
)
_LEAVES = (
    "stop stopped leave left exit exited close closed disconnect disconnected end ended destroy"
    " destroyed terminate terminated depart departure sessionend sessionended sessiondestroyed"
    " sessionclosed serverstop timeout expired culled out"
)
_FAMILIES = (
    ("proxystart", "proxystop"),
    (_JOINS, _LEAVES),
    ("login loggedin signin", "logout loggedout signout"),
)
_WORDS = {
    word: (family, join)
    for family, pair in enumerate(_FAMILIES)
    for join, words in zip((True, False), pair, strict=True)
    for word in words.split()
}


@dataclass
class _Events:
    """Events of one family, in the order of the file."""

    times: array[float] = field(default_factory=lambda: array("d"))
    keys: array[int] = field(default_factory=lambda: array("q"))
    joins: array[int] = field(default_factory=lambda: array("b"))
    lines: array[int] = field(default_factory=lambda: array("Q"))


def read_events(
    table: Table, columns: Columns, reader: TimeReader, problems: Problems, limit: int
) -> tuple[Log, list[str]]:
    """Return the sessions of a log of events, and what to tell about it. Raises TraceError.

    A session lasts from a join to the leave of the same session, or else of the same user and
    server. A leave without a join is of a session that began before the log.
    """
    families, others = _collected(table, columns, reader, problems, limit)
    used = next((each for each in families if 1 in each.joins), None)
    if used is None:
        names = ", ".join(quoted(name) for name in list(others)[:5]) or "none"
        raise TraceError(
            f"{table.path}: no event is a join, expected events such as start and stop, join and"
            f" leave, or login and logout, got {names}"
        )
    left_out = sum(others.values()) + sum(len(e.times) for e in families if e is not used)
    log, before = _sessions(used, problems)
    return log, list(_told(len(log.starts), before, left_out))


def _collected(
    table: Table, columns: Columns, reader: TimeReader, problems: Problems, limit: int
) -> tuple[list[_Events], Counter[str]]:
    """Return the events of each family, and the numbers of all others by their names."""
    families, others = [_Events() for _ in _FAMILIES], Counter[str]()
    for line, cells in table.rows():
        problems.rows += 1
        try:
            refuse_extra_cells(cells, len(table.header))
            name = _cell(cells, columns.at["event"])
            if (found := _WORDS.get(re.sub(r"[\W_]+", "", name.lower()))) is None:
                others[name[:100] if len(others) < 100 else "others"] += 1
                continue
            _add(families[found[0]], reader, columns, cells, line, join=found[1])
        except ValueError as error:
            problems.add(line, str(error))
        if sum(len(each.times) for each in families) > 2 * limit:
            raise TraceError(f"{table.place(line)}: expected at most {2 * limit:,} events")
    return families, others


def _told(sessions: int, before: int, left_out: int) -> Iterator[str]:
    if before:
        yield (
            f"{before:,} of {sessions:,} sessions began before the log and are assumed to last from"
            " its beginning."
        )
    if left_out:
        yield f"Left out: {left_out:,} events that are no joins or leaves of sessions."


def _add(
    events: _Events,
    reader: TimeReader,
    columns: Columns,
    cells: Sequence[str],
    line: int,
    *,
    join: bool,
) -> None:
    cell = _cell(cells, columns.at["time"])
    try:
        at = reader.read(cell, line).at
    except ValueError as error:
        raise ValueError(f"time: {quoted(cell)}: {error}") from None
    roles = ("session",) if "session" in columns.at else ("user", "server")
    events.times.append(at)
    events.keys.append(hash(tuple(_cell(cells, columns.at.get(role, -1)) for role in roles)))
    events.joins.append(join)
    events.lines.append(line)


def _cell(cells: Sequence[str], index: int) -> str:
    return cells[index].strip() if 0 <= index < len(cells) else ""


def _sessions(events: _Events, problems: Problems) -> tuple[Log, int]:
    """Return the sessions, and how many of them began before the log."""
    log, before, alone = Log(), 0, list[int]()
    order = list(range(len(events.times)))
    if events.times[0] > events.times[-1]:  # the newest first
        order.reverse()
    order.sort(key=events.times.__getitem__)
    beginning = events.times[order[0]]
    order.sort(key=events.keys.__getitem__)
    for _, own in groupby(order, key=events.keys.__getitem__):
        present: list[int] = []
        for number, index in enumerate(own):
            if events.joins[index]:
                present.append(index)
            elif present:  # the last one that joined, as an earlier leave may be missing
                start = events.times[joined := present.pop()]
                end = max(events.times[index], start + SHORTEST_SESSION)
                log.add(start, end, events.lines[joined])
            elif number == 0:
                before += 1
                end = max(events.times[index], beginning + SHORTEST_SESSION)
                log.add(beginning, end, events.lines[index])
            else:
                alone.append(events.lines[index])
        for index in present:
            log.add(events.times[index], nan, events.lines[index])
    for line in sorted(alone):
        problems.add(line, "a leave without a join")
    return log, before
