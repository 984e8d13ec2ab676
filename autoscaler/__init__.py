"""Scales Bokeh and Panel Deployments by their sessions."""
