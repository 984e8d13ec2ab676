"""Who may act in a namespace: what a daemon may conclude from what it saw of a Lease.

One Lease (coordination.k8s.io/v1) for each namespace names the daemon that acts there. Whoever
holds it writes it anew every few seconds, and stops to act long before anyone else may start:

    renewed ───────── acts ─────────┬── a write begun last lands ──┬ spare ┬── others may take it
    0 s                            6.5                            14.5     15

No two clocks are compared. The holder counts from the beginning of its own last write that
succeeded, the others from the moment at which they saw the Lease's newest version for the first
time, which is later; each by a clock of its own that is never set. Two that write at once are told
apart by the API server: a version can be followed by one other only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

# Seconds without a sign of the holder after which others may take its Lease.
DURATION = 15.0
# The longest that one write to the API may be on its way (connecting and the answer).
LONGEST_WRITE = 8.0
# Clocks of two machines need not run equally fast.
SPARE = 0.5
ACT_FOR = DURATION - LONGEST_WRITE - SPARE
RENEW_EVERY = 5.0
LOOK_EVERY = 2.0
# After somebody else's write to a Lease that is ours, such as a label.
AGAIN = 0.2


class Lease(NamedTuple):
    """A Lease as it was read, or as it is to be written in place of the version in it.

    holder: "" for nobody. version: the resourceVersion; "" for one that is yet to be created.
    duration: seconds. memory: what the next holder is to know.
    """

    holder: str = ""
    version: str = ""
    duration: float = DURATION
    transitions: int = 0
    memory: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What one daemon knows of one Lease. Times are seconds of its own steady clock.

    lease: as it was last read or written; None: there is none. since: when this version was first
    seen. renewed_at: when the write began by which this daemon last got or kept it; None: it is
    not the holder.
    """

    me: str
    lease: Lease | None = None
    since: float = -inf
    renewed_at: float | None = None

    @property
    def is_held(self) -> bool:
        """Whether the Lease was this daemon's when it last looked; it may have run out."""
        return self.renewed_at is not None


def saw(view: View, lease: Lease | None, now: float) -> View:
    """The view after the Lease was read; now: when the answer was there."""
    if _version(lease) == _version(view.lease):
        return view
    ours = lease is not None and lease.holder == view.me
    return replace(view, lease=lease, since=now, renewed_at=view.renewed_at if ours else None)


def wrote(view: View, lease: Lease, began: float) -> View:
    """The view after this daemon's own claim was written; began: when it was sent."""
    return replace(view, lease=lease, since=began, renewed_at=began)


def may_claim(view: View, now: float) -> bool:
    """Whether to write the Lease: it is ours, nobody's, or its holder has been silent too long.

    One that vanished is left alone for as long, for its holder may not know it yet.
    """
    lease = view.lease
    if lease is not None and lease.holder in ("", view.me):
        return True
    return now - view.since >= (DURATION if lease is None else lease.duration)


def claim(view: View, memory: str) -> Lease:
    """The Lease as this daemon writes it to get or to keep it."""
    if view.lease is None:
        return Lease(view.me, memory=memory)
    transitions = view.lease.transitions + (view.lease.holder != view.me)
    return Lease(view.me, view.lease.version, DURATION, transitions, memory)


def may_act(view: View, now: float) -> bool:
    """Whether a write that begins now is over before anyone else can begin one."""
    return view.renewed_at is not None and now - view.renewed_at < ACT_FOR


def pause(view: View, now: float, *, failed: bool) -> float:
    """Seconds until the Lease is to be written, or looked at, again."""
    if view.renewed_at is None or failed:
        return LOOK_EVERY
    return max(AGAIN, view.renewed_at + RENEW_EVERY - now)


def _version(lease: Lease | None) -> str:
    return "" if lease is None else lease.version
