"""The simulated HPA has the replicas that the real HPA controller has, under the same load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.fidelity.controller import external_loads, measure
from tests.benchmarks.fidelity.report import AREA_GOAL, hpa_figures, hpa_table
from tests.lab.build import KUBERNETES, installed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.control_plane,
    pytest.mark.mostly_idle,
    pytest.mark.timing_sensitive,
    pytest.mark.timeout(300),
]

LOADS, SECONDS, PACE = 12, 60, 2
SYNC_PERIOD = 5.0  # seconds: as many syncs as in three minutes at the controller's default


@pytest.mark.skipif(installed(KUBERNETES) is None, reason="NO KUBERNETES CONTROL PLANE: make parts")
def test_the_area_between_both_trajectories_is_small(
    tmp_path: Path, seed: int, show: Callable[[str], None]
) -> None:
    loads = external_loads(seed, LOADS, SECONDS, PACE, SYNC_PERIOD)
    measure(loads, tmp_path)

    figures = hpa_figures(loads)

    told = f"{figures['area']:.2f} % apart, {figures['area_of_decisions']:.2f} % by decisions"
    show(f"HPA_SEED={seed}: {len(loads)} simulated curves of {SECONDS} s, {told}")
    # With so short a period, the time that a sync takes on a busy machine would weigh too much.
    assert figures["area_of_decisions"] < AREA_GOAL, "\n".join(hpa_table(figures))
