from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.simulation.timeline import StepRecorder, Steps, pieces

SERIES = st.lists(
    st.tuples(st.integers(0, 1_000), st.integers(0, 9)), min_size=1, max_size=200
).map(lambda entries: record(*sorted(entries)))


def record(*entries: tuple[float, float]) -> Steps:
    recorder = StepRecorder()
    for at, value in entries:
        recorder.set(at, value)
    return recorder.steps()


def test_only_changes_are_written_down():
    assert record((0, 1), (5, 1), (7, 2)) == ((0, 7), (1, 2))


def test_the_last_word_at_one_moment_counts():
    assert record((0, 1), (5, 2), (5, 3)) == ((0, 5), (1, 3))


def test_a_change_that_is_undone_at_the_same_moment_is_none():
    assert record((0, 1), (5, 0), (5, 1)) == ((0,), (1,))


def test_pieces_are_the_stretches_without_a_change():
    first, second = record((0, 1), (10, 2)), record((4, 5))
    assert list(pieces([first, second], 0, 12)) == [(4, (1, 0)), (6, (1, 5)), (2, (2, 5))]


def test_what_began_before_the_start_still_holds():
    assert list(pieces([record((-5, 3))], 0, 2)) == [(2, (3,))]


@given(SERIES, SERIES)
def test_pieces_cover_the_whole_span_whatever_the_series(first, second):
    assert sum(seconds for seconds, _ in pieces([first, second], 0, 1_500)) == 1_500


@given(SERIES, st.integers(8, 50))
def test_thinning_loses_neither_peak_nor_ends(series, limit):
    thin = series.thinned(limit)
    assert len(thin.times) <= max(limit, 8)
    assert set(zip(*thin, strict=True)) <= set(zip(*series, strict=True))
    assert (thin.times[0], thin.times[-1]) == (series.times[0], series.times[-1])
    assert (min(thin.values), max(thin.values)) == (min(series.values), max(series.values))


def test_short_series_stay_as_they_are():
    series = record((0, 1), (1, 2))
    assert series.thinned(2) is series
