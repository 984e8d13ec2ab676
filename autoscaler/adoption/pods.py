"""The patch of the Deployment: launcher, sidecar, label, probes, grace. Pure.

Each part is there only where the app lacks it, so an app that is half adopted keeps what it has.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoscaler.adapters.kubernetes.inspection import option, words
from autoscaler.adapters.kubernetes.pods import ROUTABLE, Json
from autoscaler.adapters.shipped import Shipped
from autoscaler.adoption.app import App, Choices, UnclearError, user_of
from autoscaler.adoption.merge import REPLACE, merged
from autoscaler.adoption.routes import selector_patch
from autoscaler.doctor.checks_ending import needed_grace
from autoscaler.doctor.checks_server import is_quiet
from autoscaler.doctor.checks_trust import ROOT, refuses, sidecar_user, trusting
from autoscaler.doctor.manifests import (
    SERVE,
    SHELLS,
    all_containers,
    apps,
    exporters,
    is_shell,
    launched,
    probes,
    run_as,
)
from exporter.agent.pod import IMAGE_UID, TRUSTED

# Options of a server without which a page that was away for a while is lost.
_PATIENT = ("--session-token-expiration", "--unused-session-lifetime")
_SERVERS = ("bokeh", "panel")


def pod_patch(
    app: App, choices: Choices, ours: Shipped, name: str, moved: Mapping[str, str]
) -> dict[str, Any]:
    """Return the strategic merge patch that makes the adopted Deployment of what runs now.

    moved: labels with another value; none in place. Raises UnclearError.
    """
    spec: dict[str, Any] = {"template": _template(app, choices, ours, moved)}
    if not choices.in_place:
        spec = {"selector": selector_patch(app, moved), **spec}
    if app.deployment["spec"].get("paused"):
        spec = {"paused": None, **spec}  # or no pod would start
    if strategy := _strategy(app.deployment["spec"].get("strategy") or {}):
        spec = {"strategy": strategy, **spec}
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": spec,
    }
    if choices.in_place:
        return patch
    labels = app.deployment["metadata"].get("labels") or {}
    own = {key: value for key, value in moved.items() if key in labels}
    return patch | {"metadata": {"name": name, **({"labels": own} if own else {})}}


def _strategy(found: Json) -> dict[str, Any]:
    """Return what makes a new pod Ready before an old one ends."""
    rolling = found.get("rollingUpdate") or {}
    gradual = {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}
    if found.get("type") == "Recreate":
        return {"type": "RollingUpdate", **gradual}
    if rolling.get("maxUnavailable", "25%") in (0, "0%"):
        return {}
    surge = rolling.get("maxSurge", "25%")
    return {"rollingUpdate": {"maxUnavailable": 0}} if surge not in (0, "0%") else gradual


def _template(
    app: App, choices: Choices, ours: Shipped, moved: Mapping[str, str]
) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    container: dict[str, Any] = {"name": app.container["name"]}
    started: list[Any] = []
    if not _has_launcher(app, choices):
        container |= _launch(app.container, choices, ours)
        if choices.zero_touch:
            copied = _renamed_volumes(app, ours.agent["spec"]["template"]["spec"])
            started += [_with_image(each, choices) for each in copied["initContainers"]]
            container["volumeMounts"] = copied["containers"][0]["volumeMounts"]
            spec["volumes"] = copied["volumes"]
    if not exporters(app.deployment["spec"]["template"]["spec"], app.facts.exporter_port):
        started.append(_exporter(app, choices, ours))
    started = [{**each, "name": free_name(each["name"], container_names(app))} for each in started]
    named = _named_port(app) if choices.sticky and choices.helm else {}
    container |= named.pop(container["name"], {})
    container |= _goodbye(app.container, ours) | _probes(app, ours)
    if started:
        spec = {"initContainers": started, **spec}
    container |= _trust(app, choices, merged(app.deployment["spec"]["template"]["spec"], spec))
    changed = [container] if len(container) > 1 else []
    if changed := [*changed, *({"name": name, **each} for name, each in named.items())]:
        spec["containers"] = changed
    patch = {"metadata": {"labels": {**moved, ROUTABLE: "true"}}, "spec": spec}
    changed = merged(app.deployment, {"spec": {"template": patch}})
    cluster = app.facts.cluster and replace(app.facts.cluster, deployment=changed)
    grace, needed = needed_grace(replace(app.facts, cluster=cluster))
    if grace < needed:
        patch["spec"] = {"terminationGracePeriodSeconds": needed, **spec}
    return patch


def free_name(name: str, taken: Container[str]) -> str:
    """Return the name of a container or a volume of ours, another one if the app has it.

    Kubernetes refuses two containers of one name, and a patch would be merged into the app's.
    """
    while name in taken:
        name = f"bokeh-{name}"
    return name


def container_names(app: App) -> set[str]:
    """Return the names of all containers of the app's pods."""
    return {each["name"] for each in all_containers(app.deployment["spec"]["template"]["spec"])}


def _renamed_volumes(app: App, copied: Json) -> dict[str, Any]:
    """Return what copies the launcher into the pod, with a volume that the app does not have."""
    own = {v["name"] for v in app.deployment["spec"]["template"]["spec"].get("volumes") or ()}

    def renamed(item: Json) -> dict[str, Any]:
        return {**item, "name": free_name(item["name"], own)}

    def mounting(container: Json) -> dict[str, Any]:
        return {**container, "volumeMounts": list(map(renamed, container["volumeMounts"]))}

    kinds = ("initContainers", "containers")
    mounted = {kind: list(map(mounting, copied[kind])) for kind in kinds}
    return {**copied, **mounted, "volumes": list(map(renamed, copied["volumes"]))}


