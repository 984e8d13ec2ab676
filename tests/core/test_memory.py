"""What survives a restart: the text of a Lease says it, and nothing else is taken for it."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.checkpoint import LARGEST, LONGEST_PERIOD, from_text, to_text
from autoscaler.core.decide import decide
from autoscaler.core.hpa.behavior import changed_within
from autoscaler.core.now import Now
from autoscaler.model import Logged, Reason, Reset, State
from tests.builders import NOW, observation, policy

KEY = ("dashboards", "8f14e45f-ceea-467f-a8a8-5d8c3e2f1b2c")
times = st.floats(0, 10_000).map(lambda age: NOW - age)
events = st.lists(st.builds(Logged, st.integers(1, 100), times), max_size=5).map(tuple)
states = st.fixed_dictionaries(
    {
        "scale_ups": events,
        "scale_downs": events,
        "last_scale_up": st.none() | times,
        "last_scale_down": st.none() | times,
        "mismatch_at": st.none() | times,
        "reset": st.none() | st.builds(Reset, st.text(max_size=100), times),
    }
).map(lambda fields: State(**fields))


@given(states, st.floats(0, 5_000), st.integers(1, int(LONGEST_PERIOD)))
def test_cooldowns_and_rate_limits_are_the_same_after_a_restart(
    state: State, later: float, period: int
) -> None:
    now = NOW + later
    after = from_text(to_text({KEY: state}, NOW), now).get(KEY, State())

    for name in ("last_scale_up", "last_scale_down", "mismatch_at", "reset"):
        assert getattr(after, name) == getattr(state, name)
    for name in ("scale_ups", "scale_downs"):
        before, kept = getattr(state, name), getattr(after, name)
        assert changed_within(kept, period, Now(now)) == changed_within(before, period, Now(now))


def test_a_pause_after_the_reset_of_somebody_else_outlives_a_takeover() -> None:
    unhurried = policy(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}}, drain="none")
    _, state = decide(unhurried, observation(30, 0, 0), None, NOW)
    reset = observation(2, 0, 0, 0, 0, replicas_writer="argocd-controller")
    _, state = decide(unhurried, reset, state, NOW + 2)

    told = from_text(to_text({KEY: state}, NOW + 2), NOW + 3)[KEY]
    for later in (4, 6):
        decision, told = decide(unhurried, reset, told, NOW + later)
        assert (decision.desired, decision.reason) == (5, Reason.FOREIGN_WRITER)
        assert not decision.reset, "it is no news"


def test_the_text_is_short_and_says_nothing_of_what_never_happened() -> None:
    changed = State(last_scale_up=NOW, scale_ups=(Logged(3, NOW),), seen_at=NOW, blind_since=NOW)

    text = to_text({KEY: changed, ("idle", "uid"): State(seen_at=NOW)}, NOW)

    assert text == f'{{"{KEY[0]}/{KEY[1]}":{{"up":{NOW},"ups":[[3,{NOW}]]}}}}'


def test_what_no_rate_policy_looks_back_to_is_left_out() -> None:
    old, young = Logged(1, NOW - LONGEST_PERIOD), Logged(2, NOW - LONGEST_PERIOD + 1)

    after = from_text(to_text({KEY: State(scale_downs=(old, young))}, NOW), NOW)

    assert after[KEY].scale_downs == (young,)


def test_what_is_too_long_for_an_annotation_loses_the_oldest_changes_first() -> None:
    busy = tuple(Logged(1, NOW - age) for age in range(360))
    many = {
        (f"policy-{age}", KEY[1]): State(scale_ups=busy, last_scale_up=NOW - age)
        for age in range(100)
    }

    text = to_text(many, NOW)

    assert len(text) < LARGEST
    kept = from_text(text, NOW)
    assert kept.keys() == set(list(many)[: len(kept)])
    assert len(kept) > 10


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(("bokeh", "dashboards", KEY[1]), id="from a file"),
        pytest.param(("bokeh", "bokeh/dashboards", KEY[1]), id="from a ScalingPolicy"),
        pytest.param(("dashboards", KEY[1]), id="from a version before shards"),
    ],
)
def test_whatever_a_policy_is_from_its_state_outlives_a_takeover(key: tuple[str, ...]) -> None:
    changed = State(last_scale_up=NOW)

    assert from_text(to_text({key: changed}, NOW), NOW) == {key: changed}


def test_a_time_to_come_counts_as_now() -> None:
    ahead = State(last_scale_up=NOW + 1e6, scale_ups=(Logged(1, NOW + 1e6),))

    after = from_text(to_text({KEY: ahead}, NOW), NOW)

    assert after[KEY] == ahead._replace(last_scale_up=NOW, scale_ups=(Logged(1, NOW),))


def test_a_newer_daemons_words_do_no_harm() -> None:
    assert from_text('{"a/b":{"up":5,"mood":"fine"}}', NOW) == {("a", "b"): State(last_scale_up=5)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"dashboards":{}}',
        '{"a/b":3}',
        '{"a/b":{"up":"yesterday"}}',
        '{"a/b":{"up":NaN}}',
        '{"a/b":{"up":-1}}',
        '{"a/b":{"up":1e999}}',
        f'{{"a/b":{{"up":{"9" * 5000}}}}}',
        '{"a/b":{"ups":[[0,1]]}}',
        '{"a/b":{"ups":[[1]]}}',
        '{"a/b":{"ups":[[2147483648,1]]}}',
        f'{{"a/b":{{"ups":[[{"9" * 4000},1]]}}}}',
        f'{{"a/b":{{"downs":[{"[1,1]," * 2_000}[1,1]]}}}}',
        '{"a/b":{"departing":{"u":["pod",-1,1,"Drained"]}}}',
        f'{{"a/b":{{"departing":{{"u":["{"p" * 254}",1,1,"Drained"]}}}}}}',
        f'{{"{"a" * 900}/b":{{}}}}',
        '{"a/b":{}}' + " " * LARGEST,
        "[" * 100_000,
    ],
    ids=lambda text: text[:24] or "nothing",
)
def test_a_text_of_another_kind_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refused:
        from_text(text, NOW)

    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


numbers = st.integers() | st.floats() | st.sampled_from([2**31 - 1, 2**31, 10**400, NOW, NOW + 1e9])
words = st.text(max_size=8) | st.sampled_from(["Drained", "dashboards", ""])
nonsense = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
logs = st.lists(st.tuples(numbers, numbers) | nonsense, max_size=4)
entries = st.fixed_dictionaries(
    {},
    optional={
        "up": numbers | nonsense,
        "down": numbers | nonsense,
        "mismatch": numbers | nonsense,
        "reset": st.tuples(words, numbers) | nonsense,
        "ups": logs | nonsense,
        "downs": logs | nonsense,
        "departing": st.dictionaries(words, st.tuples(words, numbers, numbers, words)) | nonsense,
    },
)
lease_texts = st.text() | st.dictionaries(
    st.sampled_from(["dashboards/uid", "a/b", "/"]) | words, entries | nonsense, max_size=3
).map(json.dumps)
RATE = {"policies": [{"type": "Percent", "value": 100, "periodSeconds": 1800}]}
LIMITED = policy(behavior={"scaleUp": RATE, "scaleDown": RATE}, cooldown={"up": "1h", "down": "1h"})


@given(lease_texts)
def test_whatever_a_lease_says_is_refused_or_can_be_decided_with(text: str) -> None:
    states = {}
    with suppress(ValueError):
        states = from_text(text, NOW)

    for state in states.values():
        decision, after = decide(LIMITED, observation(20, 20, 20), state, NOW)
        assert 1 <= decision.desired <= 20
        from_text(to_text({KEY: after}, NOW), NOW)


@pytest.mark.parametrize("key", ["ups", "downs"])
def test_rate_limits_that_somebody_forged_end_with_the_longest_period(key: str) -> None:
    forged = from_text(f'{{"a/b":{{"{key}":[[{2**31 - 1},{NOW + 1e9}]]}}}}', NOW)["a", "b"]

    later, _ = decide(LIMITED, observation(20, 20, 20), forged, NOW + LONGEST_PERIOD)

    assert (later.current, later.desired) == (3, 6)
