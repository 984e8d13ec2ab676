"""Files with one session in each row: formats, errors, and how many of them are tolerated."""

from __future__ import annotations

import gzip
import os

import pytest

from autoscaler.adapters.traces import opening
from autoscaler.adapters.traces.files import load_trace
from autoscaler.simulation.trace import Session
from tests.simulation.traces import MORNING, minutes, problem, read, write

ROWS = "start,end\n2026-01-12T08:30:00Z,2026-01-12T09:00:00Z\n"
SEMICOLONS = ROWS.replace(",", ";")
FORMATS = {
    "commas": ROWS,
    "semicolons": SEMICOLONS,
    "tabs": ROWS.replace(",", "\t"),
    "bars": ROWS.replace(",", "|"),
    "every cell in quotes": '"start","end"\n"2026-01-12T08:30:00Z","2026-01-12T09:00:00Z"\n',
    "a byte order mark and the line ends of Windows": "\ufeff" + SEMICOLONS.replace("\n", "\r\n"),
    "the line ends of old Macs": ROWS.replace("\n", "\r"),
    "no line end at the end": ROWS.rstrip(),
    "UTF-16 of a spreadsheet": ROWS.replace(",", "\t").encode("utf-16"),
    "UTF-16 in big-endian order without a mark": ROWS.encode("utf-16-be"),
    "UTF-16 in little-endian order without a mark": ROWS.encode("utf-16-le"),
    "gzip": gzip.compress(ROWS.encode()),
    "two gzip files in one": gzip.compress(ROWS[:40].encode()) + gzip.compress(ROWS[40:].encode()),
    "a name in another encoding": ROWS.replace("end\n", "end,who\n").rstrip().encode()
    + b",M\xfcller",
    "a separator in quotes": 'who,start,end\n"a, ""b""",' + ROWS.splitlines()[1],
    "a line break in quotes": 'who,start,end\n"a\nb",' + ROWS.splitlines()[1],
    "comments": f'# an export\n#\n{ROWS}# the end, "unclosed\n',
    "a header in a comment": "# " + ROWS,
    "blank lines": "\n" + ROWS.replace("\n", "\n\n,\n"),
    "the separator that a spreadsheet announces": "sep=;\n" + SEMICOLONS,
    "a title above the header": f"Sessions of January\n2026-02-01, by ann\n\n{ROWS}",
    "files put together": ROWS + "start,end\n",
    "spaces around cells": ROWS.replace(",", " , "),
    "more columns": "user,END , Start,note\nann,2026-01-12T09:00:00Z,2026-01-12T08:30:00Z,x\n",
    "a comma at the end of a row": ROWS.rstrip() + ",\n",
    "seconds with decimal commas": "start;end\n1768206600,0;1768208400,0\n",
}


@pytest.mark.parametrize("content", FORMATS.values(), ids=FORMATS)
def test_a_table_is_read_as_people_export_it(tmp_path, content):
    assert minutes(read(write(tmp_path, content))) == [(0, 30)]


def test_sessions_come_in_the_order_of_their_start(tmp_path):
    path = write(tmp_path, "start,end\n10,30\n5,20\n")
    assert read(path).sessions == (Session(5, 20), Session(10, 30))


def test_a_session_that_ends_in_the_second_of_its_start_lasts_one_second(tmp_path):
    assert read(write(tmp_path, "start,end\n7,7\n")).sessions == (Session(7, 8),)


@pytest.mark.parametrize(
    "end", ["", "-", "null", "NULL", "None", "NaN", "NaT", "n/a", r"\N", "0001-01-01T00:00:00Z"]
)
def test_a_session_without_an_end_lasts_until_the_end_of_the_trace_and_is_told(tmp_path, end):
    trace = read(write(tmp_path, f"{ROWS}2026-01-12T08:40:00Z,{end}\n"))
    assert minutes(trace) == [(0, 30), (10, 30)]
    assert trace.note == (
        "1 of 2 sessions has no end and is assumed to last until the end of the trace,"
        " 2026-01-12 09:00:00 UTC."
    )


def test_the_last_session_without_an_end_lasts_a_second(tmp_path):
    trace = read(write(tmp_path, f"{ROWS}2026-01-12T09:10:00Z,\n"))
    assert trace.sessions[-1] == Session(MORNING + 2_400, MORNING + 2_401)