def _named_port(app: App) -> dict[str, dict[str, Any]]:
    """Return what calls the port of the users http, as the chart's proxy does, by its container.

    Raises UnclearError if that name is taken, or if the Services need another one.
    """
    name, every = "http", apps(app.facts)
    ports = {each["name"]: list(each.get("ports") or ()) for each in every}
    there = next((p for listed in ports.values() for p in listed if p.get("name") == name), None)
    if app.target_port == name or (there is not None and there["containerPort"] == app.port):
        return {}
    if there is not None or isinstance(app.target_port, str):
        taken = f"another port of the pod, {there['containerPort']}, is" if there else "it is not"
        raise UnclearError(
            f"the chart's proxy connects to a port called http, and users to {app.target_port}: "
            f"{taken} called so; leave --helm out, for a proxy that connects to {app.target_port}"
        )
    for owner, listed in ports.items():
        for each in listed:
            if each["containerPort"] == app.port:
                return {owner: {"ports": [{**each, "name": name}]}}
    return {app.container["name"]: {"ports": [{"name": name, "containerPort": app.port}]}}


def _has_launcher(app: App, choices: Choices) -> bool:
    """Return whether the launcher starts the app already: in an image of ours, by ENTRYPOINT."""
    by_image = not choices.zero_touch and not app.container.get("command") and not choices.start
    return by_image or launched(app.container) is True


def _with_image(container: Json, choices: Choices) -> dict[str, Any]:
    return {**container, "image": choices.exporter_image}


def _launch(container: Json, choices: Choices, ours: Shipped) -> dict[str, Any]:
    """Return the command of the launcher, and the app's own as its arguments."""
    [copied] = ours.agent["spec"]["template"]["spec"]["containers"]
    launcher = copied["command"] if choices.zero_touch else ["bokeh-exporter", "launch", "--"]
    [shipped] = ours.app["spec"]["template"]["spec"]["containers"]
    return {"command": launcher, "args": _patient(_start(container, choices), shipped["args"])}


def _start(container: Json, choices: Choices) -> list[str]:
    """Return how the app starts. Raises UnclearError if only its image knows."""
    if choices.start:
        return list(choices.start)
    if container.get("command"):
        return list(words(container))
    args = list(container.get("args") or ())
    if args and (SERVE.search(args[0]) or args[0].rpartition("/")[2] in SHELLS):
        return args
    said = f"only its args ({' '.join(args)})" if args else "neither command nor args"
    raise UnclearError(
        f"container {container['name']}: the manifest has {said}, so its image decides how the app "
        "starts, and the launcher's `command` would discard that: say it with --start 'bokeh serve "
        f"app.py', the Entrypoint and Cmd that `docker inspect {container.get('image', 'IMAGE')}` "
        "prints"
    )


def _patient(start: list[str], shipped: Sequence[str]) -> list[str]:
    """Return a command of `bokeh serve` or `panel serve` with the options that it lacks."""
    if is_shell({"command": start}) or "serve" not in start:
        return start
    place = start.index("serve")
    if not any(word.rpartition("/")[2] in _SERVERS for word in start[:place]):
        return start
    lacking = [name for name in _PATIENT if option(start, name) is None]
    added = [f"{name}={option(shipped, name)}" for name in lacking]
    # Behind `serve`, because everything behind --args is for the app.
    return [*start[: place + 1], *added, *start[place + 1 :]]


def _exporter(app: App, choices: Choices, ours: Shipped) -> dict[str, Any]:
    """Return the sidecar, as a user who trusts the app's and whom the app answers."""
    [shipped] = ours.app["spec"]["template"]["spec"]["initContainers"]
    sidecar = _with_image(shipped, choices)
    user = user_of(app, choices)
    wanted = IMAGE_UID if user == ROOT else user
    if wanted not in (None, run_as(app.deployment["spec"]["template"]["spec"], IMAGE_UID)):
        sidecar["securityContext"] = {**shipped["securityContext"], "runAsUser": wanted}
    return sidecar


def _trust(app: App, choices: Choices, spec: Json) -> dict[str, Any]:
    """Return the variable by which the agents take notices from the user of the sidecar.

    spec: of the pod, with the sidecar.
    """
    of_sidecar = sidecar_user(spec, apps(app.facts), app.facts.exporter_port)
    if of_sidecar is None or not refuses(app.container, user_of(app, choices), of_sidecar):
        return {}
    known = (trusting(app.container) or {}).get("value")
    uids = ",".join([*([known] if known else []), str(of_sidecar)])
    return {"env": [{"name": TRUSTED, "value": uids}]}


def _goodbye(container: Json, ours: Shipped) -> dict[str, Any]:
    """Return the wait before SIGTERM, for nodes that still send new users."""
    if (container.get("lifecycle") or {}).get("preStop"):
        return {}
    [shipped] = ours.app["spec"]["template"]["spec"]["containers"]
    return {"lifecycle": shipped["lifecycle"]}


def _probes(app: App, ours: Shipped) -> dict[str, Any]:
    """Return the readiness that asks the sidecar, and no other probe that opens the page."""
    [shipped] = ours.app["spec"]["template"]["spec"]["containers"]
    ready, found = shipped["readinessProbe"], app.container.get("readinessProbe")
    changed: dict[str, Any] = {}
    if found is None or (found.get("httpGet") or {}).get("port") != app.facts.exporter_port:
        changed["readinessProbe"] = ready if found is None else {**REPLACE, **ready}
    for _, kind, handler, port, path in probes([app.container]):
        if kind != "readinessProbe" and not is_quiet(path):
            changed[kind] = {handler: None, "tcpSocket": {"port": port}}
    return changed
