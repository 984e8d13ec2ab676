"""Which daemons run, in the order in which they came: a list in one Lease that all of them write.

Each daemon counts its own beats up in it. One whose beats stop for as long as a Lease lasts
is removed from it by the others. A daemon acts only while its own last beat is young, and only if
all that came before it have the same number of shards: so no two of those that act disagree about
which shard a namespace belongs to, also while a rollout changes that number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from autoscaler.core.lease import ACT_FOR, AGAIN, DURATION, LOOK_EVERY, RENEW_EVERY

# Anyone who may write the Lease may write anything there.
LONGEST_TEXT, MOST_DAEMONS, LONGEST_NAME = 50_000, 100, 300


class Member(NamedTuple):
    """One daemon. shards: the number that it was started with."""

    name: str
    shards: int
    beats: int


@dataclass(frozen=True, slots=True)
class Members:
    """What one daemon knows of the list. Times are seconds of its own steady clock.

    version: of the list that was last read or written; "" for none. heard: when the present number
    of beats of each daemon was seen first. renewed_at: when the write began by which this daemon
    last beat; None: it is not in the list. beats: its own so far, which go on when it was removed
    from the list, or others would take a new beat for an old one that they have seen before.
    """

    me: str
    shards: int
    version: str = ""
    listed: tuple[Member, ...] = ()
    heard: Mapping[str, float] = field(default_factory=dict)
    renewed_at: float | None = None
    beats: int = 0

    @property
    def before_me(self) -> tuple[Member, ...]:
        """Those that came before this daemon, or all if it is not in the list."""
        names = [member.name for member in self.listed]
        return self.listed[: names.index(self.me)] if self.me in names else self.listed


def saw(view: Members, text: str, version: str, now: float) -> Members:
    """The view after the list was read; now: when the answer was there.

    One that was deleted, or made unreadable, is still what it was: those in it may not know it yet,
    and whoever notices first writes it again.
    """
    found = from_text(text)
    listed = found if found is not None else view.listed
    known = {member: view.heard[member.name] for member in view.listed}
    heard = {member.name: known.get(member, now) for member in listed}
    is_in = found is not None and any(member.name == view.me for member in listed)
    renewed_at = view.renewed_at if is_in else None
    return replace(view, version=version, listed=listed, heard=heard, renewed_at=renewed_at)


def beat(view: Members, now: float) -> tuple[Member, ...]:
    """The list as this daemon writes it to be, or to stay, in it: without those that are silent."""
    alive = [m for m in view.listed if m.name != view.me and now - view.heard[m.name] < DURATION]
    mine = next((m for m in view.listed if m.name == view.me), Member(view.me, view.shards, 0))
    place = sum(member in alive for member in view.before_me)
    beats = max(mine.beats, view.beats) + 1
    return (*alive[:place], mine._replace(beats=beats), *alive[place:])


def without_me(view: Members) -> tuple[Member, ...]:
    """The list as this daemon writes it when it ends."""
    return tuple(member for member in view.listed if member.name != view.me)


def wrote(view: Members, listed: tuple[Member, ...], version: str, began: float) -> Members:
    """The view after this daemon's own beat was written; began: when it was sent."""
    heard = {member.name: view.heard.get(member.name, began) for member in listed}
    heard[view.me] = began
    beats = max(member.beats for member in listed if member.name == view.me)
    return replace(view, version=version, listed=listed, heard=heard, renewed_at=began, beats=beats)


def is_alone(view: Members, now: float) -> bool:
    """Whether no other daemon runs: each in the list has been silent for as long as a Lease lasts.

    A daemon that has just started cannot know that of one in the list.
    """
    others = (member for member in view.listed if member.name != view.me)
    return all(now - view.heard[member.name] >= DURATION for member in others)


def others(view: Members) -> Member | None:
    """A daemon that came before with another number of shards, so that this one must wait."""
    return next((m for m in view.before_me if m.shards != view.shards), None)


def may_act(view: Members, now: float) -> bool:
    """Whether a write that begins now is over before this daemon can be taken off the list."""
    is_young = view.renewed_at is not None and now - view.renewed_at < ACT_FOR
    return is_young and others(view) is None


def sharing(view: Members, now: float) -> tuple[str, ...]:
    """The daemons among which the shards are shared; none that this one knows while it waits."""
    if others(view) is not None:
        return ()
    return tuple(
        member.name
        for member in view.listed
        if member.shards == view.shards and now - view.heard[member.name] < DURATION
    )


def pause(view: Members, now: float, *, failed: bool) -> float:
    """Seconds until the list is read again; it is written when the last beat is old enough."""
    if view.renewed_at is None or failed:
        return LOOK_EVERY
    return min(LOOK_EVERY, max(AGAIN, view.renewed_at + RENEW_EVERY - now))


def is_due(view: Members, now: float) -> bool:
    """Whether this daemon has to beat now."""
    return view.renewed_at is None or now - view.renewed_at >= RENEW_EVERY - AGAIN


def to_text(listed: tuple[Member, ...]) -> str:
    """The list as a line of JSON: [[NAME, SHARDS, BEATS], ...]."""
    return json.dumps(listed)


def from_text(text: str) -> tuple[Member, ...] | None:
    """What `to_text` wrote; None if it is something else."""
    if len(text) > LONGEST_TEXT:
        return None
    try:
        found = tuple(
            Member(str(name), int(shards), int(beats)) for name, shards, beats in json.loads(text)
        )
    except (ValueError, TypeError, RecursionError, OverflowError):
        return None
    names = {member.name[:LONGEST_NAME] for member in found}
    return found if len(names) == len(found) <= MOST_DAEMONS else None
