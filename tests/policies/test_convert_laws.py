"""A converted HPA recommends what the HPA did, and no manifest raises anything but one error."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.adapters.policies.baselines import load_baselines
from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.core.now import Now
from autoscaler.core.recommendations import recommendations
from autoscaler.errors import PolicyError
from autoscaler.model import Observation, PodState, Resources, Sample, State
from autoscaler.policy import Policy
from tests.builders import policy
from tests.core.hpa_facts import NOW, readings
from tests.hpa.objects import hpa_spec
from tests.policies.manifests import (
    asked,
    conversions,
    converted,
    cpu,
    cron,
    external,
    hpa,
    pods,
    resource,
    scaled,
)
from tests.policies.test_laws import ON_DISK
from tests.policies.test_other_kinds import MESSES, WORDS_OF_OTHERS

FACTS = Path(__file__).parents[1] / "core" / "data" / "hpa_real_cases.yaml"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def facts() -> list[Any]:
    recorded = yaml.load(FACTS.read_text(), LOADER)["calc"]
    return [pytest.param({"resource": "cpu", **each}, id=each["id"]) for each in recorded]


def seen(fact: dict[str, Any], ours: Policy) -> Observation:
    """What the controller saw: pods with their CPU, or the answer to the query."""
    alive = tuple(
        replace(each.pod, cpu=each.sample, resources=Resources(cpu_request=each.budget))
        for each in readings(fact.get("pods", []))
    ) or tuple(PodState(f"pod-{n}", ready=True) for n in range(fact.get("ready_pods", 1)))
    total = Sample(sum(fact.get("samples", ())), NOW)
    external = {each.query: total for each in ours.metrics if each.type == "prometheus"}
    replicas = fact["current"]
    return Observation(replicas, alive, fact.get("status_replicas", replicas), external)


@pytest.mark.parametrize("fact", facts())
def test_a_converted_hpa_recommends_what_the_real_controller_did(fact: dict[str, Any]) -> None:
    spec = hpa_spec({"min": 1, "max": 1_000, "metrics": [fact]}, "dash")
    ours = converted(hpa(**spec)).policy

    [found], _ = recommendations(ours, seen(fact, ours), State(), Now(NOW))

    assert found.replicas == fact["expect"]["replicas"], found.detail


PERCENTS = st.integers(0, 1_200) | st.just("65")
QUANTITIES = st.sampled_from(["7", "7500m", "1k", "2Mi", "0", "-1", "many", "1e3", "", "5"])
GOALS = st.sampled_from(["value", "averageValue"])
METRICS = st.one_of(
    st.builds(cpu, PERCENTS),
    st.builds(lambda name, percent: resource(name, averageUtilization=percent),
              st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]), PERCENTS),
    st.builds(lambda name, amount: resource(name, averageValue=amount),
              st.sampled_from(["cpu", "memory"]), QUANTITIES),
    st.builds(pods, st.text(max_size=8), QUANTITIES),
    st.builds(lambda name, key, amount: external(name, **{key: amount}),
              st.text(max_size=8), GOALS, QUANTITIES),
)  # fmt: skip
TRIGGERS = st.one_of(
    st.builds(asked, st.sampled_from(["sum(x)", "", "sum(\n x\n)", 'it\'s "x"']), QUANTITIES),
    st.builds(
        lambda kind, goal, value: {"type": kind, "metricType": goal, "metadata": {"value": value}},
        st.sampled_from(["cpu", "memory", "kafka"]),
        st.sampled_from(["Utilization", "AverageValue"]),
        QUANTITIES,
    ),
    st.builds(
        cron,
        st.sampled_from(
            ["0 8 * * 1-5", "0 20 * * *", "0 8 * * MON-FRI", "*/5 8 * * *", "99 1 * * 1"]
        ),
        st.sampled_from(["0 18 * * 1-5", "0 6 * * *", "0 18 * * 5"]),
        st.sampled_from(["1", "4", "40", "0", "x"]),
    ),
)
LOW, HIGH = st.integers(0, 5), st.integers(0, 30) | st.none()
BEHAVIORS = st.sampled_from(
    [
        None,
        {},
        {"scaleUp": {"tolerance": "50m", "selectPolicy": "Min"}},
        {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}},
        {"scaleDown": {"policies": None}},
    ]
)
HPAS = st.builds(
    lambda metrics, low, high, behavior: hpa(
        metrics=metrics, minReplicas=low, maxReplicas=high, behavior=behavior
    ),
    st.lists(METRICS, max_size=4),
    LOW,
    HIGH,
    BEHAVIORS,
)
SCALED = st.builds(
    lambda triggers, low, high, behavior: scaled(
        *triggers,
        minReplicaCount=low,
        maxReplicaCount=high,
        advanced={"horizontalPodAutoscalerConfig": {"behavior": behavior}},
    ),
    st.lists(TRIGGERS, max_size=4),
    LOW,
    HIGH,
    BEHAVIORS,
)


@ON_DISK
@given(HPAS | SCALED)
def test_what_can_be_simulated_is_converted_to_the_same_metrics_and_bounds(manifest: Any) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "manifest.yaml")
        file.write_text(json.dumps(manifest))
        try:
            [simulated] = load_baselines(str(file), policy())
        except PolicyError:
            return
        found = converted(manifest, seats=20)
        file.write_text(found.text)
        assert load_policy(file) == found.policy

    theirs, ours = simulated.policy, found.policy
    of_load = [each for each in theirs.metrics if each.type != "sessions"]
    assert [each for each in ours.metrics if each in of_load] == of_load
    assert (ours.replicas, ours.schedule) == (theirs.replicas, theirs.schedule)
    assert ours.behavior is None or ours.behavior == theirs.behavior


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(["HorizontalPodAutoscaler", "ScaledObject", "List"]),
    st.dictionaries(WORDS_OF_OTHERS, MESSES, max_size=5),
)
def test_no_object_raises_anything_but_an_error_in_lines(kind: str, value: Any) -> None:
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "dash"}}
    spec = {**target, **value} if value else target
    for manifest in ({**value, "kind": kind}, {"kind": kind, "metadata": value, "spec": spec}):
        assert all(line.isprintable() for line in problems_of(manifest))


def problems_of(manifest: Any) -> list[str]:
    """Return the lines of the error, or none. Whatever else is raised fails the test."""
    try:
        conversions(manifest, seats=20)
    except PolicyError as error:
        return str(error).split("\n")
    return []
