"""Every query of the dashboard and of the rules has an answer in a real Prometheus.

It scrapes what an operator's does: exporters of real servers with real users, and the daemon while
it drains and removes a pod, by the scrape configuration that we ship.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import PROGRAMS
from tests.deploy.monitored import APPS, World, world
from tests.deploy.monitoring import dashboard, filled, queries, recordings, rules
from tests.deploy.pages import COSTS_PAGE, DEPLOY_PAGE, KUBERNETES_PAGE, UPGRADE_PAGE, questions
from tests.lab.prometheus_server import PrometheusServer

pytestmark = [pytest.mark.slow, pytest.mark.prometheus]

WITHIN = 60.0  # seconds; 12 on an idle machine, of which Prometheus waits 5 before its first scrape
LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")
SELECTOR = re.compile(r"(\b[a-z][a-z0-9_]*){([^}]*)}")
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"')

Asked = dict[str, str]  # what a query is for, to the query


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    programs = {name: find() for name, (find, _) in PROGRAMS.items()}
    found = {name: program for name, program in programs.items() if program is not None}
    if not found:
        pytest.skip("NO PROMETHEUS: `make parts` gets it")
    with world(tmp_path_factory.mktemp("world"), found) as everything:
        yield everything


def selectors() -> Asked:
    """Each metric that a rule selects from, with the labels that it is selected by."""
    found = [pair for rule in rules() for pair in SELECTOR.findall(rule["expr"])]
    return {
        f"{metric}{{{matchers}}}": f"{metric}{{{','.join(labels_of(matchers))}}}"
        for metric, matchers in found
    }


def labels_of(matchers: str) -> list[str]:
    return [f'{label}!=""' for label in MATCHER.findall(matchers)]


def unanswered(prometheus: PrometheusServer, asked: Mapping[str, str]) -> Asked:
    """Those that give no series, or no number in any."""
    now = time.time()
    return {
        what: query
        for what, query in asked.items()
        if not any(math.isfinite(float(row["value"][1])) for row in prometheus.query(query, now))
    }


def await_answers(world: World, asked: Asked) -> None:
    """Let users live until each Prometheus has answered everything; fail with what is left."""
    until = time.monotonic() + WITHIN
    open_questions = dict.fromkeys(world.prometheus, asked)
    while any(open_questions.values()) and time.monotonic() < until:
        world.live()
        open_questions = {
            name: unanswered(world.prometheus[name], left) for name, left in open_questions.items()
        }
        time.sleep(0.5)
    assert not any(open_questions.values()), open_questions


def test_every_query_of_every_panel_returns_data(seen: World) -> None:
    await_answers(seen, {what: filled(query, *APPS) for what, query in queries().items()})


def test_every_recording_returns_data(seen: World) -> None:
    await_answers(seen, {name: name for name in recordings()})


def test_every_series_that_a_rule_selects_has_the_labels_that_it_selects_by(seen: World) -> None:
    await_answers(seen, selectors())


@pytest.mark.parametrize(
    "page",
    [DEPLOY_PAGE, KUBERNETES_PAGE, COSTS_PAGE, UPGRADE_PAGE],
    ids=["deploy", "kubernetes", "costs", "upgrade"],
)
def test_every_question_of_a_page_has_an_answer(seen: World, page: Path) -> None:
    await_answers(seen, {question: question for question in questions(page)})


def test_the_variables_offer_the_deployment(seen: World) -> None:
    chosen = [v for v in dashboard()["templating"]["list"] if v["type"] == "query"]

    assert [variable["name"] for variable in chosen] == ["namespace", "deployment"]
    for variable in chosen:
        selector, label = LABEL_VALUES.fullmatch(variable["query"]["query"]).groups()  # type: ignore[union-attr]
        for prometheus in seen.prometheus.values():
            rows = prometheus.query(f"group by ({label}) ({filled(selector, *APPS)})", time.time())
            values = [row["metric"][label] for row in rows]
            assert values == [getattr(APPS, variable["name"])]