REFUSED = {
    "an empty file": ("", "F: empty, expected a header line such as start,end"),
    "nothing but blank lines": (
        "\n\n",
        "F: empty, expected a header line such as start,end",
    ),
    "only a header": ("start,end\n", "F: no sessions, expected lines below the header"),
    "a column twice": (
        "start,end,end\n1,2,3\n",
        "F:1: column 'end' is duplicate, got 'start,end,end'; rename one of them",
    ),
    "an end before the start": (
        "start,end\n30,10\n",
        "F:2: end: '10' is 20 s before start, expected it after start",
    ),
    "a missing cell": (
        "end,start\n1\n",
        "F:2: start: '': no time, expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds",
    ),
    "no number": (
        "start,end\n1,inf\n",
        "F:2: end: 'inf': expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds",
    ),
    "a session of half a century": (
        "start,end\n1970-01-01T00:00:00Z,2026-01-12T10:05:00Z\n",
        "F:2: the session lasts 20,465 days, expected at most 366",
    ),
    "half a century": (
        "start,end\n20,30\n2026-01-12T00:00Z,2026-01-13T00:00Z\n10,20\n",
        "F: from 1970-01-01 (line 4) to 2026-01-13 (line 3), expected a span of at most 366 days",
    ),
    "decimal commas between commas": (
        "start,end\n46034,3958,46034,4201\n",
        (
            "F:2: 4 cells for 2 columns, expected decimal points in numbers "
            "and quotes around cells with separators"
        ),
    ),
    "day numbers": (
        "start,end\n46034.3958,46034.4201\n",
        (
            "F:2: start: 46034.3958: looks like the day number of a spreadsheet, "
            "expected a time; format both columns as yyyy-mm-dd hh:mm:ss and export again "
            "(if they are seconds, add 1000000 to each)"
        ),
    ),
    "day numbers without hours, and one that is none": (
        "start,end\n46034,46035\n46034,46034\n0,9\n",
        (
            "F:2: start: 46034: looks like the day number of a spreadsheet, "
            "expected a time; format both columns as yyyy-mm-dd hh:mm:ss and export again "
            "(if they are seconds, add 1000000 to each)"
        ),
    ),
    "times with and without an offset": (
        "start,end\n2026-01-12T08:30:00Z,2026-01-12T09:00:00Z\n2026-01-12 08:30,2026-01-12 09:00\n",
        (
            "F:3: a time without an offset, but line 2 has a time with an offset, "
            "expected an offset such as +01:00 or Z in all times, or in none"
        ),
    ),
    "seconds and times without an offset": (
        "start,end\n1768206600,2026-01-12 09:00\n",
        (
            "F:2: a time without an offset, but line 2 has a number, "
            "expected an offset such as +01:00 or Z in all times, or in none"
        ),
    ),
    "a workbook": (
        b"PK\x03\x04",
        (
            "F: expected CSV, JSON or Parquet, but it is a workbook or an archive; "
            "save the sheet as CSV, or unpack it"
        ),
    ),
    "a database": (
        b"SQLite format 3\0" + bytes(100),
        "F: expected CSV, JSON or Parquet, but it is a SQLite database; export the table as CSV",
    ),
    "a binary file": (
        b"\x7fELF\x02\x01\x01\x00\x00\x00",
        "F: expected CSV, JSON or Parquet, but it is binary",
    ),
    "gzip in gzip": (
        gzip.compress(gzip.compress(ROWS.encode())),
        "F: expected CSV, JSON or Parquet, but it is compressed twice; decompress it with gunzip",
    ),
    "gzip of which the end is missing": (
        gzip.compress(ROWS.encode())[:-12],
        "F: the gzip data is truncated; copy the file again",
    ),
    "an endless cell": (
        "start,end\n" + "9" * 200_000 + ",1\n",
        "F:2: field larger than field limit (131072), expected a table",
    ),
    "an endless line": ("start,end\n" + "9" * 2_000_000, "F:2: longer than 1 MB; this is no table"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_bad_file_is_refused_with_line_value_and_what_was_expected(tmp_path, content, message):
    assert problem(write(tmp_path, content)).splitlines()[0] == message


def test_damaged_gzip_data_is_refused(tmp_path):
    damaged = bytearray(gzip.compress(ROWS.encode() * 50))
    damaged[30] ^= 0xFF
    assert "F: the gzip data is damaged" in problem(write(tmp_path, bytes(damaged)))


def test_a_directory_is_refused(tmp_path):
    assert problem(tmp_path) == "F: Is a directory, expected CSV, JSON or Parquet"


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    expected = "F: No such file or directory, expected CSV, JSON or Parquet"
    assert problem(tmp_path / "x") == expected


def test_a_pipe_is_refused_as_it_can_be_read_only_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert problem(tmp_path / "pipe") == "F: not a regular file; save it to one first"


def test_a_file_that_unpacks_to_far_more_than_a_log_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "RATIO_FROM", 1 << 20)
    path = write(tmp_path, gzip.compress(ROWS.encode() + b"\n" * (4 << 20)))
    assert problem(path) == "F: unpacks to more than 100 times its size; this is no log"


def test_a_huge_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAX_BYTES", 1_000_000)
    path = write(tmp_path, ROWS + "2026-01-12T08:30:00Z,2026-01-12T09:00:00Z\n" * 50_000)
    assert problem(path) == "F: larger than 0.001 GB; split it by weeks"


def test_too_many_sessions_are_refused(tmp_path):
    path = write(tmp_path, "start,end\n" + "1,2\n" * 1_001)
    assert (
        problem(path, limit=1_000) == "F:1002: expected at most 1,000 sessions; split it by weeks"
    )


def test_up_to_one_percent_of_unusable_rows_is_left_out_and_told(tmp_path):
    rows = [f"{MORNING + n:.0f},1768208400" for n in range(996)]
    rows += ["x,1", "9,8", "", "1,y", "2,z"]
    trace = read(write(tmp_path, "start,end\n" + "\n".join(rows)))
    assert len(trace.sessions) == 996
    iso = "expected ISO 8601 such as 2026-01-12T09:30:00+01:00, or seconds"
    assert trace.note == (
        f"4 of 1,000 rows are unusable (0.4 %) and left out (line 998: start: 'x': {iso};"
        " line 999: end: '8' is 1 s before start, expected it after start;"
        f" line 1001: end: 'y': {iso}; and others)."
    )


def test_more_than_one_percent_of_unusable_rows_stops_with_the_first_three(tmp_path):
    rows = ["1768206600,1768208400"] * 96 + ["x,1", "9,8", "1,y", "2,z"]
    lines = problem(write(tmp_path, "start,end\n" + "\n".join(rows))).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["F:98", "F:99", "F:100", "F"]
    assert lines[-1] == "F: 4 of 100 rows are unusable (4 %), expected at most 1 %"


def test_a_file_of_unusable_rows_alone_has_a_hundred_percent_of_them(tmp_path):
    lines = problem(write(tmp_path, "start,end\nx,1\ny,2\n")).splitlines()
    assert lines[-1] == "F: 2 of 2 rows are unusable (100 %), expected at most 1 %"


def test_a_quote_that_is_not_closed_is_named_with_its_line(tmp_path):
    rows = 'a,x,9\n"b\nc",1768206600,1768208400\n"d,1768206600,1768208400\ne,1768206600,17682084\n'
    assert problem(write(tmp_path, f"who,start,end\n{rows}")) == (
        "F:5: a quote opens here and is not closed, expected another one"
    )


def test_a_row_of_several_lines_is_named_by_its_first(tmp_path):
    path = write(tmp_path, 'who,start,end\n# note\n\n"a\nb",x,1768208400\n')
    assert problem(path).startswith("F:4: start: 'x': ")


def test_a_few_times_far_from_all_others_are_unusable_rows(tmp_path):
    rows = ["1768206600,1768208400"] * 200 + ["0,60"]
    trace = read(write(tmp_path, "start,end\n" + "\n".join(rows)))
    assert trace.start == MORNING
    assert "line 202: more than half a year before or after most sessions" in trace.note


def test_a_long_time_without_arrivals_is_told(tmp_path):
    rows = [f"{MORNING + 60 * n:.0f},{MORNING + 60 * n + 30:.0f}" for n in range(20)]
    rows.append(f"{MORNING + 90 * 86_400:.0f},{MORNING + 90 * 86_400 + 30:.0f}")
    trace = read(write(tmp_path, "start,end\n" + "\n".join(rows)))
    assert trace.note == (
        "Nothing starts from 2026-01-12 08:49 to 2026-04-12 08:30 UTC, most of the trace;"
        " check its times."
    )


def test_rows_with_the_identifier_of_an_earlier_one_are_left_out_and_told(tmp_path):
    rows = ["a,10,20", "b,10,20", "a,10,20", "c,5,", "c,5,"]
    trace = read(write(tmp_path, "session_id,start,end\n" + "\n".join(rows)))
    assert trace.sessions == (Session(5, 20), Session(10, 20), Session(10, 20))
    assert (
        "2 rows repeat an earlier session, with the same identifier, and are left out."
        in trace.note
    )


def test_one_row_with_the_identifier_of_an_earlier_one_is_told_as_one(tmp_path):
    trace = read(write(tmp_path, "session_id,start,end\na,10,20\na,10,20\nb,10,20\n"))
    assert trace.note == (
        "1 row repeats an earlier session, with the same identifier, and is left out."
        " 1 of 2 sessions starts and ends with another one,"
        " and is kept as those of different users."
    )


def test_equal_sessions_without_an_identifier_are_sessions_of_different_users(tmp_path):
    trace = read(write(tmp_path, "user,start,end\n" + "a,1,2\n" * 3 + "b,1,3\n"))
    assert len(trace.sessions) == 4
    assert trace.note == (
        "2 of 4 sessions start and end with another one, and are kept as those of different users."
    )


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
    assert list(read(write(tmp_path, f"start,end\n{rows}")).sessions) == expected


def test_the_share_that_has_been_read_is_shown(tmp_path):
    shares: list[float] = []
    load_trace(write(tmp_path, ROWS + ROWS.split("\n")[1] + "\n"), progress=shares.append)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
