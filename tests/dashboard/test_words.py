"""The texts of the page: what each says, and that nothing from elsewhere becomes HTML."""

from __future__ import annotations

import pytest

from autoscaler.dashboard import words
from autoscaler.model import Decision, Reason, Recommendation, Step
from autoscaler.reporting.decision_fields import decision_fields
from autoscaler.reporting.status_report import Pods, PolicyStatus, Replicas, Seats, StatusReport
from autoscaler.simulation.live import Costs, Held
from autoscaler.simulation.timeline import Change

EVIL = '<b onclick="steal()">&'
ESCAPED = "&lt;b onclick=&quot;steal()&quot;&gt;&amp;"
DECISION = Decision(
    2,
    2,
    (Step(Reason.PARTIAL_DATA, 2, f"pod-1 of {EVIL}"),),
    (Recommendation("sessions", 1, "sessions: (2 connected + 0 spare) / 10 seats"),),
)


def status(**changes: object) -> PolicyStatus:
    told = PolicyStatus("dashboards", "bokeh", "app", True, "PartialData", f"of {EVIL}")
    return PolicyStatus(**{**{name: getattr(told, name) for name in told.__slots__}, **changes})


def clock(at: float) -> str:
    return f"at {at:g}"


EVERY_TEXT = [
    words.paragraph(EVIL),
    words.problems_html([EVIL]),
    words.now_html(status(paused=EVIL)),
    words.decision_html(status(decision=decision_fields(DECISION))),
    words.changes_html([Change(1.0, 1, 2, EVIL, EVIL)], clock),
    words.holds_html([Held(EVIL, 3, 2.0)], 5.0, clock),
    words.wrong_html(f"policy.yaml:1: {EVIL}\nand more"),
]


@pytest.mark.parametrize("html", EVERY_TEXT)
def test_a_text_from_elsewhere_never_becomes_html(html: str) -> None:
    assert EVIL not in html
    assert ESCAPED in html


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sessions": 3}, "<td>sessions</td><td>3</td>"),
        ({"sessions": 3, "without_data": 1}, "<td>3 or more</td>"),
        ({"seats": Seats(20, 8, 4)}, "<td>20, of which 8 are free</td>"),
        ({"replicas": Replicas(2, 2, 2, 1, 1, 9)}, "<td>2 (1 ready, 1 to 9 allowed)</td>"),
        ({"replicas": Replicas(2, 3, 3, 2, 1, 9)}, "<td>2 -&gt; 3 (2 ready"),
        ({"pods": Pods(2, 1, 0, 1, 0, 4)}, "<td>2 open, 1 reserve, 1 draining</td>"),
        ({"pods": Pods(2, 1, 0, 1, 0, 4)}, "<td>4 users on draining pods</td>"),
        ({"pods": Pods(0, 0, 0, 0, 0, 0)}, "<td>none</td>"),
        ({"age": 1.4}, "<td>1s ago</td>"),
        ({"held_for": 75.0}, "</strong> (for 1m15s): of"),
    ],
    ids=str,
)
def test_what_is_known_of_now_is_told(changes: dict[str, object], told: str) -> None:
    assert told in words.now_html(status(**changes))


def test_a_decision_is_told_in_sentences() -> None:
    html = words.decision_html(status(decision=decision_fields(DECISION)))

    assert "They count as full and busy, and nothing is scaled down." in html
    assert "sessions asks for 1 replica: (2 connected + 0 spare) / 10 seats" in html
    assert "1. PartialData kept 2: pod-1" in html
    assert "So a scale-down was held by PartialData." in html


def test_the_decision_of_another_version_is_a_problem_and_not_an_error() -> None:
    newer = {
        **decision_fields(DECISION),
        "steps": [{"reason": "Moon", "replicas": 1, "detail": ""}],
    }

    html = words.decision_html(status(decision=newer))
    assert 'class="problem"' in html
    assert "update the older one" in html


def test_holds_say_for_how_long_where_the_interval_is_known() -> None:
    held = [Held("PartialData", 12, 9.0)]

    assert "<td>12 passes, 1m</td><td>at 9</td>" in words.holds_html(held, 5.0, clock)
    assert "<td>12 passes</td>" in words.holds_html(held, None, clock)
    assert "Nothing held a scale-down" in words.holds_html([], 5.0, clock)


def test_costs_are_money_where_a_price_is_known() -> None:
    costs = Costs(hours=2.0, billed=6.0, sticky=4.0, fluid=3.0)

    priced = words.costs_html(costs, 0.5)
    assert "<td>billed</td><td>6.00</td><td>3.00</td>" in priced
    assert "Regret: 50.0 % above the sticky bound." in priced
    assert "<td>billed</td><td>6.00</td></tr>" in words.costs_html(costs, None)
    assert "has told no costs" in words.costs_html(None, 0.5)


def test_what_is_wrong_with_a_target_and_with_files_is_told() -> None:
    problem = "a.yaml:3: min: got 0"
    report = StatusReport((), {"a.yaml": (problem,)})

    assert list(words.notes(report, status(problem="cannot be read"))) == [
        "cannot be read",
        "a.yaml is rejected, and its last valid version, if any, stays active: line 3: min: got 0",
    ]


def test_the_last_changes_come_first_and_their_number_is_limited() -> None:
    changes = [Change(float(at), 1, 2, "R", "words") for at in range(words.MOST_CHANGES + 5)]

    html = words.changes_html(changes, clock)
    assert html.count("<tr>") == 1 + words.MOST_CHANGES
    assert html.index(f"at {words.MOST_CHANGES + 4}") < html.index("at 5<")
    assert "at 4<" not in html
