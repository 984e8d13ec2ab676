"""A small Bokeh app for trying the autoscaler: `bokeh serve dashboard.py`."""

from math import pi, sin

from bokeh.io import curdoc
from bokeh.layouts import column
from bokeh.models import ColumnDataSource
from bokeh.models.widgets import Slider
from bokeh.plotting import figure

POINTS = 200

source = ColumnDataSource({"x": [i / POINTS for i in range(POINTS)], "y": [0.0] * POINTS})
plot = figure(title="A wave of your own", height=300, sizing_mode="stretch_width")
plot.line("x", "y", source=source, line_width=2)
frequency = Slider(title="Waves", start=1, end=20, value=3)


def draw(_attr: str, _old: float, new: float) -> None:
    """Compute the wave on the server, as dashboards do."""
    source.data = {**source.data, "y": [sin(2 * pi * new * x) for x in source.data["x"]]}


draw("value", 0, frequency.value)
frequency.on_change("value", draw)
curdoc().add_root(column(frequency, plot, sizing_mode="stretch_width"))
curdoc().title = "dashboard"
