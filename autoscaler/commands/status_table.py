"""The table of `autoscaler status`, and a place on the terminal that is drawn over."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TextIO

from autoscaler.commands.lines import complain
from autoscaler.reporting.status_report import Pods, PolicyStatus, Replicas, Seats, StatusReport
from autoscaler.units import counted, duration_text
from exporter.texts import visible

UNKNOWN = "-"
GAP = "   "
# A pass that is older than this many seconds and intervals is told of.
OLD, OLD_INTERVALS = 10.0, 4


class Column(NamedTuple):
    """One column. is_wide: whether it is shown only with `-o wide`."""

    title: str
    cell: Callable[[PolicyStatus], str]
    is_wide: bool = False


def table(report: StatusReport, *, wide: bool = False) -> Iterator[str]:
    """Yield the lines: the columns, one line for each policy, and what else there is to tell."""
    columns = [each for each in COLUMNS if wide or not each.is_wide]
    rows = [[column.title for column in columns]]
    rows += [[visible(column.cell(each)) for column in columns] for each in report.policies]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for cells in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield GAP.join(padded).rstrip()
    yield from map(visible, _notes(report))


def _notes(report: StatusReport) -> Iterator[str]:
    """Yield why a policy is not evaluated as it should be, a line each."""
    if not report.policies:
        yield "the daemon has no policy"
    for each in report.policies:
        for note in _notes_on(each):
            yield note if each.target in note else f"{each.target}: {note}"
    yield from report.file_notes()


def _notes_on(status: PolicyStatus) -> Iterator[str]:
    yield from status.notes()
    latest = max(OLD, OLD_INTERVALS * (status.interval or 0.0))
    if not status.problem and status.age is not None and status.age > latest:
        yield f"the last reconcile pass ended {_age(status.age)} ago"


def _age(seconds: float | None) -> str:
    """Return an age in seconds below two minutes, in minutes below two hours, then in hours."""
    if seconds is None:
        return UNKNOWN
    unit = 1 if seconds < 120 else 60 if seconds < 7_200 else 3_600
    return duration_text(int(seconds) // unit * unit)


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _part(part: Replicas | Seats | Pods | None, name: str) -> str:
    """Return one number of a part that may not be known."""
    return _number(getattr(part, name, None))


def _users(status: PolicyStatus) -> str:
    """Return the sessions, with a plus where pods that should tell do not."""
    return _number(status.sessions) + ("+" if status.without_data else "")


def _replicas(status: PolicyStatus) -> str:
    found = status.replicas
    if found is None:
        return UNKNOWN
    if found.desired == found.current:
        return str(found.current)
    return f"{found.current} -> {found.desired}"


def _draining(status: PolicyStatus) -> str:
    pods = status.pods
    if pods is None:
        return UNKNOWN
    return (
        f"{pods.draining} ({counted(pods.waiting, 'user')})" if pods.waiting else f"{pods.draining}"
    )


def _learned(status: PolicyStatus) -> str:
    """Return the learned seats of a pod, with which their words begin."""
    return status.learned.partition(" ")[0] if status.learned else UNKNOWN


COLUMNS = (
    Column("TARGET", lambda status: status.target),
    Column("USERS", _users),
    Column("SEATS", lambda status: _part(status.seats, "capacity")),
    Column("LEARNED", _learned, is_wide=True),
    Column("FREE", lambda status: _part(status.seats, "free"), is_wide=True),
    Column("SPARE", lambda status: _part(status.seats, "spare"), is_wide=True),
    Column("REPLICAS", _replicas),
    Column("READY", lambda status: _part(status.replicas, "ready"), True),
    Column("WANTED", lambda status: _part(status.replicas, "wanted"), True),
    Column("RESERVE", lambda status: _part(status.pods, "reserve"), is_wide=True),
    Column("DRAINING", _draining),
    Column("LEAVING", lambda status: _part(status.pods, "leaving"), is_wide=True),
    Column("REASON", lambda status: status.reason or UNKNOWN),
    Column("AGE", lambda status: _age(status.held_for)),
    Column("PASS", lambda status: _age(status.age), is_wide=True),
    Column("POLICY", lambda status: status.policy, is_wide=True),
    Column("DETAIL", lambda status: status.detail, is_wide=True),
)


def _within(lines: Sequence[str], most: int) -> list[str]:
    """Return at most so many lines, of which the last one tells how many more there are."""
    if len(lines) <= most:
        return [*lines]
    more = len(lines) - most + 1
    return [*lines[: most - 1], f"{counted(more, 'more line')}: name a Deployment, or set -n"]


class Screen:
    """Where lines are shown. On a terminal they replace those before; elsewhere they follow them.

    On a terminal they are cut to its size, because a line that wraps cannot be drawn over.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = 0

    def show(self, lines: Sequence[str], problems: Sequence[str] = ()) -> None:
        """Show lines in place of the last ones. problems: on standard error where that is apart."""
        if self._stream.isatty():
            size = shutil.get_terminal_size()
            room = max(2, size.lines - 1 - len(problems))
            cut = [line[: size.columns - 1] for line in (*_within(lines, room), *problems)]
            up = f"\x1b[{self._shown}A" if self._shown else ""
            self._stream.write(f"{up}\r\x1b[J")
            self._shown, lines = len(cut), cut
        else:
            complain(*problems)
        self._stream.writelines(f"{line}\n" for line in lines)
        self._stream.flush()
