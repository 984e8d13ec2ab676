"""One step of an adoption, and the commands that steps are made of. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote

from autoscaler.adapters.kubernetes.pods import Json, label_selector
from autoscaler.adoption.plan import Adoption


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it is called, what to know of it, and its commands."""

    title: str
    text: str
    commands: tuple[str, ...] = ()


def lines(heading: str, step: Step) -> Iterator[str]:
    """Yield the lines of a step on the page."""
    yield from (heading, "", step.text, "")
    if step.commands:
        yield from ("```sh", *step.commands, "```", "")


def apply(folder: str, part: str) -> str:
    """Return the command that applies a part of the written folder."""
    return f"kubectl apply -k {quote(f'{folder}/{part}')}"


def delete(folder: str, *parts: str) -> str:
    """Return the command that deletes what files or a part of the written folder created."""
    named = (f"{_option(each)} {quote(f'{folder}/{each}')}" for each in parts)
    return f"kubectl delete {' '.join(named)}"


def _option(part: str) -> str:
    return "-f" if part.endswith(".yaml") else "-k"


def kubectl(adoption: Adoption, command: str) -> str:
    """Return a command of kubectl in the app's namespace."""
    return f"kubectl -n {adoption.app.ref.namespace} {command}"


def patch_service(adoption: Adoption, name: str, change: Json) -> str:
    """Return the command that changes the spec of a Service."""
    text = quote(json.dumps({"spec": dict(change)}))
    return kubectl(adoption, f"patch service {name} --type=merge --patch {text}")


def in_pods(adoption: Adoption, script: str) -> str:
    """Return the command that runs a script of the shell in each of the old pods, by the app."""
    selector = label_selector(adoption.app.deployment["spec"]["selector"])
    found = kubectl(adoption, f"get pods -l {quote(selector)} -o name")
    look = f"exec POD -c {adoption.app.container['name']} -- sh -c {quote(script)}"
    return f"{found} | xargs -I POD {kubectl(adoption, look)}"


def sockets(port: int, state: str) -> str:
    """Return the pattern of the sockets of a port in a state, in /proc/net/tcp and tcp6."""
    return f":{port:04X} [0-9A-F:]* {state} "


def replicas(adoption: Adoption, name: str | None = None) -> str:
    """Return the command that prints the replicas of a Deployment, by default the first one."""
    shown = name or adoption.app.ref.deployment
    return kubectl(adoption, f"get deployment {shown} -o jsonpath='{{.spec.replicas}}'")
