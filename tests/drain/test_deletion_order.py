"""The real ReplicaSet controller removes the pods that we say it will, or we do not say."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import yaml

from tests.drain.populations import Json, random_population
from tests.drain.shrinking import Shrinking
from tests.drain.victim_order import judge
from tests.lab.control_plane import ControlPlane

pytestmark = [pytest.mark.slow, pytest.mark.control_plane, pytest.mark.timeout(240)]

POPULATIONS = 100
NAMESPACE = "default"


def test_the_controller_removes_the_predicted_pods(
    replica_sets: ControlPlane, seed: int, show: Callable[[str], None]
) -> None:
    random = Random(seed)
    populations = [random_population(random, f"v{number}") for number in range(POPULATIONS)]

    outcomes = Shrinking(replica_sets, NAMESPACE).outcomes(populations)

    wrong, right, undetermined = judge(outcomes)
    show(
        f"DRAIN_SEED={seed}: {POPULATIONS} populations, {right} right, "
        f"{undetermined} undetermined, {len(wrong)} wrong"
    )
    assert not wrong, as_cases([each for each in outcomes if judge([each])[0]])


def as_cases(populations: list[Json]) -> str:
    """A file that `python -m tests.drain.victim_order` reads, one line a population."""
    lines = [
        yaml.safe_dump(each, default_flow_style=True, sort_keys=False, width=float("inf")).strip()
        for each in populations
    ]
    return "\n".join(["populations:", *(f"- {line}" for line in lines)])
