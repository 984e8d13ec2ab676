"""A decision holds as long as it says, if nothing changes but ages."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from autoscaler.core import forecast
from autoscaler.core.decide import decide
from autoscaler.core.now import MARGIN
from autoscaler.model import (
    Arrivals,
    Average,
    Decision,
    Logged,
    Observation,
    Occupancy,
    Profile,
    Reset,
    Sample,
    Score,
    Sighting,
    Slot,
    State,
    Stays,
    Traffic,
)
from autoscaler.policy import Policy
from tests.builders import NOW, observation, policy
from tests.core.drains import leaving, marked, serving, sightings
from tests.core.test_laws import a_policy, ages, an_observation, logs, spares

LONG = 7_200.0
times = st.none() | ages.map(lambda age: NOW - age)
durations = st.sampled_from(["0s", "20s", "5m", "1h"])
CLOCK = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 5, 59]))
averages = st.builds(
    Average, st.floats(0, 2), st.sampled_from([0.0, 0.1, 3.0]), ages.map(lambda age: NOW - age - 5)
)
past = ages.map(lambda age: NOW - age - 5)
rates = st.floats(0, 0.2)
slots = st.builds(Slot, st.integers(1, 9).map(lambda ago: int(NOW // forecast.SLOT) - ago), rates)
sums = st.floats(0, 500)
scores = st.builds(Score, sums, sums, sums, sums, sums).map(
    lambda score: score._replace(beyond=min(score.beyond, score.came))
)
profiles = st.none() | st.builds(
    Profile,
    st.builds(
        partial(forecast.toward, "", forecast.WEEK),
        st.dictionaries(st.integers(0, 2_015), rates, max_size=9),
    ),
    st.builds(
        partial(forecast.toward, "", forecast.DAY),
        st.dictionaries(st.integers(0, 287), rates, max_size=99),
    ),
    st.builds(Arrivals, past, st.floats(0, 9), rates, st.just(NOW - 5)),
    st.none() | slots,
    scores,
)
stays = st.builds(
    Stays, past, averages, averages, past, st.none() | st.sampled_from([100.0, 300.0, 2_000.0])
)
traffics = st.builds(
    Traffic, st.just(NOW - 5), averages, averages, st.just(True), st.none() | stays, profiles
)


placements = st.sampled_from(["packed", "spread", {"minRoutable": 3}])
deadlines = st.sampled_from(["never", "1m", "30m"]).map(lambda time: {"deadline": time})


@st.composite
def a_window_with_settings(draw: st.DrawFn, *, drains: bool) -> dict[str, Any]:
    """A window that sets values besides bounds; drains: whether the policy drains its pods."""
    window = {"from": draw(CLOCK), "to": draw(CLOCK), "spare": draw(spares)}
    if drains and draw(st.booleans()):
        window |= {"placement": draw(placements), "drain": draw(deadlines)}
    return window


@st.composite
def a_timed_policy(draw: st.DrawFn) -> Policy:
    """A policy with all the times that one can have."""
    chosen: Policy = draw(a_policy())
    settings: dict[str, Any] = {"settle": draw(durations), "reconnect": draw(durations)}
    settings["tell"] = draw(durations | st.just("never"))
    if draw(st.booleans()):
        settings |= {"deadline": "5m", "hardDeadline": "1h"}
    low, high = chosen.replicas.min, chosen.replicas.max
    window = {"from": draw(CLOCK), "to": draw(CLOCK), "timezone": "Europe/Berlin"}
    rest = {
        "drain": draw(st.just("none") | st.just(settings)),
        "cooldown": {"up": draw(durations), "down": draw(durations)},
        "fallback": {"after": draw(durations), "replicas": 1},
        "schedule": [{**window, "min": draw(st.integers(low, high))}],
    }
    if draw(st.booleans()):
        rest["schedule"].append(draw(a_window_with_settings(drains=rest["drain"] != "none")))
    if rest["drain"] != "none":
        rest["recycle"] = {"age": draw(st.sampled_from(["20m", "1h"]))}
    if draw(st.booleans()):
        rest["behavior"] = {
            direction: {
                "stabilizationWindowSeconds": draw(st.integers(0, 3_600)),
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 600}],
            }
            for direction in ("scaleUp", "scaleDown")
        }
    written = chosen.model_dump(mode="json", by_alias=True, exclude_none=True)
    return Policy.model_validate({**written, **rest})


@st.composite
def a_timed_state(draw: st.DrawFn, seen: Observation) -> State:
    at = NOW - draw(ages)
    log = draw(logs)
    return State(
        recommendations=tuple(sorted(log, key=lambda entry: entry.at)),
        scale_ups=tuple(draw(logs)),
        scale_downs=tuple(draw(logs)),
        last_scale_up=draw(times),
        last_scale_down=draw(times),
        blind_since=draw(times),
        seen_at=NOW - 5,
        mismatch_at=draw(times),
        reset=draw(st.none() | st.just(Reset("somebody set it", at))),
        sightings={
            pod.uid: Sighting((), at, None if pod.routable else pod.label_writer, at)
            for pod in seen.pods
        },
        told={pod.uid: at for pod in seen.pods},
        traffic=draw(st.none() | traffics),
    )


@settings(max_examples=150)
@given(a_timed_policy(), an_observation(), st.data())
def test_no_answer_changes_before_its_time(
    chosen: Policy, seen: Observation, data: st.DataObject
) -> None:
    decision, state = decide(chosen, seen, data.draw(a_timed_state(seen)), NOW)
    left = min(decision.holds_until - NOW, LONG)
    later = NOW + left * data.draw(st.sampled_from([0.01, 0.5, 0.9, 1.0])) - MARGIN
    event("holds" if later > NOW else "holds only now")

    if later > NOW:
        before = max(NOW, later - 5)
        again, _ = decide(chosen, _older(seen, later - NOW), state.again(before), later)
        assert _answer(again) == _answer(decision)


def _answer(decision: Decision) -> object:
    """What is done, without the times in words and on cordons."""
    plan = decision.drain
    marks = (
        [(pod.uid, note.routable, note.cost, note.protected) for pod, note in plan.marks]
        if plan
        else []
    )
    gone = [pod.uid for pod in plan.remove] if plan else []
    return decision.desired, [step.reason for step in decision.steps], marks, gone


def _older(seen: Observation, seconds: float) -> Observation:
    def older(told: Occupancy | None) -> Occupancy | None:
        if told is None:
            return None
        return told._replace(
            empty_for=None if told.empty_for is None else told.empty_for + seconds,
            idle_for=None if told.idle_for is None else told.idle_for + seconds,
        )

    pods = tuple(replace(pod, occupancy=older(pod.occupancy)) for pod in seen.pods)
    return replace(seen, pods=pods)


CPU = [{"type": "cpu", "utilization": "70%"}]
REFUSE = [{"type": "sessions", "seats": 10, "spare": {"refuse": "1%"}}]


def told(rate: float) -> Observation:
    """A pod to which so many users came a second, and from which as many left."""
    sample = Sample(round(1_000 * rate), NOW, 60.0)
    return observation(pods=(serving("a", arrivals=sample, departures=sample),))


def steady_at(rate: float) -> State:
    """What is remembered if so many users came a second so far, and as many left."""
    average = Average(rate, rate, NOW - 600)
    return State(seen_at=NOW - 5, traffic=Traffic(NOW - 5, average, average, known=True))


STEADY = State(seen_at=NOW - 5, sightings=sightings(leaving("x")))
BERLIN = {"from": "09:10", "to": "18:00", "timezone": "Europe/Berlin", "min": 1}


@pytest.mark.parametrize(
    ("rules", "seen", "state", "expected"),
    [
        pytest.param({}, observation(5), STEADY, inf, id="a steady target for ever"),
        pytest.param(
            {},
            observation(5),
            STEADY._replace(recommendations=(Logged(3, NOW - 200),)),
            100,
            id="until the window lets an entry go",
        ),
        pytest.param(
            {"cooldown": {"down": "2m"}, "drain": "none"},
            observation(5, 0),
            STEADY._replace(last_scale_up=NOW - 30, seen_at=NOW - 5),
            90,
            id="until the cooldown ends",
        ),
        pytest.param(
            {"schedule": [BERLIN]}, observation(5), STEADY, 600, id="until a window opens"
        ),
        pytest.param(
            {"schedule": [{"from": "08:00", "to": "08:05", "placement": "spread"}]},
            observation(5),
            STEADY,
            300,
            id="until a window ends that sets no bounds",
        ),
        pytest.param(
            {"fallback": {"after": "5m", "replicas": 2}},
            observation(None),
            STEADY._replace(blind_since=NOW - 60),
            240,
            id="until the fallback applies",
        ),
        pytest.param(
            {},
            observation(pods=(serving("a"), leaving("x", Occupancy(0, empty_for=10), ago=100))),
            STEADY,
            20,
            id="until nobody can reconnect",
        ),
        pytest.param(
            {"drain": {"tell": "2m"}},
            observation(pods=(serving("a"), leaving("x", Occupancy(3), ago=100))),
            STEADY,
            20,
            id="until an Event is due",
        ),
        pytest.param(
            {"recycle": {"age": "25h"}}, observation(5), STEADY, 3_600, id="until a pod is too old"
        ),
        pytest.param(
            {},
            observation(pods=(serving("a", ready_since=NOW - 10, sessions=None),)),
            STEADY,
            20,
            id="until a pod without data is missing",
        ),
        pytest.param(
            {"metrics": CPU},
            observation(pods=(serving("a", cpu=500, started_at=NOW - 200),)),
            STEADY,
            100,
            id="until a pod has warmed up",
        ),
        pytest.param(
            {"metrics": REFUSE},
            told(0.1),
            steady_at(0.1),
            300.0,
            id="until the first slot of the forecast is over if as many arrive as before",
        ),
        pytest.param(
            {"metrics": REFUSE},
            told(0.1),
            steady_at(0.12),
            26.0,
            id="until the average of arrivals asks for fewer seats",
        ),
        pytest.param(
            {"metrics": REFUSE}, told(9.0), steady_at(2.0), 0, id="only now if many arrive"
        ),
        pytest.param(
            {},
            observation(pods=(serving("a"), marked("x"))),
            STEADY,
            0,
            id="only now if the order of deletion counts",
        ),
    ],
)
def test_until_when_a_decision_holds(
    rules: dict[str, Any], seen: Observation, state: State, expected: float
) -> None:
    decision, _ = decide(policy(**rules), seen, state, NOW)
    assert decision.holds_until - NOW == pytest.approx(expected, abs=2 * MARGIN)
