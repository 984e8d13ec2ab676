"""Logs of joins and leaves, counts over time, and JSON."""

from __future__ import annotations

import json

import pytest

from autoscaler.simulation.measured import Measured
from tests.simulation.traces import MORNING, minutes, problem, read, write


def at(minute: float) -> str:
    """An ISO time so many minutes after 8:30."""
    hour, rest = divmod(30 + minute, 60)
    return f"2026-01-12T{8 + int(hour):02}:{int(rest):02}:00Z"


def events(*rows: tuple[object, ...], header: str = "time,user,event") -> str:
    lines = [",".join([at(row[0]), *map(str, row[1:])]) for row in rows]  # type: ignore[arg-type]
    return "\n".join([header, *lines])


LOGS = {
    "joins and leaves": (events((0, "a", "join"), (30, "a", "leave")), [(0, 30)]),
    "two users at once": (
        events((0, "a", "join"), (5, "b", "join"), (10, "a", "leave"), (20, "b", "leave")),
        [(0, 10), (5, 20)],
    ),
    "the newest first": (
        events((10, "a", "stop"), (10, "b", "start"), (0, "a", "start")),
        [(0, 10), (10, 10 + 1 / 60)],
    ),
    "in no order": (
        events((10, "a", "stop"), (20, "b", "stop"), (0, "a", "start"), (5, "b", "start")),
        [(0, 10), (5, 20)],
    ),
    "a leave and a join in the same second": (
        events((0, "a", "in"), (10, "a", "out"), (10, "a", "in"), (20, "a", "out")),
        [(0, 10), (10, 20)],
    ),
    "one user twice": (
        events((0, "a", "join"), (5, "a", "join"), (10, "a", "leave"), (20, "a", "leave")),
        [(0, 20), (5, 10)],
    ),
    "identifiers of sessions": (
        events(
            (0, "x", "open"), (5, "y", "open"), (10, "x", "close"), header="time,session_id,type"
        )
        + f"\n{at(30)},y,close",
        [(0, 10), (5, 30)],
    ),
    "identifiers of events": (
        f"id,time,user,event\n1,{at(0)},a,join\n2,{at(30)},a,leave\n",
        [(0, 30)],
    ),
    "servers of a hub": (
        events(
            (0, "a", "one", "start"),
            (5, "a", "two", "start"),
            (10, "a", "one", "stop"),
            (20, "a", "two", "stop"),
            header="time,username,servername,action",
        ),
        [(0, 10), (5, 20)],
    ),
    "proxies, logins of the same users left out": (
        (
            "event_time,username,type,data\n"
            f"{at(0)},u,Login,\n{at(1)},u,ProxyStart,app\n{at(9)},u,ProxyStop,app\n{at(10)},u,Logout,\n"
        ),
        [(1, 9)],
    ),
    "logins, if there is nothing else": (
        events((0, "a", "Login"), (10, "a", "Logout")),
        [(0, 10)],
    ),
    "without users": ("time,event\n" + f"{at(0)},join\n{at(9)},leave", [(0, 9)]),
}


@pytest.mark.parametrize(("content", "expected"), LOGS.values(), ids=LOGS)
def test_a_session_lasts_from_a_join_to_its_leave(tmp_path, content, expected):
    assert minutes(read(write(tmp_path, content))) == [pytest.approx(each) for each in expected]


def test_who_is_there_at_either_end_of_a_log_is_told(tmp_path):
    trace = read(
        write(
            tmp_path,
            events((0, "a", "join"), (10, "b", "leave"), (20, "a", "pings"), (30, "c", "join")),
        )
    )
    assert minutes(trace)[:2] == [(0, 10), (0, 30)]
    assert (
        "1 of 3 sessions began before the log and are assumed to last from its beginning"
        in trace.note
    )
    assert (
        "2 of 3 sessions have no end and are assumed to last until the end of the trace"
        in trace.note
    )
    assert "Left out: 1 events that are no joins or leaves of sessions." in trace.note


