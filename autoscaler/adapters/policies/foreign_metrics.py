"""The metrics of an HPA and the triggers of a ScaledObject as metrics of a policy."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from autoscaler.adapters.kubernetes.quantities import milli
from autoscaler.adapters.policies.scalars import shown
from autoscaler.adapters.policies.yaml import Path
from autoscaler.adapters.prometheus.matchers import pods_of
from autoscaler.model import TargetRef

MetricDict = dict[str, Any]

# The pods' use of a resource in cores and bytes, as the exporters measure it.
_USED = {
    "cpu": "sum(max by (pod) (rate(bokeh_cpu_seconds_total{%s}[1m])))",
    "memory": "sum(max by (pod) (bokeh_memory_working_set_bytes{%s}))",
}
_OF_LIMIT = (
    "HPA and KEDA count memory in percent of the requests, a policy in percent of the limit: set a "
    "limit, and if it differs from the requests, multiply the utilization by requests / limit"
)
_OF_ADAPTER = (
    "an adapter in the cluster answers for this metric, and its name does not tell how: compare "
    "the query with the adapter's rule"
)
_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*", re.ASCII)
_NOT_IN_LABELS = re.compile(r"[^A-Za-z0-9_]")
_OPERATORS = {"In": "=~", "NotIn": "!~", "Exists": "!=", "DoesNotExist": "="}


class ForeignMetric(NamedTuple):
    """An entry of another autoscaler's metrics.

    ours: the metric of a policy; None if no policy can express it. note: why not, or how the two
    differ. is_load: whether a simulation, in which all load is sessions, can stand for it.
    """

    path: Path
    ours: MetricDict | None
    note: str = ""
    is_load: bool = True


def hpa_metric(entry: Mapping[str, Any], path: Path, target: TargetRef) -> ForeignMetric:
    """Return the metric of an HPA's entry, of any version of the API."""
    kind = str(entry.get("type"))
    details = part(entry, kind[:1].lower() + kind[1:])
    goal = part(details, "target")
    goals = {
        key: goal.get(key, details.get(f"target{key[:1].upper()}{key[1:]}"))
        for key in ("averageUtilization", "averageValue", "value")
    }
    metric = part(details, "metric")
    name = metric.get("name", details.get("metricName", details.get("name")))
    if kind in ("Resource", "ContainerResource"):
        percent, amount = goals["averageUtilization"], goals["averageValue"]
        return _resource(path, target, str(name), percent, amount, details.get("container"))
    selected, unnamed = _selected(part(metric, "selector"))
    in_namespace = [] if "namespace" in selected else [f'namespace="{target.namespace}"']
    matchers = {
        "Pods": [pods_of(*target)],
        "Object": [*in_namespace, *_of_object(details)],
        "External": in_namespace,
    }
    goals = {"perReplica": goals["averageValue"], "value": goals["value"]}
    found = {key: number for key in goals if (number := _quantity(goals[key])) is not None}
    if kind not in matchers or not isinstance(name, str) or not found:
        return ForeignMetric(path, None, f"{shown(kind)[1:-1]} metric {shown(name)}")
    chosen = next(iter(found))
    query = _sum(name, [*matchers[kind], *itertools.chain(*selected.values())])
    lost = [f"the label {shown(key)}, which PromQL cannot name, is left out" for key in unnamed]
    note = "; ".join([*lost, _OF_ADAPTER])
    return ForeignMetric(path, _query(query, chosen, found[chosen]), note)


def trigger_metric(trigger: Mapping[str, Any], path: Path, target: TargetRef) -> ForeignMetric:
    """Return the metric of a trigger of KEDA that is not a calendar."""
    kind, metadata = trigger.get("type"), part(trigger, "metadata")
    goal = trigger.get("metricType")
    if kind in ("cpu", "memory"):
        value = str(metadata.get("value"))
        is_share = "Utilization" in (goal, metadata.get("type"))
        percent = int(value) if is_share and re.fullmatch("[0-9]{1,4}", value) else None
        amount = None if is_share else value
        return _resource(path, target, kind, percent, amount, metadata.get("containerName"))
    if kind != "prometheus":
        return ForeignMetric(path, None, f"trigger {shown(kind)}")
    goal_text, query = metadata.get("threshold"), metadata.get("query")
    if not isinstance(query, str) or not query:
        return ForeignMetric(path, None, "a trigger without a query")
    threshold = _number(goal_text)
    if threshold is None:
        wrong = f"with a threshold that is no number above 0 ({shown(goal_text)})"
        why = "without a threshold" if goal_text is None else wrong
        return ForeignMetric(path, None, f"the query {shown(query)} {why}")
    key = "value" if goal == "Value" else "perReplica"
    return ForeignMetric(path, _query(query, key, threshold))


