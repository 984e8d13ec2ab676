"""PromQL label matchers of a target's pods."""

from __future__ import annotations

# The API server cuts what is before the random end of a pod's name to so many characters, and the
# hash of a ReplicaSet has up to ten.
LONGEST_STEM, HASH = 58, 10


def pods_of(namespace: str, deployment: str) -> str:
    """Return the matchers of a Deployment's pods, such as `namespace="bokeh",pod=~"app-..."`."""
    stem, ends = deployment[:LONGEST_STEM].replace(".", "[.]"), "-[^-]+-[^-]+"
    if len(deployment) + len("--") + HASH > LONGEST_STEM:  # a hyphen may have been cut off
        ends = "-?[^-]+(-[^-]+)?"
    return f'namespace="{namespace}",pod=~"{stem}{ends}"'