def test_a_second_leave_is_an_unusable_row(tmp_path):
    rows = [(n, "a", "join" if n % 2 == 0 else "leave") for n in range(200)]
    trace = read(write(tmp_path, events(*rows, (200, "a", "leave"))))
    assert len(trace.sessions) == 100
    assert (
        "1 of 201 rows is unusable (0.5 %) and left out (line 202: a leave without a join)"
        in trace.note
    )


def test_a_log_without_joins_is_refused_with_what_it_has(tmp_path):
    assert problem(write(tmp_path, events((0, "a", "ping"), (1, "a", "pong")))) == (
        "F: no event is a join, expected events such as start and stop, join and leave, or login"
        " and logout, got 'ping', 'pong'"
    )


def test_too_many_events_are_refused(tmp_path):
    path = write(tmp_path, events(*[(n, "a", "join") for n in range(5)]))
    assert problem(path, limit=2) == "F:6: expected at most 4 events"


# Counts ------------------------------------------------------------------------------------------


def test_counts_become_sessions_of_which_as_many_are_there(tmp_path):
    counts = [3, 3, 10, 4, 0, 2]
    rows = "\n".join(f"{at(5 * n)},{count}" for n, count in enumerate(counts))
    trace = read(write(tmp_path, f"time,sessions\n{rows}\n"))
    for number, count in enumerate(counts):
        moment = MORNING + 300 * number
        assert sum(s.start <= moment < s.end for s in trace.sessions) == count
    assert len(trace.sessions) == 12
    assert trace.end == MORNING + 1_800
    assert trace.note.startswith("It has counts instead of sessions")


def test_cpu_and_memory_of_counts_are_measurements_of_a_session(tmp_path):
    rows = "\n".join(
        f"{at(n)},{n % 7},{0.3 + 0.02 * (n % 7)},{2e8 + 5e7 * (n % 7)}" for n in range(50)
    )
    trace = read(write(tmp_path, f"Time,Sessions,CPU,Memory\n{rows}\n"))
    assert trace.measured == Measured(cpu_per_session=0.02, memory_per_session=50.0)


@pytest.mark.parametrize(
    ("header", "cpu", "memory"),
    [
        ("cpu_percent,memory_mb", 2.0, 50.0),
        ("CPU %,Memory (MB)", 2.0, 50.0),
        ("cpu_millicores,memory_bytes", 20.0, 5e7),
        ("cpu (cores),mem_gb", 0.02, 0.05),
    ],
)
def test_the_name_of_a_column_has_the_unit_of_cpu_and_memory(tmp_path, header, cpu, memory):
    rows = "\n".join(f"{at(n)},{n % 7},{cpu * (n % 7)},{memory * (n % 7)}" for n in range(50))
    trace = read(write(tmp_path, f"time,sessions,{header}\n{rows}\n"))
    assert trace.measured == Measured(cpu_per_session=0.02, memory_per_session=50.0)


def test_memory_that_can_be_no_bytes_is_not_used_and_told(tmp_path):
    rows = "\n".join(f"{at(n)},{n % 7},{200 + 50 * (n % 7)}" for n in range(50))
    trace = read(write(tmp_path, f"time,sessions,memory\n{rows}\n"))
    assert trace.measured == Measured()
    assert "name the column memory_mb if it is in megabytes" in trace.note


def test_counts_of_several_apps_at_the_same_times_are_refused(tmp_path):
    rows = "\n".join(f"{at(n)},{app},{n + 1}" for n in range(9) for app in "ab")
    assert problem(write(tmp_path, f"time,app,sessions\n{rows}\n")) == (
        "F: 9 of 18 rows have the time of another row, expected one count at each time;"
        " add up those of several apps or pods"
    )


def test_one_count_at_the_time_of_another_is_told_as_one(tmp_path):
    path = write(tmp_path, f"time,sessions\n{at(0)},1\n{at(0)},2\n{at(1)},3\n")
    assert problem(path).startswith("F: 1 of 3 rows has the time of another row, ")


