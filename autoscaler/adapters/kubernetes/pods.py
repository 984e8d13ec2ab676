"""Conversion of the API server's pods to our values. Pure: plain JSON in, `PodState` out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import Any

from autoscaler.adapters.kubernetes.quantities import native_sidecars, resources
from autoscaler.model import Cause, Cordon, PodMarks, PodState, Resources
from exporter.texts import LONGEST_LINE, LONGEST_NAME, visible

# The label by which Services select pods, and the annotations that say why it is false.
ROUTABLE = "bokeh-autoscaler/routable"
CORDONED_FOR = "bokeh-autoscaler/cordoned-for"
CORDONED_AT = "bokeh-autoscaler/cordoned-at"
OUR_COST = "bokeh-autoscaler/deletion-cost"
# On a Deployment: nothing is scaled while it is there, unless it says so.
PAUSED = "bokeh-autoscaler/paused"
NOT_PAUSED = ("", "false")
LONGEST_PAUSE = 300
# Kubernetes copies it from the node to its pods from 1.35 on.
ZONE = "topology.kubernetes.io/zone"
# The container that `kubectl exec` uses by default; service meshes set it when they inject one.
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
LAUNCHERS = '{"bokeh-exporter":'  # how the launcher's termination message begins
# The manager of our patches in `kubectl get --show-managed-fields`.
FIELD_MANAGER = "bokeh-autoscaler"
# Protects a pod from Cluster Autoscaler and Karpenter; the first one says that we set both.
PROTECTED = {
    "bokeh-autoscaler/protected": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
# What the ReplicaSet controller's `strconv.ParseInt` accepts, without plus signs or leading zeros.
_COST = re.compile(r"0|-?[1-9][0-9]{0,9}")
# Other years are invalid, and could not be written back as a time.
FIRST_YEAR, LAST_YEAR = 1970, 2200

Json = Mapping[str, Any]


def pod_labels(deployment: Json) -> Mapping[str, str]:
    """Return the labels of the pods that a Deployment creates."""
    return (deployment["spec"]["template"].get("metadata") or {}).get("labels") or {}


def pod_state(pod: Json) -> PodState:
    """Return the state of one item of a pod list."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    notes, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    ready, cost = _condition(status, "Ready"), _cost(notes.get(DELETION_COST))
    is_ours = cost is not None and notes.get(OUR_COST) == notes.get(DELETION_COST)
    asked, cordon = _resources(spec, notes.get(DEFAULT_CONTAINER)), _cordon(notes)
    return PodState(
        name=meta["name"],
        uid=meta["uid"],
        version=meta.get("resourceVersion", ""),
        phase=intern(status.get("phase", "Unknown")),
        ready=None if ready is None else ready.get("status") == "True",
        ready_since=None if ready is None else unix(ready.get("lastTransitionTime")),
        started_at=unix(status.get("startTime")),
        created_at=unix(meta.get("creationTimestamp")),
        scheduled_at=_scheduled_at(status),
        deleting=meta.get("deletionTimestamp") is not None,
        routable=labels.get(ROUTABLE, "true") == "true",
        labelled=ROUTABLE in labels,
        label_writer=_label_writer(meta) if _is_or_was_cordoned(labels, notes) else "",
        resources=_shared(asked or Resources()),
        ip=status.get("podIP"),
        node=intern(spec.get("nodeName") or ""),
        zone=intern(labels.get(ZONE, "")),
        restarts=_most_restarts(status.get("containerStatuses") or ()),
        sidecar_restarts=_most_restarts(_of_sidecars(spec, status)),
        replica_set=intern(owner(pod) or ""),
        deletion_cost=cost,
        cost_is_ours=is_ours,
        cost_writer="" if cost is None or is_ours else _cost_writer(meta),
        stray_mark=OUR_COST in notes and not is_ours,
        unreadable=_unreadable(notes, cost, cordon, spec if asked is None else None),
        cordon=cordon,
        cut=_cut(status) if meta.get("deletionTimestamp") else None,
        protected=all(notes.get(key) == value for key, value in PROTECTED.items()),
    )


def _scheduled_at(status: Json) -> float | None:
    found = _condition(status, "PodScheduled") or {}
    return unix(found.get("lastTransitionTime")) if found.get("status") == "True" else None


