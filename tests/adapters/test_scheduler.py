"""Ticks and calendar edges, on a wall clock that is set while they run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.scheduler import Scheduler, calendar_edges
from tests.builders import policy
from tests.lab.processes import wait_until

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

TICKING = """
import select, sys
from autoscaler.adapters.scheduler import Scheduler
scheduler = Scheduler(lambda: print("tick", flush=True))
scheduler.start()
scheduler.plan(0.5)
select.select([sys.stdin], [], [], 60)
scheduler.stop(wait=True)
"""


def test_a_step_of_the_clock_is_seen_once() -> None:
    wall, steady = [1000.0], [0.0]
    clock = SystemClock(lambda: wall[0], lambda: steady[0])

    wall[0], steady[0] = 1005.0, 5.0
    assert clock.stepped() == 0.0

    wall[0], steady[0] = 4610.0, 10.0
    assert (clock.stepped(), clock.stepped()) == (3600.0, 0.0)


def test_a_slow_drift_is_no_step() -> None:
    wall, steady = [1000.0], [0.0]
    clock = SystemClock(lambda: wall[0], lambda: steady[0])
    wall[0], steady[0] = 1060.4, 60.0

    assert clock.stepped() == 0.0


def test_the_edges_of_a_window_are_when_its_bounds_change() -> None:
    window = {"from": "08:00", "to": "18:30", "timezone": "Europe/Berlin", "min": 3}

    assert calendar_edges(policy(schedule=[window])) == {
        ("8", "0", "Europe/Berlin"),
        ("18", "30", "Europe/Berlin"),
    }


@pytest.mark.slow
def test_a_slow_pass_is_neither_overlapped_nor_made_up_for() -> None:
    running, most, count = [0], [0], [0]

    def work() -> None:
        running[0] += 1
        count[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.5)
        running[0] -= 1

    scheduler = Scheduler(work)
    scheduler.start()
    began = time.monotonic()
    scheduler.plan(0.1)
    wait_until(lambda: count[0] >= 3, 60, "three passes")
    scheduler.stop(wait=True)
    passed = time.monotonic() - began

    assert most[0] == 1
    assert count[0] <= 1 + passed / 0.5


@pytest.mark.slow
def test_a_calendar_edge_brings_a_pass_of_its_own() -> None:
    passes: list[float] = []
    scheduler = Scheduler(lambda: passes.append(time.time()))
    edge = datetime.fromtimestamp(time.time() + 121, UTC).strftime("%H:%M")
    window = {"from": edge, "to": "00:00", "timezone": "UTC", "min": 3}
    scheduler.start()
    scheduler.plan(3600, [policy(schedule=[window])])
    planned = {job.id: job.next_run_time for job in scheduler._scheduler.get_jobs()}
    scheduler.plan(3600, [policy()])
    left = {job.id for job in scheduler._scheduler.get_jobs()}
    scheduler.stop(wait=True)

    hour, minute = edge.split(":")
    due = planned[f"{int(hour)} {int(minute)} UTC"]
    assert 0 < due.timestamp() - time.time() < 185
    assert left == {"tick"}


@pytest.mark.slow
@pytest.mark.skipif(FAKETIME is None, reason="NOT RUN: apt-get install faketime to step the clock")
@pytest.mark.parametrize("step", ["-3600", "+3600"], ids=["an hour back", "an hour forward"])
def test_ticks_go_on_when_the_clock_is_set(step: str, tmp_path: Path) -> None:
    setting = tmp_path / "clock"
    setting.write_text("+0\n")
    environment = {
        **os.environ,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    ticks = 0
    with subprocess.Popen(
        [sys.executable, "-c", TICKING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in process.stdout:
            ticks += 1
            if ticks == 3:
                setting.write_text(f"{step}\n")
            if ticks == 8:
                process.stdin.close()
                break
        assert process.wait(90) == 0

    assert ticks == 8, "a job that rests for the hour stays silent until the process gives up"
