"""How many users come at this time of the week, learnt from the weeks before.

The rush of a morning begins faster than an average follows it. So the arrivals of every five
minutes of a week are remembered, and those of the days before, for a week that begins to be
another one: after a change to summer time, or in a new season. The larger of the two counts, and a
forecast only ever adds spare seats.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import lru_cache
from struct import error, pack, unpack

from autoscaler.core.now import Now
from autoscaler.model import Arrivals, Profile

SLOT = 300.0
DAY, WEEK = 288, 2_016
# How much the last week counts.
WEIGHT = 0.3
# A slot of which less than this share was seen teaches nothing.
SEEN = 0.5
# What was between two passes that are further apart is not known, in seconds.
MAX_GAP = SLOT
# So many slots are looked at for when the forecast changes.
AHEAD = 24
# Rates are kept as text, of four bytes each, for a daemon may have millions of them and a journal
# has them in a line: in base 64, three are sixteen characters.
TOGETHER, CHARACTERS = 3, 16
UNKNOWN = -1.0


def follow(last: Profile | None, rate: float, seen_at: float, now: Now) -> Profile:
    """Return what is known after a pass that saw so many arrivals a second.

    seen_at: until when the rate before is known to have held.
    """
    is_old = last is not None and now.at - last.current.start > WEEK * SLOT
    if last is None or is_old or not 0 <= now.at - seen_at <= MAX_GAP:
        week, day = (last.week, last.day) if last else ("", "")
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
    return last._replace(week=toward(last.week, WEEK, means), day=toward(last.day, DAY, means))


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
    week, day = rate_of(profile.week, WEEK, number), rate_of(profile.day, DAY, number)
    return day if week is None else max(week, day or 0.0)


def rate_of(text: str, slots: int, number: int) -> float | None:
    """Return the rate of a slot, or None if it is not known; after the last slot is the first."""
    group, place = divmod(number % slots, TOGETHER)
    part = text[CHARACTERS * group : CHARACTERS * (group + 1)]
    rate = _group(part)[place]
    return None if rate == UNKNOWN else rate


def toward(text: str, slots: int, means: Mapping[int, float]) -> str:
    """Return the rates of all slots after so many arrivals a second were seen in some of them."""
    if not means:
        return text
    rates = [*_numbers(text, slots)]
    for number, mean in means.items():
        last = rates[number % slots]
        rates[number % slots] = mean if last == UNKNOWN else last + WEIGHT * (mean - last)
    return b64encode(pack(f"<{slots}f", *rates)).decode()


@lru_cache(maxsize=4_096)
def _group(part: str) -> tuple[float, ...]:
    """Return the numbers that stand together. Kept, because each decision reads the same few."""
    return _numbers(part, TOGETHER)


def _numbers(text: str, count: int) -> tuple[float, ...]:
    """Return the numbers of a text; in whatever else a journal may have, none is known."""
    try:
        return unpack(f"<{count}f", b64decode(text))
    except (ValueError, error):
        return (UNKNOWN,) * count
