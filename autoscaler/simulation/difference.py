"""How two policies differ: in their settings, and in what they decide on the same trace."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from autoscaler.policy import Policy
from autoscaler.simulation.timeline import Change, Timeline, pieces


class Setting(NamedTuple):
    """A setting that differs; None where a policy does not have it."""

    path: str
    old: Any
    new: Any


class Moment(NamedTuple):
    """A time from which the desired replicas differ, and the change that made them differ."""

    at: float
    old: int
    new: int
    change: Change | None


class Difference(NamedTuple):
    """Share of the time in which the desired replicas differ, and the first of such times."""

    share: float
    moments: tuple[Moment, ...]


def settings(old: Policy, new: Policy) -> list[Setting]:
    """Return the settings that differ, in the order of the policy file."""
    before, after = (dict(_flat("", _values(policy))) for policy in (old, new))
    paths = [*before, *(path for path in after if path not in before)]
    return [
        Setting(path, before.get(path), after.get(path))
        for path in paths
        if before.get(path) != after.get(path)
    ]


def decisions(old: Timeline, new: Timeline, most: int = 3) -> Difference:
    """Return how the decisions of two runs of one trace differ. most: times to return."""
    apart = 0.0
    moments = []
    at, were_equal = old.start, True
    for seconds, (before, after) in pieces((old.desired, new.desired), old.start, old.end):
        if before != after:
            apart += seconds
            if were_equal:
                moments.append((at, int(before), int(after)))
        were_equal, at = before == after, at + seconds
    changes = {change.at: change for run in (old, new) for change in run.changes}
    found = (Moment(*moment, changes.get(moment[0])) for moment in moments)
    return Difference(apart / max(old.end - old.start, 1e-9), tuple(islice(found, most)))


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
