"""Policies to try in place of one: other values of what it has, chosen by Halton's sequence."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import ValidationError

from autoscaler.policy import (
    CpuMetric,
    Policy,
    PrometheusMetric,
    RefusalTarget,
    SessionsMetric,
)
from autoscaler.simulation.engine import Assumptions
from autoscaler.simulation.front import Placement
from autoscaler.units import duration_text

Path = tuple[str | int, ...]
# By the path of a value in a policy file: another value, as it is written there.
Edits = Mapping[Path, Any]

SPARE_PODS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SPARE_SHARES = ("5%", "10%", "15%", "20%", "30%", "50%")
REFUSALS = ("0.01%", "0.1%", "0.5%", "2%", "10%")
SEAT_SHARES = (0.7, 0.8, 0.9, 1.0)
COOLDOWNS = ("0s", "1m", "2m", "5m", "10m", "20m")
WINDOWS = (0, 60, 120, 300, 600, 1_200)
UTILIZATIONS = ("40%", "50%", "60%", "70%", "80%", "90%")
FACTORS = (0.5, 0.75, 1.25, 1.5, 2.0)
# The bases of Halton's sequence, one for each value that is varied: so many are at most.
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)
# A space with few combinations has no others after so many attempts for each candidate.
PATIENCE = 5


class Knob(NamedTuple):
    """A value of a policy that is varied. values: others than the present one, as in its file."""

    path: Path
    values: tuple[Any, ...]


class Candidate(NamedTuple):
    """A policy to try, and the placement in its assumptions.

    edits: where it differs from the current policy.
    """

    edits: Edits
    policy: Policy
    assumptions: Assumptions


def candidates(
    policy: Policy, assumptions: Assumptions, placements: Iterable[Placement], count: int
) -> list[Candidate]:
    """Return at most `count` candidates: the current policy first, then other valid policies.

    Those with one other value come before combinations. placements: to try each of them with,
    besides that of the assumptions.
    """
    fronts = [assumptions]
    others = (each for each in dict.fromkeys(placements) if each is not assumptions.placement)
    fronts += [replace(assumptions, placement=each) for each in others]
    found: dict[Policy, Edits] = {policy: {}}
    plain = plain_policy(policy)
    wanted = max(1, count // len(fronts))
    for edits in _edits(knobs(policy, assumptions), PATIENCE * wanted):
        if len(found) >= wanted:
            break
        other = edited_policy(plain, edits)
        if other is not None:
            found.setdefault(other, edits)
    return [Candidate(edits, each, front) for front in fronts for each, edits in found.items()]


def plain_policy(policy: Policy) -> dict[str, Any]:
    """Return a policy as the plain values of its file."""
    return policy.model_dump(mode="json", by_alias=True, exclude_unset=True)


def edited_policy(plain: Mapping[str, Any], edits: Edits) -> Policy | None:
    """Return the policy with other values, or None if they contradict each other."""
    document: Any = copy.deepcopy(plain)
    for path, value in edits.items():
        place = document
        for key in path[:-1]:
            place = place[key] if isinstance(key, int) else place.setdefault(key, {})
        place[path[-1]] = value
    try:
        return Policy.model_validate(document)
    except ValidationError:
        return None


def halton(index: int, base: int) -> float:
    """Return a number of Halton's sequence, in [0, 1): the digits of the index, reversed."""
    value, share = 0.0, 1.0
    while index:
        share /= base
        index, digit = divmod(index, base)
        value += digit * share
    return value


def _edits(varied: Sequence[Knob], attempts: int) -> Iterator[Edits]:
    """Yield each other value alone, then combinations spread evenly over all values."""
    for path, values in varied:
        yield from ({path: value} for value in values)
    for index in range(1, attempts + 1):
        chosen = {}
        for (path, values), base in zip(varied, PRIMES, strict=False):
            place = int(halton(index, base) * (len(values) + 1))
            if place < len(values):  # else the present value
                chosen[path] = values[place]
        yield chosen


def knobs(policy: Policy, assumptions: Assumptions) -> list[Knob]:
    """Return the values of a policy to vary: of what it has, and a cooldown after scale-ups.

    Left as they are: bounds that protect (`replicas`, `memory`, `fallback`), how long users have
    (`drain`), and seats that are learned.
    """
    found = [
        *_of_metrics(policy, assumptions),
        *_of_speed(policy),
        *_of_windows(policy, assumptions),
    ]
    plain = plain_policy(policy)
    others = (
        Knob(path, tuple(each for each in values if each != value_at(plain, path)))
        for path, values in found
    )
    return [knob for knob in others if knob.values][: len(PRIMES)]


def _of_metrics(policy: Policy, assumptions: Assumptions) -> Iterator[Knob]:
    for index, metric in enumerate(policy.metrics):
        path = ("metrics", index)
        match metric:
            case SessionsMetric():
                yield Knob((*path, "spare"), _spares(metric, assumptions))
                if metric.learn is None:
                    most = max(metric.seats, assumptions.seats)
                    yield Knob((*path, "seats"), _scaled(most, SEAT_SHARES))
            case CpuMetric():
                yield Knob((*path, "utilization"), UTILIZATIONS)
            case PrometheusMetric(per_replica=float(target)):
                yield Knob((*path, "perReplica"), tuple(target * each for each in FACTORS))


def _spares(metric: SessionsMetric, assumptions: Assumptions) -> tuple[Any, ...]:
    """Return free seats in the three notations, from few to many in each."""
    own = metric.spare
    lead_time = own.lead_time if isinstance(own, RefusalTarget) else assumptions.lead_time
    targets = ({"refuse": each, "leadTime": duration_text(lead_time)} for each in REFUSALS)
    seats = metric.seats if metric.learn is None else assumptions.seats
    return (*_scaled(seats, SPARE_PODS, least=0), *SPARE_SHARES, *targets)


def _of_speed(policy: Policy) -> Iterator[Knob]:
    yield Knob(("cooldown", "down"), COOLDOWNS)
    if policy.cooldown.up:
        yield Knob(("cooldown", "up"), COOLDOWNS)
    # A policy without `behavior` has no rate limits; with it, it would have those of an HPA.
    if policy.behavior is not None:
        yield Knob(("behavior", "scaleDown", "stabilizationWindowSeconds"), WINDOWS)


def _of_windows(policy: Policy, assumptions: Assumptions) -> Iterator[Knob]:
    for index, window in enumerate(policy.schedule):
        if window.min is not None:
            yield Knob(("schedule", index, "min"), _scaled(window.min, FACTORS))
        if window.spare is not None and policy.sessions is not None:
            sessions = policy.sessions.with_values(spare=window.spare)
            yield Knob(("schedule", index, "spare"), _spares(sessions, assumptions))


def _scaled(number: int, shares: Sequence[float], least: int = 1) -> tuple[int, ...]:
    return tuple(dict.fromkeys(max(least, round(number * share)) for share in shares))


def value_at(plain: Any, path: Path) -> Any:
    """Return the value that a file has at a path, or None if it has none."""
    for key in path:
        if isinstance(key, str) and key not in plain:
            return None
        plain = plain[key]
    return plain
