"""What a window of the schedule sets besides bounds, and which decision that makes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from autoscaler.core.decide import decide
from autoscaler.core.now import Now
from autoscaler.core.schedule import effective
from autoscaler.model import Decision, Observation, Reason, State
from autoscaler.policy import Packing, Policy, RefusalTarget
from autoscaler.policy.placement import Spreading
from tests.builders import NOW, observation, policy
from tests.core.drains import leaving, serving, sightings
from tests.core.test_holds_until import a_timed_policy, a_timed_state, deadlines, placements
from tests.core.test_laws import an_observation, spares
from tests.deploy.pages import blocks

# It is Friday, 08:00 UTC.
OPEN = {"from": "07:00", "to": "09:00"}
CLOSED = {"from": "09:00", "to": "07:00"}
TEN = [{"type": "sessions", "seats": 10, "spare": 10}]


def values(rules: Policy) -> tuple[object, ...]:
    """What a window may set besides bounds, as the policy says it now."""
    now = effective(rules, Now(NOW)).policy
    assert now.sessions is not None
    deadline = now.drain and now.drain.deadline
    return now.sessions.spare, now.placement, now.packing, deadline


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        pytest.param([], (10, None, Packing(), 7_200), id="without a schedule the policy's own"),
        pytest.param(
            [{**CLOSED, "spare": 30, "placement": "spread", "drain": {"deadline": "1h"}}],
            (10, None, Packing(), 7_200),
            id="a window that is closed sets nothing",
        ),
        pytest.param(
            [{**OPEN, "spare": 30}], (30, None, Packing(), 7_200), id="the others stay as they are"
        ),
        pytest.param(
            [{**OPEN, "spare": 0, "placement": "spread", "drain": {"deadline": "never"}}],
            (0, Spreading(), None, None),
            id="also no free seat, all pods, and no deadline",
        ),
        pytest.param(
            [{**OPEN, "placement": {"minRoutable": 4}, "drain": {"deadline": "1h"}}],
            (10, Packing(minRoutable=4), Packing(minRoutable=4), 3_600),
            id="open pods and a deadline",
        ),
        pytest.param(
            [{**OPEN, "spare": 30, "placement": "spread"}, {**OPEN, "spare": 20}],
            (20, Spreading(), None, 7_200),
            id="of several windows the last one that sets a value",
        ),
        pytest.param(
            [{**OPEN, "spare": 30}, {**OPEN, "min": 5}, {**CLOSED, "spare": 20}],
            (30, None, Packing(), 7_200),
            id="a later window that does not set it changes nothing",
        ),
    ],
)
def test_each_value_is_that_of_the_last_open_window_that_sets_it(
    windows: list[dict[str, Any]], expected: tuple[object, ...]
) -> None:
    rules = policy(metrics=TEN, drain={"deadline": "2h"}, schedule=windows)
    assert values(rules) == expected
    assert values(rules) == expected, "the same policy again"


def test_a_window_of_a_policy_that_a_journal_has_written_sets_the_same_in_words() -> None:
    rules = policy(metrics=TEN, schedule=[{**OPEN, "spare": {"refuse": "1%"}}])
    again = Policy.model_validate(rules.model_dump(mode="json", by_alias=True))
    (own, other) = (each.schedule[0].settings["spare"].text for each in (rules, again))
    assert own == other == "{refuse: 1%}"


@pytest.mark.parametrize(
    ("windows", "told"),
    [
        pytest.param([{**OPEN, "min": 2}], [], id="bounds have steps of their own"),
        pytest.param([{**CLOSED, "spare": 30}], [], id="a closed window"),
        pytest.param(
            [{**OPEN, "spare": {"refuse": "1%"}, "drain": {"deadline": "never"}}],
            ["schedule[0] (07:00 to 09:00 UTC) sets spare {refuse: 1%}, drain.deadline never"],
            id="values as they are written",
        ),
        pytest.param(
            [
                {**OPEN, "spare": "25%", "placement": "spread"},
                {**CLOSED, "spare": 20},
                {**OPEN, "to": "18:00", "timezone": "Europe/Berlin", "spare": 30, "min": 2},
            ],
            [
                (
                    "schedule[0] (07:00 to 09:00 UTC) sets placement spread;"
                    " schedule[2] (07:00 to 18:00 Europe/Berlin) sets spare 30"
                )
            ],
            id="each window with what it sets in the end",
        ),
    ],
)
def test_a_decision_says_which_window_sets_what(
    windows: list[dict[str, Any]], told: list[str]
) -> None:
    seen = observation(pods=(serving("a", 5), serving("b", 5)))
    decision, _ = decide(policy(schedule=windows), seen, State(seen_at=NOW - 5), NOW)
    said = [each for each in decision.steps if each.reason is Reason.SCHEDULED_SETTINGS]
    assert [each.detail for each in said] == told
    assert decision.scheduled == "".join(told)
    assert decision.steps[: len(said)] == tuple(said), "it comes first"
    assert all(each.replicas == 2 for each in said)


def test_what_is_scheduled_is_no_reason_of_a_decision() -> None:
    window = {**OPEN, "drain": {"deadline": "1h"}}
    decision, _ = decide(policy(schedule=[window]), observation(5), State(seen_at=NOW - 5), NOW)
    assert [each.reason for each in decision.steps] == ["ScheduledSettings"]
    assert (decision.reason, decision.detail) == ("DesiredWithinRange", "nothing to change")


@pytest.mark.parametrize("window", [OPEN, CLOSED], ids=["open", "closed"])
def test_the_deadline_of_an_open_window_deletes_a_pod_with_an_idle_session(
    window: dict[str, Any],
) -> None:
    """The time since the cordon counts from before the window opened."""
    old = leaving("x", ago=4_000)
    assert old.occupancy is not None
    old = leaving("x", old.occupancy._replace(live=1, empty_for=None, idle_for=900.0), ago=4_000)
    rules = policy(schedule=[{**window, "drain": {"deadline": "1h"}}])
    seen = observation(pods=(serving("a", 1), old))
    state = State(seen_at=NOW - 5, sightings=sightings(old))
    decision, _ = decide(rules, seen, state, NOW)
    assert decision.drain is not None
    marked = [pod.name for pod, marks in decision.drain.marks if marks.cost is not None]
    assert marked == (["x"] if window is OPEN else [])


some_settings = st.fixed_dictionaries(
    {}, optional={"spare": spares, "placement": placements, "drain": deadlines}
).filter(bool)


@st.composite
def a_draining_policy(draw: st.DrawFn) -> dict[str, Any]:
    """A policy that drains its pods, without a schedule, as its file has it."""
    chosen: Policy = draw(a_timed_policy())
    written = chosen.model_dump(mode="json", by_alias=True, exclude_none=True)
    del written["schedule"]
    return {"drain": {}, **written}


def answer(decision: Decision) -> Decision:
    """A decision without what the schedule says, and until when it holds."""
    steps = (each for each in decision.steps if each.reason is not Reason.SCHEDULED_SETTINGS)
    return decision._replace(steps=tuple(steps), holds_until=0.0)


def decided(written: dict[str, Any], seen: Observation, state: State) -> tuple[Decision, State]:
    decision, after = decide(Policy.model_validate(written), seen, state, NOW)
    return answer(decision), after


@settings(max_examples=100)
@given(a_draining_policy(), some_settings, an_observation(), st.data())
def test_outside_every_window_a_policy_decides_as_without_a_schedule(
    written: dict[str, Any], changed: dict[str, Any], seen: Observation, data: st.DataObject
) -> None:
    state = data.draw(a_timed_state(seen))
    scheduled = {**written, "schedule": [{**CLOSED, **changed}]}
    assert decided(scheduled, seen, state) == decided(written, seen, state)


@settings(max_examples=100)
@given(a_draining_policy(), some_settings, some_settings, an_observation(), st.data())
def test_in_a_window_a_policy_decides_as_one_that_has_its_values(
    written: dict[str, Any],
    first: dict[str, Any],
    last: dict[str, Any],
    seen: Observation,
    data: st.DataObject,
) -> None:
    state = data.draw(a_timed_state(seen))
    scheduled = {**written, "schedule": [{**OPEN, **first}, {**OPEN, **last}]}
    plain, changed = {**written}, {**first, **last}
    if "spare" in changed:
        sessions, *others = written["metrics"]
        plain["metrics"] = [{**sessions, "spare": changed["spare"]}, *others]
    if "placement" in changed:
        plain["placement"] = changed["placement"]
    if "drain" in changed:
        plain["drain"] = {**written["drain"], **changed["drain"]}
    found = decided(scheduled, seen, state)
    event(f"differs from the policy's own: {found[0] != decided(written, seen, state)[0]}")
    assert found == decided(plain, seen, state)


PAGE = Path(__file__).parents[2] / "policies" / "README.md"
SECTION = "Other values at certain hours"
PACKED, HOUR = Packing(), 3_600.0


@pytest.mark.parametrize(
    ("moment", "spare", "packing", "deadline"),
    [
        pytest.param("2027-01-15 06:59:59", "refuse", PACKED, None, id="before the morning"),
        pytest.param("2027-01-15 07:00:00", 30, None, None, id="while users arrive"),
        pytest.param("2027-01-15 09:00:00", "refuse", PACKED, None, id="in the day"),
        pytest.param("2027-01-15 20:00:00", "refuse", PACKED, HOUR, id="at night"),
        pytest.param("2027-01-16 08:00:00", "refuse", PACKED, None, id="on a Saturday"),
    ],
)
def test_the_policy_on_the_page_does_what_the_page_says(
    moment: str, spare: int | str, packing: Packing | None, deadline: float | None
) -> None:
    [text] = blocks(PAGE, "yaml", SECTION)
    rules = Policy.model_validate(yaml.safe_load(text))
    at = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    now = effective(rules, Now(at))

    sessions, drain = now.policy.sessions, now.policy.drain
    assert sessions is not None
    assert drain is not None
    found = "refuse" if isinstance(sessions.spare, RefusalTarget) else sessions.spare
    assert (found, now.policy.packing, drain.deadline) == (spare, packing, deadline)
    if spare == 30:
        assert f"`{now.told}`" in PAGE.read_text()
