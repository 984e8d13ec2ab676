"""One step of an adoption, and the commands that steps are made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

from autoscaler.adoption.plan import Adoption


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it is called, what to know of it, and its commands."""

    title: str
    text: str
    commands: tuple[str, ...] = ()


def apply(folder: str, part: str) -> str:
    """Return the command that applies a part of the written folder."""
    return f"kubectl apply -k {quote(f'{folder}/{part}')}"


def kubectl(adoption: Adoption, command: str) -> str:
    """Return a command of kubectl in the app's namespace."""
    return f"kubectl -n {adoption.app.ref.namespace} {command}"
