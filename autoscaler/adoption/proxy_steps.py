"""The step by which a sticky proxy starts. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.adoption import files
from autoscaler.adoption.plan import Adoption
from autoscaler.adoption.step import Step, apply, kubectl
from autoscaler.adoption.writing import KUSTOMIZATION


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
    place = f"{folder}/{files.PROXY}/{KUSTOMIZATION}"
    return (
        f"Its image is `{kind}` of Docker Hub; for one of your registry, add "
        f"`images: [{{name: {kind}, newName: {own}}}]` to {place}."
    )
