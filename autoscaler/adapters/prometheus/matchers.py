"""PromQL label matchers of a target's pods."""

from __future__ import annotations


def pods_of(namespace: str, deployment: str) -> str:
    """Return the matchers of a Deployment's pods, such as `namespace="bokeh",pod=~"app-..."`."""
    return f'namespace="{namespace}",pod=~"{deployment.replace(".", "[.]")}-[^-]+-[^-]+"'
