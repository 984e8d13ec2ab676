"""Nothing that the daemon holds grows with time, whatever fails around it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks.soak import Held, fifths, grown
from tests.deploy.monitoring import ROOT

SHORT = ["--minutes", "10", "--policies", "20"]
SOAK = "import sys; from tests.benchmarks.soak import main; sys.exit(main(sys.argv[1:]))"
# Series of policies that are gone stay, as a daemon would have it that forgets to end them.
LEAK = "from autoscaler.reporting.series import Family; Family.keep = lambda *_: None"
NONE = Held(0.0, 0.0, 0.0, 0.0)


def soak(*lines: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "\n".join([*lines, SOAK]), *SHORT]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.slow
def test_ten_minutes_with_twenty_policies_and_random_faults_leave_nothing_behind() -> None:
    run = soak()

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == "nothing grew"


@pytest.mark.slow
def test_a_daemon_that_leaks_series_is_found_out() -> None:
    run = soak(LEAK)

    assert run.returncode == 1, run.stdout + run.stderr
    assert "series grew from" in run.stdout


def test_what_grows_after_the_second_fifth_of_the_time_is_named() -> None:
    samples = [Held(50.0 + number // 10, 4.0, 8.0, 900.0) for number in range(50)]

    periods = fifths(samples)

    assert [each.megabytes for each in periods] == [50.0, 51.0, 52.0, 53.0, 54.0]
    assert grown(periods, NONE) == ["megabytes grew from 51 to 54; 0 more are allowed"]
    assert grown(periods, NONE._replace(megabytes=3.0)) == []
