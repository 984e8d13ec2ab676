from __future__ import annotations

import pytest

from autoscaler.simulation.engine import Assumptions
from autoscaler.simulation.score import score, static_fleet
from autoscaler.simulation.summary import conditions, document, table
from autoscaler.simulation.trace import Session, Trace, trace_of
from tests.builders import policy


def visits() -> Trace:
    return trace_of("visits.csv", [Session(0.0, 3_600.0)])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        pytest.param({}, "One decision every 5s; a new pod is Ready after 1m", id="always"),
        pytest.param({}, "Only pods without sessions are removed.", id="drains"),
        pytest.param({"drain": "none"}, "Pods are removed at random", id="patches at once"),
        pytest.param(
            {"metrics": [{"type": "cpu", "utilization": "70%"}]},
            "A session uses 0.05 of its pod's 1 core",
            id="cpu",
        ),
        pytest.param(
            {"metrics": [{"type": "prometheus", "query": "x", "value": 9}]},
            "A PromQL query is assumed to return the number of connected sessions.",
            id="promql",
        ),
    ],
)
def test_the_conditions_say_what_was_assumed(overrides, expected):
    assert expected in conditions(policy(**overrides), visits(), Assumptions())


def test_the_table_has_the_baseline_beside_the_policy():
    result = score(static_fleet(visits(), 10), visits(), 1)
    shown = table("dashboards", result, result)
    assert shown.columns == ("", "policy dashboards", "static fleet of 1")
    assert ("replica-hours", "1.0", "1.0") in shown.rows


def test_the_document_names_trace_and_policy_by_their_content():
    result = score(static_fleet(visits(), 10), visits(), 1)
    object_ = document(policy(), visits(), Assumptions(), result, result)
    assert object_["trace"] == {
        "name": "visits.csv",
        "sha256": visits().digest,
        "note": "",
    }
    assert len(object_["policy"]["sha256"]) == 64
    assert object_["static"]["replica_hours"] == 1.0
