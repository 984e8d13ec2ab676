"""Checks the product's HPA functions against a file of facts about the real controller.

    python -m tests.core.hpa_facts FILE

Prints one line per failed fact (id, expected, got), ends with `N passed, M failed`, and exits 1
if any failed. Nothing of the algorithm lives here: each section of the file is translated into
values and handed to the function of the product that it is about; a whole sync to `decide`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from autoscaler.core.decide import decide
from autoscaler.core.hpa import behavior
from autoscaler.core.hpa import replicas as recommend
from autoscaler.core.hpa.behavior import Events
from autoscaler.core.hpa.pod_groups import Reading, WarmUp, group_pods
from autoscaler.core.now import Now
from autoscaler.model import Logged, Observation, PodState, Reason, Sample, State, Unavailable
from autoscaler.policy import Behavior, Policy, RatePolicy, ScalingRules

NOW = 2_000_000_000.0
ANCIENT = 1_000_000.0

Fact = dict[str, Any]
Knobs = dict[str, Any]


def check(document: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Each fact as (id, expected, got)."""
    knobs = document.get("knobs_in_tests", {})
    for section, evaluate in SECTIONS.items():
        for fact in document.get(section) or ():
            try:
                got = evaluate(fact, knobs)
            except Exception as error:  # a crash is a failed fact, not the end of the run
                got = {"crash": repr(error)}
            yield fact["id"], fact["expect"], _comparable(fact["expect"], got)


def holds(expected: Any, got: Any) -> bool:
    """Whether what we got is what was expected; an expected error matches by its words."""
    if isinstance(expected, dict) and "error" in expected:
        return isinstance(got, dict) and str(expected["error"]) in str(got.get("error", ""))
    return bool(expected == got)


def _comparable(expected: Any, got: Any) -> Any:
    """Only what the fact speaks of; an error is always shown."""
    if not isinstance(expected, dict) or not isinstance(got, dict):
        return got
    return {
        key: value for key, value in got.items() if key in expected or key in ("error", "crash")
    }


def _calc(fact: Fact, knobs: Knobs) -> Any:
    try:
        return CALCULATIONS[fact["func"]](fact, knobs)
    except recommend.NoRecommendation as error:
        return {"error": str(error)}


def _resource(fact: Fact, knobs: Knobs) -> Any:
    cpu = fact.get("resource", "cpu") == "cpu"
    proposal = recommend.utilization(
        readings(fact["pods"]),
        fact["target_pct"],
        fact["current"],
        Now(NOW),
        _tolerance(fact, knobs),
        cpu=cpu,
        warm_up=_warm_up(fact, knobs),
    )
    return {
        "replicas": proposal.replicas,
        "utilization_pct": proposal.usage,
        "raw_avg": proposal.average,
    }


def _value(fact: Fact, knobs: Knobs) -> Any:
    proposal = recommend.value(
        sum(fact["samples"]),
        fact["target"],
        fact["current"],
        fact.get("ready_pods", fact["current"]),
        _tolerance(fact, knobs),
    )
    return {"replicas": proposal.replicas, "usage": proposal.usage}


def _average_value(fact: Fact, knobs: Knobs) -> Any:
    replicas = fact.get("status_replicas", fact["current"])
    proposal = recommend.average_value(
        sum(fact["samples"]), fact["target"], replicas, _tolerance(fact, knobs)
    )
    return {"replicas": proposal.replicas, "usage": proposal.usage}


CALCULATIONS: dict[str, Callable[[Fact, Knobs], Any]] = {
    "resource": _resource,
    "value": _value,
    "average_value": _average_value,
}


def _group(fact: Fact, knobs: Knobs) -> Any:
    groups = group_pods(
        readings(fact["pods"]),
        Now(NOW),
        cpu=fact["resource"] == "cpu",
        warm_up=_warm_up(fact, knobs),
    )
    return {
        "ready": len(groups.ready),
        "unready": len(groups.unready),
        "missing": len(groups.missing),
        "ignored": groups.ignored,
    }


def _stabilize_down(fact: Fact, knobs: Knobs) -> Any:
    window = fact.get("window_s", knobs.get("downscale_stabilization_s", behavior.DOWN_WINDOW))
    result = behavior.stabilize_down(fact["desired"], _log(fact["log"]), Now(NOW), window)
    return {"replicas": result.replicas, "log_len": len(result.log)}


