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
from autoscaler.adapters.policies.files import load_policy, read_document
from autoscaler.adapters.policies.yaml import shown
from autoscaler.errors import PolicyError
from autoscaler.policy import Policy
from autoscaler.units import DAYS, ratio
from exporter.texts import visible

STATIC = re.compile(r"static:([1-9]\d{0,4})", re.ASCII)
# The sync period of the controller that evaluates HPAs, those of KEDA too.
HPA_INTERVAL = "15s"
# Seconds over which metrics-server measures the CPU of a pod, at its default resolution.
HPA_CPU_WINDOW = 15.0
_CRON = re.compile(r"(\d{1,2}) (\d{1,2}) \* \* ([0-7*](?:[-,][0-7])*)", re.ASCII)


class Baseline(NamedTuple):
    """What a policy is compared with.

    left_out: settings that the simulation does not know. cpu_window: of the CPU that it reads, in
    seconds; None: as our policies.
    """

    name: str
    policy: Policy
    left_out: tuple[str, ...] = ()
    cpu_window: float | None = None


def load_baseline(text: str, policy: Policy) -> Baseline:
    """Return the baseline that `--against` names: a file, or static:N for N replicas.

    policy: the one to compare, whose target and session metric a static fleet has too. Raises
    PolicyError.
    """
    if fixed := STATIC.fullmatch(text):
        return Baseline(f"static fleet of {fixed[1]}", _static(policy, int(fixed[1])))
    path = Path(text)
    value = read_document(path).value
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "HorizontalPodAutoscaler":
        return _baseline(path, "HPA", hpa_spec(value, _hpa_metric), [])
    if kind == "ScaledObject":
        return _baseline(path, "KEDA", *_with_windows(value))
    other = load_policy(path)
    return Baseline(f"policy {other.name}", other)


def _static(policy: Policy, replicas: int) -> Policy:
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


def _baseline(path: Path, kind: str, spec: ForeignSpec, windows: list[Any]) -> Baseline:
    """Return the baseline for another autoscaler's settings. Raises PolicyError."""
    left_out = tuple(spec.left_out)
    if not spec.metrics and not windows:
        lacking = "; ".join(left_out) or "it has none"
        raise PolicyError(f"{visible(path)}: no metric of this {kind} can be simulated: {lacking}")
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
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise PolicyError(f"{visible(path)}: {where}: {first['msg']}") from None
    name = spec.name if isinstance(spec.name, str) else path.name
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
    return found, windows


def _window(cron: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the window of a cron trigger that opens and closes daily; None for any other."""
    start, end = (_CRON.fullmatch(str(cron.get(key)).strip()) for key in ("start", "end"))
    days = [] if start is None else list(_days(start[3]))
    if start is None or end is None or not days:
        return None
    return {
        "days": days,
        "from": f"{int(start[2]):02}:{int(start[1]):02}",
        "to": f"{int(end[2]):02}:{int(end[1]):02}",
        "timezone": cron.get("timezone", "UTC"),
        "min": int(str(cron.get("desiredReplicas", 1))),
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
