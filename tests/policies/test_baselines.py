"""What a policy is compared with: others' manifests become policies without drains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.policies.baselines import Baseline, load_baselines
from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.errors import PolicyError
from autoscaler.policy import Policy
from tests.policies.files import GOOD
from tests.policies.manifests import a_list, asked, cpu, cron, external, hpa, pods, resource, scaled

Write = Callable[[str], Path]


@pytest.fixture
def against(own: Policy, write: Write) -> Callable[[Any], Baseline]:
    """The baseline of a manifest, beside the good policy."""

    def load(value: Any) -> Baseline:
        text = value if isinstance(value, str) else str(write(json.dumps(value)))
        [found] = load_baselines(text, own)
        return found

    return load


@pytest.fixture
def own(tmp_path: Path) -> Policy:
    path = tmp_path / "own.yaml"
    path.write_text(GOOD)
    return load_policy(path)


def named(name: str, manifest: Any) -> Any:
    return {**manifest, "metadata": {"name": name}}


def documents(*values: Any) -> str:
    return "---\n" + "\n---\n".join(each if each == GOOD else json.dumps(each) for each in values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            documents(a_list("List", hpa())), ["HPA dash"], id="one HPA, as kubectl prints all"
        ),
        pytest.param(
            documents(a_list("List", named("a", hpa()), named("b", scaled(asked("sum(x)", "9"))))),
            ["HPA a", "KEDA b"],
            id="all that scale in a list",
        ),
        pytest.param(
            documents(a_list("HorizontalPodAutoscalerList", {"spec": hpa()["spec"]})),
            ["HPA policy.yaml"],
            id="the items of such a list name no kind",
        ),
        pytest.param(
            documents({"kind": "Deployment"}, {"kind": "Service"}, hpa()),
            ["HPA dash"],
            id="an HPA behind other objects",
        ),
        pytest.param(
            documents(named("a", hpa()), None, named("b", hpa()), GOOD),
            ["HPA a", "HPA b", "policy dashboards"],
            id="several documents, one of them empty and one a policy",
        ),
    ],
)
def test_all_that_scales_in_a_file_is_a_baseline(
    own: Policy, write: Write, text: str, expected: list[str]
) -> None:
    assert [each.name for each in load_baselines(str(write(text)), own)] == expected


def test_a_cron_trigger_never_exceeds_the_maximum_of_its_object(
    against: Callable[[Any], Baseline],
) -> None:
    """As the HPA that KEDA makes of it."""
    baseline = against(scaled(asked("sum(x)", "10"), cron(), minReplicaCount=1, maxReplicaCount=3))

    assert [window.min for window in baseline.policy.schedule] == [3]
    assert baseline.left_out == (
        "the part above maxReplicaCount (3) of a cron trigger for 4 replicas",
    )


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        pytest.param(hpa(metrics=[cpu(65)]), [("cpu", 65.0)], id="the CPU of an HPA"),
        pytest.param(hpa(), [("cpu", 80.0)], id="an HPA without metrics aims at 80 % of the CPU"),
        pytest.param(
            hpa(metrics=[resource("memory", type="Utilization", averageUtilization=70)]),
            [("memory", 70.0)],
            id="memory, whose requests and limits are equal in a simulation",
        ),
        pytest.param(
            hpa(metrics=[pods("bokeh_sessions", "7")]), [("prometheus", 7.0)], id="an average"
        ),
        pytest.param(
            hpa(metrics=[pods("bokeh_sessions", "7500m")]),
            [("prometheus", 7.5)],
            id="an average in thousandths",
        ),
        pytest.param(
            hpa(metrics=[pods("bokeh_sessions", "1k")]),
            [("prometheus", 1000.0)],
            id="an average as the API server writes 1000",
        ),
        pytest.param(
            hpa(metrics=[external("queue", value="30")]), [("prometheus", 30.0)], id="a value"
        ),
        pytest.param(
            scaled(asked("sum(bokeh_sessions)", "10")), [("prometheus", 10.0)], id="KEDA's query"
        ),
    ],
)
def test_the_metrics_of_others_are_simulated(
    against: Callable[[Any], Baseline], manifest: Any, expected: list[tuple[str, float]]
) -> None:
    policy = against(manifest).policy

    found = []
    for metric in policy.metrics:
        target = [getattr(metric, key, None) for key in ("utilization", "per_replica", "value")]
        found.append((metric.type, next(each for each in target if each is not None)))
    assert found == expected
    assert policy.drain is None, "they delete whatever pod the ReplicaSet chooses"
    assert policy.behavior is not None, "the defaults of HPA's behavior apply"
    assert policy.interval == 15.0


def test_a_cron_trigger_is_a_window_of_the_schedule(against: Callable[[Any], Baseline]) -> None:
    baseline = against(scaled(asked("sum(x)", "10"), cron(), maxReplicaCount=9))

    (window,) = baseline.policy.schedule
    assert (window.days, window.min) == (("mon", "tue", "wed", "thu", "fri"), 4)
    assert (f"{window.start:%H:%M}", f"{window.end:%H:%M}") == ("08:00", "18:00")
    assert window.timezone == "Europe/Berlin"
    assert baseline.name == "KEDA dash"


def test_a_cron_trigger_alone_decides_by_its_window(against: Callable[[Any], Baseline]) -> None:
    policy = against(scaled(cron(start="0 8 * * 0,6", end="0 18 * * 0,6"))).policy

    assert policy.schedule[0].days == ("sun", "sat")
    assert policy.replicas.min == 1


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        pytest.param(
            scaled(asked("sum(x)", "10"), minReplicaCount=0),
            ("scaling to 0 replicas",),
            id="no replicas at all",
        ),
        pytest.param(
            scaled(cron(start="0 8 * * 1", end="0 18 * * 5"), asked("sum(x)", "10")),
            ("a cron trigger that does not open and close daily", "scaling to 0 replicas"),
            id="a cron trigger that is open from Monday to Friday, also at night",
        ),
        pytest.param(
            scaled(asked("sum(x)", "10"), cron(), minReplicaCount=4),
            ("a cron trigger within minReplicaCount (4)",),
            id="a cron trigger for no more than the minimum",
        ),
        pytest.param(
            scaled(asked("sum(x)", "10"), cron(start="*/5 8 * * *"), minReplicaCount=1),
            ("a cron trigger that does not open and close daily",),
            id="a cron trigger that fires several times a day",
        ),
        pytest.param(
            hpa(metrics=[cpu(), external("queue", value="many")]),
            ('External metric "queue"',),
            id="a target that is no number",
        ),
    ],
)
def test_what_a_simulation_does_not_know_is_told(
    against: Callable[[Any], Baseline], manifest: Any, expected: tuple[str, ...]
) -> None:
    assert against(manifest).left_out == expected


@pytest.mark.parametrize(
    ("manifest", "seconds"),
    [
        pytest.param(hpa(), 15.0, id="an HPA reads metrics-server"),
        pytest.param(scaled(cron(), asked("sum(x)", "10")), 15.0, id="KEDA makes an HPA"),
        pytest.param("static:7", None, id="a static fleet reads nothing"),
    ],
)
def test_what_reads_metrics_server_has_its_window_of_cpu(
    against: Callable[[Any], Baseline], manifest: Any, seconds: float | None
) -> None:
    assert against(manifest).cpu_window == seconds


def test_a_static_fleet_has_its_replicas_always(against: Callable[[Any], Baseline]) -> None:
    baseline = against("static:7")

    assert baseline.name == "static fleet of 7"
    assert (baseline.policy.replicas.min, baseline.policy.replicas.max) == (7, 7)


def test_another_policy_is_itself(against: Callable[[Any], Baseline], write: Write) -> None:
    path = write(GOOD)

    assert against(str(path)) == Baseline(
        "policy dashboards", load_policy(path), seats=load_policy(path).sessions.seats
    )


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        pytest.param(
            hpa(metrics=[resource("cpu", type="AverageValue", averageValue="500m")]),
            'no metric of this HPA can be simulated: "cpu" without a percentage',
            id="no metric is left",
        ),
        pytest.param(
            hpa(metrics=[cpu()], maxReplicas=1),
            "policy.yaml:1: spec.minReplicas: min (2) is above max (1): expected min <= max",
            id="a minimum over the maximum",
        ),
        pytest.param(
            hpa(maxReplicas="12"),
            'policy.yaml:1: spec.maxReplicas: got "12", expected a whole number without quotes',
            id="a maximum in quotes",
        ),
        pytest.param(
            hpa(behavior={"scaleUp": {"selectPolicy": "Most"}}),
            'policy.yaml:1: spec.behavior.scaleUp.selectPolicy: got "Most", expected ',
            id="an unknown rule",
        ),
        *(
            pytest.param(
                f"static:{n}",
                f"static:{n}: expected static:N with N from 1 to 100000",
                id=f"{n!r} replicas",
            )
            for n in ("0", "-1", "3.5", "", "1000000", "٣", "07")
        ),
        pytest.param("no-such.yaml", "cannot be read (No such file", id="a file that is missing"),
        pytest.param({"kind": "Deployment"}, "is a Deployment", id="what scales nothing"),
    ],
)
def test_a_wrong_baseline_is_one_line(
    against: Callable[[Any], Baseline], manifest: Any, expected: str
) -> None:
    with pytest.raises(PolicyError) as error:
        against(manifest)

    assert expected in str(error.value)
    assert "\n" not in str(error.value)
