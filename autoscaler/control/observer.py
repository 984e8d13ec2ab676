"""Reads the targets of a pass, so that what is wrong with one of them stays with that one."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from autoscaler.control.clock_steps import ClockSteps
from autoscaler.core.drain.pods import is_draining
from autoscaler.errors import AutoscalerError, ClusterError, LeaseError
from autoscaler.model import Occupancy, PodState, TargetRef, Unavailable
from autoscaler.ports import (
    Clock,
    Cluster,
    LeadershipStatus,
    MetricsSource,
    Readings,
    Sidecars,
    Signal,
    TargetState,
)

LOG = logging.getLogger("autoscaler")
# One after the other costs a pass too much where a hundred targets are read again alone.
AT_ONCE = 8

Found = dict[TargetRef, TargetState | AutoscalerError]


class Observer:
    """Reads Deployments, pods, sidecars and metrics. Never raises: a defect is an error value."""

    def __init__(
        self, cluster: Cluster, metrics: MetricsSource, sidecars: Sidecars, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._metrics = metrics
        self._sidecars = sidecars
        self._clock = clock
        self._steps = ClockSteps()
        self._told: dict[str, str] = {}
        self._fresh_for = Readings().fresh_for

    def follow_clock(self, step: float) -> None:
        """Remember that the wall clock was set by so many seconds."""
        self._steps.add(self._clock.now() - step, step)

    def targets(self, refs: set[TargetRef], statuses: Mapping[str, LeadershipStatus] = {}) -> Found:
        """The targets as the cluster tells them; a LeaseError where this daemon does not lead."""
        self._steps.begin()
        barred = {
            ref: LeaseError(status.detail)
            for ref in refs
            if (status := statuses.get(ref.namespace)) and not status.is_leader
        }
        wanted = refs - barred.keys()
        missing = ClusterError("internal error (a bug, please report it): it was not looked at")
        found = {**dict.fromkeys(wanted, missing), **self._observe(wanted)}
        return {**{ref: self._adjusted(each) for ref, each in found.items()}, **barred}

    def must_ask(self, target: TargetState | AutoscalerError) -> bool:
        """Whether sidecars have to be asked before anything is decided about the target."""
        return isinstance(target, TargetState) and any(map(_is_asked, target.pods))

    def with_answers(
        self, target: TargetState
    ) -> tuple[TargetState, Mapping[str, Occupancy | Unavailable]]:
        """The target with what the sidecars of its draining pods say now, and that alone by uid.

        It waits for the slowest of them, so call it for each target on its own.
        """
        asked = [pod for pod in target.pods if _is_asked(pod)]
        if not asked:
            return target, {}
        said: Mapping[str, Occupancy | Unavailable]
        try:
            said = self._sidecars.occupancy(asked)
        except Exception as error:  # a defect: no answer, which counts as busy
            self._tell(f"{target.ref}: the sidecars could not be asked", error)
            said = {pod.uid: Unavailable(_words(error)) for pod in asked}
        pods = tuple(_with_answer(pod, said.get(pod.uid)) for pod in target.pods)
        return replace(target, pods=pods), said

    def answered(self, target: TargetState) -> TargetState:
        """The target with what the sidecars of its draining pods say now."""
        return self.with_answers(target)[0]

    def target(self, ref: TargetRef) -> TargetState | AutoscalerError:
        """One target as a consistent read has it now, with the answers of its sidecars."""
        found = self._read_target(ref)
        return self.answered(found) if isinstance(found, TargetState) else found

    def readings(
        self, signals: set[tuple[Signal, str]], queries: Collection[str], now: float
    ) -> Readings:
        """All samples of a pass. After a defect each signal and query is read on its own."""
        try:
            return self._read(signals, queries, now)
        except Exception as error:
            self._tell("the metrics could not be read together; each is read on its own", error)
            if len(signals) + len(queries) == 1:
                return self._failed(signals, queries, error)
        alone: list[tuple[set[tuple[Signal, str]], set[str]]] = [
            *(({signal}, set()) for signal in sorted(signals)),
            *((set(), {query}) for query in sorted(queries)),
        ]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            parts = [*pool.map(lambda part: self._read_alone(part[0], part[1], now), alone)]
        return replace(_joined(parts), fresh_for=self._fresh_for)

    def _read(
        self, signals: set[tuple[Signal, str]], queries: Collection[str], now: float
    ) -> Readings:
        readings = self._metrics.read(signals, queries, now)
        self._fresh_for = readings.fresh_for
        return readings

    def _read_alone(
        self, signals: set[tuple[Signal, str]], queries: set[str], now: float
    ) -> Readings:
        try:
            return self._read(signals, queries, now)
        except Exception as error:
            return self._failed(signals, queries, error)

    def _failed(
        self, signals: Iterable[tuple[Signal, str]], queries: Iterable[str], error: Exception
    ) -> Readings:
        words = _words(error)
        return Readings(
            external={query: Unavailable(words) for query in queries},
            failed=dict.fromkeys(signals, words),
            fresh_for=self._fresh_for,
        )

    def _observe(self, refs: set[TargetRef]) -> Found:
        """After a defect each target is read on its own: one of them is what it fell on."""
        try:
            return dict(self._cluster.observe(refs))
        except Exception as error:
            self._tell("the targets could not be read together; each is read on its own", error)
            if len(refs) == 1:
                return dict.fromkeys(refs, ClusterError(_words(error)))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(pool.map(self._observe_alone, sorted(refs)))

    def _observe_alone(self, ref: TargetRef) -> tuple[TargetRef, TargetState | AutoscalerError]:
        try:
            return ref, self._cluster.observe({ref})[ref]
        except Exception as error:
            return ref, ClusterError(_words(error))

    def _read_target(self, ref: TargetRef) -> TargetState | AutoscalerError:
        try:
            return self._adjusted(self._cluster.read_target(ref))
        except Exception as error:
            self._tell(f"{ref} could not be read", error)
            return ClusterError(_words(error))

    def _tell(self, what: str, error: Exception) -> None:
        """Log a defect with its traceback, once while it stays the same."""
        if self._told.get(what) != repr(error):
            self._told[what] = repr(error)
            LOG.error("%s: %s", what, _words(error), exc_info=error)

    def _adjusted(self, target: TargetState | AutoscalerError) -> TargetState | AutoscalerError:
        if isinstance(target, AutoscalerError):
            return target
        return self._steps.adjust(target)


def _is_asked(pod: PodState) -> bool:
    return is_draining(pod) and pod.is_active


def _with_answer(pod: PodState, said: Occupancy | Unavailable | None) -> PodState:
    if isinstance(said, Unavailable):
        return replace(pod, occupancy=None, silence=said.message)
    return replace(pod, occupancy=said)


def _words(error: Exception) -> str:
    return f"internal error (a bug, please report it): {error!r}"


def _joined(parts: Iterable[Readings]) -> Readings:
    whole = Readings()
    for part in parts:
        whole = Readings(
            samples={**whole.samples, **part.samples},
            external={**whole.external, **part.external},
            failed={**whole.failed, **part.failed},
            containers={**whole.containers, **part.containers},
            hints={**whole.hints, **part.hints},
        )
    return whole
