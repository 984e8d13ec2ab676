"""What holds for every trace file: it is read, or refused in a few lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from autoscaler.adapters.traces.log import LONGEST
from autoscaler.adapters.traces.problems import SHOWN, TraceError
from autoscaler.adapters.traces.times import LocalClock
from tests.simulation.traces import read

# Files take as long as the machine is busy.
ON_DISK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
CELLS = st.sampled_from(
    [
        *("2026-01-12T08:30:00Z", "2026-01-12 08:30", "2026-03-29 02:30", "2026-10-25 02:30"),
        *("0", "7", "1768206600", "1768206600.5", "1768206600000", "1e9", "-1", "nan", "inf"),
        *("9999-12-31T23:59:59-23:59", "1970-01-01T00:00:00+23:59", "20260112", "46034.5", ""),
    ]
) | st.text(max_size=8)
SIGNS = st.sampled_from([",", ",", "\n", "\n", ";", '"', "\r", "\0", "\x1b[31m", "\u202e", "#"])


def assert_is_read_or_refused_in_lines(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "sessions.csv")
        path.write_bytes(content)
        try:
            trace = read(path, clock=LocalClock(ZoneInfo("Europe/Berlin"), "as asked"))
        except TraceError as error:
            lines = str(error).split("\n")
            assert 1 <= len(lines) <= SHOWN + 1
            assert all(line.isprintable() for line in lines)
            return
    assert 0 < trace.end - trace.start <= LONGEST
    assert all(start < end for start, end in trace.sessions)


@ON_DISK
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    assert_is_read_or_refused_in_lines(content)


@ON_DISK
@given(st.lists(CELLS | SIGNS, max_size=40).map("".join))
@example('7,8\n"' + "x" * 200_000)
@example("7," * 100_000)
def test_no_rows_raise_anything_else(rows: str) -> None:
    assert_is_read_or_refused_in_lines(f"start,end\n{rows}".encode(errors="replace"))


@ON_DISK
@given(st.lists(CELLS | SIGNS, max_size=20).map("".join))
def test_no_header_raises_anything_else(rows: str) -> None:
    assert_is_read_or_refused_in_lines(rows.encode(errors="replace"))


HEADERS = st.sampled_from(
    [
        "start,end",
        "start;duration",
        "time,user,event",
        "time\tsessions\tcpu",
        "# start,end",
        "sep=;",
    ]
)
WORDS = (
    CELLS | SIGNS | st.sampled_from(["join", "leave", "login", "00:12:34", "5 min", "13/04/2026"])
)


@ON_DISK
@given(HEADERS, st.lists(WORDS, max_size=40).map("".join), st.sampled_from(["utf-8", "utf-16"]))
def test_no_kind_of_table_raises_anything_else(header: str, rows: str, encoding: str) -> None:
    assert_is_read_or_refused_in_lines(f"{header}\n{rows}".encode(encoding, errors="replace"))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | CELLS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["start", "end", "session_info", "sessions", "a"]), inner)
    ),
    max_leaves=12,
)


@ON_DISK
@given(st.lists(JSON, min_size=1, max_size=3))
def test_no_json_raises_anything_else(documents: list[object]) -> None:
    text = "\n".join(map(json.dumps, documents))
    assert_is_read_or_refused_in_lines(text.encode())


@ON_DISK
@given(st.binary(max_size=60), st.integers(0, 60))
def test_no_gzip_data_raises_anything_else(damage: bytes, at: int) -> None:
    packed = gzip.compress(b"start,end\n" + b"1768206600,1768206700\n" * 3)
    assert_is_read_or_refused_in_lines(packed[:at] + damage + packed[at + len(damage) :])
