"""Which sidecars the daemon cannot reach, found out also while no pod is being drained.

A NetworkPolicy, a mesh or another port keeps the daemon away while Prometheus scrapes as ever. Then
no pod can be removed, and nobody would notice before the first scale-down. So the pods of each
target are asked every 15 s, at most 50 of them at a time; an idle sidecar answers in 0.01 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from autoscaler.model import Occupancy, PodState, TargetRef, Unavailable, Unreachable

# Seconds between two looks at a target.
LOOK_EVERY = 15.0
# One that was not reached is unreachable if it still is not so many seconds later.
CONFIRMED_AFTER = 10.0
# So many pods of a target are asked at most at a time, and so many of those that stay silent, each
# of which takes seconds.
MOST, MOST_WHILE_SILENT = 50, 3


class Silence(NamedTuple):
    """A sidecar that could not be reached, from when to when (Unix seconds).

    message: its address and the reason, in one line.
    """

    pod: str
    message: str
    since: float
    last: float

    @property
    def is_confirmed(self) -> bool:
        """Whether it lasted: a node that hiccups is no closed network."""
        return self.last - self.since >= CONFIRMED_AFTER


@dataclass(slots=True)
class _Target:
    due: float
    turn: int = 0
    silent: dict[str, Silence] = field(default_factory=dict)


class Reach:
    """Remembers of each target which of its sidecars did not answer, and whom to ask next."""

    def __init__(self) -> None:
        self._targets: dict[TargetRef, _Target] = {}

    def to_ask(self, ref: TargetRef, pods: Iterable[PodState], now: float) -> Sequence[PodState]:
        """Pods of the target to ask now; none before its next look is due.

        pods: all of them. Asked are those that should answer: Ready for a while, with an address.
        """
        known = self._targets.setdefault(ref, _Target(now + _offset(ref)))
        if now < known.due and not known.silent:
            return ()
        there = {pod.uid: pod for pod in pods if pod.serving and pod.ip}
        known.silent = {uid: each for uid, each in known.silent.items() if uid in there}
        settled = [pod for pod in there.values() if now - (pod.ready_since or 0.0) >= LOOK_EVERY]
        if now < known.due or not settled:
            return ()
        known.due = now + LOOK_EVERY
        known.turn += 1
        silent = [there[uid] for uid in known.silent]
        others = [pod for pod in settled if pod.uid not in known.silent]
        if all(each.is_confirmed for each in known.silent.values()):
            silent = _in_turn(silent, known.turn, MOST_WHILE_SILENT)
        room = max(0, MOST - len(known.silent))
        return (*silent[:MOST], *_in_turn(others, known.turn, room))

    def hear(
        self,
        ref: TargetRef,
        pods: Iterable[PodState],
        said: Mapping[str, Occupancy | Unavailable],
        now: float,
    ) -> None:
        """Take note of answers. One that came, whatever it says, is from a sidecar in reach."""
        known = self._targets.setdefault(ref, _Target(now + _offset(ref)))
        changed = False
        for pod in pods:
            answer, before = said.get(pod.uid), known.silent.get(pod.uid)
            if isinstance(answer, Unreachable):
                since = now if before is None else before.since
                known.silent[pod.uid] = Silence(pod.name, answer.message, since, now)
            elif answer is not None and before is not None:
                del known.silent[pod.uid]
                changed = True
        if known.silent and (changed or not all(s.is_confirmed for s in known.silent.values())):
            known.due = min(known.due, now + CONFIRMED_AFTER)

    def unreachable(self, ref: TargetRef) -> tuple[Silence, ...]:
        """The target's sidecars that the daemon cannot reach, by the names of their pods."""
        known = self._targets.get(ref)
        silent = known.silent.values() if known else ()
        return tuple(sorted((s for s in silent if s.is_confirmed), key=lambda s: s.pod))

    def shift(self, seconds: float) -> None:
        """Move all times along with a wall clock that was set."""
        for known in self._targets.values():
            known.due += seconds
            known.silent = {
                uid: each._replace(since=each.since + seconds, last=each.last + seconds)
                for uid, each in known.silent.items()
            }

    def forget_all_but(self, refs: set[TargetRef]) -> None:
        """Drop targets that are no longer looked at."""
        self._targets = {ref: known for ref, known in self._targets.items() if ref in refs}


def _offset(ref: TargetRef) -> float:
    """When a target is first looked at, so that not all are at the same time."""
    return crc32(str(ref).encode()) % int(LOOK_EVERY)


def _in_turn(pods: Sequence[PodState], turn: int, most: int) -> list[PodState]:
    """Return the next pods of a list that is gone through from turn to turn."""
    if len(pods) <= most:
        return list(pods)
    first = turn * most
    return [pods[(first + number) % len(pods)] for number in range(most)]
