"""Which daemon is to act where, as laws: every shard has one daemon, and each has its share."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.shards import MOST_SHARDS, shard_of, shares

names = st.sampled_from([f"daemon-{n}" for n in range(6)])
daemons = st.sets(names, min_size=1, max_size=5)
counts = st.integers(1, MOST_SHARDS)
holders = st.dictionaries(st.integers(0, MOST_SHARDS + 3), names | st.just(""), max_size=20)


@given(holders, daemons, counts)
def test_each_shard_goes_to_a_daemon_that_runs_and_none_has_two_more_than_another(
    held: dict[int, str], running: set[str], count: int
) -> None:
    result = shares(held, running, count)

    assert result.keys() == set(range(count))
    sizes = Counter(dict.fromkeys(running, 0)) + Counter(result.values())
    assert set(result.values()) <= running
    assert max(sizes.values()) - min(sizes[name] for name in running) <= 1


@given(holders, daemons, counts)
def test_what_was_shared_fairly_stays_where_it_is(
    held: dict[int, str], running: set[str], count: int
) -> None:
    first = shares(held, running, count)

    assert shares({shard: name or "" for shard, name in first.items()}, running, count) == first


@given(daemons, counts)
def test_the_shards_of_one_that_ended_go_to_the_others_and_no_shard_moves_between_them(
    running: set[str], count: int
) -> None:
    before = shares({}, running, count)
    gone, *rest = sorted(running)
    if rest:
        after = shares({shard: name or "" for shard, name in before.items()}, rest, count)
        moved = {before[shard] for shard in range(count) if before[shard] != after[shard]}
        assert moved <= {gone}


@given(holders, counts)
def test_without_a_daemon_no_shard_has_one(held: dict[int, str], count: int) -> None:
    assert set(shares(held, (), count).values()) == {None}


def test_a_leader_stays_the_leader_when_a_second_daemon_starts() -> None:
    for other in ("a", "b", "c", "d"):
        assert shares({0: "leader"}, {"leader", other}, 1) == {0: "leader"}


def test_a_thousand_namespaces_are_spread_evenly_and_few_move_with_one_shard_more() -> None:
    spaces = [f"team-{n}" for n in range(1_000)]
    four, five = ([shard_of(each, count) for each in spaces] for count in (4, 5))

    assert all(200 < size < 300 for size in Counter(four).values())
    moved = sum(one != other for one, other in zip(four, five, strict=True))
    assert 150 < moved < 250, "those of the new shard, and no other"
    assert {other for one, other in zip(four, five, strict=True) if one != other} == {4}
