"""The steps that change where the app's Services lead users. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.adoption import files
from autoscaler.adoption.plan import Adoption
from autoscaler.adoption.routes import reverse
from autoscaler.adoption.step import Step, patch_service

KEEPS = (
    "Do not apply your manifest of the Service for that: `kubectl apply` keeps the labels of the "
    "selector that a patch added, and no pod has both."
)


def switching(adoption: Adoption) -> Iterator[Step]:
    """Yield the one step that sends new users to the adopted pods, by the proxy if there is one."""
    if adoption.to_proxy:
        yield from to_proxy(adoption)
        return
    yield from to_pods(adoption)
    if adoption.choices.sticky:
        yield _by_ingress(adoption)


def to_pods(adoption: Adoption) -> Iterator[Step]:
    """Yield the step after which the Services select the adopted pods."""
    changes = {name: each for name, each in adoption.to_pods.items() if each["selector"]}
    if not changes:
        return
    if adoption.choices.in_place:
        text = "Not before the pods are rolled out: until then no pod has the label."
    else:
        text = "New users come to the new pods; open connections stay."
    yield _switch(adoption, f"Switch the Service{'s' if len(changes) > 1 else ''}", text, changes)


def to_proxy(adoption: Adoption) -> Iterator[Step]:
    """Yield the step after which users come to the sticky proxy."""
    if not adoption.to_proxy:
        yield _by_ingress(adoption)
        return
    kind, [name] = adoption.choices.sticky, adoption.to_proxy
    text = (
        f"The Service {name} leads to the proxy, so that the address stays; open connections stay "
        "too. Users whose connection breaks then return to their session, also on a cordoned pod. "
        f"Your ingress may name the Service sticky-{kind}, port 80, as well."
    )
    changes = {each: change for each, change in adoption.switches.items() if change["selector"]}
    yield _switch(adoption, "Send users to the sticky proxy", text, changes)


def back(adoption: Adoption) -> tuple[str, ...]:
    """Return the commands after which the Services are as they were before the adoption."""
    there = {each["metadata"]["name"]: each for each in adoption.app.services}
    return tuple(
        patch_service(adoption, name, reverse(there[name], change))
        for name, change in adoption.switches.items()
        if change["selector"]
    )


def _switch(adoption: Adoption, title: str, text: str, changes: Mapping[str, Json]) -> Step:
    undo = "\n".join(f"`{each}`" for each in back(adoption))
    return Step(
        title,
        f"{text} {files.SERVICES}/ has the same change. If something is wrong with the new pods, "
        f"switch back: {undo}\n{KEEPS}",
        tuple(patch_service(adoption, name, change) for name, change in changes.items()),
    )


def _by_ingress(adoption: Adoption) -> Step:
    return Step(
        "Send users to the sticky proxy",
        "Let your ingress or load balancer send users to the Service "
        f"sticky-{adoption.choices.sticky}, port 80, in place of the app's. Users whose connection "
        "breaks then return to their session, also on a cordoned pod.",
    )
