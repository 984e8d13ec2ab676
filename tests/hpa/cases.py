"""Random situations of an HPA, in the shape of tests/core/data/hpa_cases.yaml (`reconcile`).

Every age is whole seconds, as Kubernetes keeps times, and far enough from the CPU initialization
period (300 s) that the time a case takes to set up does not matter.
"""

from __future__ import annotations

from random import Random
from typing import Any

Fact = dict[str, Any]

# HPA's defaults in production, which the real controller runs with.
KNOBS = {
    "cpu_initialization_period_s": 300,
    "initial_readiness_delay_s": 30,
    "downscale_stabilization_s": 300,
    "tolerance_up": 0.1,
    "tolerance_down": 0.1,
}
MAX_PODS = 9
START_AGES = (5, 20, 60, 150, 450, 3600)
SINCE_START = (0, 6, 29, 30, 31)  # around the initial readiness delay
TRANSITION_AGES = (2, 12, 19, 40, 100, 420)
METRIC_AGES = (0, 2, 10, 25, 40, 70)
WINDOWS = (15, 30, 60)
# Usage over target: the tolerance's edges, the target itself, and anything.
EDGES = (0.9, 1.0, 1.1)
WIDE_OPEN = {
    "up": {"percent": [900, 15], "window_s": 0},
    "down": {"percent": [100, 15], "window_s": 0},
}


def random_fact(random: Random, name: str) -> Fact:
    """One situation without its outcome: target, bounds, behavior, metrics and their pods."""
    make_pod = random.choice((_settled_pod, _pod, _pod))
    pods = [make_pod(random) for _ in range(random.randint(1, MAX_PODS))]
    # In a rollout there are more pods than replicas, under a quota fewer.
    current = max(1, len(pods) + random.choice((0, 0, 0, 0, -4, -1, 1, 3)))
    fact: Fact = {"id": name, **_bounds(random, current), "current": current, "log": None}
    if random.random() < 0.02:
        fact["current"] = 0
    fact |= _behavior(random)
    tolerance = _tolerance(random) if "up" in fact else {}
    metrics = _metrics(random, fact["current"], pods)
    fact["metrics"] = [metric if "error" in metric else metric | tolerance for metric in metrics]
    return fact


def _bounds(random: Random, current: int) -> Fact:
    if random.random() < 0.04:  # out of bounds: no metric is read
        low, high = random.choice(((current + 1, current + 3), (1, max(1, current - 1))))
        return {"min": low, "max": high}
    return {
        "min": random.choice((1, 1, 1, min(2, current))),
        "max": random.choice((100, 100, current + random.randint(0, 6))),
    }


def _behavior(random: Random) -> Fact:
    """Mostly one that lets every number through, so that the metric's own is seen."""
    chance = random.random()
    if chance < 0.15:
        return {}
    if chance < 0.65:
        return WIDE_OPEN
    return {"up": _rules(random), "down": _rules(random)}


def _rules(random: Random) -> Fact:
    rules: Fact = {"select": random.choice(("Max", "Max", "Min", "Min", "Disabled"))}
    if random.random() < 0.9:
        rules["window_s"] = random.choice((0, 0, 0, 0, 0, 60))
    if random.random() < 0.6:
        rules["pods"] = [random.randint(1, 6), random.choice((15, 60, 1800))]
    if random.random() < 0.6:
        rules["percent"] = [random.choice((10, 34, 50, 80, 100, 200)), random.choice((1, 60))]
    return rules


def _tolerance(random: Random) -> Fact:
    if random.random() < 0.8:
        return {}
    choices = (0.0, 0.01, 0.05, 0.25, 0.5)
    return {"tolerance_up": random.choice(choices), "tolerance_down": random.choice(choices)}


def _settled_pod(random: Random) -> Fact:
    """Long up and just measured: nothing about it needs care."""
    window = random.choice(WINDOWS)
    return {"start_age_s": 3600, "transition_age_s": 3590, "metric_age_s": 2, "window_s": window}


