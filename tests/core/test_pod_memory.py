"""Memory of the thing that is killed: of one container, against that container's own limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.adapters.kubernetes.pods import pod_state
from autoscaler.control.observation import build_observation as observe
from autoscaler.core.decide import decide
from autoscaler.core.drain.pods import (
    is_due_for_recycling,
    is_full,
    memory_percent,
    nearest_to_its_limit,
)
from autoscaler.core.now import Now
from autoscaler.model import PodState, Resources, Sample, State, TargetRef
from autoscaler.policy import Policy
from autoscaler.ports import Readings, TargetState
from tests.builders import NOW, observation, pod, policy

BASE = Path("deploy/kubernetes/base/app.yaml")
MI = 1024**2
RULES = policy(
    metrics=[{"type": "sessions", "seats": 10}, {"type": "memory", "utilization": "80%"}],
    recycle={"memory": "85%"},
)
BY_CADVISOR = policy(
    metrics=[
        {"type": "sessions", "seats": 10},
        {"type": "memory", "utilization": "80%", "source": "cadvisor"},
    ],
    recycle={"memory": "85%"},
)
MESH = {"name": "istio-proxy", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}


def spec_of_base() -> dict[str, Any]:
    """The pod spec that operators apply."""
    documents = yaml.safe_load_all(BASE.read_text())
    deployment = next(each for each in documents if each["kind"] == "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


APP = spec_of_base()["containers"][0]["name"]
LIMIT = 384 * MI


def the_pod(*injected: dict[str, Any], **annotations: str) -> dict[str, Any]:
    spec = spec_of_base()
    spec["containers"] = [*injected, *spec["containers"]]
    meta = {"name": "a", "uid": "u", "annotations": annotations}
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    return {
        "metadata": meta,
        "spec": spec,
        "status": {"phase": "Running", "conditions": conditions},
    }


def seen(item: dict[str, Any], rules: Policy, used: dict[str, int], **exporter: int) -> PodState:
    """The pod as a pass sees it; used: what cAdvisor says of each container, in bytes."""
    key = ("bokeh", "a")
    samples = {
        (name, "exporter"): {key: Sample(value * 1000, NOW)} for name, value in exporter.items()
    }
    containers = {key: {name: Sample(value * 1000, NOW) for name, value in used.items()}}
    target = TargetState(TargetRef("bokeh", "app"), "u", "1", 1, 1, (pod_state(item),))
    readings = Readings(samples, containers=containers)  # type: ignore[arg-type]
    return observe(rules, target, readings).pods[0]


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(the_pod(), id="as applied"),
        pytest.param(the_pod(MESH), id="with a mesh's sidecar"),
        pytest.param(
            the_pod(MESH, **{"kubectl.kubernetes.io/default-container": APP}),
            id="marked by the mesh",
        ),
    ],
)
def test_a_pod_is_worn_and_full_well_before_the_kernel_kills_its_app(item: dict[str, Any]) -> None:
    def at(mebibytes: int) -> PodState:
        return seen(item, RULES, {}, memory=mebibytes * MI, memory_limit=LIMIT)

    assert memory_percent(at(384)) == 100.0
    assert RULES.recycle is not None
    worn = next(mib for mib in range(385) if is_due_for_recycling(at(mib), RULES.recycle, Now(NOW)))
    full = next(mib for mib in range(385) if is_full(at(mib), RULES))
    assert (worn, full) == (327, 346), "58 and 38 MiB before"


@pytest.mark.parametrize(
    ("item", "used", "percent"),
    [
        pytest.param(the_pod(), {APP: 192, "exporter": 60}, 50.0, id="the app's container alone"),
        pytest.param(
            the_pod(MESH), {APP: 192, "exporter": 60, "istio-proxy": 256}, 50.0, id="beside a mesh"
        ),
        pytest.param(
            the_pod(MESH),
            {APP: 192, "istio-proxy": 768},
            75.0,
            id="the one nearest to its limit, where the pod does not say which is the app's",
        ),
        pytest.param(
            the_pod(MESH, **{"kubectl.kubernetes.io/default-container": APP}),
            {APP: 192, "istio-proxy": 768},
            50.0,
            id="the app's, where the pod says so",
        ),
        pytest.param(
            the_pod(MESH), {APP: 192}, None, id="one that says nothing may be the nearest"
        ),
        pytest.param(the_pod(), {}, None, id="nothing"),
    ],
)
def test_cadvisors_memory_is_against_the_limit_of_the_same_container(
    item: dict[str, Any], used: dict[str, int], percent: float | None
) -> None:
    amounts = {name: mebibytes * MI for name, mebibytes in used.items()}
    assert memory_percent(seen(item, BY_CADVISOR, amounts)) == percent


def test_the_limit_of_a_whole_pod_is_for_all_its_containers() -> None:
    used = {"app": Sample(300, NOW), "proxy": Sample(100, NOW - 5)}
    assert nearest_to_its_limit(used, [("", 500)]) == (Sample(400, NOW - 5), 500)
    assert nearest_to_its_limit(used, [("app", 310), ("", 500)]) == (Sample(300, NOW), 310)
    assert nearest_to_its_limit(used, []) == (Sample(400, NOW - 5), None)


class TestTheMetric:
    RULES = policy(metrics=[{"type": "memory", "utilization": "80%"}])

    def ask(self, *pods: PodState, **seen: Any) -> str:
        decision, _ = decide(self.RULES, observation(pods=pods, **seen), State(seen_at=NOW), NOW)
        return decision.recommendations[0].detail

    def test_without_a_limit_it_says_what_to_set(self) -> None:
        bare = pod("bare", memory=5, resources=Resources(1000))
        assert self.ask(bare) == (
            "memory: no memory limit is known of pod bare: "
            "set resources.limits.memory on the container that serves the app"
        )

    def test_a_limit_that_could_not_be_read_is_told(self) -> None:
        bare = pod("bare", memory=5, resources=Resources(1000))
        unread = {"memory_limit": "Prometheus at http://p: 500"}
        assert self.ask(bare, unavailable=unread).endswith("pod bare: Prometheus at http://p: 500")

    def test_a_pod_that_starts_is_taken_to_have_the_limit_of_its_siblings(self) -> None:
        there = pod("a", memory=900_000, memory_limit=1_000_000, resources=Resources(1000))
        young = pod("b", phase="Pending", ready=None, resources=Resources(1000))
        assert self.ask(there, young) == "memory: 90% of the limit, target 80%"

    @pytest.mark.parametrize("gone", [{"phase": "Failed"}, {"deleting": True}])
    def test_a_pod_that_is_gone_or_going_needs_no_limit(self, gone: dict[str, Any]) -> None:
        there = pod("a", memory=900_000, memory_limit=1_000_000, resources=Resources(1000))
        old = pod("old", memory=5, resources=Resources(), **gone)
        assert self.ask(there, old) == "memory: 90% of the limit, target 80%"

    def test_what_may_be_why_nobody_tells_is_told(self) -> None:
        hints = {"memory": "3 series of bokeh_memory_working_set_bytes lack the label pod"}
        assert self.ask(pod("a"), hints=hints) == (
            "memory: no pod has told its memory: "
            "3 series of bokeh_memory_working_set_bytes lack the label pod"
        )
