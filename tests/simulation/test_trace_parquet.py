"""Parquet files, as databases and data frames write them."""

from __future__ import annotations

import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from autoscaler.adapters.traces import parquet
from autoscaler.adapters.traces.times import LocalClock
from tests.simulation.traces import minutes, problem, read, write

UTC, ZONED = "TIMESTAMP '2026-01-12 08:30:00'", "TIMESTAMPTZ '2026-01-12 09:30:00+01:00'"
HALF_AN_HOUR = "+ INTERVAL 30 MINUTE"


def written(folder: Path, columns: str, rows: int = 1) -> Path:
    """A Parquet file of equal rows, each with the columns of a SELECT."""
    duckdb = pytest.importorskip("duckdb")
    path = folder / "sessions.parquet"
    duckdb.sql(f"COPY (SELECT {columns} FROM range({rows})) TO '{path}' (FORMAT parquet)")
    return path


COLUMNS = {
    "without a zone": f"{UTC} AS start, {UTC} {HALF_AN_HOUR} AS end",
    "with a zone": f"{ZONED} AS started, {ZONED} {HALF_AN_HOUR} AS ended",
    **{
        f"as {kind}": f"({UTC})::{kind} AS start, ({UTC} {HALF_AN_HOUR})::{kind} AS end"
        for kind in ("TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S")
    },
    "numbers": "1768206600::BIGINT AS start, 1768208400.0::DOUBLE AS end",
    "texts": "'2026-01-12T08:30:00Z' AS start, '2026-01-12T09:00:00Z' AS end",
    "a duration": f"{ZONED} AS start, 30 AS duration_min",
    "a duration of a clock": f"{ZONED} AS start, TIME '00:30:00' AS duration",
    "other columns": f"[1, 2] AS list, {ZONED} AS start, {{'a': 1}} AS s, 1800 AS duration",
}


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
def test_a_parquet_file_is_read_whatever_type_its_times_have(tmp_path, columns):
    assert minutes(read(written(tmp_path, columns))) == [(0, 30)]


def test_times_without_a_zone_are_local(tmp_path):
    berlin = LocalClock(ZoneInfo("Europe/Berlin"), "as asked")
    trace = read(written(tmp_path, COLUMNS["without a zone"]), clock=berlin)
    assert minutes(trace) == [(-60, -30)]
    assert trace.note == "Its times have no offset and are interpreted as Europe/Berlin, as asked."


def test_a_missing_end_is_a_session_that_is_still_there(tmp_path):
    path = written(
        tmp_path, f"{ZONED} AS start, CASE range WHEN 0 THEN {ZONED} {HALF_AN_HOUR} END AS end", 2
    )
    assert minutes(read(path)) == [(0, 30), (0, 30)]


def test_a_row_that_cannot_be_used_is_told_with_its_number(tmp_path):
    path = written(tmp_path, "CASE range WHEN 1 THEN 'x' ELSE '5' END AS start, 7 AS end", 2)
    assert problem(path).startswith("F: row 2: start: 'x': expected ISO 8601")


def test_many_rows_come_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH", 7)
    assert len(read(written(tmp_path, "range AS start, range + 9 AS end", 20)).sessions) == 20


def test_a_name_with_a_pattern_is_a_name(tmp_path):
    path = written(tmp_path, COLUMNS["numbers"]).rename(tmp_path / "a*[b].parquet")
    assert minutes(read(path)) == [(0, 30)]


def test_a_damaged_file_is_refused(tmp_path):
    pytest.importorskip("duckdb")
    assert problem(write(tmp_path, b"PAR1" + bytes(100))).startswith(
        "F: cannot read the Parquet file: "
    )


def test_without_the_package_a_parquet_file_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert problem(write(tmp_path, b"PAR1")) == (
        "F: Parquet needs a package; run pip install '.[parquet]' in the checkout of"
        " bokeh-autoscaler, or export the table as CSV"
    )


def test_rows_that_are_left_out_are_told_by_their_numbers(tmp_path):
    path = written(tmp_path, "CASE range WHEN 1 THEN 'x' ELSE '5' END AS start, 7 AS end", 200)
    assert "(row 2: start: 'x': expected ISO 8601" in read(path).note
