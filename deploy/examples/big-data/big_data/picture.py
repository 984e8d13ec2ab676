"""Points to pixels, by Datashader through HoloViews."""

from __future__ import annotations

import datashader as ds
import holoviews as hv
import numpy as np
from datashader.transfer_functions import eq_hist
from holoviews.operation.datashader import rasterize
from scipy.ndimage import grey_dilation

from big_data.view import Source, View, X, Y

SPARSE = 0.02  # of all pixels; with fewer than that in use each is made three by three
BINS = 4_096  # of the histogram: sixteen for each shade


def draw(source: Source, view: View) -> hv.Image:
    """The view in shades. Raises Problem."""
    with source.reading():
        raster = rasterize(
            hv.Points(source.frame(view), [X, Y], [view.measure] if view.measure else []),
            dynamic=False,
            aggregator=ds.mean(view.measure) if view.measure else ds.count(),
            x_range=view.x,
            y_range=view.y,
            width=view.width,
            height=view.height,
        )
    return image(shades(raster.dimension_values(2, flat=False)), view)


def shades(values: np.ndarray) -> np.ndarray:
    """0 where there is nothing, 1 to 255 by the rank of each value among the others.

    A browser takes half a second to do the same with Bokeh's EqHistColorMapper, and four times the
    bytes to get there.
    """
    empty = np.isnan(values) if values.dtype.kind == "f" else values == 0
    ranks, _ = eq_hist(values, mask=empty, nbins=BINS)
    levels = np.where(empty, 0, 1 + 254 * ranks).astype(np.uint8)
    return levels if empty.mean() < 1 - SPARSE else grey_dilation(levels, size=(3, 3))


def image(levels: np.ndarray, view: View) -> hv.Image:
    """Rows from the bottom up, as an element for the page."""
    bounds = (view.x[0], view.y[0], view.x[1], view.y[1])
    return hv.Image(levels[::-1], bounds=bounds, kdims=[X, Y], vdims=["shade"])
