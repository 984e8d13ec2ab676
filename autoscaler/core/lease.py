"""Who may act: what a daemon may conclude from what it saw of a Lease.

One Lease (coordination.k8s.io/v1) for each shard names the daemon that acts in its namespaces.
Whoever holds it writes it anew every two seconds, and stops to act long before anyone else may
start:

    renewed ───────── acts ─────────┬── a write begun last lands ──┬ spare ┬── others may take it
    0 s                            3.5                            11.5     12

No two clocks are compared. The holder counts from the beginning of its own last write that
succeeded, the others from the moment at which they saw the Lease's newest version for the first
time, which is later; each by a clock of its own that is never set. Two that write at once are told
apart by the API server: a version can be followed by one other only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from autoscaler.core.checkpoint import LARGEST

# Seconds without a sign of the holder after which others may take its Lease.
DURATION = 12.0
# The same for the Leases of versions before shards: one in each namespace with targets.
OLD_DURATION = 15.0
# The longest that one write to the API may be on its way (connecting and the answer).
LONGEST_WRITE = 8.0
# The longest that a foreign holder is waited for, whatever duration it wrote.
LONGEST_SILENCE = 60.0
# The Lease's count of holders is an integer of 32 bits, which anyone may have written.
MOST_TRANSITIONS = 2**31 - 1
# Clocks of two machines need not run equally fast.
SPARE = 0.5
ACT_FOR = DURATION - LONGEST_WRITE - SPARE
RENEW_EVERY = 2.0
LOOK_EVERY = 1.0
# A Lease that only keeps earlier versions out is written rarely. They wait for so long at most.
GUARD_FOR = LONGEST_SILENCE - LONGEST_WRITE - SPARE
GUARD_EVERY = 20.0
# After somebody else's write to a Lease that is ours, such as a label.
AGAIN = 0.2
# The API server takes 256 KiB of annotations, of which the state may have most.
LONGEST_NAMES = 40_000


class Place(NamedTuple):
    """Where a Lease is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as kubectl shows it: NAMESPACE/NAME."""
        return f"{self.namespace}/{self.name}"


class Lease(NamedTuple):
    """A Lease as it was read, or as it is to be written in place of the version in it.

    holder: "" for nobody. version: the resourceVersion; "" for one that is yet to be created.
    duration: seconds. state: what the next holder is to know. evaluated: the policies that the
    holder evaluates; None: it does not say.
    """

    holder: str = ""
    version: str = ""
    duration: float = DURATION
    transitions: int = 0
    state: str = ""
    evaluated: frozenset[str] | None = None


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


def may_claim(view: View, now: float, usual: float = DURATION) -> bool:
    """Whether to write the Lease: it is ours, nobody's, or its holder has been silent too long.

    One that vanished is left alone for as long, for its holder may not know it yet. Its holder may
    act for as long as the protocol says (`usual`), so a shorter duration in the Lease counts for
    nothing.
    """
    lease = view.lease
    if lease is not None and lease.holder in ("", view.me):
        return True
    return now >= _silent_at(view, usual)


def _silent_at(view: View, usual: float) -> float:
    """The time from which the holder counts as gone unless it writes again."""
    promised = usual if view.lease is None else view.lease.duration
    return view.since + min(max(usual, promised), LONGEST_SILENCE)


def claim(view: View, state: str, evaluated: frozenset[str] | None = None) -> Lease:
    """The Lease as this daemon writes it to get or to keep it."""
    if len(state.encode(errors="replace")) > LARGEST:  # not ours, and would make this one refused
        state = ""
    if view.lease is None:
        return Lease(view.me, state=state, evaluated=evaluated)
    transitions = view.lease.transitions + (view.lease.holder != view.me)
    count = transitions if 0 <= transitions <= MOST_TRANSITIONS else 0
    return Lease(view.me, view.lease.version, DURATION, count, state, evaluated)


def evaluated_text(lease: Lease) -> str:
    """The policies that the holder evaluates, as a line of JSON: {"holder": ME, "policies": [...]}.

    With the holder's name, for a daemon from before takes the Lease and leaves this line as it is.
    null: too many to list.
    """
    names = None if lease.evaluated is None else sorted(lease.evaluated)
    text = json.dumps({"holder": lease.holder, "policies": names})
    if len(text) <= LONGEST_NAMES:
        return text
    return json.dumps({"holder": lease.holder, "policies": None})


def evaluated_from(text: str, holder: str) -> frozenset[str] | None:
    """What `evaluated_text` wrote for this holder; None: whatever else is there."""
    if len(text) > LONGEST_NAMES:
        return None
    try:
        said = json.loads(text)
        names = said["policies"] if said["holder"] == holder else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return frozenset(names)


def may_act(view: View, now: float, within: float = ACT_FOR) -> bool:
    """Whether a write that begins now is over before anyone else can begin one."""
    return view.renewed_at is not None and now - view.renewed_at < within


def pause(view: View, now: float, *, failed: bool) -> float:
    """Seconds until the Lease is to be written, or looked at, again."""
    if view.renewed_at is None:
        left = _silent_at(view, DURATION) - now
        return max(AGAIN, left) if 0.0 < left < LOOK_EVERY else LOOK_EVERY
    if failed:
        return LOOK_EVERY
    return max(AGAIN, view.renewed_at + RENEW_EVERY - now)


def _version(lease: Lease | None) -> str:
    return "" if lease is None else lease.version
