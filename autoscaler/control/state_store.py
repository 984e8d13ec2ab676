"""What the daemon remembers of each policy, and how it is handed to the next daemon."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import NamedTuple

from autoscaler.core.checkpoint import from_text, to_text
from autoscaler.errors import AutoscalerError, LeaseError, RefusedError
from autoscaler.model import State
from autoscaler.ports import Clock

LOG = logging.getLogger("autoscaler")


class Key(NamedTuple):
    """Whose state it is: a Deployment that was deleted and made again has another uid."""

    namespace: str
    policy: str
    uid: str


KEY = Key._fields


class StateStore:
    """The states by policy and target. Threads may share it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states: dict[Key, State] = {}
        self._lock = Lock()

    def of(self, key: Key) -> State | None:
        """What is remembered; None: nothing yet."""
        return self._states.get(key)

    def keep(self, key: Key, state: State) -> None:
        """Remember it from now on, in place of an earlier target of the same policy."""
        with self._lock:
            if key not in self._states:
                self._keep_only(lambda other: other.policy != key.policy)
            self._states[key] = state

    @contextmanager
    def change(self, key: Key, after: Callable[[State], State]) -> Iterator[None]:
        """Remember a change already while it is made; taken back if it is refused.

        Raises RefusedError if nothing is remembered: the policy was removed, or retargeted.

        One whose answer was lost may have been made: it is remembered, but not what the replica
        count is now, or the old count would look like somebody else's at the next look.
        """
        with self._lock:
            before = self._states.get(key)
            if before is None:
                raise RefusedError("nothing was changed: the policy no longer has this target")
            self._states[key] = after(before)
        try:
            yield
        except (RefusedError, LeaseError):
            self._replace(key, before)
            raise
        except AutoscalerError:
            self._replace(key, after(before)._replace(replicas_seen=None))
            raise

    def shift(self, seconds: float) -> None:
        """Move everything along with a wall clock that was set."""
        with self._lock:
            self._states = {key: state.shifted(seconds) for key, state in self._states.items()}

    def forget_all_but(self, policies: Iterable[str]) -> None:
        """Drop what belongs to policies that no longer exist."""
        names = set(policies)
        with self._lock:
            self._keep_only(lambda key: key.policy in names)

    def text(self, covers: Callable[[str], bool]) -> str:
        """What the next daemon is to know of the namespaces that are covered."""
        with self._lock:
            states = {tuple(key): s for key, s in self._states.items() if covers(key.namespace)}
        return to_text(states, self._clock.now())

    def recall(self, covers: Callable[[str], bool], text: str) -> None:
        """Take over what the last daemon knew of the namespaces that are covered.

        States of an earlier term of this daemon are dropped in any case, because another daemon may
        have acted since. A text that means nothing is logged, and then each scale-down waits for a
        full stabilization window.
        """
        found = {
            Key(*key): state for key, state in self._read(text).items() if len(key) == len(KEY)
        }
        with self._lock:
            self._keep_only(lambda key: not covers(key.namespace))
            self._states |= {key: state for key, state in found.items() if covers(key.namespace)}

    def inherit(self, namespace: str, text: str) -> None:
        """Take over what a daemon of a version before shards knew, unless more is known."""
        found = self._read(text)
        old = {Key(namespace, *key): s for key, s in found.items() if len(key) == len(KEY) - 1}
        with self._lock:
            self._states = {**old, **self._states}

    def _replace(self, key: Key, state: State) -> None:
        """Correct what is remembered, unless the policy was removed or got another target."""
        with self._lock:
            if key in self._states:
                self._states[key] = state

    def _read(self, text: str) -> Mapping[tuple[str, ...], State]:
        """Return the states in the text; none if it is unreadable."""
        try:
            return from_text(text, self._clock.now()) if text else {}
        except ValueError as error:
            words = (
                "cannot read the state saved by the previous leader; scale-downs wait for a full "
                "stabilization window"
            )
            LOG.warning("%s: %s", words, error)
            return {}

    def _keep_only(self, wanted: Callable[[Key], bool]) -> None:
        self._states = {key: state for key, state in self._states.items() if wanted(key)}
