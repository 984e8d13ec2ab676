"""Conversion of HPAs and ScaledObjects of KEDA to policy files, with what has no equivalent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any, NamedTuple

from autoscaler.adapters.policies.autoscalers import (
    HPA,
    NO_NAMESPACE,
    Note,
    Settings,
    autoscaler,
)
from autoscaler.adapters.policies.foreign_lines import Lines
from autoscaler.adapters.policies.foreign_metrics import ForeignMetric, MetricDict, listed, part
from autoscaler.adapters.policies.foreign_rest import rest
from autoscaler.adapters.policies.kinds import objects
from autoscaler.adapters.policies.scalars import shown
from autoscaler.adapters.policies.yaml import Document, path_text
from autoscaler.adapters.policies.yaml_writing import flow_text
from autoscaler.errors import PolicyError
from autoscaler.policy import Policy
from exporter.texts import visible

_NO_LABEL = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME, _WIDTH = 63, 98
_SPARE = {"refuse": "0.1%"}
_NO_SEATS = (
    "it scales by no sessions: set --seats N, the number of sessions that one pod may hold, or add "
    "a sessions metric, so that pods are added before users find no seat"
)
# Objects that scale too, and why there is no policy for them.
_OTHERS = {
    "HTTPScaledObject": "it scales by HTTP requests: write a policy with a sessions metric",
    "ScaledJob": "it starts Jobs, and the target of a policy is a Deployment",
    "VerticalPodAutoscaler": (
        "it sets requests and no replicas; if it changes requests, utilization of them changes too"
    ),
}
_FOR_ONE = "--deployment and --name are for one: convert each alone"
_NO_BEHAVIOR = (
    "behavior is not set: scale-ups have no rate limit here, where an HPA makes at most twice the "
    "pods, or 4, every 15 s."
)


class Conversion(NamedTuple):
    """The policy for another autoscaler. text: of its file. notes: one line each."""

    policy: Policy
    text: str
    notes: tuple[str, ...]


class Instead(NamedTuple):
    """What a policy has in place of what its autoscaler says, where one of them is not None.

    deployment: its target, such as the second Deployment of an adoption. name: of the policy.
    """

    deployment: str | None = None
    name: str | None = None


class Conversions(NamedTuple):
    """The policies for all autoscalers of a file.

    skipped: a line for each that can have none. others: kinds of the other objects.
    """

    found: tuple[Conversion, ...]
    skipped: tuple[str, ...]
    others: tuple[str, ...] = ()


def convert(
    documents: Iterable[Document],
    file: str,
    seats: int | None,
    instead: Instead = Instead(),  # noqa: B008 - it never changes
) -> Conversions:
    """Return a policy for each HPA and ScaledObject in the documents of a file.

    seats: sessions that one pod may hold; None: no session metric. Raises PolicyError, with a line
    for each problem, or if there are several policies and `instead` is for one.
    """
    found: list[tuple[Lines, Mapping[str, Any], Settings]] = []
    skipped, others = [], []
    for document in documents:
        for value, place in objects(document.value):
            each = autoscaler(value, instead.deployment)
            lines = Lines(file, document, place)
            if each is None:
                others.append(shown(value["kind"])[1:-1])
                if why := _OTHERS.get(value["kind"]):
                    skipped.append(_not_converted(lines, value, why))
            elif why := _no_policy(each.value, each.settings):
                skipped.append(lines.told(("kind",), why))
            else:
                lines.check()
                found.append((lines, each.value, each.settings))
    if len(found) > 1 and instead != Instead():
        raise PolicyError(f"{file}: has {len(found)} autoscalers, and {_FOR_ONE}")
    names = Counter(_name(each) for _, _, each in found)
    return Conversions(
        tuple(
            _conversion(*each, seats, instead.name, is_shared=names[_name(each[2])] > 1)
            for each in found
        ),
        tuple(skipped),
        tuple(dict.fromkeys(others)),
    )


def _not_converted(lines: Lines, value: Mapping[str, Any], why: str) -> str:
    """Return a line about an object that scales in another way than a policy."""
    name = part(value, "metadata").get("name")
    what = f"{value['kind']} {shown(name)[1:-1]}" if isinstance(name, str) else value["kind"]
    return lines.told(("kind",), f"{what}: not converted, {why}")


def _no_policy(value: Mapping[str, Any], settings: Settings) -> str:
    """Return why there is no policy for an autoscaler, or ""."""
    for owner in listed(part(value, "metadata"), "ownerReferences"):
        if owner.get("kind") == "ScaledObject":
            name = owner.get("name")
            return f"KEDA makes this HPA of the ScaledObject {name}: convert that in its place"
    kind = settings.target.get("kind")
    if kind is None:
        return "its scaleTargetRef has no kind, and the target of a policy is a Deployment"
    if kind != "Deployment":
        return f"it scales a {kind}, and the target of a policy is a Deployment"
    return ""


def _conversion(
    lines: Lines,
    value: Mapping[str, Any],
    settings: Settings,
    seats: int | None,
    name: str | None,
    *,
    is_shared: bool,
) -> Conversion:
    """Return the policy for one autoscaler. name: of the policy; None: the autoscaler's.

    is_shared: whether another one of the file has the same name. Raises PolicyError.
    """
    others = rest(value, settings)
    notes = [*_metric_notes(settings), *_left_out(settings), *others.notes]
    if seats is None:
        path = ("spec", "triggers" if settings.kind != HPA else "metrics")
        notes.append(Note(path, _NO_SEATS))
    sessions = [{"type": "sessions", "seats": seats, "spare": _SPARE}] if seats else []
    metrics = [*sessions, *settings.our_metrics]
    if not metrics:
        problems = [lines.told(*each) for each in notes]
        raise PolicyError("\n".join([*problems, f"{lines.file}: no metric is left: set --seats N"]))
    whole = {**_values(settings, metrics, name, is_shared=is_shared), **others.values}
    policy = lines.policy(whole, settings)
    text = "".join(f"{line}\n" for line in _file(settings, whole, seats))
    return Conversion(policy, text, tuple(lines.told(*each) for each in notes))


def _values(
    settings: Settings, metrics: Sequence[MetricDict], name: str | None, *, is_shared: bool
) -> dict[str, Any]:
    """Return the values of a policy file, valid or not, in their order."""
    own, namespace = _name(settings), settings.namespace or NO_NAMESPACE
    values: dict[str, Any] = {
        "name": name or (_label(f"{own}-{namespace}") if is_shared else own),
        "target": {"namespace": namespace, "deployment": settings.target.get("name")},
        "replicas": {"min": settings.least, "max": settings.high},
        "metrics": metrics,
    }
    if settings.behavior is not None:
        values["behavior"] = settings.behavior
    if settings.windows:
        values["schedule"] = settings.windows
    return values


def _name(settings: Settings) -> str:
    names = (settings.name, settings.target.get("name"))
    return _label(next((each for each in names if isinstance(each, str)), ""))


def _label(text: str) -> str:
    return _NO_LABEL.sub("-", text.lower())[:_LONGEST_NAME].strip("-") or "dashboards"


def _metric_notes(settings: Settings) -> Iterator[Note]:
    for each in settings.metrics:
        if text := _told(each):
            yield Note(each.path, text)


def _left_out(settings: Settings) -> list[Note]:
    return [Note(path, f"{what} is left out") for path, what in settings.left_out]


def _told(metric: ForeignMetric) -> str:
    """Return what to know of a metric: that it is left out, or how ours differs from it."""
    if metric.ours is None:
        return f"{metric.note} has no equivalent in a policy and is left out"
    if not metric.is_load:
        return f"{metric.note}: the query asks the exporters how much the pods use"
    return metric.note


def _file(settings: Settings, whole: Mapping[str, Any], seats: int | None) -> Iterator[str]:
    """Yield the lines of a policy file, with comments that say where its values are from."""
    namespace = f" in the namespace {settings.namespace}" if settings.namespace else ""
    yield from _comment(f"Converted from the {settings.kind} {_name(settings)}{namespace}.")
    yield from _comment(f"Delete the {settings.kind} when the daemon has this policy.")
    for key, value in whole.items():
        if key == "metrics":
            yield "metrics:"
            yield from _metrics(settings, seats)
        elif key == "schedule":
            yield "schedule:"
            yield from (f"  - {flow_text(each)}" for each in value)
        elif key == "behavior" and value:
            yield "behavior:"
            yield from (f"  {direction}: {flow_text(rules)}" for direction, rules in value.items())
        else:
            yield f"{key}: {flow_text(value)}"
    for path, told in _left_out(settings):
        yield from _comment(f"{path_text(path)}: decide: {told}")
    if settings.behavior is None:
        yield from _comment(_NO_BEHAVIOR)


def _metrics(settings: Settings, seats: int | None) -> Iterator[str]:
    if seats:
        yield from _comment("From --seats. Decide which free seats to keep (spare).", "  ")
        yield f"  - {flow_text({'type': 'sessions', 'seats': seats, 'spare': _SPARE})}"
    else:
        example = flow_text({"type": "sessions", "seats": 20, "spare": _SPARE})
        yield from _comment("Decide how many sessions one pod may hold, and add:", "  ")
        yield f"  # - {example}"
    for each in settings.metrics:
        told = _told(each)
        where = path_text(each.path)
        yield from _comment(f"{where}: decide: {told}" if told else where, "  ")
        if each.ours:
            yield from _metric(each.ours)


def _metric(ours: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a metric; a query has one for itself."""
    if "query" not in ours:
        yield f"  - {flow_text(ours)}"
        return
    for key, value in ours.items():
        has_quotes = key == "query" and value.isprintable() and '"' in value and "'" not in value
        text = f"'{value}'" if has_quotes else flow_text(value)
        yield f"  {'- ' if key == 'type' else '  '}{key}: {text}"


def _comment(text: str, indent: str = "") -> Iterator[str]:
    words = wrap(visible(text), _WIDTH - len(indent), break_on_hyphens=False)
    return (f"{indent}# {line}" for line in words)
