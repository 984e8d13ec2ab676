"""Kubernetes as the daemon sees it: from what it watches, and read anew where that is not enough.

A pass costs what changed since the last one, and no request. Where the daemon may list all
namespaces, one watch for each kind covers all of them; elsewhere each namespace has its own. Its
rights may change while it runs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.kinds import EVERYWHERE
from autoscaler.adapters.kubernetes.objects import Objects, pod_item, target, version_of
from autoscaler.adapters.kubernetes.store import Store
from autoscaler.adapters.kubernetes.watching import USUAL, Pace, Watch
from autoscaler.errors import AutoscalerError, ClusterError, ForbiddenError
from autoscaler.model import PodMarks, PodState, TargetRef
from autoscaler.ports import CacheAge, Clock, TargetState

LOG = logging.getLogger("autoscaler")
# Seconds that passes wait for the first lists; 10,000 pods take a few.
FIRST_LISTS_WITHIN = 20.0
# The same for the lists of a namespace that is added later, so that the others need not wait.
NEW_LISTS_WITHIN = 2.0
# Seconds until it is asked again what may be listed.
ASK_EVERY = 120.0
# A namespace in which nothing was observed for so many seconds is no longer watched.
UNUSED_AFTER = 3_600.0
TOLD = 5  # namespaces by name in one line


class Area:
    """What is watched together: one namespace, or all of them.

    only: the namespaces that are kept. within: seconds to wait for their lists.
    """

    def __init__(
        self,
        api: KubernetesCluster,
        namespace: str,
        only: frozenset[str],
        clock: Clock,
        pace: Pace,
        within: float,
    ) -> None:
        self.watches = [Watch(kind, namespace, only, clock.steady, pace) for kind in api.kinds]
        self._only = only
        self._clock, self._until = clock, clock.steady() + within
        self.objects = Objects(*(watch.store for watch in self.watches))
        for watch in self.watches:
            watch.start()

    def cover(self, namespaces: frozenset[str]) -> None:
        """Keep these namespaces too."""
        if namespaces <= self._only:
            return
        self._only |= namespaces
        self._until = max(self._until, self._clock.steady() + NEW_LISTS_WITHIN)
        for watch in self.watches:
            watch.cover(namespaces)

    def stop(self) -> None:
        """End all watches."""
        for watch in self.watches:
            watch.stop()

    def resync(self) -> None:
        """List everything again: the API server says that less has happened than it said before.

        Its data was restored, and watches from versions to come would say nothing.
        """
        for watch in self.watches:
            watch.resync()

    def problem(self, namespace: str) -> AutoscalerError | None:
        """Return why nothing can be said of the targets, or None; waits for the first lists."""
        for watch in self.watches:
            watch.looked.wait(self._left())
            if isinstance(watch.problem, ForbiddenError):
                return watch.problem
            if watch.heard_at is None or not watch.has_listed(namespace, self._left()):
                words = f"the first list of {watch.kind.resource} has not ended yet"
                return watch.problem or ClusterError(words)
        return None

    def _left(self) -> float:
        return max(0.0, self._until - self._clock.steady())

    def refusal(self) -> ForbiddenError | None:
        """Return why something may no longer be listed or watched, or None; does not wait."""
        problems = (watch.problem for watch in self.watches)
        return next((each for each in problems if isinstance(each, ForbiddenError)), None)

    def may_replace(self, areas: Iterable[Area]) -> bool:
        """Return whether its watches work, and know all that those of the other areas know."""
        known = zip(*(area.objects for area in areas), strict=True)
        return all(
            watch.is_followed and watch.store.version >= max(store.newest() for store in stores)
            for watch, stores in zip(self.watches, known, strict=True)
        )

    def heard_at(self) -> float:
        """Return the steady time at which the least recent of the stores was confirmed."""
        return min(watch.heard_at or 0.0 for watch in self.watches)


class WatchedCluster:
    """Implements `ports.Cluster`. pace: how long watches last; tests have shorter ones."""

    def __init__(self, api: KubernetesCluster, clock: Clock, pace: Pace = USUAL) -> None:
        self._api = api
        self._clock = clock
        self._pace = pace
        self._areas: Mapping[str, Area] = {}
        self._used: dict[str, float] = {}
        self._trial: Area | None = None
        self._ask_at = 0.0
        self._unsure: set[TargetRef] = set()
        self._lock = threading.Lock()

    def observe(
        self, refs: Iterable[TargetRef]
    ) -> Mapping[TargetRef, TargetState | AutoscalerError]:
        """Return the state of every target as it was watched, or why it cannot be known."""
        refs = list(refs)
        try:
            with self._lock:
                self._watch({ref.namespace for ref in refs})
        except AutoscalerError as error:
            return dict.fromkeys(refs, error)
        areas = {ref.namespace: self._area(ref) for ref in refs}
        problems = {each: area.problem(each) for each, area in areas.items()}
        return {
            ref: problems[ref.namespace] or self._target(ref, areas[ref.namespace]) for ref in refs
        }

    def read_target(self, ref: TargetRef) -> TargetState | AutoscalerError:
        """Return the state of a target by consistent reads, which the stores learn as well."""
        area = self._area(ref)
        reached = area.objects.pods.version
        try:
            listed = self._api.list_targets(ref.namespace, [ref])
        except AutoscalerError as error:
            return error
        self._unsure.discard(ref)
        if listed.pods.version < reached:
            area.resync()
        _learn(ref, listed, area.objects)
        return target(ref, listed)

    def scale(self, state: TargetState, replicas: int, *, dry_run: bool = False) -> None:
        """Patch the `scale` subresource; later passes wait for a Deployment that shows it."""
        with self._sure(state.ref):
            scale = self._api.patch_scale(state, replicas, dry_run=dry_run)
        if not dry_run:
            known = self._area(state.ref).objects.deployments
            known.expect(state.ref, version_of(scale["metadata"]))

    def mark_pod(self, state: TargetState, pod: PodState, marks: PodMarks) -> None:
        """Patch label and annotations of a pod; the answer is what is known of it from then on."""
        with self._sure(state.ref):
            patched = self._api.patch_pod(state, pod, marks)
        if patched is not None:
            item = pod_item(patched)
            self._area(state.ref).objects.pods.learn([item], item.version)

    def announce(
        self, ref: TargetRef, uid: str, reason: str, message: str, *, warning: bool
    ) -> None:
        """Create an Event."""
        self._api.announce(ref, uid, reason, message, warning=warning)

    def ages(self) -> Iterator[CacheAge]:
        """Say of everything that is watched how long ago it was confirmed, once it was listed."""
        now = self._clock.steady()
        for area in list(self._areas.values()):
            for watch in area.watches:
                if watch.heard_at is not None:
                    age = now - watch.heard_at
                    yield CacheAge(watch.kind.resource, watch.namespace, age, watch.failures)

    def close(self) -> None:
        """End all watches."""
        for area in (*self._areas.values(), *self._trials()):
            area.stop()

    def _target(self, ref: TargetRef, area: Area) -> TargetState | AutoscalerError:
        """Join what is known; after our own write nothing that is older than it counts."""
        if ref in self._unsure or area.objects.deployments.is_behind(ref):
            return self.read_target(ref)
        age = self._clock.steady() - area.heard_at()
        return target(ref, area.objects, self._clock.now() - age)

    def _area(self, ref: TargetRef) -> Area:
        """Return what covers the target, which was observed lately."""
        areas = self._areas
        return areas[EVERYWHERE if EVERYWHERE in areas else ref.namespace]

    def _watch(self, namespaces: set[str]) -> None:
        """Watch these namespaces and those that were used lately. Raises AutoscalerError."""
        now = self._clock.steady()
        used = {**self._used, **dict.fromkeys(namespaces, now)}
        self._used = {each: at for each, at in used.items() if now - at < UNUSED_AFTER}
        names = frozenset(self._used)
        areas = self._sought(names, now)
        if EVERYWHERE in areas:
            areas[EVERYWHERE].cover(names)
            self._replace(areas)
            return
        within = NEW_LISTS_WITHIN if areas else FIRST_LISTS_WITHIN
        new = {
            each: self._area_of(each, frozenset([each]), within) for each in names - areas.keys()
        }
        self._replace({**{each: areas[each] for each in names & areas.keys()}, **new})

    def _sought(self, names: frozenset[str], now: float) -> Mapping[str, Area]:
        """Return what to go on with: all namespaces at once where that is allowed, or each alone.

        Raises what prevents the first lists, but not a refusal.
        """
        if EVERYWHERE not in self._areas:
            return self._everywhere(now, names) if len(names) > 1 else self._areas
        refusal = self._areas[EVERYWHERE].refusal()
        if refusal is None or now < self._ask_at:
            return self._areas
        if not any(self._may_list(each) for each in sorted(names)[:TOLD]):
            return self._areas  # whoever may nothing any more is told so, and starts no threads
        LOG.warning("%s; until then each namespace is watched on its own", refusal)
        return {}

    def _everywhere(self, now: float, names: frozenset[str]) -> Mapping[str, Area]:
        """Find out now and then whether all namespaces may be watched at once.

        Where each is watched on its own, that goes on until the others know as much.
        """
        trial = self._trial
        if trial is None:
            is_time = not self._areas or now >= self._ask_at
            if not is_time or not self._may_list(EVERYWHERE):
                return self._areas
            trial = self._trial = self._area_of(EVERYWHERE, names, FIRST_LISTS_WITHIN)
        if trial.refusal():
            trial.stop()
            self._trial = None
        elif not self._areas or trial.may_replace(self._areas.values()):
            self._trial, self._ask_at = None, 0.0
            return {EVERYWHERE: trial}
        return self._areas

    def _may_list(self, place: str) -> bool:
        """Return whether lists of a namespace, or of all of them, are allowed.

        Raises what prevents them but for a refusal, unless there is something else to watch.
        """
        self._ask_at = self._clock.steady() + ASK_EVERY
        try:
            for kind in self._api.kinds:
                next(kind.pages(place, limit=1))
        except ForbiddenError:
            return False
        except AutoscalerError:
            if not self._areas:
                raise
            return False
        return True

    def _area_of(self, place: str, only: frozenset[str], within: float) -> Area:
        return Area(self._api, place, only, self._clock, self._pace, within)

    def _replace(self, areas: Mapping[str, Area]) -> None:
        """Watch these from now on, and no others."""
        before, self._areas = self._areas, areas
        for place, area in before.items():
            if areas.get(place) is not area:
                area.stop()
        if areas.keys() - before.keys():
            _tell(areas)

    def _trials(self) -> tuple[Area, ...]:
        return () if self._trial is None else (self._trial,)

    @contextmanager
    def _sure(self, ref: TargetRef) -> Iterator[None]:
        """Have the target read anew if the write in this block fails: it may have had an effect."""
        try:
            yield
        except AutoscalerError:
            self._unsure.add(ref)
            raise


def _learn(ref: TargetRef, listed: Objects, known: Objects) -> None:
    """Tell the stores what a read of one target found, and so also what no longer exists."""
    both = (listed, known)
    owners = {each.uid for objects in both for each in objects.deployments.group(ref)}
    sets = {
        each.uid
        for objects in both
        for owner in owners
        for each in objects.replica_sets.group(owner)
    }
    groups: Sequence[Iterable[Hashable]] = ([ref], owners, sets, [ref])
    stores: Sequence[tuple[Store[Any], Store[Any]]] = list(zip(known, listed, strict=True))
    for (store, found), covered in zip(stores, groups, strict=True):
        store.learn(found.items(), found.version, covered)


def _tell(areas: Mapping[str, Area]) -> None:
    """Say in one line what is watched, and how."""
    kinds = "Deployments, ReplicaSets, pods and HorizontalPodAutoscalers"
    if EVERYWHERE in areas:
        LOG.info("watching the %s of all namespaces, with one watch for each kind", kinds)
        return
    names = ", ".join(sorted(areas)[:TOLD])
    more = f" and {len(areas) - TOLD} more" if len(areas) > TOLD else ""
    why = "; it may not list those of all namespaces at once" if len(areas) > 1 else ""
    LOG.info("watching the %s of namespace %s%s, each on its own%s", kinds, names, more, why)
