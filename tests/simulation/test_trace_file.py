from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autoscaler.adapters.traces import files as trace_file
from autoscaler.adapters.traces.files import TraceError, load_trace
from autoscaler.adapters.traces.times import LATEST, LocalClock, read_time
from autoscaler.simulation.trace import Session

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
MORNING = 1_768_206_600.0  # 2026-01-12T08:30:00Z


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "sessions.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def problem(path: Path) -> str:
    with pytest.raises(TraceError) as caught:
        load_trace(path)
    return str(caught.value).replace(str(path), "F")


@pytest.mark.parametrize(
    "row",
    [
        pytest.param("2026-01-12T08:30:00Z,2026-01-12T09:00:00Z", id="in UTC"),
        pytest.param("2026-01-12T09:30:00+01:00,2026-01-12T10:00:00+01:00", id="with an offset"),
        pytest.param("2026-01-12 08:30,2026-01-12T09:00:00", id="without an offset: in UTC"),
        pytest.param('"1768206600"," 1768208400.0"', id="seconds"),
        pytest.param("2026-01-12T08:30:00Z,1768208400", id="one of each"),
    ],
)
def test_times_are_iso_8601_or_seconds(tmp_path, row):
    assert load_trace(write(tmp_path, f"start,end\n{row}\n")).sessions == (
        Session(MORNING, MORNING + 1_800),
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("user,END , Start,note\nann,30,10,x\n\nbob,20,5,\n", id="other columns"),
        pytest.param(b"\xef\xbb\xbfstart,end\r\n10,30\r\n5,20\r\n", id="as a spreadsheet saves it"),
    ],
)
def test_columns_are_found_by_name_and_sessions_come_in_order(tmp_path, content):
    assert load_trace(write(tmp_path, content)).sessions == (Session(5, 20), Session(10, 30))


