"""The steps by which a sticky proxy starts, and users come to it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from shlex import quote
from typing import Any

from autoscaler.adoption import files
from autoscaler.adoption.plan import Adoption
from autoscaler.adoption.step import Step, apply, kubectl
from autoscaler.doctor.manifests import is_headless


def starting(adoption: Adoption, folder: str) -> Iterator[Step]:
    """Yield how the proxy starts, if one was chosen. folder: where the files are."""
    kind = adoption.choices.sticky
    if kind is None:
        return
    key = 'create secret generic sticky-haproxy --from-literal=COOKIE_KEY="$(openssl rand -hex 32)"'
    commands = [kubectl(adoption, key)] if kind == "haproxy" else []
    if not adoption.choices.helm:
        commands += [
            apply(folder, files.PROXY),
            kubectl(adoption, f"rollout status deployment/sticky-{kind}"),
        ]
    if not commands:
        return
    yield Step(
        "Create the sticky proxy's key" if adoption.choices.helm else "Start the sticky proxy",
        "The chart starts the proxy in the next step."
        if adoption.choices.helm
        else f"No user comes to it yet. {image(adoption, folder)}",
        tuple(commands),
    )


def image(adoption: Adoption, folder: str) -> str:
    """Return where the proxy's image comes from, and how to take it from elsewhere."""
    kind = adoption.choices.sticky
    own = f"registry.example.com/{kind}"
    if adoption.choices.helm:
        return f"Its image is `{kind}` of Docker Hub; for one of your registry, set `proxy.image`."
    place = f"{folder}/{files.PROXY}/{files.KUSTOMIZATION}"
    return (
        f"Its image is `{kind}` of Docker Hub; for one of your registry, add "
        f"`images: [{{name: {kind}, newName: {own}}}]` to {place}."
    )


def sending_users(adoption: Adoption) -> Iterator[Step]:
    """Yield how users come to the proxy: by its own Service, or by the app's."""
    kind = adoption.choices.sticky
    if kind is None:
        return
    yield Step(
        "Send users to the sticky proxy",
        f"Let your ingress or load balancer send users to the Service sticky-{kind}, port 80, in "
        "place of the app's. Users whose connection breaks then return to their session, also on a "
        f"cordoned pod.{_by_own_service(adoption)}",
    )


def _by_own_service(adoption: Adoption) -> str:
    """Return how the app's Service selects the proxy, if one such change is enough."""
    for each in adoption.services:
        spec, name = each["spec"], each["metadata"]["name"]
        if is_headless(each) or len(spec.get("ports") or ()) != 1:
            continue
        to_proxy = {"app.kubernetes.io/name": f"sticky-{adoption.choices.sticky}"}
        ports = [{**spec["ports"][0], "targetPort": "http"}]
        changed: dict[str, Any] = {"selector": {**dict.fromkeys(spec["selector"]), **to_proxy}}
        if ports != spec["ports"]:
            changed["ports"] = ports
        text = quote(json.dumps({"spec": changed}))
        command = kubectl(adoption, f"patch service {name} --type=merge --patch {text}")
        return (
            f" Or leave the address as it is, and let the Service {name} select the proxy: "
            f"`{command}`. Change {files.SERVICES}/{files.KUSTOMIZATION} in the same way, because "
            "its next apply would lead users to the pods again."
        )
    return ""
