"""Times, dates and durations in the cells of a trace."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autoscaler.adapters.traces.dates import DateOrder
from autoscaler.adapters.traces.durations import read_duration
from autoscaler.adapters.traces.times import LATEST, LocalClock, TimeReader
from autoscaler.simulation.trace import Session
from tests.simulation.traces import MORNING, problem, read, write

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
# 2026-01-12T08:30:00Z, in many ways.
EXACT = [
    *("2026-01-12T08:30:00Z", "2026-01-12T09:30:00+01:00", "2026-01-12 09:30+0100"),
    *("2026-01-12 09:30:00 +0100", "2026-01-12 08:30:00 UTC", "2026-01-12 08:30:00.000000+00"),
    *(
        "2026-01-12T09:30:00+01:00[Europe/Berlin]",
        "2026-01-12T08:30:00.000000000Z",
        "2026-01-12T08:30:00z",
    ),
    *("1768206600", "1768206600.0", "1768206600000", "1768206600000000", "1768206600000000000"),
    *("Mon, 12 Jan 2026 08:30:00 GMT", "12/Jan/2026:09:30:00 +0100", "20260112T083000Z"),
]
LOCAL = [
    *("2026-01-12 08:30", "2026-01-12T08:30:00", "2026/01/12 08:30", "2026.1.12 8:30:00"),
    *(
        "12 Jan 2026 08:30",
        "Jan 12, 2026 8:30 AM",
        "12-Jan-2026 08:30:00",
        "January 12 2026, 08:30",
    ),
]
ENDS_OF_DAYS = {
    "2026-01-12T24:00": "2026-01-13T00:00Z",
    "2026-01-12 24:00:00": "2026-01-13T00:00Z",
    "2026-01-12T24:00:00.000+01:00": "2026-01-12T23:00Z",
    "31/Jan/2026:24:00:00 +0000": "2026-02-01T00:00Z",
    "Dec 31, 2025 24:00": "2026-01-01T00:00Z",
    "2026-01-12 12:24:00": "2026-01-12T12:24Z",
}
SLASHED = {
    "13/01/2026 09:30": "2026-01-13T09:30Z",
    "13.01.2026 09:30:15": "2026-01-13T09:30:15Z",
    "13-1-2026, 9:30 PM": "2026-01-13T21:30Z",
    "01/13/2026 12:05 AM": "2026-01-13T00:05Z",
    "1/13/2026": "2026-01-13T00:00Z",
    "13/01/2026 09:30 +0100": "2026-01-13T08:30Z",
}


@pytest.mark.parametrize("cell", EXACT + LOCAL)
def test_a_time_is_read_as_programs_write_it(cell):
    assert TimeReader(LocalClock()).read(cell, 1).at == MORNING


@pytest.mark.parametrize(("cell", "expected"), ENDS_OF_DAYS.items())
def test_24_00_is_the_beginning_of_the_next_day(cell, expected):
    found = TimeReader(LocalClock()).read(cell, 1).at
    assert found == datetime.fromisoformat(expected).timestamp()


def test_24_00_is_the_next_midnight_of_the_clock_that_day(tmp_path):
    """The clock of Berlin is set forward on 2026-03-29, which has 23 hours."""
    times = "2026-03-29 00:00,2026-03-29 24:00"
    (session,) = read(write(tmp_path, f"start,end\n{times}\n"), clock=berlin()).sessions
    assert session.end - session.start == 23 * 3_600


@pytest.mark.parametrize(("cell", "expected"), SLASHED.items())
def test_a_date_is_certain_if_a_number_is_above_twelve(tmp_path, cell, expected):
    trace = read(write(tmp_path, f'start,duration\n"{cell}",60\n'))
    assert trace.start == datetime.fromisoformat(expected).timestamp()
    assert "Its dates are " in trace.note


def test_one_certain_date_makes_all_of_a_file_certain(tmp_path):
    rows = "03/04/2026,03/04/2026\n03/04/2026,25/04/2026\n"
    trace = read(write(tmp_path, f"start,end\n{rows}"))
    assert trace.start == datetime.fromisoformat("2026-04-03T00:00Z").timestamp()
    assert trace.note.startswith("Its dates are day-first.")


@pytest.mark.parametrize(
    ("order", "day"),
    [(DateOrder.DAY_FIRST, "2026-04-03"), (DateOrder.MONTH_FIRST, "2026-03-04")],
    ids=str,
)
def test_the_order_of_day_and_month_can_be_said(tmp_path, order, day):
    trace = read(write(tmp_path, "start,duration\n03/04/2026 10:00,60\n"), order=order)
    assert trace.start == datetime.fromisoformat(f"{day}T10:00Z").timestamp()


def test_the_order_of_day_and_month_is_never_guessed(tmp_path):
    assert problem(write(tmp_path, "start,end\n,\n05/05/2026,03/04/2026\n")) == (
        "F:3: no date shows whether the day or the month is first;"
        " set --dates day-first or --dates month-first"
    )


def test_dates_that_contradict_each_other_are_refused(tmp_path):
    path = write(tmp_path, "start,end\n13/04/2026,13/04/2026\n04/13/2026,04/13/2026\n")
    assert problem(path) == (
        "F:3: the day is first in line 2, and the month in line 3, expected one order;"
        " export the dates as yyyy-mm-dd"
    )


REFUSED = {
    "1969-12-31T23:59:59Z": "expected a time from 1970 to 2200",
    "2026-01-12T24:01": "hour must be in 0..23, expected a date that exists",
    "2026-01-12T24:00:00.5": "hour must be in 0..23, expected a date that exists",
    "9999-12-31T24:00": "expected a time from 1970 to 2200",
    "20260112": "a date without separators, expected one such as 2026-01-12T09:30:00+01:00",
    "20260112093000": "a date without separators, expected one such as 2026-01-12T09:30:00+01:00",
    "1.76821E+12": "a number with an exponent, expected all of its digits",
    "1,8e9": "a number with an exponent, expected all of its digits",
    "99999999999999999999": "expected seconds since 1970, and a time up to 2200",
    "03/04/2026": "day or month first? set --dates day-first or --dates month-first",
    "12 Foo 2026": "expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds",
    "2026-02-30": "day is out of range for month, expected a date that exists",
    "Jan 12, 2026 13:30 PM": "expected an hour from 1 to 12 before AM or PM",
    "2026-01-12 09:30 CET": "CET is no offset, expected one such as +01:00, or none and --timezone",
    "13/01/26 09:30": "a year of two digits, expected four; export the dates as yyyy-mm-dd",
    "9:30 AM": "a time without a date, expected both in one cell, such as 2026-01-12T09:30",
    "\u0665": "expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds",
    "-": "no time, expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds",
}


@pytest.mark.parametrize(("cell", "expected"), REFUSED.items())
def test_what_is_no_time_is_refused_with_what_was_expected(cell, expected):
    with pytest.raises(ValueError) as caught:
        TimeReader(LocalClock()).read(cell, 1)
    assert str(caught.value) == expected


def test_finer_numbers_than_seconds_are_told(tmp_path):
    trace = read(write(tmp_path, "start,end\n1768206600000,1768208400000\n"))
    assert trace.sessions == (Session(MORNING, MORNING + 1_800),)
    assert trace.note == "Its numbers are milliseconds since 1970."


def test_times_in_columns_that_are_named_utc_are_in_utc(tmp_path):
    path = write(tmp_path, "start_utc,end_utc\n2026-01-12 08:30,2026-01-12 09:00\n")
    trace = read(path, clock=berlin())
    assert trace.start == MORNING
    assert "interpreted as UTC, by the names of its columns" in trace.note


DURATIONS = {
    "754": 754,
    "754.5": 754.5,
    "00:12:34": 754,
    "0:12:34.5": 754.5,
    "26:00:00": 93_600,
    "1 day, 0:12:34": 87_154,
    "0 days 00:12:34.000000": 754,
    "12.5 min": 750,
    "754 s": 754,
    "754 seconds": 754,
    "754000 ms": 754,
    "1h30m": 5_400,
    "1 hour, 5 minutes": 3_900,
    "2d 4h": 187_200,
    "PT12M34S": 754,
    "P1DT2H": 93_600,
}


@pytest.mark.parametrize(("cell", "seconds"), DURATIONS.items())
def test_a_duration_is_read_as_people_and_programs_write_it(cell, seconds):
    assert read_duration(cell) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "cell", ["12:34", "-5", "x", "12 parsecs", "1:2:3:4", "P", "1e3", "5 min x"]
)
def test_what_is_no_duration_is_refused_with_what_was_expected(cell):
    with pytest.raises(ValueError, match="expected a duration"):
        read_duration(cell)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("duration", "1800"),
        ("duration_min", "30"),
        ("Session length (minutes)", "30"),
        ("duration_ms", "1800000"),
        ("elapsed", "0:30:00"),
        ("trip duration sec", "1800"),
    ],
)
def test_the_unit_of_a_duration_can_be_in_the_name_of_its_column(tmp_path, name, cell):
    path = write(tmp_path, f"start,{name}\n2026-01-12T08:30Z,{cell}\n")
    assert read(path).sessions == (Session(MORNING, MORNING + 1_800),)


def test_a_session_without_a_duration_lasts_until_the_end_of_the_trace(tmp_path):
    path = write(tmp_path, "start,duration\n0,100\n10,\n")
    assert read(path).sessions == (Session(0, 100), Session(10, 100))


def berlin() -> LocalClock:
    return LocalClock(ZoneInfo("Europe/Berlin"), "as asked")


READ_AS = "Its times have no offset and are interpreted as Europe/Berlin, as asked."
SKIPPED = (
    "in an hour that does not exist in this zone, and interpreted as later by the skipped time; "
    "check the zone."
)
TWICE = (
    "in an hour that occurs twice in this zone, and interpreted as the first, or as the second"
    " for an end before its start."
)
LOCAL_TIMES = {
    "in winter": (
        "2026-01-12 08:30,2026-01-12 09:00",
        ("2026-01-12T08:30:00+01:00", "2026-01-12T09:00:00+01:00"),
        READ_AS,
    ),
    "in summer": (
        "2026-07-13T08:30,2026-07-13T09:00",
        ("2026-07-13T08:30:00+02:00", "2026-07-13T09:00:00+02:00"),
        READ_AS,
    ),
    "over the change to summer time": (
        "2026-03-29 01:30,2026-03-29 03:30",
        ("2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"),
        READ_AS,
    ),
    "in the hour that the clock skips": (
        "2026-03-29 02:10,2026-03-29 02:40",
        ("2026-03-29T03:10:00+02:00", "2026-03-29T03:40:00+02:00"),
        f"{READ_AS} 2 are on 2026-03-29 {SKIPPED}",
    ),
    "in the hour that comes twice": (
        "2026-10-25 01:30,2026-10-25 02:40",
        ("2026-10-25T01:30:00+02:00", "2026-10-25T02:40:00+02:00"),
        f"{READ_AS} 1 is on 2026-10-25 {TWICE}",
    ),
    "from the first of two hours into the second": (
        "2026-10-25 02:50,2026-10-25 02:10",
        ("2026-10-25T02:50:00+02:00", "2026-10-25T02:10:00+01:00"),
        f"{READ_AS} 2 are on 2026-10-25 {TWICE}",
    ),
}


@pytest.mark.parametrize(("row", "expected", "note"), LOCAL_TIMES.values(), ids=LOCAL_TIMES)
def test_times_without_an_offset_follow_a_clock_on_the_wall(tmp_path, row, expected, note):
    trace = read(write(tmp_path, f"start,end\n{row}\n"), clock=berlin())
    start, end = (datetime.fromisoformat(each).timestamp() for each in expected)
    assert trace.sessions == (Session(start, end),)
    assert trace.note == note


def test_an_end_before_a_start_that_the_clock_skips_may_be_of_another_zone(tmp_path):
    path = write(tmp_path, "start,end\n2026-03-29 02:30,2026-03-29 03:10\n")
    assert "the start does not exist in the time zone" in problem(path, clock=berlin())


def test_nothing_is_said_of_a_clock_that_was_not_needed(tmp_path):
    path = write(tmp_path, "start,end\n2026-01-12T08:30:00Z,2026-01-12T09:00:00Z\n")
    assert read(path, clock=berlin()).note == ""


@given(st.integers(40_000_000, 7_200_000_000), st.sampled_from(ZONES).map(ZoneInfo))
def test_a_time_that_a_clock_shows_once_needs_no_offset(at, zone):
    moment = datetime.fromtimestamp(at, zone)
    assume(moment.replace(fold=0).utcoffset() == moment.replace(fold=1).utcoffset())
    reader = TimeReader(LocalClock(zone, "as asked"))
    assert reader.read(moment.replace(tzinfo=None).isoformat(" "), 1).at == at
    assert reader.read(moment.isoformat(), 1).at == at


def refusal(cell: str) -> str | None:
    """Why a cell is no time; None: it is one."""
    try:
        time = TimeReader(berlin()).read(cell.strip(), 1)
    except ValueError as error:
        return str(error)
    assert 0 <= time.at <= LATEST
    return None


@given(st.text("0123456789.,eE+-:TZ /", max_size=30) | st.text(max_size=12))
def test_a_cell_is_a_time_or_refused_with_what_was_expected(cell):
    assert "expected" in (refusal(cell) or "expected")
