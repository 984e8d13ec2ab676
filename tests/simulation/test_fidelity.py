"""The comparison of simulations with reality: how the distance is measured, and of what."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from autoscaler.simulation.timeline import Steps
from autoscaler.simulation.trace import Session
from tests.benchmarks.fidelity.report import wave_figures, wave_table
from tests.benchmarks.fidelity.trajectories import distance
from tests.benchmarks.fidelity.wave import Course, Recording, simulated

FOUR_THEN_TWO = Steps((0.0, 50.0), (4.0, 2.0))
# Sixty users come one after the other, and each stays for two minutes.
CROWD = tuple(Session(2.0 * number, 2.0 * number + 120.0) for number in range(60))
UNKNOWN = Course(Steps(), 0, 0, ())


@pytest.mark.parametrize(
    ("simulated_steps", "area", "difference"),
    [
        pytest.param(FOUR_THEN_TWO, 0.0, 0.0, id="the same trajectory"),
        pytest.param(Steps((0.0, 65.0), (4.0, 2.0)), 10.0, 10.0, id="later by 15 of 100 s"),
        pytest.param(Steps((0.0, 50.0), (2.0, 4.0)), 200 / 3, 0.0, id="as many at other times"),
        pytest.param(Steps((0.0,), (3.0,)), 100 / 3, 0.0, id="the mean all the time"),
    ],
)
def test_the_area_counts_every_difference_and_the_hours_only_their_sum(
    simulated_steps: Steps, area: float, difference: float
) -> None:
    apart = distance(FOUR_THEN_TWO, simulated_steps, 0.0, 100.0)

    assert apart.real == 300.0
    assert apart.area == pytest.approx(area)
    assert apart.difference == pytest.approx(difference)


def test_a_wave_that_went_as_simulated_is_as_far_away_as_seeds_are_from_each_other(
    tmp_path: Path,
) -> None:
    wave = Recording(300.0, UNKNOWN, CROWD, (4.0, 5.0, 9.0))
    wave = replace(wave, course=simulated(wave, seed=100))
    file = tmp_path / "wave.json"
    file.write_text(json.dumps(asdict(wave)))

    figures = wave_figures(Recording.read(file))

    assert Recording.read(file) == wave
    assert min(figures["differences"]) <= 0.0 <= max(figures["differences"])
    assert abs(figures["difference"]) < 10.0
    assert figures["real"]["peak replicas"] > 6
    assert any(line.startswith("refused") for line in wave_table(figures))


def test_a_wave_without_a_scale_up_is_no_longer_a_match() -> None:
    wave = Recording(300.0, Course(Steps((0.0,), (1.0,)), 0, 0, ()), CROWD, (4.0, 5.0, 9.0))

    figures = wave_figures(wave)

    assert figures["difference"] > 100.0
    assert "missed" in [*wave_table(figures)][-1]