def one_of_a_kind(metrics: Iterable[ForeignMetric]) -> Iterator[ForeignMetric]:
    """Yield the metrics; of several for CPU or memory, a policy can have only the first."""
    kinds = set()
    for each in metrics:
        kind = each.ours["type"] if each.ours else "prometheus"
        if kind != "prometheus" and kind in kinds:
            yield each._replace(ours=None, note=f"a second {kind} metric")
            continue
        kinds.add(kind)
        yield each


def _resource(
    path: Path, target: TargetRef, name: str, percent: Any, amount: Any, container: Any
) -> ForeignMetric:
    """Return the metric of what the pods use, in percent of their requests or as an amount."""
    if name not in _USED:
        return ForeignMetric(path, None, f"the resource {shown(name)}, which nobody measures")
    notes = []
    if container:
        whose = "all containers of the pod" if name == "cpu" else "that which serves the app"
        notes.append(f"it counts only the container {shown(container)}, a policy {whose}")
    if type(percent) is int and 1 <= percent <= 1_000:
        notes += [_OF_LIMIT] if name == "memory" else []
        ours = {"type": name, "utilization": f"{percent}%"}
        return ForeignMetric(path, ours, "; ".join(notes))
    used = _quantity(amount)
    if used is None:
        wrong = f"with a percentage that is no whole number from 1 to 1000 ({shown(percent)})"
        why = "without a percentage" if percent is None else wrong
        return ForeignMetric(path, None, f"{shown(name)} {why}")
    notes.append(f"{shown(name)} without a percentage")
    query = _USED[name] % pods_of(*target)
    return ForeignMetric(path, _query(query, "perReplica", used), "; ".join(notes), is_load=False)


def _query(query: str, key: str, goal: float) -> MetricDict:
    number = int(goal) if goal.is_integer() else goal
    return {"type": "prometheus", "query": query, key: number}


def _number(value: Any) -> float | None:
    """Return the number that a text of KEDA says, which is at least a thousandth; else None."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 0.001 <= number <= 1e15 else None


def _quantity(value: Any) -> float | None:
    """Return a quantity of Kubernetes above 0, such as 500Mi; else None."""
    try:
        amount = milli(str(value))
    except ValueError:
        return None
    return amount / 1000 if amount > 0 else None


def _sum(name: str, matchers: list[str]) -> str:
    if _NAME.fullmatch(name):
        return f"sum({name}{{{','.join(matchers)}}})"
    return f"sum({{{','.join([f'__name__={_text(name)}', *matchers])}}})"


def _of_object(details: Mapping[str, Any]) -> list[str]:
    """Return the matcher by which an adapter finds the series of an object of Kubernetes."""
    described = part(details, "describedObject") or part(details, "target")
    kind, name = described.get("kind"), described.get("name")
    is_known = isinstance(kind, str) and kind.isascii() and kind.isalpha()
    return [f"{kind.lower()}={_text(name)}"] if isinstance(kind, str) and is_known else []


def _selected(selector: Mapping[str, Any]) -> tuple[Mapping[str, list[str]], list[str]]:
    """Return the matchers of a label selector by label, and the keys that are no labels."""
    matchers: dict[str, list[str]] = {}
    unnamed = []
    for key, matcher in _matchers(selector):
        label = _NOT_IN_LABELS.sub("_", key)
        if not label or label[0].isdigit():
            unnamed.append(key)
        else:
            matchers.setdefault(label, []).append(f"{label}{matcher}")
    return matchers, unnamed


def _matchers(selector: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each key of a label selector with what its value must be, such as `="a"`."""
    for key, value in part(selector, "matchLabels").items():
        yield key, f"={_text(value)}"
    for each in listed(selector, "matchExpressions"):
        operator, values = _OPERATORS.get(str(each.get("operator"))), each.get("values")
        if operator:
            words = map(re.escape, map(str, values)) if isinstance(values, list) else ()
            yield str(each.get("key")), f"{operator}{_text('|'.join(words))}"


def _text(value: Any) -> str:
    return json.dumps(str(value), ensure_ascii=False)


def without_nulls(value: Any) -> Any:
    """Return a value without the keys that are null, which are unset for the API server."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    return value


def part(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the mapping under a key; an empty one if there is none."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def listed(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the entries of the list under a key; an empty mapping for each that is none."""
    found = value.get(key)
    entries = found if isinstance(found, list) else []
    return [each if isinstance(each, dict) else {} for each in entries]
