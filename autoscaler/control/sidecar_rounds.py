"""Asks sidecars beside the passes, which wait for none of these answers.

Two rounds: pods that are being deleted, for what they say last, and the pods of each target now and
then, for whether they can be reached. Each is over within seconds and never runs twice at a time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from autoscaler.control.reachability import Reach, Silence
from autoscaler.model import Occupancy, PodState, TargetRef, Unavailable
from autoscaler.ports import Sidecars

LOG = logging.getLogger("autoscaler")
# A sidecar in reach answers in 0.01 s: a pass that follows at once waits so long for it, seconds.
A_MOMENT = 0.05
# Once so many pods are to be asked whether they can be reached, other targets wait for a next pass.
MOST_AT_ONCE = 200


class Watched(NamedTuple):
    """What is asked of a target beside its passes.

    removed: its pods that a scale-down removed and that are not gone. probed: its pods that should
    be in reach.
    """

    ref: TargetRef
    removed: Sequence[PodState] = ()
    probed: Sequence[PodState] = ()


class Rounds:
    """Starts a round at the end of a pass and takes its answers in at the start of the next."""

    def __init__(self, sidecars: Sidecars) -> None:
        self.reach = Reach()
        self._going = _Round(sidecars)
        self._probing = _Round(sidecars)
        self._probed: list[tuple[TargetRef, PodState]] = []

    def collect(self, now: float) -> Mapping[str, int]:
        """By uid the sessions of pods that are being deleted, as they said since the last call."""
        said = self._probing.take()
        if said is not None:
            for ref in {ref for ref, _ in self._probed}:
                pods = [pod for each, pod in self._probed if each == ref]
                self.reach.hear(ref, pods, said, now)
        going = self._going.take() or {}
        return {uid: each.live for uid, each in going.items() if isinstance(each, Occupancy)}

    def start(self, targets: Iterable[Watched], now: float) -> None:
        """Begin what is due; a round that still runs is left to end first."""
        watched = list(targets)
        if not self._going.runs:
            self._going.start([pod for each in watched for pod in each.removed])
        if not self._probing.runs:
            self._probed = []
            for each in watched:
                if len(self._probed) < MOST_AT_ONCE:
                    asked = self.reach.to_ask(each.ref, each.probed, now)
                    self._probed.extend((each.ref, pod) for pod in asked)
            self._probing.start([pod for _, pod in self._probed])

    def unreachable(self, ref: TargetRef) -> tuple[Silence, ...]:
        """The target's sidecars that the daemon cannot reach."""
        return self.reach.unreachable(ref)


class _Round:
    """One request to many sidecars, in a thread that ends with it and holds no exit up."""

    def __init__(self, sidecars: Sidecars) -> None:
        self._sidecars = sidecars
        self._thread: threading.Thread | None = None
        self._said: Mapping[str, Occupancy | Unavailable] = {}

    @property
    def runs(self) -> bool:
        return self._thread is not None

    def start(self, pods: Sequence[PodState]) -> None:
        if pods:
            self._thread = threading.Thread(
                target=self._ask, args=[pods], name="sidecars", daemon=True
            )
            self._thread.start()

    def take(self) -> Mapping[str, Occupancy | Unavailable] | None:
        """The answers, once; None where nothing was asked, or the answers are not there yet."""
        if self._thread is None:
            return None
        self._thread.join(A_MOMENT)
        if self._thread.is_alive():
            return None
        self._thread = None
        return self._said

    def _ask(self, pods: Sequence[PodState]) -> None:
        self._said = {}
        try:
            self._said = self._sidecars.occupancy(pods)
        except Exception:
            LOG.exception("internal error (a bug, please report it): sidecars could not be asked")
