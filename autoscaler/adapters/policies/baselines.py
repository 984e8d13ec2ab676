"""Autoscalers to compare a policy with: an HPA, a ScaledObject, another policy, a static fleet.

Each becomes a policy without drains, so a simulation decides for it with the same code as for ours.
Like the real ones, it deletes whatever pods the ReplicaSet chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from autoscaler.adapters.policies.autoscalers import HPA, SCALED_OBJECT, Settings, autoscaler
from autoscaler.adapters.policies.foreign_lines import Lines
from autoscaler.adapters.policies.kinds import objects
from autoscaler.adapters.policies.policy_file import load_policy, policy_in, read_documents
from autoscaler.adapters.policies.yaml import Document
from autoscaler.errors import PolicyError
from autoscaler.policy import Policy
from autoscaler.policy.fields import MAX_REPLICAS
from exporter.texts import visible

STATIC = "static:"
# The sync period of the controller that evaluates HPAs, those of KEDA too.
HPA_INTERVAL = "15s"
# Seconds over which metrics-server measures the CPU of a pod, at its default resolution.
HPA_CPU_WINDOW = 15.0
_SHORT = {HPA: "HPA", SCALED_OBJECT: "KEDA"}


class Baseline(NamedTuple):
    """What a policy is compared with.

    left_out: settings that the simulation does not know. cpu_window: of the CPU that it reads, in
    seconds; None: as our policies. seats: sessions that one of its pods holds, which only our
    policies state; None: as many as a pod of the policy that it is compared with.
    """

    name: str
    policy: Policy
    left_out: tuple[str, ...] = ()
    cpu_window: float | None = None
    seats: int | None = None


def load_baselines(text: str, policy: Policy) -> list[Baseline]:
    """Return the baselines that `--against` names: all of a file, or static:N for N replicas.

    policy: the one to compare, whose target and session metric a static fleet has too. Raises
    PolicyError.
    """
    if text.startswith(STATIC):
        return [_static(policy, text)]
    path = Path(text)
    found = [each for document in read_documents(path) for each in _baselines(document, path)]
    if found:
        return found
    other = load_policy(path)  # which says what the file is instead
    return [_ours(other)]


def _ours(policy: Policy) -> Baseline:
    seats = policy.sessions.seats if policy.sessions else None
    return Baseline(f"policy {policy.name}", policy, seats=seats)


def _baselines(document: Document, path: Path) -> Iterator[Baseline]:
    """Yield the autoscalers of a document, and leave out all other objects. Raises PolicyError."""
    value = document.value
    if isinstance(value, dict) and "target" in value:
        yield _ours(policy_in(document, path))
        return
    for each, place in objects(value):
        if found := autoscaler(each):
            yield _baseline(Lines(visible(path), document, place), found.settings)


def _static(policy: Policy, text: str) -> Baseline:
    """Return the baseline of static:N. Raises PolicyError."""
    number = text.removeprefix(STATIC)
    if not re.fullmatch(r"[1-9]\d{0,5}", number, re.ASCII) or int(number) > MAX_REPLICAS:
        raise PolicyError(f"{visible(text)}: expected static:N with N from 1 to {MAX_REPLICAS}")
    return Baseline(f"static fleet of {number}", _fixed(policy, int(number)))


def _fixed(policy: Policy, replicas: int) -> Policy:
    sessions = {"type": "sessions", "seats": policy.sessions.seats if policy.sessions else 1}
    return Policy.model_validate(
        {
            "name": "static",
            "target": policy.target.model_dump(),
            "replicas": {"min": replicas, "max": replicas},
            "metrics": [sessions],
            "drain": "none",
        }
    )


def _baseline(lines: Lines, settings: Settings) -> Baseline:
    """Return the baseline for another autoscaler's settings. Raises PolicyError."""
    kind = _SHORT[settings.kind]
    metrics = [each.ours for each in settings.metrics if each.ours and each.is_load]
    left_out = [each.note for each in settings.metrics if not each.ours or not each.is_load]
    left_out += [each.text for each in settings.left_out]
    if not metrics and not settings.windows:
        lacking = "; ".join(left_out) or "it has none"
        raise PolicyError(f"{lines.file}: no metric of this {kind} can be simulated: {lacking}")
    if settings.low == 0:
        left_out.append("scaling to 0 replicas")
    value = {
        "name": "baseline",
        "target": {"namespace": "default", "deployment": "baseline"},
        "replicas": {"min": settings.least, "max": settings.high},
        # With windows alone, the minimum decides: a target that no load reaches.
        "metrics": metrics or [{"type": "sessions", "seats": 100_000}],
        "behavior": settings.behavior if settings.behavior is not None else {},
        "interval": HPA_INTERVAL,
        "drain": "none",
        "schedule": settings.windows,
    }
    policy = lines.policy(value, settings)
    name = settings.name if isinstance(settings.name, str) else Path(lines.file).name
    return Baseline(f"{kind} {visible(name)}", policy, tuple(left_out), HPA_CPU_WINDOW)
