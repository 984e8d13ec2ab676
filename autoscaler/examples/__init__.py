"""Apps to try the autoscaler with. Served by Bokeh, never imported."""
