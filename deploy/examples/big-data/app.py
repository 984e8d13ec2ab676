"""A galaxy to zoom into: `python -m panel serve app.py --setup warm.py`.

BIG_DATA_FOLDER holds the Parquet files; BIG_DATA_SERVICE is the address of the service that lists
single stars; DASK_SCHEDULER, such as tcp://scheduler:8786, has a Dask cluster hold the points.
"""

from __future__ import annotations

import asyncio
import html
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
from big_data.client import rows
from big_data.filters import parse_text
from big_data.problem import Problem
from big_data.store import MEASURES, POOL, store
from big_data.view import Span, View
from holoviews.plotting.bokeh.callbacks import RangeXYCallback
from holoviews.streams import Pipe, PlotSize, RangeXY

pn.extension()
hv.extension("bokeh")

SERVICE = os.environ.get("BIG_DATA_SERVICE", "")
FAULT = "that failed by a fault of this app: its log says how"
LARGEST = 2_000  # pixels, however large a page says that it is
RETRY = 3_000  # milliseconds, after what may mend itself: a scheduler that starts
SETTLE = 25  # milliseconds after the last turn of the wheel; Bokeh waits 500 until it tells us
RangeXYCallback.debounce = None  # HoloViews waits 100 more, for what `look` does without waiting


def settle(plot: Any, _element: hv.Element) -> None:
    """Ask for the next picture soon after a zoom."""
    plot.state.lod_timeout = SETTLE


LOOK = {
    "active_tools": ["pan", "wheel_zoom"],
    "bgcolor": "black",
    "cmap": "inferno",
    "clim": (0, 255),
    "hooks": [settle],
    "min_height": 400,
    "responsive": True,
    "toolbar": "above",
    "xlabel": "light years",
    "ylabel": "light years",
}


class Wish(NamedTuple):
    """All that a picture depends on, as far as the page knows it."""

    x: Span | None
    y: Span | None
    size: tuple[int | None, int | None]
    text: str
    measure: str

    def view(self) -> View:
        """All there is where the page says nothing. Raises Problem."""
        whole = store().whole(self.measure)
        width, height = (int(np.clip(pixels or 0, 0, LARGEST)) for pixels in self.size)
        return View(
            self.x or whole.x,
            self.y or whole.y,
            width or whole.width,
            height or whole.height,
            self.measure,
            parse_text(self.text, store().source().schema),
        )

    def draw(self) -> hv.Image:
        """The picture. Raises Problem."""
        return store().draw(self.view())

    def stars(self) -> pd.DataFrame:
        """Single points, from the service. Raises Problem."""
        return pd.DataFrame(rows(SERVICE, self.view()))


class Page:
    """What one user sees. Threads do the work, so nobody's click waits for another's picture."""

    def __init__(self) -> None:
        self.document = pn.state.curdoc
        self.filter = pn.widgets.TextInput(
            name="Filter", placeholder="brightness=11..&kind=O,B", width=280
        )
        self.colour = pn.widgets.Select(name="Colour", options=MEASURES, width=160)
        self.list = pn.widgets.Button(name="List stars in view", visible=bool(SERVICE))
        self.problem = pn.pane.Alert(alert_type="danger", visible=False)
        self.status = pn.pane.Markdown("Reading the points")
        self.table = pn.pane.DataFrame(pd.DataFrame(), index=False, visible=False)
        self.canvas = pn.Column(sizing_mode="stretch_both")
        self.picture, self.range, self.size = Pipe(), RangeXY(), PlotSize()
        self.drawing: Wish | None = None
        self.drawn: Wish | None = None
        self.may_mend = self.retrying = False
        self.tasks: set[asyncio.Task[None]] = set()
        if first := store().first():
            self._open(first)
            self.drawn = self.wish()
        self._listen()

    def _open(self, first: hv.Image) -> None:
        """Show a plot; until the points are there, nobody knows where its axes begin."""
        self.picture = Pipe(data=first)
        plot = hv.DynamicMap(lambda data: data, streams=[self.picture])
        plot = plot.opts(hv.opts.Image(**LOOK))
        self.range, self.size = RangeXY(source=plot), PlotSize(source=plot)
        for stream in (self.range, self.size):
            stream.add_subscriber(lambda **_: self.look())
        self.canvas[:] = [pn.pane.HoloViews(plot, sizing_mode="stretch_both")]
        self.status.object = f"{store().source().rows:,} stars"

    def _listen(self) -> None:
        for widget in (self.filter, self.colour):
            widget.param.watch(lambda _: self.look(), "value")
        self.list.on_click(lambda _: self.list_stars())
        pn.state.onload(self.look)

    def layout(self) -> pn.Column:
        """The whole page."""
        controls = pn.Row(self.filter, self.colour, self.list, self.status)
        return pn.Column(
            controls, self.problem, self.canvas, self.table, sizing_mode="stretch_both"
        )

    def wish(self) -> Wish:
        """What the page wants to see now."""
        size = self.size.width, self.size.height
        return Wish(
            self.range.x_range, self.range.y_range, size, self.filter.value, self.colour.value
        )

    def look(self) -> None:
        """Draw what is wanted now; while that is being done, only the last further wish counts."""
        wish = self.wish()
        if self.drawing is None and wish != self.drawn:
            self.drawing = wish
            self._work(wish.draw, partial(self._show, time.perf_counter()))

    def _show(self, began: float, image: hv.Image | None) -> None:
        self.drawn, self.drawing = self.drawing, None
        if image is not None:
            if not self.canvas:
                self._open(image)
            self.picture.send(image)
            spent = time.perf_counter() - began
            self.status.object = f"{store().source().rows:,} stars, drawn in {1e3 * spent:.0f} ms"
        elif self.may_mend and not self.retrying:
            self.retrying = True
            self.document.add_timeout_callback(self._retry, RETRY)
        self.look()

    def _retry(self) -> None:
        self.retrying, self.drawn = False, None
        self.look()

    def list_stars(self) -> None:
        """Have the service say which stars these are."""
        self._work(self.wish().stars, self._tell_stars)

    def _tell_stars(self, stars: pd.DataFrame | None) -> None:
        self.table.visible = stars is not None
        if stars is not None:
            self.table.object = stars

    def _work(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Have a thread do it; then, back in the session, go on with the result or say why not."""
        # Not a callback of the future: what a thread adds to a document that Panel holds is lost.
        task = asyncio.get_running_loop().create_task(self._await(work, then))
        self.tasks.add(task)  # or it could be collected before its end
        task.add_done_callback(self.tasks.discard)

    async def _await(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        said, may_mend, result = "", False, None
        try:
            result = await asyncio.get_running_loop().run_in_executor(POOL, work)
        except Problem as problem:
            said, may_mend = problem.detail, problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        except Exception:
            logging.getLogger(__name__).exception("work for a page failed")
            said = FAULT
        self.document.add_next_tick_callback(partial(self._go_on, said, may_mend, then, result))

    def _go_on(self, said: str, may_mend: bool, then: Callable[[Any], None], result: Any) -> None:
        """With the session's lock. result: None if it failed; the page says so until the next."""
        self.problem.object = html.escape(said, quote=False)
        self.problem.visible = bool(said)
        self.may_mend = may_mend
        then(result)


Page().layout().servable(title="Galaxy")