def _cut(status: Json) -> int | None:
    """Return the number of sessions that the launcher cut, from the termination messages.

    Returns None if no message says so. The app may write anything there, so other messages are
    ignored.
    """
    told = [_cut_in(each) for each in status.get("containerStatuses") or ()]
    counts = [count for count in told if count is not None]
    return sum(counts) if counts else None


def _cut_in(container: Json) -> int | None:
    """Return the count in the last message of the launcher.

    The launcher appends its message to whatever the app has written there.
    """
    ended = (container.get("state") or {}).get("terminated") or {}
    message = ended.get("message") or ""
    at = message.rfind(LAUNCHERS)
    try:
        told, _ = json.JSONDecoder().raw_decode(message, at) if at >= 0 else ({}, 0)
        count = told["bokeh-exporter"]["cut"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return count if type(count) is int and 0 <= count < 2**31 else None


def _most_restarts(containers: Iterable[Json]) -> int:
    return max((status.get("restartCount", 0) for status in containers), default=0)


def _of_sidecars(spec: Json, status: Json) -> list[Json]:
    """Return the statuses of native sidecars, without ordinary init containers."""
    names = {container["name"] for container in native_sidecars(spec)}
    return [s for s in status.get("initContainerStatuses") or () if s["name"] in names]


def _cordon(notes: Json) -> Cordon | None:
    """Return our cordon, or None if its annotations are missing or invalid."""
    at, cause = unix(notes.get(CORDONED_AT)), notes.get(CORDONED_FOR)
    known = next((each for each in Cause if each.value == cause), None)
    return None if at is None or known is None else Cordon(known, at)


def _cost(text: Any) -> int | None:
    """Return a deletion cost, or None if the ReplicaSet controller would treat it as 0."""
    if not isinstance(text, str) or not _COST.fullmatch(text):
        return None
    cost = int(text)
    return cost if -(2**31) <= cost < 2**31 else None


def _resources(spec: Json, main: str | None) -> Resources | None:
    """Return the requests and limits of a pod, or None if its quantities are invalid."""
    try:
        return resources(spec, main)
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _shared(asked: Resources) -> Resources:
    """Return one object for equal values, which nearly all pods of a Deployment have."""
    return asked


def _unreadable(
    notes: Json, cost: int | None, cordon: Cordon | None, spec: Json | None
) -> tuple[str, ...]:
    """Return what is ignored because it is invalid. spec: given if its quantities are invalid."""
    keys = [DELETION_COST] if cost is None else []
    keys += [CORDONED_AT, CORDONED_FOR] if cordon is None else []
    told = [f'{key} "{visible(notes[key], LONGEST_NAME)}"' for key in keys if key in notes]
    return (*told, *(["the quantities of its resources"] if spec is not None else []))


def _cost_writer(meta: Json) -> str:
    """Return the field manager of the deletion cost, such as karpenter, or "" if unknown."""
    return _manager(_written_by(meta, "f:annotations", DELETION_COST))


def _manager(entry: Json) -> str:
    return visible(entry.get("manager", ""), LONGEST_NAME)


def _is_or_was_cordoned(labels: Json, notes: Json) -> bool:
    return labels.get(ROUTABLE, "true") != "true" or CORDONED_AT in notes


def replicas_writer(deployment: Json) -> str:
    """Return the last writer of `spec.replicas`, such as kubectl-client-side-apply.

    Returns "" if we wrote it. If its owner left it out of a server-side apply, which sets it to 1,
    no manager owns it; the last one that applied the Deployment is returned then.
    """
    known: Sequence[Json] = deployment["metadata"].get("managedFields") or ()
    wrote = [e for e in known if "f:replicas" in ((e.get("fieldsV1") or {}).get("f:spec") or {})]
    applied = [entry for entry in known if entry.get("operation") == "Apply"]
    last: Json = max(wrote or applied, key=lambda entry: str(entry.get("time", "")), default={})
    manager = _manager(last)
    return "" if manager == FIELD_MANAGER else manager


def pause(meta: Json) -> str | None:
    """Return what a Deployment's annotation that pauses the autoscaler says; None: no pause."""
    text = (meta.get("annotations") or {}).get(PAUSED, "")
    return None if text in NOT_PAUSED else visible(text, LONGEST_PAUSE)


def not_created(status: Json) -> str:
    """Return why Kubernetes creates no further pod of a Deployment, as for a quota; "" if it does.

    The condition keeps the words of the first pod that was refused.
    """
    found = _condition(status, "ReplicaFailure") or {}
    text = visible(str(found.get("message") or ""), LONGEST_LINE)
    return text if found.get("status") == "True" else ""


def _label_writer(meta: Json) -> str:
    """Return who else set the routable label and when, as `kubectl-label 2027-01-15T08:00:00Z`.

    The time reveals that the label was changed twice between two passes. Returns "" if we set it.
    """
    entry = _written_by(meta, "f:labels", ROUTABLE)
    manager, time = _manager(entry), visible(entry.get("time", ""), LONGEST_NAME)
    return "" if manager == FIELD_MANAGER else f"{manager} {time}".strip()


def _written_by(meta: Json, kind: str, key: str) -> Json:
    """Return the managedFields entry of the last writer of a label or an annotation."""
    for entry in meta.get("managedFields") or ():
        fields = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
        if f"f:{key}" in (fields.get(kind) or {}):
            found: Json = entry
            return found
    return {}


def marks_patch(pod: PodState, marks: PodMarks) -> dict[str, Any]:
    """Return a merge patch for the marks; null removes a value.

    It contains the UID, so that the API server rejects it if the name belongs to another pod by
    now. If the pod is to get no new users, it also contains the resourceVersion, so that it cannot
    hide that the label was changed since the pod was read: users may have arrived in between. A
    patch that uncordons must always succeed and has none.
    """
    cost = None if marks.cost is None else str(marks.cost)
    annotations: dict[str, str | None] = {
        CORDONED_FOR: None if marks.cordon is None else marks.cordon.cause.value,
        CORDONED_AT: None if marks.cordon is None else rfc3339(marks.cordon.at),
    }
    if cost is not None or pod.cost_is_ours:
        annotations[DELETION_COST] = cost
    if cost is not None or pod.cost_is_ours or pod.stray_mark:
        annotations[OUR_COST] = cost
    if marks.protected or pod.protected:  # otherwise keep the template's own annotations
        annotations |= {key: value if marks.protected else None for key, value in PROTECTED.items()}
    stays = marks.routable and pod.routable  # then keep a cordon that was set by hand since
    labels = {} if stays else {ROUTABLE: "true" if marks.routable else "false"}
    patch: dict[str, Any] = {"uid": pod.uid, "labels": labels, "annotations": annotations}
    if not marks.routable and pod.version:
        patch["resourceVersion"] = pod.version
    return {"metadata": patch}


def rfc3339(at: float) -> str:
    """Return Unix seconds as the API writes them: 2027-01-15T08:00:00Z."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def unix(timestamp: str | None) -> float | None:
    """Return an API timestamp as Unix seconds, or None if it is missing or has no zone."""
    try:
        at = datetime.fromisoformat(str(timestamp))
    except ValueError:
        return None
    if at.tzinfo is None or not FIRST_YEAR <= at.year < LAST_YEAR:
        return None
    return at.timestamp()


def label_selector(selector: Json) -> str:
    """Return a selector in the form of list requests: `app=shop,tier in (web,api),!canary`."""
    equal = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    return ",".join([*equal, *map(_requirement, selector.get("matchExpressions") or ())])


def _requirement(expression: Json) -> str:
    key, values = expression["key"], ",".join(expression.get("values") or ())
    match expression["operator"]:
        case "Exists":
            return str(key)
        case "DoesNotExist":
            return f"!{key}"
        case operator:
            return f"{key} {operator.lower()} ({values})"


def selects_by(selector: Json, label: str) -> bool:
    """Return whether a selector uses this label."""
    keys = {expression["key"] for expression in selector.get("matchExpressions") or ()}
    return label in keys or label in (selector.get("matchLabels") or {})


def owner(item: Json, kind: str = "") -> str | None:
    """Return the UID of the controller that owns an object; None if it is not of this kind."""
    owners = item["metadata"].get("ownerReferences") or ()
    found: Json = next((each for each in owners if each.get("controller")), {})
    return found.get("uid") if not kind or found.get("kind") == kind else None


def _condition(status: Json, kind: str) -> Json | None:
    conditions: Iterable[Json] = status.get("conditions") or ()
    return next((c for c in conditions if c.get("type") == kind), None)
