from __future__ import annotations

import re
from dataclasses import replace

import pytest

from autoscaler.html_report.page import report_html, write_report
from autoscaler.simulation.engine import Assumptions, simulate
from autoscaler.simulation.score import static_fleet
from autoscaler.simulation.summary import COST_ROWS, DETAIL_ROWS, MEANINGS
from autoscaler.simulation.timeline import Change, Steps, Table, Timeline
from autoscaler.simulation.workloads import office_week
from tests.builders import policy

START = 1_768_206_600.0  # 2026-01-12T08:30:00Z
TABLE = Table(("", "policy a"), (("refused", "2"),))


def timeline() -> Timeline:
    return Timeline(
        start=START,
        end=START + 3_600,
        seats=10,
        sessions=Steps((START, START + 60), (3, 12)),
        ready=Steps((START, START + 120), (1, 2)),
        billed=Steps((START, START + 60), (1, 2)),
        desired=Steps((START, START + 60), (1, 2)),
        refused=(START + 61, START + 62),
        changes=(Change(START + 60, 1, 2, "MetricAboveTarget", "sessions: (12 connected…"),),
        timezone="Europe/Berlin",
    )


@pytest.fixture(scope="module")
def page() -> str:
    return report_html(timeline(), TABLE, "Policy <a> & b", "A note.")


def test_the_page_fetches_nothing(page):
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=""", markup)
    assert not re.search(r"<script[^>]+src", page)
    assert not re.search(r"@import|url\(\s*['\"]?https?:", page)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<td>refused</td><td>2</td>", id="the table"),
        pytest.param("Policy &lt;a&gt; &amp; b", id="the title, escaped"),
        pytest.param("A note.", id="the note"),
        pytest.param("sessions: (12 connected", id="why replicas changed"),
        pytest.param("MetricAboveTarget", id="the reason"),
        pytest.param("1 \\u2192 2 replicas", id="the change"),
        pytest.param("time (Europe/Berlin)", id="whose clock it is"),
        pytest.param("refused (2)", id="how many were refused"),
        pytest.param('name="viewport"', id="fit for a phone"),
    ],
)
def test_the_page_shows(page, text):
    assert text in page


def test_reasons_and_meanings_can_be_read_without_a_pointer() -> None:
    rows = (("replicas missing (theta_u)", "2 %"), ("sessions", "9"))
    page = report_html(timeline(), Table(("", "a"), rows), "x", verdict="Raise <it>.")
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)

    assert "<strong>Raise &lt;it&gt;.</strong>" in markup
    assert "<summary>Why the replicas changed (1)</summary>" in markup
    assert "<td>Mon 12 Jan 09:31:00</td><td>1 → 2</td><td>MetricAboveTarget: sessions" in markup
    assert "<dt>replicas missing (theta_u)</dt><dd>On average over time, the share" in markup
    assert "<dt>sessions</dt>" not in markup


def test_the_list_of_changes_is_of_bounded_length() -> None:
    many = replace(timeline(), changes=timeline().changes * 3_000)
    page = report_html(many, TABLE, "x")

    assert "Why the replicas changed (500 of 3,000)" in page
    assert page.count("<td>1 → 2</td>") == 500


def test_every_title_with_a_meaning_is_in_the_table() -> None:
    assert set(MEANINGS) <= {title for title, _ in (*COST_ROWS, *DETAIL_ROWS)}


def test_the_demand_of_users_who_found_no_seat_is_drawn() -> None:
    wanted = replace(timeline(), demand=Steps((START, START + 60), (3, 77)))

    assert "demand" in report_html(wanted, TABLE, "x")
    assert "demand" not in report_html(timeline(), TABLE, "x")


def test_times_are_those_of_the_clock_on_the_wall(page):
    assert f"{(START + 3_600) * 1_000:.1f}" in page  # Berlin is an hour ahead


def test_a_trace_that_counts_from_zero_shows_no_date():
    steps = Steps((0.0,), (1,))
    elapsed = Timeline(0.0, 3_600.0, 10, steps, steps, steps, steps)
    assert "time from second 0" in report_html(elapsed, TABLE, "x")


def test_a_long_run_makes_a_page_of_bounded_size():
    times = tuple(START + n for n in range(100_000))
    long = replace(timeline(), sessions=Steps(times, tuple(n % 300 for n in range(100_000))))
    base, grown = report_html(timeline(), TABLE, "x"), report_html(long, TABLE, "x")
    assert len(grown) < len(base) + 400_000


def test_a_run_in_which_nothing_happened_can_be_shown():
    empty = Timeline(START, START, 10, Steps(), Steps(), Steps(), Steps())
    assert "refused (0)" in report_html(empty, TABLE, "x")


@pytest.fixture(scope="module")
def whole() -> str:
    """The page of a simulated week, beside a static fleet."""
    rules = policy(
        metrics=[{"type": "sessions", "seats": 20, "spare": 5}], replicas={"min": 1, "max": 30}
    )
    visits = office_week(1)
    run = simulate(rules, visits, Assumptions(tick=60.0))
    fixed = static_fleet(visits, 20).timeline
    return report_html(run.timeline, TABLE, "x", rivals={"static fleet of 14": fixed})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("The life of each replica", id="the life of each replica"),
        pytest.param("sessions in its life", id="what a replica did"),
        pytest.param("draining", id="the phases"),
        pytest.param("Refused users by hour", id="when users are refused"),
        pytest.param("Free seats by hour, on average", id="when seats are free"),
        pytest.param("static fleet of 14", id="what it is compared with"),
        pytest.param("MetricAboveTarget", id="why replicas changed"),
    ],
)
def test_the_page_of_a_simulated_week_shows(whole: str, text: str) -> None:
    assert text in whole


def test_the_page_of_a_simulated_week_is_of_bounded_size(whole: str, page: str) -> None:
    assert len(whole) < len(page) + 2_000_000


def test_a_short_run_has_no_map_of_the_week(page: str) -> None:
    assert "by hour" not in page


def test_the_page_is_written_as_one_file(tmp_path):
    write_report(tmp_path / "report.html", timeline(), TABLE, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").stat().st_size > 100_000
