"""What a pod asks for and may use, from the quantities of its containers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from math import ceil
from typing import Any

from autoscaler.model import Resources

_SUFFIXES = {
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
    "m": Decimal("1e-3"),
    "u": Decimal("1e-6"),
    "n": Decimal("1e-9"),
}
# The API server accepts no quantity above 2^63, and their texts are short.
_LARGEST, _LONGEST_QUANTITY = Decimal(2) ** 63, 64

Json = Mapping[str, Any]


def native_sidecars(spec: Json) -> list[Json]:
    """Return the init containers that run as long as the pod."""
    return [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]


def resources(spec: Json, main: str | None = None) -> Resources:
    """Return the requests of a pod, as HPA computes them, and its memory limits, in milli-units.

    Requests are sums over the containers and the native sidecars, or the pod's own `resources` if
    set; None if a container has none. Limits are per container, because the kernel kills a
    container that exceeds its own. main: name of the app's container, if the pod says which it is.
    """
    containers = [*(spec.get("containers") or ()), *native_sidecars(spec)]

    def amount(kind: str, name: str) -> int | None:
        whole = ((spec.get("resources") or {}).get(kind) or {}).get(name)
        if whole is not None:
            return milli(whole)
        return _sum(((c.get("resources") or {}).get(kind) or {}).get(name) for c in containers)

    apps = [c for c in spec.get("containers") or () if main in (None, c["name"])]
    own = _memory_limits(apps)
    whole = _memory_limits([{**spec, "name": ""}])
    return Resources(
        cpu_request=amount("requests", "cpu"),
        memory_request=amount("requests", "memory"),
        memory_limit=own[0][1] if len(apps) == len(own) == 1 else None,
        memory_limits=(*own, *whole),
    )


def _memory_limits(containers: Iterable[Json]) -> tuple[tuple[str, int], ...]:
    found = ((c["name"], (c.get("resources") or {}).get("limits") or {}) for c in containers)
    return tuple((name, milli(own["memory"])) for name, own in found if "memory" in own)


def _sum(amounts: Iterable[str | None]) -> int | None:
    total = 0
    for amount in amounts:
        if amount is None:
            return None
        total += milli(amount)
    return total


@lru_cache(maxsize=1024)
def milli(quantity: str) -> int:
    """Return a Kubernetes quantity in milli-units, rounded up: `500m` is 500.

    Raises ValueError if it is not a quantity.
    """
    text = str(quantity)[:_LONGEST_QUANTITY]
    suffix = next((s for s in sorted(_SUFFIXES, key=len, reverse=True) if text.endswith(s)), "")
    try:
        number = Decimal(text.removesuffix(suffix))
        possible = -_LARGEST <= number <= _LARGEST
    except InvalidOperation:  # also raised by a comparison with NaN
        possible = False
    if not possible:
        raise ValueError(f"{text!r} is not a quantity")
    return ceil(number * _SUFFIXES.get(suffix, 1) * 1000)
