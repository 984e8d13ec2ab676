"""Kubernetes objects for tests, with defaults that can be overridden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROUTABLE = "bokeh-autoscaler/routable"
RESOURCES = {
    "requests": {"cpu": "500m", "memory": "256Mi"},
    "limits": {"cpu": "1", "memory": "512Mi"},
}


def deployment(
    name: str = "bokeh-app",
    replicas: int = 1,
    *,
    resources: Mapping[str, Mapping[str, str]] = RESOURCES,
    labels: Mapping[str, str] = {},
    annotations: Mapping[str, str] = {},
    **spec: Any,
) -> dict[str, Any]:
    """A Deployment of one container whose pods a Service would route to.

    labels, annotations: of the pods, beside ours. spec: fields of the Deployment's spec, such as
    `strategy` or `minReadySeconds`.
    """
    pod_labels = {"app": name, ROUTABLE: "true", **labels}
    container = {"name": "app", "image": "localhost/pause:1", "resources": dict(resources)}
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            # Without the routable label: cordoning a pod must not orphan it.
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": pod_labels, "annotations": dict(annotations)},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
            **spec,
        },
    }
