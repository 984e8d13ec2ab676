"""The plots of the page: the band of the forecast, and what a newer look changes in them."""

from __future__ import annotations

from math import isnan
from typing import Any

from bokeh.models import Range1d

from autoscaler.core.forecast import SLOT
from autoscaler.dashboard.plots import live_plots, refresh
from autoscaler.simulation.foreseen import Foreseen
from autoscaler.simulation.live import Recorded, timeline_of

START = 1_800_000_000
SLOTS = [
    Foreseen(START, came=4.0, expected=5.0, allowed=13.0),
    Foreseen(START + SLOT, came=None, expected=None, allowed=None),
]


def plots(sessions: int, slots: list[Foreseen]) -> list[Any]:
    series = {("pod-a",): {START: float(sessions), START + 15: float(sessions)}}
    recorded = Recorded(START, START + 15, 15, series, {}, {}, {}, {}, {})
    timeline = timeline_of(recorded, 10, timezone="UTC")
    return live_plots(timeline, recorded, slots, Range1d(0, 1))


def test_the_band_covers_each_slot_from_its_beginning_to_its_end() -> None:
    band = plots(3, SLOTS)[-1].renderers[0]

    data = band.data_source.data
    begin, end = START * 1_000, (START + SLOT) * 1_000
    assert list(data["x"]) == [begin, end, end, (START + 2 * SLOT) * 1_000]
    assert [*data["expected"][:2], *data["allowed"][:2]] == [5, 5, 13, 13]
    assert all(map(isnan, (*data["expected"][2:], *data["allowed"][2:], *data["came"][2:])))
    assert (band.glyph.y1, band.glyph.y2) == ("expected", "allowed")


def test_a_newer_look_changes_the_data_and_keeps_the_plots() -> None:
    shown, newer = plots(3, []), plots(7, SLOTS)

    assert refresh(shown, newer)
    for old, new in zip(shown, newer, strict=True):
        pairs = zip(old.renderers, new.renderers, strict=True)
        assert all(a.data_source.data.keys() == b.data_source.data.keys() for a, b in pairs)
    sessions = shown[0].renderers[2].data_source.data["y"]
    assert list(sessions) == [7, 7]


def test_no_seats_are_drawn_where_nobody_knows_of_any() -> None:
    billed = {START + 30: 2.0, START + 45: 2.0}
    recorded = Recorded(START, START + 45, 15, {}, {}, {}, {("billed",): billed}, {}, {})

    shown = live_plots(timeline_of(recorded, 5, timezone="UTC"), recorded, [], Range1d(0, 1))

    area = shown[0].renderers[0].data_source.data
    assert (area["x"][0], area["x"][1]) == (START * 1_000, (START + 30) * 1_000)
    assert area["y"][:2] == [0, 10]


def test_plots_of_another_number_cannot_be_refreshed() -> None:
    assert not refresh([], plots(3, []))
