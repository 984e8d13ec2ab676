"""What the next decision must remember of the earlier ones. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, inf, log
from types import MappingProxyType
from typing import Any, NamedTuple

from autoscaler.model.reasons import Reason
from autoscaler.model.seats import Seats


class Removal(NamedTuple):
    """A scale-down whose end has not been seen yet: which pods it deletes, and which must stay.

    victims, others: uid to the sessions that end with the pod.
    """

    victims: Mapping[str, int]
    others: Mapping[str, int]
    at: float


class Departing(NamedTuple):
    """A pod that a scale-down removed and that is not gone yet, or has just gone.

    sessions: those with a connection, as its launcher or sidecar said last, or else as they were
    when it was removed. at: when that was. why: it was drained, its deadline had passed, or it was
    not chosen at all.
    """

    name: str
    sessions: int
    at: float
    why: Reason = Reason.DRAINED


class Sighting(NamedTuple):
    """What the last pass saw of a pod, and since when it has been so (Unix seconds).

    rank: what a ReplicaSet ranks it by. label_writer: who cordoned it; None: it is not cordoned.
    released: the sessions that had been closed for being unused when it was first seen cordoned.
    """

    rank: tuple[object, ...]
    unchanged_since: float
    label_writer: str | None
    cordoned_since: float
    released: int | None = None


class Shortage(NamedTuple):
    """Fewer pods than replicas: the pods there are, and since when there are just these."""

    uids: frozenset[str]
    since: float


class Reset(NamedTuple):
    """What somebody else has written over, in words, and when that was seen."""

    what: str
    at: float


class Logged(NamedTuple):
    """A recommendation, or a change of the replica count, and when it was made."""

    replicas: int
    at: float


class Average(NamedTuple):
    """An exponential average of a rate a second: it was `start` at `since`, the rate `rate` since.

    So it needs no change for as long as the rate is the same.
    """

    start: float = 0.0
    rate: float = 0.0
    since: float = 0.0

    def at(self, moment: float, memory: float) -> float:
        """Return the average at a time. memory: its time constant in seconds."""
        return self.rate + exp(-(moment - self.since) / memory) * (self.start - self.rate)

    def within_until(self, low: float, high: float, moment: float, memory: float) -> float:
        """Return when the average leaves these limits after a time: then, if it is outside."""
        if not low <= self.at(moment, memory) <= high:
            return moment
        if low <= self.rate <= high:
            return inf
        limit = high if self.rate > high else low
        return self.since - memory * log((limit - self.rate) / (self.start - self.rate))

    def toward(self, rate: float, since: float, memory: float) -> Average:
        """Return the average of which the rate has been another one since that time."""
        return self if rate == self.rate else Average(self.at(since, memory), rate, since)

    def shifted(self, seconds: float) -> Average:
        """The same on a clock that was stepped by `seconds`."""
        return self._replace(since=self.since + seconds)


class Stays(NamedTuple):
    """How long sessions last: by Little's law, the sessions divided by the arrivals a second.

    sessions, arrivals: averages over days that began with nothing. since: when they began. mean:
    in seconds, as it was at the time `at`; None until they have lasted for a day.
    """

    since: float
    sessions: Average
    arrivals: Average
    at: float
    mean: float | None = None

    def shifted(self, seconds: float) -> Stays:
        """The same on a clock that was stepped by `seconds`."""
        return Stays(
            self.since + seconds,
            self.sessions.shifted(seconds),
            self.arrivals.shifted(seconds),
            self.at + seconds,
            self.mean,
        )


class Ages(NamedTuple):
    """Since when the sessions of each pod are there.

    begins: by uid of the pod, in Unix seconds, the oldest first. at: when one was last seen to come
    or leave.
    """

    begins: Mapping[str, tuple[float, ...]]
    at: float

    def shifted(self, seconds: float) -> Ages:
        """The same on a clock that was stepped by `seconds`."""
        begins = {
            uid: tuple(begin + seconds for begin in each) for uid, each in self.begins.items()
        }
        return Ages(begins, self.at + seconds)


class Arrivals(NamedTuple):
    """Arrivals counted since `start`: so many until `since`, and `rate` a second from then on."""

    start: float
    until_then: float
    rate: float
    since: float

    def counted(self, at: float) -> float:
        """Return how many there were until a time."""
        return self.until_then + self.rate * (at - self.since)

    def to(self, rate: float, since: float) -> Arrivals:
        """Return the arrivals of which the rate has been another one since that time."""
        return Arrivals(self.start, self.counted(since), rate, since)

    def slot_of(self, seconds: float) -> int:
        """Return the number of the stretch of so many seconds in which they began."""
        return int(self.start // seconds)


class Slot(NamedTuple):
    """A slot that is over: its number since the beginning of Unix time, and arrivals a second."""

    number: int
    rate: float


class Score(NamedTuple):
    """How wrong forecasts were of late, in users; what is older counts less (`trust`).

    week, day: sums of what came more or fewer than each of the two said. before: than had come in
    the slot before, which is all that is known without a forecast. came: users, and beyond: those
    in slots in which more came than the forecast allows for.
    """

    week: float = 0.0
    day: float = 0.0
    before: float = 0.0
    came: float = 0.0
    beyond: float = 0.0


class Profile(NamedTuple):
    """Arrivals a second at the times of a week and of a day, as `forecast` writes them.

    current: those of the slot that is not over. last: the last slot that was seen and is over.
    score: how wrong both were.
    """

    week: str
    day: str
    current: Arrivals
    last: Slot | None = None
    score: Score = Score()

    def shifted(self, seconds: float) -> Profile:
        """The same on a clock that was stepped by `seconds`; the slot that is not over ends."""
        start, count, rate, since = self.current
        return self._replace(current=Arrivals(start + seconds, count, rate, since + seconds))


class Traffic(NamedTuple):
    """Arrivals and departures of sessions a second, and their averages.

    at: when they were last counted. known: whether any pod has ever told of them. stays: how long
    sessions last. profile: when users come.
    """

    at: float
    arrivals: Average = Average()
    departures: Average = Average()
    known: bool = False
    stays: Stays | None = None
    profile: Profile | None = None

    def shifted(self, seconds: float) -> Traffic:
        """The same on a clock that was stepped by `seconds`."""
        return Traffic(
            self.at + seconds,
            self.arrivals.shifted(seconds),
            self.departures.shifted(seconds),
            self.known,
            self.stays and self.stays.shifted(seconds),
            self.profile and self.profile.shifted(seconds),
        )


class Starts(NamedTuple):
    """How long the last pods took from their creation to Ready, in seconds, the last one last.

    new: uids of those that were seen and have not been Ready yet. at_once: of pods that had a node
    at once. waited: of pods that had to wait for one.
    """

    new: frozenset[str] = frozenset()
    at_once: tuple[float, ...] = ()
    waited: tuple[float, ...] = ()


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class State(NamedTuple):
    """What the next decision must remember of the earlier ones. Values in, values out.

    recommendations: raw recommendations, as HPA logs them for its windows.
    scale_ups, scale_downs: changes made (positive sizes), for rate policies.
    last_scale_up, last_scale_down: for cooldowns.
    blind_since: since when no metric gave a number; None while one does.
    seen_at: when the target was last looked at.
    removal: the last scale-down, until its end is seen. mismatch_at: when another pod was deleted.
    departing: by uid, pods that scale-downs removed, until they are gone.
    sightings: by uid, while any pod is cordoned; a restart begins them anew. shortage: while there
    are fewer pods than replicas. told: by uid, when a pod that waits for its last sessions was
    named. replicas_seen: spec.replicas as it was last. reset: when somebody else wrote over it, or
    over a label of ours. starts: how long pods take to become Ready. ages: of the sessions. seats:
    those in use, if the policy learns them.
    """

    recommendations: tuple[Logged, ...] = ()
    scale_ups: tuple[Logged, ...] = ()
    scale_downs: tuple[Logged, ...] = ()
    last_scale_up: float | None = None
    last_scale_down: float | None = None
    blind_since: float | None = None
    seen_at: float | None = None
    traffic: Traffic | None = None
    removal: Removal | None = None
    mismatch_at: float | None = None
    departing: Mapping[str, Departing] = _NOTHING
    sightings: Mapping[str, Sighting] = _NOTHING
    shortage: Shortage | None = None
    told: Mapping[str, float] = _NOTHING
    replicas_seen: int | None = None
    reset: Reset | None = None
    starts: Starts = Starts()
    ages: Ages | None = None
    seats: Seats | None = None

    def again(self, at: float) -> State:
        """The memory after further passes, the last one at `at`, that saw and decided the same."""
        log, is_scaled = self.recommendations, self.replicas_seen != 0
        if is_scaled and log and log[-1].at == self.seen_at:  # at 0 nothing is recommended
            log = (*log[:-1], log[-1]._replace(at=at))
        traffic = self.traffic
        if traffic is not None and traffic.known and traffic.at == self.seen_at:
            traffic = traffic._replace(at=at)
        return self._replace(seen_at=at, recommendations=log, traffic=traffic)

    def shifted(self, seconds: float) -> State:
        """The same memory on a clock that was stepped by `seconds` (either direction)."""

        def move(at: float | None) -> float | None:
            return None if at is None else at + seconds

        def move_all(log: tuple[Logged, ...]) -> tuple[Logged, ...]:
            return tuple(Logged(entry.replicas, entry.at + seconds) for entry in log)

        return self._replace(
            recommendations=move_all(self.recommendations),
            scale_ups=move_all(self.scale_ups),
            scale_downs=move_all(self.scale_downs),
            last_scale_up=move(self.last_scale_up),
            last_scale_down=move(self.last_scale_down),
            blind_since=move(self.blind_since),
            seen_at=move(self.seen_at),
            removal=self.removal and self.removal._replace(at=self.removal.at + seconds),
            mismatch_at=move(self.mismatch_at),
            departing={
                uid: each._replace(at=each.at + seconds) for uid, each in self.departing.items()
            },
            traffic=self.traffic and self.traffic.shifted(seconds),
            ages=self.ages and self.ages.shifted(seconds),
            seats=self.seats and self.seats._replace(at=self.seats.at + seconds),
            shortage=self.shortage and self.shortage._replace(since=self.shortage.since + seconds),
            told={uid: at + seconds for uid, at in self.told.items()},
            reset=self.reset and self.reset._replace(at=self.reset.at + seconds),
            sightings={
                uid: seen._replace(
                    unchanged_since=seen.unchanged_since + seconds,
                    cordoned_since=seen.cordoned_since + seconds,
                )
                for uid, seen in self.sightings.items()
            },
        )
