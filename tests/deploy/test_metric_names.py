"""Whatever names a metric, in a rule, on the dashboard or on a page, names one that there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.model import Reason
from autoscaler.reporting.events import HOLDS
from autoscaler.reporting.metrics import DaemonMetrics
from exporter.metrics import TABLE
from tests.deploy.alert_cases import CASES
from tests.deploy.monitoring import (
    ROOT,
    Rule,
    alerts,
    dashboard,
    panels,
    queries,
    recordings,
    rules,
)

NAME = re.compile(r"\b(?:[a-z_]+:)?bokeh_[a-z0-9_:]*[a-z0-9]")
SERIES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",), "info": ("_info",)}
# Names on pages that are something else: labels, programs, Python's own.
NO_METRICS = {"bokeh_version"}
PAGES = sorted(
    page
    for folder in (".", "deploy", "docs", "policies")
    for page in ROOT.joinpath(folder).glob("*.md" if folder == "." else "**/*.md")
)
POLICIES = sorted(ROOT.joinpath("policies").glob("*.yaml"))


def exported() -> Iterator[str]:
    """Every series that the exporter and the daemon can have."""
    for spec in TABLE:
        yield from _series(spec.name, spec.type)
    metrics = DaemonMetrics()
    metrics.show_journal(lambda: True)
    metrics.show_price(0.12)
    metrics.show_caches(lambda: ())
    metrics.show_shards(1, lambda _: True)
    for family in metrics.registry.collect():
        yield from _series(family.name, family.type)


def _series(name: str, kind: str) -> Iterator[str]:
    for suffix in SERIES.get(kind, ("",)):
        yield name.removesuffix(suffix) + suffix


def metrics_in(text: str) -> set[str]:
    return set(NAME.findall(text)) - NO_METRICS


def read_by(rule: Rule) -> str:
    """What a rule reads: in its expression, and in the queries of its description."""
    return f"{rule['expr']} {rule.get('annotations', {}).get('description', '')}"


KNOWN = {*exported(), *recordings()}


def test_the_rules_name_metrics_that_there_are() -> None:
    named = {name for rule in rules() for name in metrics_in(read_by(rule))}

    assert named <= KNOWN


def test_the_dashboard_names_metrics_that_there_are_and_needs_no_rules() -> None:
    variables = [each["query"] for each in dashboard()["templating"]["list"]]
    named = metrics_in(str([*variables, *queries().values()]))

    assert named <= set(exported())


@pytest.mark.parametrize("page", [*PAGES, *POLICIES], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_metrics_that_there_are(page: Path) -> None:
    families = {re.sub("_(total|info|bucket|count|sum)$", "", name) for name in KNOWN}

    assert metrics_in(page.read_text()) <= KNOWN | families


def test_no_recording_is_without_a_use() -> None:
    used = {name for rule in alerts().values() for name in metrics_in(rule["expr"])}
    named = {name for page in PAGES for name in metrics_in(page.read_text())}

    assert set(recordings()) <= used | named


def test_a_decision_that_is_held_has_one_of_the_daemons_reasons() -> None:
    [pattern] = re.findall('reason=~"([^"]+)"', alerts()["BokehDecisionsHeld"]["expr"])

    for words in pattern.split("|"):
        assert any(re.fullmatch(words, reason) for reason in Reason), words


@pytest.mark.parametrize("reason", sorted(HOLDS))
def test_no_hold_that_an_event_tells_is_without_an_alert(reason: Reason) -> None:
    [pattern] = re.findall('reason=~"([^"]+)"', alerts()["BokehDecisionsHeld"]["expr"])

    assert re.fullmatch(pattern, reason)


def test_a_case_of_an_alert_has_only_series_that_the_alert_reads() -> None:
    """So that none is quiet only because a name in it is wrong."""
    for case in CASES:
        expression = read_by(alerts()[case.alert])
        for name in metrics_in(expression) & set(recordings()):
            expression += recordings()[name]["expr"]
        given = [series for each in (case.fires, *case.quiet.values()) for series in each]
        for series in given:
            assert re.match("[a-z_]+", series)[0] in expression, f"{case.alert}: {series}"


def test_panels_are_whole_and_lie_side_by_side() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        own = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not own & cells, panel["title"]
        cells |= own
    identifiers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(identifiers)) == len(identifiers)


def test_a_panel_has_a_unit_a_description_and_the_chosen_data_source() -> None:
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]
