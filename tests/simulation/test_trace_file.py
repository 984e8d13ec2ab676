from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.simulation import trace_file
from autoscaler.simulation.trace import Session
from autoscaler.simulation.trace_file import TraceError, load_trace

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
        pytest.param("2026-01-12 08:30,2026-01-12T09:00:00", id="without an offset means UTC"),
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
        pytest.param("", "F: empty: expected a header line with start,end", id="empty file"),
        pytest.param(
            "start,end\n", "F: no session: expected lines below the header", id="only a header"
        ),
        pytest.param(
            "start,stop\n1,2\n",
            "F:1: column 'end' is missing: expected a header line with start,end, got 'start,stop'",
            id="column missing",
        ),
        pytest.param(
            "start,end,end\n1,2,3\n",
            "F:1: column 'end' is there twice: expected a header line with start,end, "
            "got 'start,end,end'",
            id="column twice",
        ),
        pytest.param(
            "start,end\n30,10\n",
            "F:2: end: '10' is 20 s before start: expected it after start",
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
            "F:2: end: '': expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds",
            id="cell missing",
        ),
        pytest.param(
            "start,end\n1768206600000,1768208400000\n",
            "F:2: start: '1768206600000': expected a time from 1970 to 2200 "
            "(in seconds, not milliseconds)\n"
            "F:2: end: '1768208400000': expected a time from 1970 to 2200 "
            "(in seconds, not milliseconds)",
            id="milliseconds",
        ),
        pytest.param(
            "start,end\n1969-12-31T23:59:59Z,10\n",
            "F:2: start: '1969-12-31T23:59:59Z': expected a time from 1970 to 2200 "
            "(in seconds, not milliseconds)",
            id="before 1970",
        ),
        pytest.param(
            "start,end\n10,20\n2026-01-12,2026-01-13\n",
            "F: from 1970-01-01 to 2026-01-13: expected a span of at most 366 days",
            id="half a century",
        ),
        pytest.param(
            b"start,end\n1,2\n\xff\xfe,3\n",
            "F:3: not UTF-8 text: expected a CSV file",
            id="binary",
        ),
        pytest.param(
            "start,end\n" + "9" * 200_000 + ",1\n",
            "F:2: field larger than field limit (131072): expected a CSV file",
            id="an endless cell",
        ),
        pytest.param(
            "start,end\nx,y\n5,3\n",
            "F:2: start: 'x': expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds\n"
            "F:2: end: 'y': expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds\n"
            "F:3: end: '3' is 2 s before start: expected it after start",
            id="all errors at once",
        ),
    ],
)
def test_a_bad_file_is_refused_with_line_value_and_what_was_expected(tmp_path, content, message):
    assert problem(write(tmp_path, content)) == message


def test_no_more_than_twenty_errors_are_told(tmp_path):
    lines = problem(write(tmp_path, "start,end\n" + "x,2\n" * 50)).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and perhaps more: the rest was not read"


def test_a_directory_is_refused(tmp_path):
    assert problem(tmp_path) == "F: Is a directory: expected a CSV file"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert problem(tmp_path / "x") == "F: No such file or directory: expected a CSV file"


def test_a_huge_file_is_refused_without_reading_all_of_it(tmp_path):
    path = tmp_path / "sessions.csv"
    with path.open("wb") as file:
        file.truncate(10 * trace_file.MAX_BYTES)  # a sparse gigabyte
    assert problem(path) == "F: larger than 100 MB: split it by weeks"


def test_too_many_sessions_are_refused(tmp_path):
    path = write(tmp_path, "start,end\n" + "1,2\n" * 1_001)
    with pytest.raises(TraceError, match=r"sessions\.csv:1002: expected at most 1,000 sessions"):
        load_trace(path, limit=1_000)
