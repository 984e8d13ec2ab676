"""Count the sessions, memory and load of a Bokeh server. Imports nothing from `autoscaler`."""