def test_a_session_that_ends_in_the_second_of_its_start_lasts_one_second(tmp_path):
    assert load_trace(write(tmp_path, "start,end\n7,7\n")).sessions == (Session(7, 8),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "F: empty, expected a header line with start,end", id="empty file"),
        pytest.param(
            "start,end\n", "F: no sessions, expected lines below the header", id="only a header"
        ),
        pytest.param(
            "start,stop\n1,2\n",
            "F:1: column 'end' is missing, expected a header line with start,end, got 'start,stop'",
            id="column missing",
        ),
        pytest.param(
            "start,end,end\n1,2,3\n",
            "F:1: column 'end' is duplicate, expected a header line with start,end, "
            "got 'start,end,end'",
            id="column twice",
        ),
        pytest.param(
            "start,end\n30,10\n",
            "F:2: end: '10' is 20 s before start, expected it after start",
            id="ends before it starts",
        ),
        pytest.param(
            "start,end\nnan,10\n",
            "F:2: start: 'nan': expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds",
            id="NaN",
        ),
        pytest.param(
            "start,end\n1,inf\n",
            "F:2: end: 'inf': expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds",
            id="infinite",
        ),
        pytest.param(
            "start,end\n1\n",
            "F:2: end: '': expected a time; leave out sessions that have not ended",
            id="cell missing",
        ),
        pytest.param(
            "start,end\n1768206600000,1768208400000\n",
            "F:2: start: '1768206600000': milliseconds, expected seconds since 1970; "
            "divide by 1,000\n"
            "F:2: end: '1768208400000': milliseconds, expected seconds since 1970; "
            "divide by 1,000",
            id="milliseconds",
        ),
        pytest.param(
            "start,end\n1969-12-31T23:59:59Z,10\n",
            "F:2: start: '1969-12-31T23:59:59Z': expected a time from 1970 to 2200",
            id="before 1970",
        ),
        pytest.param(
            "start,end\n20,30\n2026-01-12T00:00Z,2026-01-13T00:00Z\n10,20\n",
            "F: from 1970-01-01 (line 4) to 2026-01-13 (line 3), "
            "expected a span of at most 366 days",
            id="half a century",
        ),
        pytest.param(
            "start,end\n1768206600000000,1768208400000000000\n",
            "F:2: start: '1768206600000000': microseconds, expected seconds since 1970; "
            "divide by 1,000,000\n"
            "F:2: end: '1768208400000000000': nanoseconds, expected seconds since 1970; "
            "divide by 1,000,000,000",
            id="micro- and nanoseconds",
        ),
        pytest.param(
            "start,end\n20260112,20260112093000\n",
            "F:2: start: '20260112': a date without separators, "
            "expected one such as 2026-01-12T09:30:00+01:00\n"
            "F:2: end: '20260112093000': a date without separators, "
            "expected one such as 2026-01-12T09:30:00+01:00",
            id="dates that look like numbers",
        ),
        pytest.param(
            "start,end\n1.76821E+12,1.8e9\n",
            "F:2: start: '1.76821E+12': a number with an exponent, expected all of its digits\n"
            "F:2: end: '1.8e9': a number with an exponent, expected all of its digits",
            id="numbers that a spreadsheet shortened",
        ),
        pytest.param(
            "start,end\n\u0665,10\n",
            "F:2: start: '\u0665': expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds",
            id="an Arabic digit",
        ),
        pytest.param(
            "start,end\n13/01/2026 09:30,10\n",
            "F:2: start: '13/01/2026 09:30': expected ISO 8601 such as "
            "2026-01-12T09:30:00+01:00, or seconds",
            id="the day first",
        ),
        pytest.param(
            "start,end\n46034.3958,46034.4201\n",
            "F:2: start: 46034.3958: looks like the day number of a spreadsheet, "
            "expected a time; format both columns as yyyy-mm-dd hh:mm:ss and export again "
            "(if they are seconds, add 1000000 to each)",
            id="day numbers",
        ),
        pytest.param(
            "start,end\n46034,46035\n46034,46034\n0,9\n",
            "F:2: start: 46034: looks like the day number of a spreadsheet, "
            "expected a time; format both columns as yyyy-mm-dd hh:mm:ss and export again "
            "(if they are seconds, add 1000000 to each)",
            id="day numbers without hours, and one that is none",
        ),
        pytest.param(
            "start,end\n46034,3958,46034,4201\n",
            "F:2: 4 cells for 2 columns, expected decimal points in numbers "
            "and quotes around cells with commas",
            id="decimal commas",
        ),
        pytest.param(
            "start,end\n2026-01-12T08:30:00Z,2026-01-12T09:00:00Z\n"
            "2026-01-12 08:30,2026-01-12 09:00\n",
            "F:3: a time without an offset, but line 2 has a time with an offset, "
            "expected an offset such as +01:00 or Z in all times, or in none",
            id="times with and without an offset",
        ),
        pytest.param(
            "start,end\n1768206600,2026-01-12 09:00\n",
            "F:2: a time without an offset, but line 2 has a number, "
            "expected an offset such as +01:00 or Z in all times, or in none",
            id="seconds and times without an offset",
        ),
        pytest.param(
            "start;end\n1;2\n",
            "F:1: column 'start' is missing, expected a header line with start,end, "
            "got 'start;end' (separated by semicolons; export it with commas)",
            id="semicolons",
        ),
        pytest.param(
            "start\tend\n1\t2\n",
            "F:1: column 'start' is missing, expected a header line with start,end, "
            "got 'start\\tend' (separated by tabs; export it with commas)",
            id="tabs",
        ),
        pytest.param(
            "2026-01-12T09:30:00Z,2026-01-12T10:05:00Z\n",
            "F:1: column 'start' is missing, expected a header line with start,end, "
            "got '2026-01-12t09:30:00z,2026-01-12t10:05:00…'",
            id="no header",
        ),
        pytest.param(
            b"\x1f\x8b\x08\x00",
            "F: expected a CSV file, but it is compressed with gzip; decompress it with gunzip",
            id="gzip",
        ),
        pytest.param(
            b"PK\x03\x04",
            "F: expected a CSV file, but it is a workbook or an archive; "
            "save the sheet as CSV, or unpack it",
            id="a workbook",
        ),
        pytest.param(
            ' {"session_info": {}}',
            "F: expected a CSV file, but it is JSON; export it as CSV",
            id="JSON",
        ),
        pytest.param(
            "start,end\n1,2\n".encode("utf-16"),
            "F: expected a CSV file, but it is UTF-16 text; save it as CSV in UTF-8",
            id="UTF-16",
        ),
        pytest.param(
            b"start,end\n1,2\n\xff\xfe,3\n",
            "F:3: not UTF-8 text, expected a CSV file",
            id="binary",
        ),
        pytest.param(
            "start,end\n" + "9" * 200_000 + ",1\n",
            "F:2: field larger than field limit (131072), expected a CSV file",
            id="an endless cell",
        ),
        pytest.param(
            "start,end\nx,y\n5,3\n",
            "F:2: start: 'x': expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds\n"
            "F:2: end: 'y': expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds\n"
            "F:3: end: '3' is 2 s before start, expected it after start",
            id="all errors at once",
        ),
    ],
)
def test_a_bad_file_is_refused_with_line_value_and_what_was_expected(tmp_path, content, message):
    assert problem(write(tmp_path, content)) == message


