"""The report of a run as one offline HTML page.

Only this package, `dashboard` and the demo's app import Bokeh.
It may import `simulation` and what is below it.
"""
