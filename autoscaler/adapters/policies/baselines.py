"""Autoscalers to compare a policy with: an HPA, a ScaledObject, another policy, a static fleet.

Each becomes a policy without drains, so a simulation decides for it with the same code as for ours.
Like the real ones, it deletes whatever pods the ReplicaSet chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from autoscaler.adapters.policies.convert import (
    ForeignSpec,
    MetricDict,
    hpa_spec,
    listed,
    part,
    scaled_object_spec,
    trigger_metric,
    utilization,
)
from autoscaler.adapters.policies.files import load_policy, policy_in, read_documents
from autoscaler.adapters.policies.kinds import objects
from autoscaler.adapters.policies.messages import explain
from autoscaler.adapters.policies.yaml import Document, shown
from autoscaler.adapters.policies.yaml import Path as Keys
from autoscaler.errors import PolicyError
from autoscaler.policy import Policy
from autoscaler.policy.fields import MAX_REPLICAS
from autoscaler.units import DAYS, ratio
from exporter.texts import visible

STATIC = "static:"
# The sync period of the controller that evaluates HPAs, those of KEDA too.
HPA_INTERVAL = "15s"
# Seconds over which metrics-server measures the CPU of a pod, at its default resolution.
HPA_CPU_WINDOW = 15.0
_CRON = re.compile(r"(\d{1,2}) (\d{1,2}) \* \* ([0-7*](?:[-,][0-7])*)", re.ASCII)
_WHOLE = re.compile(r"[1-9]\d{0,8}", re.ASCII)


class Baseline(NamedTuple):
    """What a policy is compared with.

    left_out: settings that the simulation does not know. cpu_window: of the CPU that it reads, in
    seconds; None: as our policies.
    """

    name: str
    policy: Policy
    left_out: tuple[str, ...] = ()
    cpu_window: float | None = None


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
    return [Baseline(f"policy {other.name}", other)]


def _baselines(document: Document, path: Path) -> Iterator[Baseline]:
    """Yield the autoscalers of a document, and leave out all other objects. Raises PolicyError."""
    value = document.value
    if isinstance(value, dict) and "target" in value:
        policy = policy_in(document, path)
        yield Baseline(f"policy {policy.name}", policy)
        return
    for each, place in objects(value):
        lines = _Lines(visible(path), document, place)
        if each["kind"] == "HorizontalPodAutoscaler":
            yield _baseline(lines, "HPA", hpa_spec(each, _hpa_metric), [])
        elif each["kind"] == "ScaledObject":
            yield _baseline(lines, "KEDA", *_with_windows(each))


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


class _Lines(NamedTuple):
    """The lines of an object in a document of a file. place: the path of the object."""

    file: str
    document: Document
    place: Keys

    def told(self, error: ValidationError, keys: Mapping[Keys, Keys]) -> str:
        """Return what is wrong with the policy of the object. keys: of the object, by our paths."""
        lines = {ours: self.document.line((*self.place, *keys[ours])) for ours in keys}
        first = explain(error, Document(None, lines))[0]
        return ": ".join(filter(None, (f"{self.file}:{first.line}", first.path, first.message)))


# Where an object has what a policy has at these paths.
_KEYS: Mapping[str, Mapping[Keys, Keys]] = {
    "HPA": {
        (): ("spec",),
        ("replicas",): ("spec", "minReplicas"),
        ("replicas", "max"): ("spec", "maxReplicas"),
        ("metrics",): ("spec", "metrics"),
        ("behavior",): ("spec", "behavior"),
    },
    "KEDA": {
        (): ("spec",),
        ("replicas",): ("spec", "minReplicaCount"),
        ("replicas", "max"): ("spec", "maxReplicaCount"),
        ("metrics",): ("spec", "triggers"),
        ("schedule",): ("spec", "triggers"),
        ("behavior",): ("spec", "advanced"),
    },
}


def _baseline(lines: _Lines, kind: str, spec: ForeignSpec, windows: list[Any]) -> Baseline:
    """Return the baseline for another autoscaler's settings. Raises PolicyError."""
    left_out = tuple(spec.left_out)
    if not spec.metrics and not windows:
        lacking = "; ".join(left_out) or "it has none"
        raise PolicyError(f"{lines.file}: no metric of this {kind} can be simulated: {lacking}")
    low = 1 if spec.low == 0 else spec.low
    if spec.low == 0:
        left_out += ("scaling to 0 replicas",)
    value = {
        "name": "baseline",
        "target": {"namespace": "default", "deployment": "baseline"},
        "replicas": {"min": low, "max": spec.high},
        # With windows alone, the minimum decides: a target that no load reaches.
        "metrics": spec.metrics or [{"type": "sessions", "seats": 100_000}],
        "behavior": spec.behavior if spec.behavior is not None else {},
        "interval": HPA_INTERVAL,
        "drain": "none",
        "schedule": windows,
    }
    try:
        policy = Policy.model_validate(value)
    except ValidationError as error:
        raise PolicyError(lines.told(error, _KEYS[kind])) from None
    name = spec.name if isinstance(spec.name, str) else Path(lines.file).name
    return Baseline(f"{kind} {visible(name)}", policy, left_out, HPA_CPU_WINDOW)