@pytest.mark.parametrize("count", ["-1", "x", "nan", "", "1e9"])
def test_a_count_that_is_no_number_is_refused(tmp_path, count):
    path = write(tmp_path, f"time,sessions\n{at(0)},{count}\n")
    assert problem(path).startswith(f"F:2: sessions: '{count}': expected a number of at least 0")


def test_counts_of_nobody_are_refused(tmp_path):
    path = write(tmp_path, f"time,sessions\n{at(0)},0\n{at(1)},0\n")
    assert problem(path) == "F: no sessions, expected counts above 0"


def test_a_count_over_the_limit_among_counts_of_nobody_names_the_limit(tmp_path):
    some = write(tmp_path, f"time,sessions\n{at(0)},1000001\n{at(1)},0\n")
    assert problem(some).startswith(
        "F:2: sessions: '1000001': expected a number of at least 0, at most 1,000,000\n"
    )
    rows = "\n".join(f"{at(n)},{0 if n else 1_000_001}" for n in range(200))
    assert problem(write(tmp_path, f"time,sessions\n{rows}\n")).startswith(
        "F: no sessions, expected counts above 0; 1 of 200 rows is unusable (0.5 %) and left out"
        " (line 2: sessions: '1000001': expected a number of at least 0, at most 1,000,000"
    )


# JSON --------------------------------------------------------------------------------------------

SESSION = {"start": at(0), "end": at(30)}
HUB = [
    {
        "__timestamp__": at(0),
        "__schema__": "x",
        "action": "start",
        "username": "a",
        "servername": "",
    },
    {"__timestamp__": at(30), "action": "stop", "username": "a", "servername": "", "more": [1]},
]
DOCUMENTS = {
    "a list": json.dumps([SESSION]),
    "a list in an object": json.dumps({"paging": {"next": None}, "results": [SESSION]}),
    "one object per line": f"{json.dumps(SESSION)}\n\n{json.dumps(SESSION)}\n",
    "events of JupyterHub": "\n".join(map(json.dumps, HUB)),
    "written on several lines": json.dumps([SESSION], indent=2),
    "numbers": json.dumps([{"start": MORNING, "end": 1_768_208_400_000}]),
    "session_info of Panel": json.dumps(
        {
            "session_info": {
                "total": 1,
                "live": 0,
                "sessions": {
                    "a": {"launched": MORNING, "started": MORNING + 1, "ended": MORNING + 1_800}
                },
            }
        }
    ),
}


@pytest.mark.parametrize("content", DOCUMENTS.values(), ids=DOCUMENTS)
def test_json_is_read_as_programs_write_it(tmp_path, content):
    assert set(minutes(read(write(tmp_path, content)))) == {(0, 30)}


def test_a_session_of_panel_that_is_still_there_lasts_until_the_end(tmp_path):
    sessions = {
        "a": {"launched": MORNING, "started": MORNING, "ended": MORNING + 1_800},
        "b": {"launched": MORNING + 600, "started": None, "rendered": None, "ended": None},
    }
    trace = read(write(tmp_path, json.dumps({"session_info": {"sessions": sessions}})))
    assert minutes(trace) == [(0, 30), (10, 30)]
    assert "1 of 2 sessions has no end" in trace.note


REFUSED = {
    "broken JSON": ('[{"start": 1', "F: invalid JSON: EOF while parsing"),
    "no session": ('{"a": 1}', "F: no known columns"),
    "no list": ("[[1]]", "F: no known columns"),
    "two lists": ('{"a": [], "b": []}', "F: expected a list of objects, one object per line, or"),
    "a list of numbers": ("[1, 2]", "F: no known columns"),
    "an object that is no session": (
        json.dumps([SESSION, 7]),
        "F: row 2: start: '': no time",
    ),
    "a line that is no object": (
        f"{json.dumps(SESSION)}\n{json.dumps(SESSION)}\nx\n",
        "F:3: start: '': no time",
    ),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_json_of_another_form_is_refused(tmp_path, content, message):
    assert problem(write(tmp_path, content)).startswith(message)