def _stabilize(fact: Fact, _: Knobs) -> Any:
    stanza = Behavior(
        scaleUp=ScalingRules(stabilizationWindowSeconds=fact.get("up_window_s")),
        scaleDown=ScalingRules(stabilizationWindowSeconds=fact.get("down_window_s")),
    )
    result = behavior.stabilize(
        fact["desired"], fact["current"], _log(fact["log"]), Now(NOW), stanza
    )
    return {"replicas": result.replicas, "log_len": len(result.log)}


def _rate(fact: Fact, _: Knobs) -> Any:
    result = behavior.limit_rate(
        fact["desired"],
        fact["current"],
        (fact["min"], fact["max"]),
        _behavior(fact),
        _events(fact),
        Now(NOW),
    )
    return {"replicas": result.replicas, "reason": result.reason.value}


def _events_in_60s(fact: Fact, _: Knobs) -> Any:
    return behavior.changed_within(_log(fact["events"]), 60, Now(NOW))


def _reconcile(fact: Fact, knobs: Knobs) -> Any:
    """One sync, decided by the pipeline itself; each metric's number comes to it as a query."""
    numbers = [_number(metric, fact, knobs) for metric in fact["metrics"]] or [fact["current"]]
    return _decided(fact, numbers)


def _clamp(fact: Fact, _: Knobs) -> Any:
    """HPA's bounds without a stanza, for a number that a metric asks for."""
    got = _decided({"log": [], **fact}, [fact["desired"]])
    return {"replicas": got["replicas"], "reason": got["limited"]}


def _decided(fact: Fact, numbers: list[int | None]) -> Fact:
    """What `decide` makes of the metrics' numbers (None: it failed), in HPA's words.

    A resource that failed stays one, so that the reason is HPA's. Outside the bounds HPA reads no
    metric, so none can be read here.
    """
    current, (low, high) = fact["current"], (fact["min"], fact["max"])
    outside = not low <= current <= high
    if outside:
        numbers = [None]
    stanza = _behavior(fact) if fact.keys() & {"up", "down", "behavior"} else None
    # On purpose we have no such limit where there is no stanza (docs/decisions/0002-pure-core.md).
    most = high if stanza else max(low, min(high, max(2 * current, 4)))
    metrics = [
        {"type": "prometheus", "query": str(index), "perReplica": 1}
        for index, _ in enumerate(numbers)
    ]
    failed = next((i for i, number in enumerate(numbers) if number is None), None)
    if failed is not None and not outside and not fact["metrics"][failed].get("error"):
        metrics[failed] = {"type": "cpu", "utilization": "50%"}
    policy = Policy.model_validate(
        {
            "name": "fact",
            "target": {"namespace": "default", "deployment": "fact"},
            "replicas": {"min": low, "max": most},
            "metrics": metrics,
            "behavior": stanza,
            "drain": "none",
        }
    )
    external: dict[str, Sample | Unavailable] = {
        str(index): Unavailable("no metric") if number is None else Sample(1000 * number, NOW)
        for index, number in enumerate(numbers)
    }
    seen = Observation(current, (), 0, external, unavailable={"cpu": "no metric"})
    decision, _ = decide(policy, seen, _state(fact), NOW)
    reasons = [step.reason for step in decision.steps]
    limited = _one_of(reasons, LIMITED, Reason.DESIRED_WITHIN_RANGE)
    if limited == Reason.TOO_MANY_REPLICAS and most < high:
        limited = Reason.SCALE_UP_LIMIT
    return {
        "replicas": decision.desired,
        "condition": _one_of(reasons, INACTIVE, Reason.VALID_METRIC_FOUND),
        "able": _one_of(reasons, UNABLE, READY),
        "limited": str(limited),
    }


READY = "ReadyForNewScale"  # HPA's word for a target that no window or limit holds
INACTIVE = {
    Reason.SCALING_DISABLED,
    Reason.FAILED_GET_RESOURCE_METRIC,
    Reason.FAILED_GET_EXTERNAL_METRIC,
}
UNABLE = {Reason.SCALE_DOWN_STABILIZED, Reason.SCALE_UP_STABILIZED}
LIMITED = {
    Reason.TOO_FEW_REPLICAS,
    Reason.TOO_MANY_REPLICAS,
    Reason.SCALE_UP_LIMIT,
    Reason.SCALE_DOWN_LIMIT,
}


