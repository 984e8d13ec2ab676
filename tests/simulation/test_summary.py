from __future__ import annotations

import pytest

from autoscaler.simulation.comparison import Result
from autoscaler.simulation.engine import Assumptions
from autoscaler.simulation.front import WhenFull
from autoscaler.simulation.score import score, static_fleet
from autoscaler.simulation.summary import FULL_ROWS, conditions, document, sparkline, table
from autoscaler.simulation.timeline import Steps
from autoscaler.simulation.trace import Session, Trace, trace_of
from tests.builders import policy


def visits() -> Trace:
    return trace_of("visits.csv", [Session(0.0, 3_600.0)])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        pytest.param({}, "One decision every 5s; a new pod is Ready after 1m", id="always"),
        pytest.param({}, "Only pods without sessions are removed.", id="drains"),
        pytest.param({"paused": True}, "its replicas never change.", id="a pause"),
        pytest.param(
            {"idle": {"after": "2h"}},
            "no session is released (idle).",
            id="unused sessions",
        ),
        pytest.param(
            {"drain": "none"},
            "The ReplicaSet chooses the pods that are removed",
            id="patches at once",
        ),
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


def result(name: str = "policy dashboards") -> Result:
    run = static_fleet(visits(), 10)
    return Result(name, run, score(run, visits(), 1))


def test_the_table_has_the_baseline_beside_the_policy() -> None:
    shown = table([result(), result("static fleet of 1")], WhenFull.REFUSE, price=None)
    assert shown.columns == ("", "policy dashboards", "static fleet of 1")
    assert ("replica-hours", "1.0", "1.0") in shown.rows


def test_the_brief_table_begins_with_money_and_regret() -> None:
    shown = table([result()], WhenFull.REFUSE, price=0.12, brief=True)
    assert [title for title, _ in shown.rows] == [
        "cost",
        "regret: cost above the bound *",
        "replica-hours",
        "refused: no free seat",
        "cut by scaling down",
        "minutes lost by cuts",
        "peak replicas",
        "seats in use",
    ]
    assert shown.rows[0] == ("cost", "0.12")


@pytest.mark.parametrize(
    ("when_full", "expected"),
    [
        pytest.param(WhenFull.REFUSE, "refused: no free seat", id="they go away"),
        pytest.param(WhenFull.WAIT, "waited for a free seat", id="they wait"),
        pytest.param(WhenFull.OVERFILL, "minutes on pods over their seats", id="they share one"),
    ],
)
def test_the_table_tells_of_users_without_a_seat_what_happens_to_them(
    when_full: WhenFull, expected: str
) -> None:
    titles = [title for title, _ in table([result()], when_full, price=None).rows]
    assert expected in titles
    assert len([row for row in FULL_ROWS.values() if row[0] in titles]) == 1


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param(Steps((0.0,), (5.0,)), "████", id="always the same"),
        pytest.param(Steps((0.0, 20.0), (0.0, 7.0)), "▁▁██", id="the second half"),
        pytest.param(Steps((0.0, 31.0, 32.0), (1.0, 7.0, 1.0)), "▂▂▂█", id="a short peak is seen"),
        pytest.param(Steps(), "▁▁▁▁", id="nothing at all"),
    ],
)
def test_a_line_of_bars_shows_the_peak_of_each_stretch(steps: Steps, expected: str) -> None:
    assert sparkline(steps, 0.0, 40.0, width=4) == expected


def test_the_document_names_trace_and_policy_by_their_content():
    results = [result(), result("HPA dash"), result("static fleet of 1")]
    object_ = document(policy(), visits(), Assumptions(), results, price=2.0)
    assert object_["trace"] == {
        "name": "visits.csv",
        "sha256": visits().digest,
        "note": "",
    }
    assert len(object_["policy"]["sha256"]) == 64
    assert object_["static"]["replica_hours"] == 1.0
    assert object_["against"]["HPA dash"]["cost"] == 2.0
    assert object_["bounds"] == {"fluid": 1.0, "sticky": 1.0, "clairvoyant": 1.0}