def _pod(random: Random) -> Fact:
    """What all metrics of a case share of a pod: its life, and when it was measured."""
    started = random.choice(START_AGES)
    pod: Fact = {"metric_age_s": random.choice(METRIC_AGES), "window_s": random.choice(WINDOWS)}
    first_full_window = pod["metric_age_s"] + pod["window_s"]
    ages = [*TRANSITION_AGES, first_full_window, first_full_window]
    ages += [started - age for age in SINCE_START]
    possible = [age for age in ages if 0 <= age <= started]
    pod |= {"start_age_s": started, "transition_age_s": random.choice(possible)}
    chance = random.random()
    if chance < 0.2:
        pod["ready"] = False
    elif chance < 0.24:
        pod["ready"] = None
    elif chance < 0.34:
        pod |= {"phase": "Pending", "ready": random.choice((False, None))}
    elif chance < 0.38:
        pod |= {"phase": "Failed", "ready": False}
    if random.random() < 0.08:
        pod["deleted"] = True
    if random.random() < 0.02:
        pod["start_age_s"] = None
    return pod


def _metrics(random: Random, current: int, pods: list[Fact]) -> list[Fact]:
    """One metric mostly; several share the pods, and at most one may be broken."""
    kinds = ["cpu"] * 8 + ["memory"] * 3 + ["value"] * 3 + ["average_value"] * 3
    chosen = [random.choice(kinds)]
    while random.random() < 0.25 and len(chosen) < 4:
        chosen.append(random.choice([kind for kind in kinds if kind not in chosen]))
    holes = random.choice((0.0, 0.0, 0.2))
    missing = [random.random() < holes for _ in pods]
    metrics = [_metric(random, kind, current, pods, missing) for kind in chosen]
    status = max(0, current + random.choice((0, 0, 0, -1, 1, 3)))
    for metric in metrics:
        if metric["func"] == "average_value":
            metric["status_replicas"] = status
    if random.random() < 0.1:
        metrics.insert(random.randint(0, len(metrics)), {"error": True})
    return metrics


def _metric(random: Random, kind: str, current: int, pods: list[Fact], missing: list[bool]) -> Fact:
    if kind == "value":
        return _value(random, pods)
    if kind == "average_value":
        return _average_value(random, current)
    target = random.choice((random.randint(20, 110), 10 * random.randint(2, 11), 300))
    budget = random.choice((100, 250, 1000, 2000)) * (1000 if kind == "memory" else 1)
    used = _used(random, budget * target // 100, pods, missing)
    measured = [{"req": budget, **pod} for pod in used]
    if random.random() < 0.03:
        random.choice(measured)["req"] = None
    return {"func": "resource", "resource": kind, "target_pct": target, "pods": measured}


def _factor(random: Random) -> float:
    if random.random() < 0.3:
        return random.choice(EDGES)
    return random.choice((random.uniform(0.8, 1.2), random.uniform(0.05, 1), random.uniform(1, 4)))


def _used(random: Random, goal: int, pods: list[Fact], missing: list[bool]) -> list[Fact]:
    """The pods with what they use, around one common multiple of the goal."""
    factor = _factor(random)
    spread = 0.0 if factor in EDGES else random.choice((0.0, 0.05, 0.4))
    return [
        pod
        if gone
        else {**pod, "use": max(0, round(goal * factor * random.uniform(1 - spread, 1 + spread)))}
        for pod, gone in zip(pods, missing, strict=True)
    ]


def _value(random: Random, pods: list[Fact]) -> Fact:
    running = [pod for pod in pods if pod.get("phase", "Running") == "Running"]
    ready = sum(pod.get("ready", True) is True for pod in running)
    target = random.randint(100, 20_000)
    samples = _samples(random, round(target * _factor(random)))
    return {"func": "value", "target": target, "samples": samples, "ready_pods": ready}


def _average_value(random: Random, current: int) -> Fact:
    target = random.randint(100, 20_000)
    total = round(target * max(1, current) * _factor(random))
    if random.random() < 0.03:
        total = 10**15  # more replicas than 31 bits hold
    return {"func": "average_value", "target": target, "samples": _samples(random, total)}


def _samples(random: Random, total: int) -> list[int]:
    """The total in one to three figures."""
    first, second = random.randint(0, total), random.randint(0, total // 2)
    return random.choice(([total], [first, total - first], [second, second, total - 2 * second]))
