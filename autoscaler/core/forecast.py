"""How many users come at this time of the week, learnt from the weeks before.

The rush of a morning begins faster than an average follows it. So the arrivals of every five
minutes of a week are remembered, and those of the days before, for a week that begins to be
another one: after a change to summer time, or in a new season. The larger of the two counts, and a
forecast only ever adds spare seats.
"""

from __future__ import annotations

from autoscaler.core.now import Now
from autoscaler.model import Arrivals, Profile, Rates

SLOT = 300.0
DAY, WEEK = 288, 2_016
# How much the last week counts.
WEIGHT = 0.3
# A slot of which less than this share was seen teaches nothing.
SEEN = 0.5
# What was between two passes that are further apart is not known, in seconds.
MAX_GAP = 60.0
# So many slots are looked at for when the forecast changes.
AHEAD = 24


def follow(last: Profile | None, rate: float, seen_at: float, now: Now) -> Profile:
    """Return what is known after a pass that saw so many arrivals a second.

    seen_at: until when the rate before is known to have held.
    """
    is_old = last is not None and now.at - last.current.start > WEEK * SLOT
    if last is None or is_old or not 0 <= now.at - seen_at <= MAX_GAP:
        week, day = (last.week, last.day) if last else (Rates(WEEK), Rates(DAY))
        return Profile(week, day, Arrivals(now.at, 0.0, rate, now.at))
    current, slot = last.current, int(now.at // SLOT)
    if current.slot_of(SLOT) == slot:
        return last if rate == current.rate else last._replace(current=current.to(rate, seen_at))
    begin = slot * SLOT
    begun = Arrivals(begin, 0.0, current.rate, begin).to(rate, max(begin, seen_at))
    return _learnt(last, slot)._replace(current=begun)


def _learnt(last: Profile, until: int) -> Profile:
    """Return the profile with the slots that are over; in those that no pass saw nothing changed.

    until: number of the slot that is not over.
    """
    current, means = last.current, dict[int, float]()
    first = current.slot_of(SLOT)
    end = (first + 1) * SLOT
    if end - current.start >= SEEN * SLOT:
        means[first] = current.counted(end) / (end - current.start)
    means |= dict.fromkeys(range(first + 1, until), current.rate)
    week, day = last.week.toward(means, WEIGHT), last.day.toward(means, WEIGHT)
    return last._replace(week=week, day=day)


def expected(profile: Profile | None, horizon: float, now: Now) -> float | None:
    """Return the most arrivals a second within `horizon` seconds; None if that is not known."""
    if profile is None or not profile.day:
        return None
    first, last = int(now.at // SLOT), int((now.at + horizon) // SLOT)
    rates = [_known(profile, number) for number in range(first, last + 1)]
    if len(set(rates)) > 1:
        now.changes_at((first + 1) * SLOT)
    ahead = range(last + 1, last + AHEAD)
    other = next((n for n in ahead if _known(profile, n) != rates[-1]), last + AHEAD)
    now.changes_at(other * SLOT - horizon)
    return max((rate for rate in rates if rate is not None), default=None)


def _known(profile: Profile, number: int) -> float | None:
    week, day = profile.week[number], profile.day[number]
    return day if week is None else max(week, day or 0.0)
