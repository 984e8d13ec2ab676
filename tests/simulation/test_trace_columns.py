"""Columns: found by the names that exports use, or named by an option."""

from __future__ import annotations

import pytest

from tests.simulation.traces import minutes, problem, read, write

ROW = "2026-01-12T08:30:00Z,2026-01-12T09:00:00Z\n"
HEADERS = [
    *("start,end", "started,ended", "arrival,departure", "Start Time,End Time", "begin,finish"),
    *("login_time,logout_time", "connected_at,disconnected_at", "connectionTime,disconnectTime"),
    *("created_at,closed_at", "joined,left", "session_start,session_end", '"Started At","Stopped"'),
]
EXPECTED = (
    "expected a header line with start,end or start,duration or time,user,event or time,sessions"
)


@pytest.mark.parametrize("header", HEADERS)
def test_known_names_are_found(tmp_path, header):
    assert minutes(read(write(tmp_path, f"{header}\n{ROW}"))) == [(0, 30)]


def test_names_that_are_not_the_roles_are_told(tmp_path):
    note = read(write(tmp_path, f"started,ended\n{ROW}")).note
    assert note == "Columns: start from started, end from ended."
    assert read(write(tmp_path, f"Start,end\n{ROW}")).note == ""


def test_the_better_known_name_is_preferred(tmp_path):
    path = write(tmp_path, "created_at,start,end\n2026-01-12T08:00:00Z," + ROW)
    assert minutes(read(path)) == [(0, 30)]


def test_an_end_is_preferred_to_a_duration(tmp_path):
    path = write(tmp_path, "duration,start,end\n5," + ROW)
    assert minutes(read(path)) == [(0, 30)]


def test_the_export_of_posit_connect_is_read(tmp_path):
    path = write(
        tmp_path,
        "content_guid,user_guid,started,ended,data_version\n"
        "abc,u1,2026-01-12T08:30:00Z,2026-01-12T09:00:00Z,1\n"
        "abc,,2026-01-12T08:40:00Z,,1\n",
    )
    assert minutes(read(path)) == [(0, 30), (10, 30)]


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        pytest.param(f"von,bis\n{ROW}", {"start": "von", "end": "bis"}, id="by names"),
        pytest.param(f"VON,Bis\n{ROW}", {"start": "von", "end": "bis"}, id="in other capitals"),
        pytest.param(f"x,y\n{ROW}", {"start": "x", "end": "2"}, id="by a name and a number"),
        pytest.param(ROW, {"start": "1", "end": "2"}, id="by numbers, without a header"),
        pytest.param(
            f"start,end,von,bis\n1,2,{ROW}",
            {"start": "von", "end": "bis"},
            id="instead of known ones",
        ),
        pytest.param(
            f"von;lang\n{ROW.split(',')[0]};30 min",
            {"start": "von", "duration": "lang"},
            id="with a duration and other separators",
        ),
    ],
)
def test_columns_can_be_named(tmp_path, content, columns):
    assert minutes(read(write(tmp_path, content), columns=columns)) == [(0, 30)]


def test_a_header_above_columns_that_are_named_by_numbers_is_no_session(tmp_path):
    trace = read(write(tmp_path, f"x,y\n{ROW}"), columns={"start": "1", "end": "2"})
    assert minutes(trace) == [(0, 30)]


REFUSED = {
    "no header": (
        "2026-01-12T09:30:00Z,2026-01-12T10:05:00Z\n",
        {},
        (
            f"F:1: the first line has values instead of names, {EXPECTED}, "
            "got '2026-01-12T09:30:00Z,2026-01-12T10:05:00…'; "
            "add a line such as start,end above it, or set --columns start=1,end=2"
        ),
    ),
    "no end": (
        "start,user\n1,2\n",
        {},
        (
            f"F:1: no column for the end or the duration beside 'start', {EXPECTED}, "
            "got 'start,user'; "
            "set --columns start=NAME,end=NAME"
        ),
    ),
    "no start": (
        "finish,user\n1,2\n",
        {},
        (
            f"F:1: no column for the start beside 'finish', {EXPECTED}, got 'finish,user'; "
            "set --columns start=NAME,end=NAME"
        ),
    ),
    "a time alone": (
        "time,what\n1,2\n",
        {},
        (
            f"F:1: no column for events or numbers of sessions beside 'time', {EXPECTED}, "
            "got 'time,what'; set --columns time=NAME,event=NAME"
        ),
    ),
    "a log of text": (
        "[I 2026-01-12 09:30:00 JupyterHub] ann\n",
        {},
        (
            f"F:1: the first line has values instead of names, {EXPECTED}, got "
            "'[I 2026-01-12 09:30:00 JupyterHub] ann'; "
            "add a line such as start,end above it, or set --columns start=1,end=2"
        ),
    ),
    "nothing known": (
        "a;b;c\n1;2;3\n",
        {},
        f"F:1: no known columns, {EXPECTED}, got 'a,b,c'; set --columns start=NAME,end=NAME",
    ),
    "a name that the file does not have": (
        "a,b\n1,2\n",
        {"start": "a", "end": "c"},
        "F:1: no column 'c' for end, got 'a,b'; set --columns to one of these",
    ),
    "a number that the file does not have": (
        "a,b\n1,2\n",
        {"start": "1", "end": "3"},
        "F:1: no column '3' for end, got 'a,b'; set --columns to one of these",
    ),
    "roles that do not make a session": (
        "a,b\n1,2\n",
        {"start": "a", "user": "b"},
        (
            "F:1: --columns has start,user, "
            "expected start,end or start,duration or time,user,event or time,sessions"
        ),
    ),
}


@pytest.mark.parametrize(("content", "columns", "message"), REFUSED.values(), ids=REFUSED)
def test_columns_that_do_not_fit_are_refused(tmp_path, content, columns, message):
    assert problem(write(tmp_path, content), columns=columns) == message