def _one_of(reasons: list[Reason], wanted: set[Reason], default: str) -> str:
    return str(next((reason for reason in reversed(reasons) if reason in wanted), default))


def _state(fact: Fact) -> State | None:
    """What the controller remembers; None where it sees the target for the first time."""
    ups, downs = _events(fact)
    log = () if fact.get("log") is None else _log(fact["log"])
    seen_at = None if fact.get("log") is None else NOW
    return State(log, ups, downs, seen_at=seen_at)


def _number(metric: Fact, fact: Fact, knobs: Knobs) -> int | None:
    """What one metric asks for; None where it has no answer."""
    if metric.get("error"):
        return None
    result = _calc({"current": fact["current"], **metric}, {**knobs, **fact.get("knobs", {})})
    return None if "error" in result else int(result["replicas"])


SECTIONS: dict[str, Callable[[Fact, Knobs], Any]] = {
    "calc": _calc,
    "group_pods": _group,
    "clamp_no_behavior": _clamp,
    "stabilize_no_behavior": _stabilize_down,
    "stabilize_behavior": _stabilize,
    "rate_policies": _rate,
    "events_in_60s": _events_in_60s,
    "reconcile": _reconcile,
}


def readings(pods: list[Fact]) -> list[Reading]:
    """Return the pods of a fact with their samples and requests."""
    return [_reading(f"pod-{index}", pod) for index, pod in enumerate(pods)]


def _reading(name: str, pod: Fact) -> Reading:
    use = pod.get("use")
    taken = NOW - pod.get("metric_age_s", ANCIENT)
    sample = None if use is None else Sample(use, taken, pod.get("window_s", 60))
    state = PodState(
        name=name,
        phase=pod.get("phase", "Running"),
        ready=pod.get("ready", True),
        started_at=_ago(pod.get("start_age_s", ANCIENT)),
        ready_since=_ago(pod.get("transition_age_s", ANCIENT)),
        deleting=pod.get("deleted", False),
    )
    return Reading(state, sample, pod.get("req", 0))


def _ago(age: float | None) -> float | None:
    return None if age is None else NOW - age


def _tolerance(fact: Fact, knobs: Knobs) -> recommend.Tolerance:
    return recommend.Tolerance(
        up=fact.get("tolerance_up", knobs.get("tolerance_up", 0.1)),
        down=fact.get("tolerance_down", knobs.get("tolerance_down", 0.1)),
    )


def _warm_up(fact: Fact, knobs: Knobs) -> WarmUp:
    chosen = {**knobs, **fact}
    return WarmUp(
        chosen.get("cpu_initialization_period_s", 300.0),
        chosen.get("initial_readiness_delay_s", 30.0),
    )


def _log(entries: list[list[int]]) -> tuple[Logged, ...]:
    return tuple(Logged(replicas, NOW - age) for replicas, age in entries)


def _events(fact: Fact) -> Events:
    return Events(_log(fact.get("up_events") or []), _log(fact.get("down_events") or []))


def _behavior(fact: Fact) -> Behavior:
    stanza = {**fact, **fact.get("behavior", {})}
    return Behavior(scaleUp=_rules(stanza.get("up")), scaleDown=_rules(stanza.get("down")))


def _rules(rules: Fact | None) -> ScalingRules:
    rules = rules or {}
    kinds = {"pods": "Pods", "percent": "Percent"}
    return ScalingRules(
        selectPolicy=rules.get("select", "Max"),
        stabilizationWindowSeconds=rules.get("window_s"),
        policies=tuple(
            RatePolicy.model_validate({"type": kinds[key], "value": value, "periodSeconds": period})
            for key, (value, period) in ((k, rules[k]) for k in kinds if k in rules)
        ),
    )


def main(arguments: list[str]) -> int:
    """Check one file; 0 if every fact holds, 1 if not, 2 if the file cannot be read."""
    if len(arguments) != 1:
        print("usage: python -m tests.core.hpa_facts FILE", file=sys.stderr)
        return 2
    try:
        document = yaml.safe_load(Path(arguments[0]).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        print(f"{arguments[0]}: cannot be read: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    passed = failed = 0
    for name, expected, got in check(document):
        if holds(expected, got):
            passed += 1
        else:
            failed += 1
            print(f"{name}: expected {expected}, got {got}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
