"""Counts Bokeh sessions, memory and load beside every server. Imports nothing of `autoscaler`."""
