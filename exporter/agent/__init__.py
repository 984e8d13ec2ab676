"""The agent inside the Bokeh process.

It uses only the standard library and the app's own Bokeh and Tornado. It is loaded by file path
under a private name, so it must not import anything by the name `exporter`.
"""
