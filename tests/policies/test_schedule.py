"""Windows of a schedule: when they are open, and which of them contradict each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.core.schedule import is_open
from autoscaler.policy.schedule import WEEK, Window, contradictions
from autoscaler.units import DAYS
from tests.policies.files import GOOD, problems_of, table

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York")


def window(**keys: object) -> Window:
    return Window.model_validate({"from": "08:00", "to": "18:00", "min": 3, **keys})


def scheduled(*windows: str) -> str:
    """The good policy, of 2 to 20 replicas, with a window in each line from 12 on."""
    return GOOD + "schedule:\n" + "".join(f"  - {{{each}}}\n" for each in windows)


OFFICE = 'from: "08:00", to: "18:00"'
NIGHT = 'from: "17:00", to: "09:00"'
ABOVE = "got 25, expected at most replicas.max (20); for more replicas, give this window a max"
BELOW = "got 1, expected at least replicas.min (2); for fewer replicas, give this window a min"

CONTRADICTIONS = {
    "a min above the policy's max": (
        scheduled(f"{OFFICE}, min: 25"),
        [f"12: schedule[0].min: {ABOVE} of its own"],
    ),
    "a max below the policy's min": (
        scheduled(f"{OFFICE}, max: 1"),
        [f"12: schedule[0].max: {BELOW} of its own"],
    ),
    "a min above the max of a window that is open at the same time": (
        scheduled(f"{OFFICE}, min: 12", f"{NIGHT}, max: 5"),
        [
            (
                "12: schedule[0].min: got 12, expected at most 5, the max of schedule[1]:"
                " both windows are open on mon 08:00 UTC"
            )
        ],
    ),
    "a window that another one covers for only an hour": (
        scheduled(f"{OFFICE}, min: 25", 'from: "08:00", to: "17:00", max: 30'),
        [f"12: schedule[0].min: {ABOVE} of its own"],
    ),
    "two windows of far zones that overlap in winter only": (
        scheduled(
            'days: mon, from: "08:00", to: "13:00", timezone: Europe/Berlin, min: 12',
            'days: mon, from: "20:00", to: "21:00", timezone: Asia/Tokyo, max: 5',
        ),
        [
            (
                "12: schedule[0].min: got 12, expected at most 5, the max of schedule[1]:"
                " both windows are open on mon 12:00 Europe/Berlin"
            )
        ],
    ),
    "a window from an anchor, told at the line of the anchor": (
        scheduled('days: mon, from: "08:00", to: "09:00", max: 30, min: 3').replace(
            "  - {days", "  - &office {days"
        )
        + "  - {<<: *office, days: tue, max: 1}\n",
        ["13: schedule[1]: min (3) is above max (1): expected min <= max"],
    ),
    "a bound that a merge key brings in": (
        scheduled(f"{OFFICE}, days: mon, min: 25, max: 30").replace("  - {", "  - &office {")
        + '  - <<: *office\n    days: mon\n    from: "12:00"\n    max: 26\n'
        + f"  - {{{OFFICE}, days: mon, max: 24}}\n",
        [
            (
                "12: schedule[0].min: got 25, expected at most 24, the max of schedule[2]:"
                " both windows are open on mon 08:00 UTC"
            ),
            (
                "12: schedule[1].min: got 25, expected at most 24, the max of schedule[2]:"
                " both windows are open on mon 12:00 UTC"
            ),
        ],
    ),
}


@pytest.mark.parametrize(("text", "problems"), table(CONTRADICTIONS))
def test_windows_that_contradict_each_other_are_told(write, text, problems):
    assert problems_of(write(text)) == problems


FITTING = {
    "a min above the policy's max beside a max of its own": [f"{OFFICE}, min: 25, max: 30"],
    "a max below the policy's min beside a min of its own": [f"{OFFICE}, min: 1, max: 1"],
    "a min above the policy's max that another window always covers": [
        f"{OFFICE}, min: 25",
        'from: "07:00", to: "19:00", max: 30',
    ],
    "windows that touch": [f"{OFFICE}, min: 12", 'from: "18:00", to: "08:00", max: 5'],
    "windows at the same hours of different days": [
        f"days: mon-fri, {OFFICE}, min: 12",
        f'days: "sat,sun", {OFFICE}, max: 5',
    ],
    "windows at the same hours of far zones": [
        f"days: mon, {OFFICE}, timezone: Asia/Tokyo, min: 12",
        f"days: mon, {OFFICE}, timezone: America/New_York, max: 5",
    ],
    "a window over midnight that ends before the next opens": [
        'days: sun, from: "22:00", to: "06:00", max: 5',
        'days: mon, from: "06:00", to: "22:00", min: 12',
    ],
}


@pytest.mark.parametrize("windows", FITTING.values(), ids=FITTING)
def test_windows_that_fit_are_not_refused(write, windows):
    assert len(load_policy(write(scheduled(*windows))).schedule) == len(windows)


def test_as_many_windows_as_a_policy_may_have_are_compared_in_a_moment(write):
    zones = ("Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kolkata")
    windows = [
        f'from: "{n % 24:02}:{n % 60:02}", to: "{(n * 7) % 24:02}:30", timezone: {zones[n % 4]},'
        f" min: 2, max: {20 + n}"
        for n in range(100)
    ]
    assert len(load_policy(write(scheduled(*windows))).schedule) == 100
    (problem,) = problems_of(write(scheduled(*windows, windows[0])))
    assert problem == "11: schedule: got a list, expected at most 100 entries"


CLOCKS = st.times().map(lambda at: at.strftime("%H:%M"))


@st.composite
def windows(draw: st.DrawFn, zones: tuple[str, ...]) -> Window:
    low, high = sorted((draw(st.integers(1, 9)), draw(st.integers(1, 9))))
    keys = draw(st.sampled_from([("min",), ("max",), ("min", "max")]))
    bounds = {key: {"min": low, "max": high}[key] for key in keys}
    return Window.model_validate(
        {
            "from": draw(CLOCKS),
            "to": draw(CLOCKS),
            "days": draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=3, unique=True)),
            "timezone": draw(st.sampled_from(zones)),
            **bounds,
        }
    )


def is_at_odds(schedule: list[Window], low: int, high: int, moment: datetime) -> bool:
    """Whether no number of replicas fits at a moment, read from each window by itself."""
    current = [each for each in schedule if is_open(each, moment)]
    floor = max((each.min for each in current if each.min is not None), default=low)
    ceiling = min((each.max for each in current if each.max is not None), default=high)
    return floor > ceiling


def minutes(schedule: list[Window], start: datetime) -> set[datetime]:
    """The minutes of a week in which a window may open or close, by the clock of each zone."""
    marks = {at for each in schedule for at in (each.start, each.end)}
    every = (start + timedelta(minutes=15 * n) for n in range(WEEK // 15))
    return {
        quarter + timedelta(minutes=(mark.minute - quarter.minute) % 15)
        for quarter in every
        for mark in marks
    }


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([("UTC",), ("Europe/Berlin",), ("UTC", "Asia/Kolkata")]).flatmap(
        lambda zones: st.lists(windows(zones), min_size=1, max_size=3)
    ),
    st.integers(1, 9),
    st.integers(0, 8),
)
def test_a_contradiction_is_told_if_and_only_if_a_moment_has_one(schedule, low, more):
    start = datetime(2026, 1, 12, tzinfo=UTC)  # no clock is changed in this week
    seen = any(is_at_odds(schedule, low, low + more, at) for at in minutes(schedule, start))
    assert bool(list(contradictions(schedule, low, low + more))) == seen


@settings(deadline=None, max_examples=40)
@given(
    st.lists(windows(ZONES), min_size=2, max_size=4),
    st.integers(1, 9),
    st.integers(0, 8),
    st.sampled_from([(2026, 1, 12), (2026, 3, 16), (2026, 7, 6), (2026, 10, 26)]),
)
def test_what_is_not_refused_has_no_contradiction_at_any_time_of_a_year(schedule, low, more, day):
    """The weeks are of both halves of the year, and between the changes of two continents."""
    if list(contradictions(schedule, low, low + more)):
        return
    start = datetime(*day, tzinfo=UTC)
    assert not any(is_at_odds(schedule, low, low + more, at) for at in minutes(schedule, start))


BERLIN = ZoneInfo("Europe/Berlin")
CHANGES = {
    "an hour that the clock skips opens nothing": (
        {"days": "sun", "from": "02:00", "to": "03:00"},
        (2027, 3, 28),
        [],
    ),
    "an hour that comes twice is open for two": (
        {"days": "sun", "from": "02:00", "to": "03:00"},
        (2027, 10, 31),
        ["02:00+0200", "03:00+0100"],
    ),
    "a night that is an hour short": (
        {"days": "sat", "from": "22:00", "to": "06:00"},
        (2027, 3, 28),
        ["22:00+0100", "06:00+0200"],
    ),
    "a whole day": (
        {"days": "mon", "from": "00:00", "to": "00:00"},
        (2027, 3, 29),
        ["00:00+0200", "00:00+0200"],
    ),
    "an evening to midnight": (
        {"days": "fri", "from": "18:00", "to": "00:00"},
        (2027, 3, 26),
        ["18:00+0100", "00:00+0100"],
    ),
}


@pytest.mark.parametrize(("keys", "day", "expected"), table(CHANGES))
def test_a_window_follows_the_clock_on_the_wall(keys, day, expected):
    """The edges from four hours before a day in UTC until nine hours after it, by that clock."""
    found, before = [], None
    for minute in range(-240, 33 * 60):
        moment = datetime(*day, tzinfo=UTC) + timedelta(minutes=minute)
        now = is_open(window(timezone="Europe/Berlin", **keys), moment)
        if before not in (None, now):
            found.append(moment.astimezone(BERLIN).strftime("%H:%M%z"))
        before = now
    assert found == expected