def _hpa_metric(metric: Mapping[str, Any]) -> MetricDict | str:
    """Return the metric of an HPA's entry, or why it cannot be simulated.

    A simulated query returns the number of sessions, whatever the metric is called. A simulated
    pod's memory limit is its request, so percentages of both are the same.
    """
    kind = str(metric.get("type"))
    details = part(metric, kind[:1].lower() + kind[1:])
    target = part(details, "target")
    name = part(details, "metric").get("name", details.get("name"))
    if kind in ("Resource", "ContainerResource"):
        percent = target.get("averageUtilization")
        found = utilization("cpu", percent)
        if name in ("cpu", "memory") and isinstance(found, dict):
            return {**found, "type": name}
        return f"{shown(name)} without a percentage"
    for key, ours in (("averageValue", "perReplica"), ("value", "value")):
        with suppress(ValueError):
            return {"type": "prometheus", "query": str(name), ours: ratio(target.get(key))}
    return f"{shown(kind)[1:-1]} metric {shown(name)}"


def _with_windows(value: Mapping[str, Any]) -> tuple[ForeignSpec, list[Any]]:
    """Return the settings of a ScaledObject, and its cron triggers as windows of a schedule."""
    spec = part(value, "spec")
    triggers = listed(spec, "triggers")
    crons = [part(each, "metadata") for each in triggers if each.get("type") == "cron"]
    others = [each for each in triggers if each.get("type") != "cron"]
    found = scaled_object_spec({**value, "spec": {**spec, "triggers": others}}, trigger_metric)
    windows = [window for each in crons if (window := _window(each))]
    found.left_out.extend(["a cron trigger"] * (len(crons) - len(windows)))
    for window in windows:
        if isinstance(found.high, int) and window["min"] > found.high:
            above = f"the {window['min']} replicas of a cron trigger"
            found.left_out.append(f"{above} above maxReplicaCount ({found.high})")
            window["min"] = found.high  # as the HPA that KEDA makes
    return found, windows


def _window(cron: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the window of a cron trigger that opens and closes daily; None for any other."""
    start, end = (_CRON.fullmatch(str(cron.get(key)).strip()) for key in ("start", "end"))
    days = [] if start is None else list(_days(start[3]))
    replicas = str(cron.get("desiredReplicas", 1))
    if start is None or end is None or not days or not _WHOLE.fullmatch(replicas):
        return None
    return {
        "days": days,
        "from": f"{int(start[2]):02}:{int(start[1]):02}",
        "to": f"{int(end[2]):02}:{int(end[1]):02}",
        "timezone": cron.get("timezone", "UTC"),
        "min": int(replicas),
    }


def _days(field: str) -> Iterator[str]:
    """Yield the days of a cron field such as `1-5`, whose 0 and 7 are Sunday."""
    if field == "*":
        yield from DAYS
        return
    for item in field.split(","):
        first, _, last = item.partition("-")
        for number in range(int(first), int(last or first) + 1):
            yield DAYS[number - 1]
