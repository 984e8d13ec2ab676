"""An example: a curve that each user bends with a slider of their own, and who serves it."""

from __future__ import annotations

import os

import numpy as np
from bokeh.io import curdoc
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Div, Slider
from bokeh.plotting import figure

x = np.linspace(0, 10, 500)
source = ColumnDataSource({"x": x, "y": np.sin(x)})
plot = figure(height=400, width=800, title="sin(f x)")
plot.line("x", "y", source=source, line_width=2)
frequency = Slider(start=0.1, end=10, value=1, step=0.1, title="f")


def bend(_attribute: str, _old: float, new: float) -> None:
    source.data = {"x": x, "y": np.sin(new * x)}


def tell() -> None:
    """Name the pod of this session, and how many sessions its process has."""
    count = len(context.server_context.sessions)
    where.text = f"Pod <b>{os.environ.get('HOSTNAME', 'this machine')}</b>, {count} sessions"


context = curdoc().session_context
where = Div()
if context is not None:  # the page is served, and not rendered to a file
    curdoc().add_periodic_callback(tell, 1000)
frequency.on_change("value", bend)
curdoc().add_root(column(where, frequency, plot))
curdoc().title = "Example"