def test_no_more_than_twenty_errors_are_told(tmp_path):
    lines = problem(write(tmp_path, "start,end\n" + "x,2\n" * 50)).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "there may be more errors; the rest was not read"


def test_a_directory_is_refused(tmp_path):
    assert problem(tmp_path) == "F: Is a directory, expected a CSV file"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert problem(tmp_path / "x") == "F: No such file or directory, expected a CSV file"


def test_a_huge_file_is_refused_without_reading_all_of_it(tmp_path):
    path = tmp_path / "sessions.csv"
    with path.open("wb") as file:
        file.truncate(10 * trace_file.MAX_BYTES)  # a sparse gigabyte
    assert problem(path) == "F: larger than 100 MB; split it by weeks"


def test_too_many_sessions_are_refused(tmp_path):
    path = write(tmp_path, "start,end\n" + "1,2\n" * 1_001)
    with pytest.raises(TraceError, match=r"sessions\.csv:1002: expected at most 1,000 sessions"):
        load_trace(path, limit=1_000)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param("0,3600\n46034,49634\n", id="seconds of a day"),
        pytest.param("46034.5,46100\n", id="within the day numbers, but for a minute"),
        pytest.param("10,12\n11,12\n46034,46035\n", id="few of many"),
        pytest.param("1768206600,1768206601\n", id="a second of 2026"),
        pytest.param("1000000,1000003,\n", id="a comma at the end of a row"),
    ],
)
def test_numbers_that_can_only_be_seconds_are(tmp_path, rows):
    expected = [Session(*map(float, row.split(",")[:2])) for row in rows.split()]
    assert list(load_trace(write(tmp_path, f"start,end\n{rows}")).sessions) == expected


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
    trace = load_trace(write(tmp_path, f"start,end\n{row}\n"), berlin())
    start, end = (datetime.fromisoformat(each).timestamp() for each in expected)
    assert trace.sessions == (Session(start, end),)
    assert trace.note == note


def test_an_end_before_a_start_that_the_clock_skips_may_be_of_another_zone(tmp_path):
    path = write(tmp_path, "start,end\n2026-03-29 02:30,2026-03-29 03:10\n")
    with pytest.raises(TraceError, match="the start does not exist in the time zone"):
        load_trace(path, berlin())


def test_nothing_is_said_of_a_clock_that_was_not_needed(tmp_path):
    path = write(tmp_path, "start,end\n2026-01-12T08:30:00Z,2026-01-12T09:00:00Z\n")
    assert load_trace(path, berlin()).note == ""


@given(st.integers(40_000_000, 7_200_000_000), st.sampled_from(ZONES).map(ZoneInfo))
def test_a_time_that_a_clock_shows_once_needs_no_offset(at, zone):
    moment = datetime.fromtimestamp(at, zone)
    assume(moment.replace(fold=0).utcoffset() == moment.replace(fold=1).utcoffset())
    clock = LocalClock(zone, "as asked")
    assert read_time(moment.replace(tzinfo=None).isoformat(" "), clock).at == at
    assert read_time(moment.isoformat(), clock).at == at


def refusal(cell: str) -> str | None:
    """Why a cell is no time; None: it is one."""
    try:
        time = read_time(cell.strip(), berlin())
    except ValueError as error:
        return str(error)
    assert 0 <= time.at <= LATEST
    return None


@given(st.text("0123456789.,eE+-:TZ /", max_size=30) | st.text(max_size=12))
def test_a_cell_is_a_time_or_refused_with_what_was_expected(cell):
    assert "expected" in (refusal(cell) or "expected")
