"""How the settings of two policies differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from autoscaler.policy.policy import Policy


class Setting(NamedTuple):
    """A setting that differs; None where a policy does not have it."""

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.old)} -> {_shown(self.new)}"


def settings(old: Policy, new: Policy) -> list[Setting]:
    """Return the settings that differ, in the order of the policy file."""
    before, after = (dict(_flat("", _values(policy))) for policy in (old, new))
    paths = [*before, *(path for path in after if path not in before)]
    return [
        Setting(path, before.get(path), after.get(path))
        for path in paths
        if before.get(path) != after.get(path)
    ]


def _shown(value: object) -> str:
    return "(not set)" if value is None else json.dumps(value)


def _values(policy: Policy) -> Any:
    return policy.model_dump(mode="json", by_alias=True, exclude={"name", "target"})


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each value with its path, such as `metrics[0].seats`."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(f"{path}.{key}" if path else key, each)
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for index, each in enumerate(value):
            yield from _flat(f"{path}[{index}]", each)
    elif value is not None:
        yield path, value
