"""Strategic merge patches, as kustomize applies them to the objects that we patch. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Lists that are merged item by item, and the key by which an item is found again.
_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "env": "name",
}
# Replaces what is there, where a mapping would be merged into it.
REPLACE = {"$patch": "replace"}


def merged(base: Any, patch: Any) -> Any:
    """Return what a patch makes of a value. None in a mapping removes its key.

    Items of a list that a patch has come before the others, as with kustomize.
    """
    if not isinstance(patch, Mapping):
        return patch
    is_whole = REPLACE.items() <= patch.items()
    result = dict(base) if isinstance(base, Mapping) and not is_whole else {}
    for key, value in patch.items():
        if key in REPLACE:
            continue
        if value is None:
            result.pop(key, None)
        elif key in _KEYS and isinstance(value, list):
            result[key] = _items(result.get(key) or [], value, _KEYS[key])
        else:
            result[key] = merged(result.get(key), value)
    return result


def _items(base: Sequence[Any], patch: Sequence[Any], key: str) -> list[Any]:
    known = {each[key]: each for each in base}
    patched = {each[key]: merged(known.get(each[key]), each) for each in patch}
    return [*patched.values(), *(each for name, each in known.items() if name not in patched)]
