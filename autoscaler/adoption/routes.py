"""Which labels change, and the Services that select by them. Pure.

The pods of the second Deployment must not belong to the first one, and no Service may select them
before they are Ready. So a label of the Deployment's selector, and one of each Service's, gets
another value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from autoscaler.adapters.kubernetes.pods import ROUTABLE, Json, pod_labels
from autoscaler.adoption.app import App, Choices, UnclearError, others
from autoscaler.adoption.merge import REPLACE, merged
from autoscaler.doctor.checks_proxy import NAME_LABEL
from autoscaler.doctor.manifests import is_headless

_NUMBERED = re.compile(r"(.*)-(\d{1,4})")
# Of the API: labels, and names of Services that pods may bear as a label.
_LONGEST = 63
Labels = Mapping[str, str]


def next_name(name: str) -> str:
    """Return the name of the Deployment after this one: dashboards-2, dashboards-3."""
    found = _NUMBERED.fullmatch(name)
    first, number = (found[1], int(found[2]) + 1) if found else (name, 2)
    end = f"-{number}"
    return f"{first[: _LONGEST - len(end)]}{end}"


def adopted_name(app: App, choices: Choices) -> str:
    """Return the name of the adopted Deployment, which no other Deployment has.

    One that has it would be replaced by a copy of this app, and its users would lose their
    sessions; so would those of the first Deployment. Raises UnclearError.
    """
    own, wanted = app.ref.deployment, choices.name
    if choices.in_place:
        return own
    if wanted == own:
        raise UnclearError(
            f"--name {own} is the first Deployment, whose users would lose their sessions; set "
            "another name"
        )
    if wanted is not None:
        if _is_taken(wanted, app, choices):
            raise UnclearError(
                f"--name {wanted}: another Deployment of namespace {app.ref.namespace} has this "
                "name, or pods with such a label; set another name"
            )
        return wanted
    return _free(own, app, choices)


def _free(name: str, app: App, choices: Choices) -> str:
    """Return the first name after this one that no other Deployment or its pods bear."""
    name = next_name(name)
    while _is_taken(name, app, choices):
        name = next_name(name)
    return name


def _is_taken(name: str, app: App, choices: Choices) -> bool:
    return any(
        name == each["metadata"]["name"] or name in pod_labels(each).values()
        for each in others(app, choices)
    )


def moved_labels(app: App, choices: Choices, name: str) -> dict[str, str]:
    """Return the labels of the pods that get another value, for a Deployment of this name."""
    moved = {} if choices.in_place else _moved_labels(app, choices, name)
    if choices.sticky and choices.helm:  # the chart's proxy selects by this label alone
        found = {} if not choices.in_place else pod_labels(app.deployment)
        moved = {NAME_LABEL: found.get(NAME_LABEL, name), **moved}
    return moved


def _moved_labels(app: App, choices: Choices, name: str) -> dict[str, str]:
    labels = pod_labels(app.deployment)
    selector = app.deployment["spec"]["selector"]
    selectors = [each["spec"]["selector"] for each in app.services]

    def first(keys: Iterable[str]) -> str | None:
        """Return the key that most Services use, or of these the one that names the app."""
        fit = [key for key in keys if key in labels and key != ROUTABLE]
        return min(fit, key=rank, default=None)

    def rank(key: str) -> tuple[int, bool]:
        return -sum(key in each for each in selectors), labels[key] != app.ref.deployment

    chosen = {first(_keys(selector)) or "app"}
    for each in selectors:
        if not chosen & each.keys() and (key := first(each)):
            chosen.add(key)
    old = (None, app.ref.deployment)
    return {
        key: name if labels.get(key) in old else _free(labels[key], app, choices)
        for key in sorted(chosen)
    }


def _keys(selector: Json) -> list[str]:
    expressions = selector.get("matchExpressions") or ()
    return [*(selector.get("matchLabels") or {}), *(each["key"] for each in expressions)]


def pod_selector(app: App, choices: Choices, moved: Labels) -> dict[str, str]:
    """Return the labels by which all adopted pods, and only these, are selected."""
    if choices.sticky and choices.helm:
        return {NAME_LABEL: moved[NAME_LABEL]}
    return _own_selector(app, moved)


def _own_selector(app: App, moved: Labels) -> dict[str, str]:
    """Return the labels by which the Deployment selects its pods."""
    labels = {**pod_labels(app.deployment), **moved}
    keys = [key for key in _keys(app.deployment["spec"]["selector"]) if key != ROUTABLE]
    kept = {key: labels[key] for key in keys if key in labels}
    return kept or dict(moved)


def selector_patch(app: App, moved: Labels) -> dict[str, Any]:
    """Return the patch of the Deployment's selector."""
    selector, new = app.deployment["spec"]["selector"], _own_selector(app, moved)
    old = selector.get("matchLabels") or {}
    if selector.get("matchExpressions") or not old.keys() <= new.keys():
        return {**REPLACE, "matchLabels": new}
    return {"matchLabels": {key: value for key, value in new.items() if old.get(key) != value}}


