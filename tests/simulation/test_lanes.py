"""Bars of replicas: a row for each that is there at a time, and no phase too short to be seen."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.simulation.lanes import Bar, bars
from autoscaler.simulation.timeline import Phase, PodLife

STARTING, SPARE, BUSY, DRAINING = Phase.STARTING, Phase.SPARE, Phase.BUSY, Phase.DRAINING


def life(number: int, *phases: tuple[float, Phase], ended_at: float | None = None) -> PodLife:
    return PodLife(number, list(phases), ended_at, served=7)


def test_a_row_is_used_again_after_the_end_of_its_replica() -> None:
    first = life(0, (0, BUSY), ended_at=50)
    second = life(1, (10, BUSY))
    third = life(2, (60, BUSY))

    assert [bar.lane for bar in bars([first, second, third], 0, 100, 0)] == [0, 1, 0]


def test_each_phase_is_a_bar_within_the_run() -> None:
    one = life(3, (-50, STARTING), (10, SPARE), (20, BUSY), (90, DRAINING))

    assert bars([one], 0, 100, 0) == [
        Bar(0, "pod-3", STARTING, 0, 10, 7),
        Bar(0, "pod-3", SPARE, 10, 20, 7),
        Bar(0, "pod-3", BUSY, 20, 90, 7),
        Bar(0, "pod-3", DRAINING, 90, 100, 7),
    ]


def test_a_moment_without_sessions_is_left_out() -> None:
    one = life(0, (0, BUSY), (40, SPARE), (41, BUSY), (80, SPARE))

    found = [(bar.phase, bar.start, bar.end) for bar in bars([one], 0, 100, shortest=5)]
    assert found == [(BUSY, 0, 80), (SPARE, 80, 100)]


lives = st.lists(
    st.builds(
        lambda start, steps, ends: (start, steps, ends),
        st.integers(0, 1_000),
        st.lists(st.integers(1, 100), min_size=1, max_size=6),
        st.booleans(),
    ),
    max_size=20,
)


@given(lives, st.integers(0, 60))
def test_bars_of_one_row_never_overlap_and_no_time_is_lost(found: list, shortest: int) -> None:
    made = []
    for number, (start, steps, ends) in enumerate(sorted(found)):
        at, phases = float(start), [(float(start), STARTING)]
        for index, step in enumerate(steps):
            at += step
            phases.append((at, (SPARE, BUSY)[index % 2]))
        made.append(PodLife(number, phases, at + 1 if ends else None))

    chart = bars(made, 0.0, 2_000.0, shortest)

    for lane in {bar.lane for bar in chart}:
        row = sorted((bar.start, bar.end) for bar in chart if bar.lane == lane)
        assert all(before[1] <= after[0] for before, after in pairwise(row))
    covered = sum(bar.end - bar.start for bar in chart)
    lived = sum((each.ended_at or 2_000.0) - each.phases[0][0] for each in made)
    assert abs(covered - lived) < 1e-6
