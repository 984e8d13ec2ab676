"""The simulation of an edit: the scores of `autoscaler simulate`, from a real Prometheus."""

from __future__ import annotations

import time
from typing import Any

import pytest

from autoscaler.commands import inputs
from autoscaler.commands.catalog import parser_of
from autoscaler.commands.what_if import WhatIf
from autoscaler.dashboard.edits import Edit, Outcome
from autoscaler.errors import AutoscalerError
from autoscaler.simulation import engine
from autoscaler.simulation.comparison import compare
from tests.dashboard.scene import SCRAPE, history
from tests.lab.prometheus_server import PrometheusServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.prometheus,
    pytest.mark.parametrize("prometheus_program", ["current"], indirect=True),
]
ACTIVE = """\
name: dashboards
target: {namespace: bokeh, deployment: bokeh-app}
replicas: {min: 1, max: 9}
metrics: [{type: sessions, seats: 10}]
"""
EDITED = ACTIVE.replace("min: 1", "min: 3")


@pytest.fixture
def options(prometheus: PrometheusServer) -> dict[str, Any]:
    """Those of the dashboard, for a Prometheus with six hours of the target."""
    prometheus.push(history(int(time.time()) // SCRAPE * SCRAPE))
    words = ["--prometheus", prometheus.url]
    args = vars(parser_of("dashboard").parse_args(words))
    return {name: args[name] for name in args if name.startswith(("prometheus_", "scrape_"))}


def asked(what_if: WhatIf, text: str = EDITED) -> Outcome:
    return what_if(Edit(text, ACTIVE, 0.5), lambda _: None)


def test_the_scores_are_those_of_the_command(
    options: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = asked(WhatIf(options))

    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(EDITED)
    words = ["--policy", "policy.yaml", "--prometheus", options["prometheus_url"], "--last", "7d"]
    args = parser_of("simulate").parse_args(words)
    contenders, trace, _ = inputs.load(args)
    (own, _) = compare(contenders, trace, lambda _: None)
    rows = {title: cells for title, *cells in found.table.rows}
    assert rows["replica-hours"][0] == f"{own.score.replica_hours:,.1f}"
    assert rows["cost"][0] == f"{own.score.replica_hours * 0.5:,.2f}"
    assert found.table.columns == ("", "edited", "active")
    assert [each.path for each in found.settings] == ["replicas.min"]


def test_an_edit_of_the_seats_is_simulated_with_pods_of_as_many_seats(
    options: dict[str, Any],
) -> None:
    found = asked(WhatIf(options), ACTIVE.replace("seats: 10", "seats: 4"))

    assert (found.edited.seats, found.active.seats) == (4, 10)
    assert "Seats per pod, as each policy has them: edited 4, active 10;" in found.note


def test_a_second_edit_simulates_only_what_was_edited(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated: list[int] = []
    original = engine.simulate

    def counting(policy: Any, *others: Any) -> Any:
        simulated.append(policy.replicas.min)
        return original(policy, *others)

    monkeypatch.setattr("autoscaler.commands.what_if.simulate", counting)
    what_if = WhatIf(options)
    first = asked(what_if)
    second = asked(what_if, ACTIVE.replace("min: 1", "min: 4"))

    assert simulated == [3, 1, 4]
    assert first.active == second.active
    assert first.edited != second.edited


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "policy.yaml: the file is empty, expected a policy"),
        (EDITED.replace("max: 9", "max: 2"), "policy.yaml:3: replicas"),
        (EDITED.replace("bokeh-app", "other"), "no data of the last 7d"),
    ],
    ids=["nothing", "a wrong value", "a target without data"],
)
def test_what_is_wrong_is_told_as_the_command_tells_it(
    options: dict[str, Any], text: str, told: str
) -> None:
    with pytest.raises(AutoscalerError, match=told):
        asked(WhatIf(options), text)
