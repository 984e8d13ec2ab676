"""The columns of a trace: found by their names, or named by `--columns`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from autoscaler.adapters.traces.durations import UNITS
from autoscaler.adapters.traces.problems import quoted


class Kind(Enum):
    """What a row of a trace is."""

    SESSION = "a session"
    EVENT = "an event"
    COUNT = "a count"


class ColumnsError(ValueError):
    """Columns that do not make a trace; the message follows the place of the header."""


@dataclass(frozen=True)
class Columns:
    """Which column has which role.

    at: index by role. names: name by role, as in the file. unit: seconds of a plain number in the
    column of durations. scales: cores and bytes of a 1 in the columns of CPU and memory. in_utc:
    whether the names say that times are in UTC.
    """

    kind: Kind
    at: Mapping[str, int]
    names: Mapping[str, str] = field(default_factory=dict)
    unit: float = 1.0
    scales: Mapping[str, float] = field(default_factory=dict)
    in_utc: bool = False

    def is_headerless(self) -> bool:
        """Return whether the first row has times instead of names."""
        times = (name for role, name in self.names.items() if role in ("start", "time"))
        return any(re.search(r"\d{4}", name) for name in times)

    def note(self) -> str:
        """Return which columns were read, unless their names are the roles."""
        if self.is_headerless():
            return "It has no header line; its columns are as in --columns."
        other = [f"{role} from {name}" for role, name in self.names.items() if role != name.lower()]
        return f"Columns: {', '.join(other)}." if other else ""


# By role, the names that are known for it, in the order of preference; without capitals and signs.
_NAMES: Mapping[str, str] = {
    "start": "start started starttime startedat startts starttimestamp startdate sessionstart"
    " launched launchedat begin began begintime arrival arrivaltime arrived arrivedat login"
    " logintime loggedin loginat connected connectedat connectiontime connecttime opened openedat"
    " joined joinedat jointime created createdat sessioncreated from",
    "end": "end ended endtime endedat endts endtimestamp enddate sessionend finish finished"
    " finishedat stop stopped stoptime stoppedat departure departuretime departed departedat logout"
    " logouttime loggedout logoutat disconnected disconnectedat disconnecttime closed closedat left"
    " leftat leavetime destroyed destroyedat sessionended until to",
    "time": "time timestamp datetime eventtime eventtimestamp at ts date when",
    "event": "event action eventtype type eventname activity operation",
    "user": "user username userid userguid name email client clientid account who",
    "session": "sessionid session sessionguid sessionkey connectionid proxyid visitid",
    "id": "id uuid guid",  # in a log of events, it is that of the event
    "server": "server servername app appid data contentguid",
    "sessions": "sessions count users concurrent concurrentsessions sessioncount activesessions"
    " connections activeusers connectedsessions connected active value",
    "cpu": "cpu cores cpuusage",
    "memory": "memory mem rss workingset",
}
# What the end of a name says about the numbers below it.
_SCALES = {
    "percent": 0.01,
    "millicores": 0.001,
    "cores": 1.0,
    "bytes": 1.0,
    "kib": 2.0**10,
    "mib": 2.0**20,
    "gib": 2.0**30,
    "kb": 1e3,
    "mb": 1e6,
    "gb": 1e9,
}
_DURATION = re.compile(
    rf"(?:session|trip|visit|total)?(?:duration|length|elapsed)(?:in)?({'|'.join(UNITS)})?"
)
# The roles of each kind that must be there, and those that may; the first kind that fits counts.
_NEEDED: tuple[tuple[Kind, tuple[str, ...], tuple[str, ...]], ...] = (
    (Kind.SESSION, ("start", "end"), ("session", "id")),
    (Kind.SESSION, ("start", "duration"), ("session", "id")),
    (Kind.EVENT, ("time", "event"), ("user", "session", "server")),
    (Kind.COUNT, ("time", "sessions"), ("cpu", "memory")),
    (Kind.COUNT, ("start", "sessions"), ("cpu", "memory")),
)
ROLES = ("start", "end", "duration", "time", "event", "user", "sessions", "cpu", "memory")
_EXPECTED = "start,end or start,duration or time,user,event or time,sessions"


def fits(header: Sequence[str], said: Mapping[str, str]) -> bool:
    """Return whether a header has the columns of a trace. said: names by role."""
    try:
        find(header, said)
    except ColumnsError:
        return False
    return True


def find(header: Sequence[str], said: Mapping[str, str]) -> Columns:
    """Return the columns of a header. Raises ColumnsError.

    said: by role, the name of a column, or its number if the header has no such name.
    """
    at, units = _known(header), _unit_columns(header)
    for role, name in said.items():
        at[role] = [_said(header, role, name)]
    kinds = [row for row in _NEEDED if all(role in at for role in row[1])]
    kinds = [row for row in kinds if not said or set(said) <= {*row[1], *row[2]}]
    if not kinds:
        raise ColumnsError(_missing(header, at, said))
    kind, needed, optional = kinds[0]
    for role in needed:
        if len(at[role]) > 1:
            raise ColumnsError(
                f"column {header[at[role][0]]!r} is duplicate, got {_shown(header)};"
                " rename one of them"
            )
    chosen = {role: at[role][0] for role in (*needed, *optional) if role in at}
    names = {role: header[index].strip() for role, index in chosen.items() if role in needed}
    times = [_letters(name) for role, name in names.items() if role in ("start", "end", "time")]
    in_utc = all(name.endswith(("utc", "gmt")) for name in times)
    unit = units.get(chosen.get("duration", -1), 1.0)
    scales: dict[str, float] = {
        role: _scale(header[chosen[role]]) for role in ("cpu", "memory") if role in chosen
    }
    return Columns(kind, chosen, names, unit, scales, in_utc)


def _known(header: Sequence[str]) -> dict[str, list[int]]:
    """Return the indexes of the columns with the best known name of each role."""
    plain = [_plain(cell) for cell in header]
    at: dict[str, list[int]] = {}
    for role, names in _NAMES.items():
        for name in names.split():
            found = [index for index, cell in enumerate(plain) if cell == name]
            if found:
                at[role] = found
                break
    if durations := list(_unit_columns(header)):
        at["duration"] = durations[:1]
    return at


def _unit_columns(header: Sequence[str]) -> dict[int, float]:
    """Return the columns of durations by their names, with the seconds of their unit."""
    found = ((index, _DURATION.fullmatch(_letters(cell))) for index, cell in enumerate(header))
    return {index: UNITS.get(match[1] or "s", 1.0) for index, match in found if match}


def _letters(cell: str) -> str:
    return re.sub(r"[\W_]+", "", cell.lower())


def _plain(cell: str) -> str:
    """Return a name without capitals and signs, and without a zone or a unit at its end."""
    name = _letters(cell)
    bases = (name.removesuffix(end) for end in ("utc", "gmt", *_SCALES) if name.endswith(end))
    return next((base for base in bases if base in _ALL), name)


def _scale(cell: str) -> float:
    """Return the factor to cores or bytes that a name has, such as 1,000,000 for `memory_mb`."""
    name = f"{_letters(cell)}percent" if "%" in cell else _letters(cell)
    return next((factor for end, factor in _SCALES.items() if name.endswith(end)), 1.0)


_ALL = frozenset(name for names in _NAMES.values() for name in names.split())


def _said(header: Sequence[str], role: str, name: str) -> int:
    names = [cell.strip() for cell in header]
    for found in (names, [each.lower() for each in names]):
        wanted = name if found is names else name.lower()
        if found.count(wanted) == 1:
            return found.index(wanted)
    if name.isdecimal() and 1 <= int(name) <= len(header):
        return int(name) - 1
    raise ColumnsError(
        f"no column {quoted(name)} for {role}, got {_shown(header)}; set --columns to one of these"
    )


def _missing(
    header: Sequence[str], at: Mapping[str, Sequence[int]], said: Mapping[str, str]
) -> str:
    if said:
        return f"--columns has {','.join(said)}, expected {_EXPECTED}"
    if "start" in at:
        lack = f"no column for the end or the duration beside {header[at['start'][0]].strip()!r}"
    elif "end" in at:
        lack = f"no column for the start beside {header[at['end'][0]].strip()!r}"
    elif "time" in at:
        lack = (
            f"no column for events or numbers of sessions beside {header[at['time'][0]].strip()!r}"
        )
    else:
        lack = "no known columns"
    if any(re.search(r"\d{4}-\d\d-\d\d|\d{9}", cell) for cell in header):
        lack = "the first line has values instead of names"
        cure = "add a line such as start,end above it, or set --columns start=1,end=2"
    else:
        roles = (
            "time=NAME,event=NAME"
            if lack.startswith("no column for events")
            else "start=NAME,end=NAME"
        )
        cure = f"set --columns {roles}"
    return f"{lack}, expected a header line with {_EXPECTED}, got {_shown(header)}; {cure}"


def _shown(header: Sequence[str]) -> str:
    return quoted(",".join(cell.strip() for cell in header))
