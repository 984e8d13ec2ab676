"""What the API server tells of pods, as our values. Pure: plain JSON in, `PodState` out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from math import ceil
from typing import Any

from autoscaler.model import Cause, Cordon, PodNote, PodState, Resources

# What we write on pods. The label is what Services select by; the notes say why it is off.
ROUTABLE = "bokeh-autoscaler/routable"
CORDONED_FOR = "bokeh-autoscaler/cordoned-for"
CORDONED_AT = "bokeh-autoscaler/cordoned-at"
OUR_COST = "bokeh-autoscaler/deletion-cost"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
# What node autoscalers heed: Cluster Autoscaler's word and Karpenter's; and that both are ours.
PROTECTED = {
    "bokeh-autoscaler/protected": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
_SUFFIXES = {
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
    "m": Decimal("1e-3"),
    "u": Decimal("1e-6"),
    "n": Decimal("1e-9"),
}

Json = Mapping[str, Any]


def pod_state(pod: Json) -> PodState:
    """One item of a pod list."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    notes, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    ready, cost = _condition(status, "Ready"), notes.get(DELETION_COST)
    is_ours = cost is not None and notes.get(OUR_COST) == cost
    return PodState(
        name=meta["name"],
        uid=meta["uid"],
        phase=status.get("phase", "Unknown"),
        ready=None if ready is None else ready.get("status") == "True",
        ready_since=None if ready is None else unix(ready.get("lastTransitionTime")),
        started_at=unix(status.get("startTime")),
        created_at=unix(meta.get("creationTimestamp")),
        deleting=meta.get("deletionTimestamp") is not None,
        routable=labels.get(ROUTABLE, "true") == "true",
        labelled=ROUTABLE in labels,
        resources=resources(spec),
        ip=status.get("podIP"),
        node=spec.get("nodeName") or "",
        restarts=_most_restarts(status.get("containerStatuses") or ()),
        sidecar_restarts=_most_restarts(_of_sidecars(spec, status)),
        replica_set=owner(pod) or "",
        deletion_cost=None if cost is None else int(cost),
        cost_is_ours=is_ours,
        cost_writer="" if cost is None or is_ours else _cost_writer(meta),
        stray_mark=OUR_COST in notes and not is_ours,
        cordon=_cordon(notes),
        protected=all(notes.get(key) == value for key, value in PROTECTED.items()),
    )


def _most_restarts(containers: Iterable[Json]) -> int:
    return max((status.get("restartCount", 0) for status in containers), default=0)


def _of_sidecars(spec: Json, status: Json) -> list[Json]:
    """Their statuses; those of init containers that only prepare the pod count for nothing."""
    names = {container["name"] for container in _native_sidecars(spec)}
    return [s for s in status.get("initContainerStatuses") or () if s["name"] in names]


def _native_sidecars(spec: Json) -> list[Json]:
    return [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]


def _cordon(notes: Json) -> Cordon | None:
    """Our note; one that somebody spoiled counts as none, so the pod is only put back by hand."""
    try:
        at = unix(notes.get(CORDONED_AT))
        return None if at is None else Cordon(Cause(notes.get(CORDONED_FOR, "")), at)
    except ValueError:
        return None


def _cost_writer(meta: Json) -> str:
    """Who wrote the deletion cost, by its fieldManager, such as karpenter; "" if it is not told."""
    for entry in meta.get("managedFields") or ():
        fields = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
        if f"f:{DELETION_COST}" in (fields.get("f:annotations") or {}):
            return str(entry.get("manager", ""))
    return ""


def note_patch(pod: PodState, note: PodNote) -> dict[str, Any]:
    """A merge patch that makes the pod carry the note; refused if the name is another pod's by now.

    With the uid in it the API server compares; null removes.
    """
    cost = None if note.cost is None else str(note.cost)
    annotations: dict[str, str | None] = {
        CORDONED_FOR: None if note.cordon is None else note.cordon.cause.value,
        CORDONED_AT: None if note.cordon is None else rfc3339(note.cordon.at),
    }
    if cost is not None or pod.cost_is_ours:
        annotations[DELETION_COST] = cost
    if cost is not None or pod.cost_is_ours or pod.stray_mark:
        annotations[OUR_COST] = cost
    if note.protected or pod.protected:  # the template's own stay
        annotations |= {key: value if note.protected else None for key, value in PROTECTED.items()}
    routable = {ROUTABLE: "true" if note.routable else "false"}
    labels = routable if pod.labelled or not note.routable else {}
    return {"metadata": {"uid": pod.uid, "labels": labels, "annotations": annotations}}


def rfc3339(at: float) -> str:
    """Unix seconds as the API writes them: 2027-01-15T08:00:00Z."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def resources(spec: Json) -> Resources:
    """What a pod asks for and may use, in milli-units, as HPA counts it.

    Sums over the containers and the native sidecars; the pod's own `resources` count first. None
    where a container has none.
    """
    containers = [*(spec.get("containers") or ()), *_native_sidecars(spec)]

    def amount(kind: str, name: str) -> int | None:
        whole = ((spec.get("resources") or {}).get(kind) or {}).get(name)
        if whole is not None:
            return milli(whole)
        return _sum(((c.get("resources") or {}).get(kind) or {}).get(name) for c in containers)

    return Resources(
        cpu_request=amount("requests", "cpu"),
        memory_request=amount("requests", "memory"),
        memory_limit=amount("limits", "memory"),
    )


def _sum(amounts: Iterable[str | None]) -> int | None:
    total = 0
    for amount in amounts:
        if amount is None:
            return None
        total += milli(amount)
    return total


@lru_cache(maxsize=1024)
def milli(quantity: str) -> int:
    """A Kubernetes quantity in milli-units, rounded up: `500m` is 500, `1Gi` 1024**3 * 1000.

    Raises ValueError if it is none.
    """
    text = str(quantity)
    suffix = next((s for s in sorted(_SUFFIXES, key=len, reverse=True) if text.endswith(s)), "")
    try:
        number = Decimal(text.removesuffix(suffix))
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a quantity") from None
    return ceil(number * _SUFFIXES.get(suffix, 1) * 1000)


def unix(timestamp: str | None) -> float | None:
    """An API timestamp as Unix seconds."""
    return None if timestamp is None else datetime.fromisoformat(timestamp).timestamp()


def label_selector(selector: Json) -> str:
    """A selector as lists are asked with it: `app=shop,tier in (web,api),!canary`."""
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
    """Whether a selector asks for anything of this label."""
    keys = {expression["key"] for expression in selector.get("matchExpressions") or ()}
    return label in keys or label in (selector.get("matchLabels") or {})


def owner(item: Json) -> str | None:
    """The uid of the controller that owns an object."""
    owners = item["metadata"].get("ownerReferences") or ()
    return next((o["uid"] for o in owners if o.get("controller")), None)


def _condition(status: Json, kind: str) -> Json | None:
    conditions: Iterable[Json] = status.get("conditions") or ()
    return next((c for c in conditions if c.get("type") == kind), None)
