"""Apps that know nothing of us: what `autoscaler init` is given, and ways to vary it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Objects = list[Json]
Change = Callable[[Objects], object]
NAMESPACE = "bokeh"
ORIGIN = "--allow-websocket-origin=dashboards.example.com"

# By what the manifest says of the start: the container of the app.
BOKEH: Json = {"command": ["bokeh", "serve", "app.py"], "args": [ORIGIN]}
PANEL: Json = {"args": ["panel", "serve", "app.py", "--port=5006"]}
ONLY_CMD: Json = {}
SHELL: Json = {"command": ["sh", "-c", "cd /app && exec bokeh serve app.py"]}
SCRIPT: Json = {"command": ["python", "app.py"]}


def container(start: Mapping[str, Any], name: str = "app", port: int = 5006) -> Json:
    return {
        "name": name,
        "image": "registry.example.com/dashboards:1",
        **copy.deepcopy(dict(start)),
        "ports": [{"name": "http", "containerPort": port}],
        "resources": {
            "requests": {"cpu": "100m", "memory": "384Mi"},
            "limits": {"memory": "384Mi"},
        },
    }


def deployment(start: Mapping[str, Any] = BOKEH, name: str = "dashboards") -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container(start)]},
            },
        },
    }


def service(name: str = "dashboards", **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"app": "dashboards"},
            "sessionAffinity": "ClientIP",
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            **spec,
        },
    }


def app(start: Mapping[str, Any] = BOKEH, *changes: Change) -> Objects:
    """A Deployment and its Service, changed."""
    objects = [deployment(start), service()]
    for change in changes:
        change(objects)
    return objects


def pod(objects: Objects) -> Json:
    """The pod spec of the Deployment."""
    found: Json = objects[0]["spec"]["template"]["spec"]
    return found


def template_labels(objects: Objects) -> Json:
    found: Json = objects[0]["spec"]["template"]["metadata"]["labels"]
    return found


def write(folder: Path, objects: Objects) -> Path:
    file = folder / "app.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    return file


def beside(objects: Objects) -> None:
    """A proxy of the app's own in the same pod, to which the Service sends."""
    pod(objects)["containers"].insert(
        0,
        {
            "name": "oauth",
            "image": "oauth2-proxy",
            "args": ["--upstream=http://127.0.0.1:5006"],
            "ports": [{"name": "web", "containerPort": 4180}],
        },
    )
    objects[1]["spec"]["ports"][0]["targetPort"] = "web"


def page_probes(objects: Objects) -> None:
    """Probes that open the page, each with other numbers."""
    main = pod(objects)["containers"][0]
    page = {"path": "/app", "port": "http"}
    main["readinessProbe"] = {"httpGet": page, "initialDelaySeconds": 9}
    main["livenessProbe"] = {"httpGet": page, "periodSeconds": 45}
    main["startupProbe"] = {"httpGet": page, "failureThreshold": 90}


def exec_probes(objects: Objects) -> None:
    """Probes that create no session."""
    main = pod(objects)["containers"][0]
    main["readinessProbe"] = {"tcpSocket": {"port": "http"}, "periodSeconds": 3}
    main["livenessProbe"] = {"httpGet": {"path": "/healthz", "port": 5006}}


def two_services(objects: Objects) -> None:
    """One of them selects by another label of the pods; the third one is of others."""
    template_labels(objects)["tier"] = "web"
    objects.append(service("by-tier", selector={"tier": "web"}))
    objects.append(service("of-others", selector={"app": "reports"}))


def headless(objects: Objects) -> None:
    objects.append(service("names", clusterIP="None"))


def expressions(objects: Objects) -> None:
    """A selector without matchLabels."""
    chosen = {"key": "app", "operator": "In", "values": ["dashboards"]}
    objects[0]["spec"]["selector"] = {"matchExpressions": [chosen]}


