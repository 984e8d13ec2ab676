"""What survives a restart: the text of a Lease says it, and nothing else is taken for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.behavior import changed_within
from autoscaler.core.memory import LARGEST, LONGEST_PERIOD, from_text, to_text
from autoscaler.model import Logged, State
from tests.builders import NOW

KEY = ("dashboards", "8f14e45f-ceea-467f-a8a8-5d8c3e2f1b2c")
times = st.floats(0, 10_000).map(lambda age: NOW - age)
events = st.lists(st.builds(Logged, st.integers(1, 100), times), max_size=5).map(tuple)
states = st.builds(
    State,
    scale_ups=events,
    scale_downs=events,
    last_scale_up=st.none() | times,
    last_scale_down=st.none() | times,
    mismatch_at=st.none() | times,
)


@given(states, st.floats(0, 5_000), st.integers(1, int(LONGEST_PERIOD)))
def test_cooldowns_and_rate_limits_are_the_same_after_a_restart(
    state: State, later: float, period: int
) -> None:
    now = NOW + later
    after = from_text(to_text({KEY: state}, NOW), now).get(KEY, State())

    for name in ("last_scale_up", "last_scale_down", "mismatch_at"):
        assert getattr(after, name) == getattr(state, name)
    for name in ("scale_ups", "scale_downs"):
        before, kept = getattr(state, name), getattr(after, name)
        assert changed_within(kept, period, now) == changed_within(before, period, now)


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


def test_a_time_to_come_counts_as_now() -> None:
    ahead = State(last_scale_up=NOW + 1e6, scale_ups=(Logged(1, NOW + 1e6),))

    after = from_text(to_text({KEY: ahead}, NOW), NOW)

    assert after[KEY] == replace(ahead, last_scale_up=NOW, scale_ups=(Logged(1, NOW),))


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
        "[" * 100_000,
    ],
    ids=lambda text: text[:24] or "nothing",
)
def test_a_text_of_another_kind_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refused:
        from_text(text, NOW)

    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
