"""The whole adoption: what changes, which files say so, and what is left to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from autoscaler.adapters.kubernetes.pods import ROUTABLE, Json, pod_labels
from autoscaler.adapters.policies.yaml_writing import block_text
from autoscaler.adapters.shipped import Shipped
from autoscaler.adoption.app import App, Choices, UnclearError, after, is_of_proxy
from autoscaler.adoption.merge import merged
from autoscaler.adoption.pods import pod_patch
from autoscaler.adoption.routes import (
    adopted_name,
    moved_labels,
    pod_selector,
    proxied,
    proxy_switch,
    service_patches,
    switched,
)
from autoscaler.doctor.examine import examine
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding
from autoscaler.doctor.manifests import selects

# What `doctor` finds where an app has not been adopted, or only in part.
_LACKING = frozenset(
    {
        *("label-missing-from-template", "label-missing-from-service", "no-exporter"),
        *("no-launcher", "label-in-deployment-selector", "grace-too-short"),
        *("probe-creates-sessions", "strategy-recreate"),
    }
)


@dataclass(frozen=True, slots=True)
class Adoption:
    """What was decided.

    name: of the adopted Deployment. patch: of the Deployment. to_pods: what changes in the spec of
    each Service so that it leads to the adopted pods, by its name. to_proxy: the same for the
    Service that leads to the sticky proxy instead. services: after these changes. selector: of the
    adopted pods. budgets: that are new. proxies: the Services of the sticky proxy. found: what
    `doctor` will say of the result.
    """

    app: App
    choices: Choices
    name: str
    patch: Json
    deployment: Json
    to_pods: Mapping[str, Json]
    to_proxy: Mapping[str, Json]
    services: tuple[Json, ...]
    selector: Mapping[str, str]
    budgets: tuple[Json, ...]
    proxies: tuple[Json, ...]
    found: tuple[Finding, ...]

    @property
    def switches(self) -> Mapping[str, Json]:
        """What changes in the spec of each Service in the end, by its name."""
        return {**self.to_pods, **self.to_proxy}

    @property
    def diff(self) -> tuple[str, ...]:
        """The lines of a unified diff of each object that changes or is new."""
        pairs: list[tuple[Json | None, Json]] = [(self.app.deployment, self.deployment)]
        pairs += zip(self.app.services, self.services, strict=True)
        pairs += [(None, each) for each in (*self.budgets, *self.proxies)]
        return tuple(line for pair in pairs for line in _diff(*pair))


def is_adopted(facts: Facts) -> bool:
    """Return whether an app that was seen lacks nothing that an adoption would add."""
    return _LACKING.isdisjoint(each.id for each in examine([facts]))


def adopt(app: App, choices: Choices, ours: Shipped) -> Adoption:
    """Return the adoption of an app. Raises UnclearError."""
    name = adopted_name(app, choices)
    moved = moved_labels(app, choices, name)
    patch = pod_patch(app, choices, ours, name, moved)
    deployment = merged(app.deployment, patch)
    selector = pod_selector(app, choices, moved)
    if choices.sticky:
        _refuse_a_second_proxy(app, selector)
    routes = service_patches(app, moved)
    to_pods = {each: {"selector": changed} for each, changed in routes.items()}
    to_proxy = proxy_switch(app, routes, choices.sticky)
    services = switched(app, {**to_pods, **to_proxy})
    budgets = _budgets(app, deployment, None if choices.in_place else name, selector)
    proxies = proxied(ours.services, app, selector)
    seen = after(app, deployment, [*services, *proxies], budgets)
    found = examine([seen])
    if any(each.id == "label-in-deployment-selector" for each in found):
        raise UnclearError(
            f"Deployment {app.ref}: its selector has the routable label and cannot be changed; "
            "leave --in-place out, for a second Deployment"
        )
    return Adoption(
        app,
        choices,
        name,
        patch,
        deployment,
        to_pods,
        to_proxy,
        tuple(services),
        selector,
        tuple(budgets),
        () if choices.helm else tuple(proxies),  # the chart has them
        tuple(found),
    )


def _refuse_a_second_proxy(app: App, selector: Mapping[str, str]) -> None:
    """Raise UnclearError if the namespace has a sticky proxy that leads to the pods of others.

    The proxies have the same names in each namespace, so a second one would take the first one's
    users.
    """
    for service in (app.facts.cluster.services if app.facts.cluster else None) or ():
        led = {**(service["spec"].get("selector") or {})}
        led.pop(ROUTABLE, None)
        if is_of_proxy(service) and led != selector:
            labels = ", ".join(f"{key}={value}" for key, value in sorted(led.items()))
            raise UnclearError(
                f"namespace {app.ref.namespace} has a sticky proxy for the pods with {labels}, and "
                "has room for one: leave --sticky out, or delete the Service "
                f"{service['metadata']['name']} if nobody uses it"
            )


def _budgets(
    app: App, deployment: Json, own: str | None, selector: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the PodDisruptionBudget that the pods lack.

    own: the name of the one that an earlier adoption has created for the second Deployment.
    """
    name = deployment["metadata"]["name"]
    there = (app.facts.cluster.budgets if app.facts.cluster else None) or ()
    others = [each for each in there if each["metadata"]["name"] != own]
    if any(selects(each, pod_labels(deployment)) for each in others):
        return []  # of two that select a pod, Kubernetes evicts it by neither
    return [
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": app.ref.namespace},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": dict(selector)}},
        }
    ]


def _diff(before: Json | None, changed: Json) -> Iterator[str]:
    old = [] if before is None else block_text(before).splitlines()
    lines = unified_diff(
        old,
        block_text(changed).splitlines(),
        "nothing" if before is None else _title(before),
        _title(changed),
        lineterm="",
    )
    yield from lines


def _title(item: Json) -> str:
    meta = item["metadata"]
    return f"{item['kind']} {meta.get('namespace', '')}/{meta['name']}"
