"""What a pass has to read for a policy."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.control.observation import read_signals, required_signals
from tests.builders import policy

CPU = {"type": "cpu", "utilization": "70%"}
NIGHT = {"from": "20:00", "to": "06:00"}
MEMORY = {"type": "memory", "utilization": "80%", "source": "cadvisor"}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param({}, {"sessions"}, id="sessions"),
        pytest.param({"metrics": [CPU]}, {"cpu", "sessions"}, id="a drain needs sessions"),
        pytest.param({"metrics": [CPU], "drain": "none"}, {"cpu"}, id="without one it does not"),
        pytest.param({"recycle": {"age": "24h"}}, {"sessions"}, id="age is no signal"),
        pytest.param(
            {"recycle": {"memory": "85%"}},
            {"sessions", "memory", "memory_limit"},
            id="worn by memory alone",
        ),
        pytest.param(
            {"metrics": [MEMORY]}, {"sessions", "memory"}, id="cAdvisor's limits are in the pod"
        ),
        pytest.param(
            {"metrics": [{"type": "sessions", "seats": 9, "spare": {"refuse": "1%"}}]},
            {"sessions", "arrivals", "departures"},
            id="spare seats by who comes",
        ),
        pytest.param(
            {"schedule": [{"from": "07:00", "to": "09:00", "spare": {"refuse": "1%"}}]},
            {"sessions", "arrivals", "departures"},
            id="spare seats by who comes, even if only in the morning",
        ),
    ],
)
def test_the_signals_of_a_policy(rules: dict[str, Any], expected: set[str]) -> None:
    assert set(required_signals(policy(**rules))) == expected


@pytest.mark.parametrize(
    ("rules", "reads"),
    [
        pytest.param({}, True, id="packed by default"),
        pytest.param({"placement": "spread"}, False, id="spread"),
        pytest.param(
            {"placement": "spread", "schedule": [{**NIGHT, "placement": "packed"}]},
            True,
            id="spread, and packed at night",
        ),
        pytest.param(
            {"placement": "spread", "schedule": [{**NIGHT, "placement": "spread"}]},
            False,
            id="spread, and so at night",
        ),
    ],
)
def test_who_comes_is_read_if_users_are_packed_at_any_time(
    rules: dict[str, Any], reads: bool
) -> None:
    found = read_signals(policy(metrics=[{"type": "sessions", "seats": 9}], **rules))
    assert ("arrivals" in found) is reads


def test_memory_that_a_metric_reads_elsewhere_is_read_there() -> None:
    rules = policy(metrics=[MEMORY], recycle={"memory": "85%"})
    assert required_signals(rules)["memory"] == "cadvisor"