def recommended_labels(objects: Objects) -> None:
    labels = {"app.kubernetes.io/name": "panel", "app.kubernetes.io/instance": "dashboards"}
    objects[0]["spec"]["selector"] = {"matchLabels": dict(labels)}
    objects[0]["spec"]["template"]["metadata"]["labels"] = {**labels, "team": "finance"}
    objects[1]["spec"]["selector"] = dict(labels)


def by_number(objects: Objects) -> None:
    """Ports without names."""
    pod(objects)["containers"][0]["ports"] = [{"containerPort": 8000}]
    objects[1]["spec"]["ports"] = [{"port": 80, "targetPort": 8000}]


def without_ports(objects: Objects) -> None:
    del pod(objects)["containers"][0]["ports"]


def with_protocol(objects: Objects) -> None:
    pod(objects)["containers"][0]["ports"] = [{"containerPort": 8000, "protocol": "TCP"}]


def named_http(objects: Objects) -> None:
    pod(objects)["containers"][0]["ports"] = [{"name": "http", "containerPort": 8000}]


def other_http(objects: Objects) -> None:
    pod(objects)["containers"][0]["ports"].append({"name": "http", "containerPort": 9000})


def port_named(name: str) -> Change:
    """Return the change by which Deployment and Service call the port so."""

    def change(objects: Objects) -> None:
        pod(objects)["containers"][0]["ports"][0]["name"] = name
        objects[1]["spec"]["ports"][0]["targetPort"] = name

    return change


def moved_to(namespace: str) -> Change:
    def change(objects: Objects) -> None:
        for each in objects:
            each["metadata"]["namespace"] = namespace

    return change


def recreated(objects: Objects) -> None:
    objects[0]["spec"]["strategy"] = {"type": "Recreate"}


def volumes(objects: Objects) -> None:
    """A volume and an init container of the app's own."""
    pod(objects)["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    main = pod(objects)["containers"][0]
    main["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]
    pod(objects)["initContainers"] = [{"name": "migrate", "image": "registry.example.com/db:1"}]


def as_user(objects: Objects) -> None:
    pod(objects)["containers"][0]["securityContext"] = {"runAsUser": 1000, "runAsNonRoot": True}


def restricted(objects: Objects) -> None:
    """As a namespace with the Pod Security Standard `restricted` wants it."""
    pod(objects)["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    [main] = pod(objects)["containers"]
    main["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def odd_texts(objects: Objects) -> None:
    """Values that readers of YAML take for something else if they are not in quotes."""
    texts = ("yes", "n", "1e3", "0o17", "0x1F", "1_000", "12:30:00", "null", "~", "", "a: b", "#")
    texts = (
        *texts,
        "  spaced ",
        "two\nlines\n",
        "two\nlines",
        "\ttab\n",
        "ünï",
        "- a",
        "2026-01-01",
    )
    pod(objects)["containers"][0]["env"] = [
        {"name": f"TEXT_{number}", "value": text} for number, text in enumerate(texts)
    ]


def label_in_selector(objects: Objects) -> None:
    routable = {"bokeh-autoscaler/routable": "true"}
    objects[0]["spec"]["selector"]["matchLabels"] |= routable
    template_labels(objects).update(routable)


# Whatever people have: each is adopted, in both ways unless the name says otherwise.
APPS: Mapping[str, Objects] = {
    "bokeh serve by command and args": app(),
    "panel serve by args alone": app(PANEL),
    "a shell that starts it": app(SHELL),
    "a Python script": app(SCRIPT),
    "a proxy in the same pod": app(BOKEH, beside),
    "probes that open the page": app(BOKEH, page_probes),
    "probes that create no session": app(BOKEH, exec_probes),
    "Services by different labels": app(BOKEH, two_services),
    "a headless Service too": app(BOKEH, headless),
    "a selector of expressions": app(BOKEH, expressions),
    "the recommended labels": app(BOKEH, recommended_labels),
    "ports by number": app(BOKEH, by_number),
    "pods that are recreated": app(BOKEH, recreated),
    "volumes and init containers": app(BOKEH, volumes),
    "another user": app(BOKEH, as_user),
    "texts that need quotes": app(BOKEH, odd_texts),
    "no Service": app()[:1],
}
