"""The agent inside the Bokeh process: standard library and the app's own Bokeh and Tornado only.

It is loaded by file path under a private name, so it must import nothing by the name `exporter`.
"""