def service_patches(app: App, moved: Labels) -> dict[str, dict[str, Any]]:
    """Return what changes in the selector of each Service, by its name.

    A headless one, which has cordoned pods on purpose, does not select by the routable label.
    """
    return {
        each["metadata"]["name"]: {
            **{key: moved[key] for key in each["spec"]["selector"] if key in moved},
            **({} if is_headless(each) else {ROUTABLE: "true"}),
        }
        for each in app.services
    }


def proxy_switch(
    app: App, routes: Mapping[str, Labels], kind: str | None
) -> dict[str, dict[str, Any]]:
    """Return what changes in the spec of the Service that leads users to the proxy, by its name.

    kind: of the sticky proxy. Empty without one, and if no Service can lead to one port of it.
    """
    for each in app.services if kind else ():
        spec = each["spec"]
        if is_headless(each) or len(spec.get("ports") or ()) != 1:
            continue
        name = each["metadata"]["name"]
        unset = dict.fromkeys((*spec["selector"], *routes[name]))
        changed: dict[str, Any] = {"selector": {**unset, NAME_LABEL: f"sticky-{kind}"}}
        ports = [{**spec["ports"][0], "targetPort": "http"}]
        return {name: changed if ports == spec["ports"] else {**changed, "ports": ports}}
    return {}


def reverse(service: Json, change: Json) -> dict[str, Any]:
    """Return the change of a Service's spec that reverts another one."""
    spec = service["spec"]
    back = {"selector": {key: spec["selector"].get(key) for key in change["selector"]}}
    return {**back, **({"ports": spec["ports"]} if "ports" in change else {})}


def switched(app: App, changes: Mapping[str, Json]) -> list[dict[str, Any]]:
    """Return the Services after the changes of their specs. Lists of ports are replaced."""
    return [
        {**each, "spec": {**each["spec"], **change, "selector": selector}}
        for each in app.services
        for change in [changes[each["metadata"]["name"]]]
        for selector in [merged(each["spec"]["selector"], change["selector"])]
    ]


def proxied(services: Iterable[Json], app: App, selector: Labels) -> list[dict[str, Any]]:
    """Return the Services of a sticky proxy as they lead to the app's pods.

    Their port is that of the pods, because nginx connects to that number.
    """
    port = {"name": "http", "port": app.port, "targetPort": app.target_port}
    return [
        {
            **each,
            "metadata": {**each["metadata"], "namespace": app.ref.namespace},
            "spec": {**each["spec"], "selector": {**selector, **_routable(each)}, "ports": [port]},
        }
        for each in services
    ]


def _routable(service: Json) -> dict[str, str]:
    return {key: v for key, v in service["spec"]["selector"].items() if key == ROUTABLE}
