"""How many users come at this time of the week, learnt from the weeks before.

The rush of a morning begins faster than an average follows it. So the arrivals of every five
minutes of a week are remembered, and those of the days before, for a week that begins to be
another one: after a change to summer time, or in a new season. The larger of the two counts, unless
it has been wrong of late (`trust`), and a forecast only ever adds spare seats.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import error, pack, unpack

from autoscaler.core import trust
from autoscaler.core.now import Now
from autoscaler.core.trust import Said
from autoscaler.model import Arrivals, Profile, Score, Slot

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
    fresh = Arrivals(now.at, 0.0, rate, now.at)
    if last is None:
        return Profile("", "", fresh)
    is_old = now.at - last.current.start > WEEK * SLOT
    if is_old or not 0 <= now.at - seen_at <= MAX_GAP:
        return last._replace(current=fresh)
    current, slot = last.current, int(now.at // SLOT)
    if current.slot_of(SLOT) == slot:
        return last if rate == current.rate else last._replace(current=current.to(rate, seen_at))
    begin = slot * SLOT
    begun = Arrivals(begin, 0.0, current.rate, begin).to(rate, max(begin, seen_at))
    return learnt(last, _over(current, slot))._replace(current=begun)


def caught_up(last: Profile, now: Now) -> Profile:
    """Return what is known once the slots that are over since have taught that nothing changed."""
    now.changes_at((now.at // SLOT + 1) * SLOT)
    return follow(last, last.current.rate, now.at, now)


def _over(current: Arrivals, until: int) -> dict[int, float]:
    """Return the rates of the slots that are over; in those that no pass saw nothing changed.

    until: number of the slot that is not over.
    """
    rates = dict[int, float]()
    first = current.slot_of(SLOT)
    end = (first + 1) * SLOT
    if end - current.start >= SEEN * SLOT:
        rates[first] = current.counted(end) / (end - current.start)
    return rates | dict.fromkeys(range(first + 1, until), current.rate)


def learnt(profile: Profile, rates: Mapping[int, float]) -> Profile:
    """Return what is known after slots that are over: their rates by number, one after the other.

    It does not matter whether they were lived through or are told by a history.
    """
    if not rates:
        return profile
    week, day = [*_numbers(profile.week, WEEK)], [*_numbers(profile.day, DAY)]
    score, last = profile.score, profile.last
    for number, rate in sorted(rates.items()):
        if last is not None and last.number == number - 1:
            said = Said(_known(week[number % WEEK]), _known(day[number % DAY]))
            score = _scored(score, said, rate, last.rate)
        for known in (week, day):
            _teach(known, number, rate)
        last = Slot(number, rate)
    return Profile(_text(week), _text(day), profile.current, last, score)


def _scored(score: Score, said: Said, rate: float, before: float) -> Score:
    week, day = (None if each is None else each * SLOT for each in said)
    return trust.after_slot(score, Said(week, day), rate * SLOT, before * SLOT)


def expected(profile: Profile | None, horizon: float, now: Now) -> float | None:
    """Return the most arrivals a second within `horizon` seconds; None if that is not known.

    Nor is it if what is known has been wrong of late.
    """
    if profile is None:
        return None
    if not profile.day:
        now.changes_at((now.at // SLOT + 1) * SLOT)  # when the first slot is over
        return None
    first, last = int(now.at // SLOT), int((now.at + horizon) // SLOT)
    slots = [_said(profile, number) for number in range(first, last + 1)]
    if len(set(slots)) > 1 or not _is_quiet(profile, slots[0]):
        now.changes_at((first + 1) * SLOT)
    ahead = range(last + 1, last + AHEAD)
    other = next((n for n in ahead if _said(profile, n) != slots[-1]), last + AHEAD)
    now.changes_at(other * SLOT - horizon)
    rates = [trust.trusted(profile.score, said) for said in slots]
    return max((rate for rate in rates if rate is not None), default=None)


def _is_quiet(profile: Profile, said: Said) -> bool:
    """Whether nothing that is used changes with the score of slots in which the same is said."""
    if said == (None, None):
        return True
    nobody = not any(said) and profile.current.rate == profile.current.until_then == 0
    return nobody and _is_right(profile, said)


def _is_right(profile: Profile, said: Said) -> bool:
    """Whether what is said of a slot is used, and foresees most users."""
    used = trust.trusted(profile.score, said) is not None
    return used and trust.is_covering(profile.score)


def foresees(profile: Profile | None, now: Now) -> bool:
    """Whether a rush would be known before it comes, as far as the last day shows."""
    return profile is not None and _is_right(profile, _said_now(profile, now))


def doubts(profile: Profile | None, now: Now) -> str:
    """Return in words what is wrong with what is known of this time; "": nothing."""
    if profile is None or not profile.day:
        return ""
    return trust.doubts(profile.score, _said_now(profile, now))


def _said_now(profile: Profile, now: Now) -> Said:
    return _said(profile, int(now.at // SLOT))


def _said(profile: Profile, number: int) -> Said:
    return Said(rate_of(profile.week, WEEK, number), rate_of(profile.day, DAY, number))


def rate_of(text: str, slots: int, number: int) -> float | None:
    """Return the rate of a slot, or None if it is not known; after the last slot is the first."""
    group, place = divmod(number % slots, TOGETHER)
    part = text[CHARACTERS * group : CHARACTERS * (group + 1)]
    return _known(_group(part)[place])


def _known(rate: float) -> float | None:
    return None if rate == UNKNOWN else rate


def toward(text: str, slots: int, means: Mapping[int, float]) -> str:
    """Return the rates of all slots after so many arrivals a second were seen in some of them."""
    if not means:
        return text
    rates = [*_numbers(text, slots)]
    for number, mean in means.items():
        _teach(rates, number, mean)
    return _text(rates)


def _teach(rates: list[float], number: int, mean: float) -> None:
    last = rates[number % len(rates)]
    rates[number % len(rates)] = mean if last == UNKNOWN else last + WEIGHT * (mean - last)


def _text(rates: Sequence[float]) -> str:
    return b64encode(pack(f"<{len(rates)}f", *rates)).decode()


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
