"""What of a `State` survives a restart, as the text that travels with a Lease. Pure.

{"bokeh/dashboards/UID": {"up": AT, "down": AT, "ups": [[REPLICAS, AT], ...], "downs": [...],
"mismatch": AT, "reset": [WHAT, AT], "departing": {POD-UID: [NAME, SESSIONS, AT, REASON]},
"starts": [SECONDS, ...], "waits": [...], "seats": [NUMBER, AT]}}, times in Unix seconds, and how
long pods took to become Ready, in seconds; what there is nothing to say of is left out. A Lease of
a version before shards spoke of one namespace and left its name out: {"dashboards/UID": ...}. The
name of a ScalingPolicy's policy has a slash itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from autoscaler.model import Departing, Logged, Reason, Reset, Seats, Starts, State

# No rate policy looks back further (HPA's limit).
LONGEST_PERIOD = 1_800.0
# The API server takes 256 KiB of annotations.
LARGEST = 200_000
# Of what somebody else has written over, which names the writer.
LONGEST_WORDS = 500

# The namespace, the policy's name and the uid of its target; or the latter two alone.
Key = tuple[str, ...]
# The text is input: whoever may write the Lease may write anything there.
Short = Annotated[str, Field(max_length=253)]
Name = Annotated[str, Field(pattern="^([^/]+/){1,3}[^/]*$", max_length=900)]
Time = Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]
Event = tuple[Annotated[int, Field(ge=1, lt=2**31)], Time]
Seconds = Annotated[float, Field(ge=0, lt=1e7, allow_inf_nan=False)]
Times = Annotated[tuple[Seconds, ...], Field(max_length=100)]
# One a second for as long as a rate policy looks back, and a few.
Events = Annotated[tuple[Event, ...], Field(max_length=2_000)]
Words = Annotated[str, Field(max_length=LONGEST_WORDS)]
Gone = tuple[Short, Annotated[int, Field(ge=0, lt=2**31)], Time, Short]


class Entry(BaseModel):
    """What is remembered of one policy and target. Unknown keys are a newer daemon's."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    up: Time | None = None
    down: Time | None = None
    ups: Events = ()
    downs: Events = ()
    mismatch: Time | None = None
    reset: tuple[Words, Time] | None = None
    departing: dict[Short, Gone] = {}
    starts: Times = ()
    waits: Times = ()
    seats: Event | None = None


_TEXT = TypeAdapter(dict[Name, Entry], config=ConfigDict(defer_build=True))


def to_text(states: Mapping[Key, State], now: float) -> str:
    """The states as one line of JSON.

    Events that no rate policy looks back to are left out. What would be too long for an annotation
    is cut, those that changed least recently first.
    """
    kept, left = {}, LARGEST
    for key in sorted(states, key=lambda key: _last_change(states[key]), reverse=True):
        entry = _entry(states[key], now)
        left -= len("/".join(key)) + len(entry.model_dump_json(exclude_defaults=True)) + 4
        if entry != Entry() and left > 0:
            kept["/".join(key)] = entry
    return _TEXT.dump_json(kept, exclude_defaults=True).decode()


def from_text(text: str, now: float) -> dict[Key, State]:
    """What `to_text` wrote. Raises ValueError, in one line, if the text is nothing of that kind.

    Times to come are those of a clock that is ahead: they count as now, or a cooldown could last
    for years.
    """
    if len(text) > LARGEST:
        raise ValueError(f"it has {len(text)} characters, and no daemon writes {LARGEST} or more")
    try:
        entries = _TEXT.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ascii(".".join(map(str, first["loc"])))[1:-1][:100]  # keys are input too
        raise ValueError(f"{where}: {first['msg']}".removeprefix(": ")) from None
    return {_key(name): _state(entry, now) for name, entry in entries.items()}


def _key(name: str) -> Key:
    """Return the namespace, if it is there, the policy and the uid in a name of the text."""
    rest, _, uid = name.rpartition("/")
    return (*rest.split("/", 1), uid)


def _last_change(state: State) -> float:
    return max(state.last_scale_up or 0.0, state.last_scale_down or 0.0, state.mismatch_at or 0.0)


def _entry(state: State, now: float) -> Entry:
    def recent(events: Iterable[Logged]) -> tuple[Event, ...]:
        return tuple((size, at) for size, at in events if at > now - LONGEST_PERIOD)

    return Entry(
        up=state.last_scale_up,
        down=state.last_scale_down,
        ups=recent(state.scale_ups),
        downs=recent(state.scale_downs),
        mismatch=state.mismatch_at,
        reset=state.reset and (state.reset.what[:LONGEST_WORDS], state.reset.at),
        departing={uid: (*each[:3], each.why.value) for uid, each in state.departing.items()},
        starts=state.starts.at_once,
        waits=state.starts.waited,
        seats=state.seats,
    )


def _state(entry: Entry, now: float) -> State:
    def past(at: float | None) -> float | None:
        return None if at is None else min(at, now)

    def past_events(events: Iterable[Event]) -> tuple[Logged, ...]:
        return tuple(Logged(size, min(at, now)) for size, at in events)

    return State(
        last_scale_up=past(entry.up),
        last_scale_down=past(entry.down),
        scale_ups=past_events(entry.ups),
        scale_downs=past_events(entry.downs),
        mismatch_at=past(entry.mismatch),
        reset=entry.reset and Reset(entry.reset[0], min(entry.reset[1], now)),
        departing={uid: _departing(gone, now) for uid, gone in entry.departing.items()},
        starts=Starts(at_once=entry.starts, waited=entry.waits),
        seats=entry.seats and Seats(entry.seats[0], min(entry.seats[1], now)),
    )


def _departing(gone: Gone, now: float) -> Departing:
    """A reason that is a newer daemon's counts as none."""
    name, sessions, at, why = gone
    known = next((reason for reason in Reason if reason.value == why), Reason.DRAINED)
    return Departing(name, sessions, min(at, now), known)
