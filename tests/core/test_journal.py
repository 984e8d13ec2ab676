"""The lines of a journal say exactly what was decided, and what cannot be read is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, replace
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.decide import decide
from autoscaler.core.journal import (
    LONGEST_CHAIN,
    Decoder,
    Encoder,
    Entry,
    LineError,
    OrphanError,
    lasting,
)
from autoscaler.model import Ages, Decision, Logged, Observation, PodState, State
from tests.builders import NOW, observation, pod, policy

WRITER = "a1b2c3d4"
POLICY = policy()
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    float: st.floats(allow_nan=False, allow_infinity=False),
    object: st.none() | st.booleans() | st.text(max_size=5) | st.integers(),
    str: st.text(max_size=5),
    int: st.integers(),
    bool: st.booleans(),
    type(None): st.none(),
}


@cache
def anything(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type of the model."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind in SIMPLE:
        found = SIMPLE[kind]
    elif origin is UnionType:
        found = st.one_of(*map(anything, parts))
    elif origin is Mapping:
        found = st.dictionaries(*map(anything, parts), max_size=2)
    elif origin is frozenset:
        found = st.frozensets(anything(parts[0]), max_size=2)
    elif origin is tuple and parts[-1] is ...:
        found = st.lists(anything(parts[0]), max_size=2).map(tuple)
    elif origin is tuple:
        found = st.tuples(*map(anything, parts))
    elif issubclass(kind, Enum):
        found = st.sampled_from(kind)
    else:
        found = st.builds(kind, **{name: anything(of) for name, of in get_type_hints(kind).items()})
    return found


def entry(at: float = NOW, **overrides: Any) -> Entry:
    observed = overrides.pop("observed", observation(12, 3))
    decision, _ = decide(POLICY, observed, State(), at)
    whole = {"before": State(), "decision": lasting(decision), **overrides}
    return Entry(WRITER, at, POLICY, observed, **whole)


@settings(max_examples=60, deadline=None)
@given(anything(Observation), anything(State), anything(Decision))
def test_a_line_says_the_same_entry_whatever_it_is(
    observed: Observation, state: State, decision: Decision
) -> None:
    written = Entry(WRITER, NOW, POLICY, observed, state, decision, True, 2, "a problem")

    assert Decoder().entry(Encoder().line(written, state).encode()) == written


@settings(max_examples=60, deadline=None)
@given(anything(Observation), anything(Observation))
def test_what_has_changed_of_a_pod_is_all_that_has_changed(
    first: Observation, then: Observation
) -> None:
    same = [pod.uid for pod in first.pods]
    uids = [*same, *(f"new-{index}" for index in range(2))]
    later = tuple(replace(pod, uid=uid) for pod, uid in zip(then.pods, uids, strict=False))
    then = replace(then, pods=later, uid=first.uid)
    encoder, decoder = Encoder(), Decoder()

    for observed in (first, then, first):
        line = encoder.line(replace(entry(), observed=observed), State()).encode()
        assert decoder.entry(line).observed == observed


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(range(4)), st.sampled_from(range(3))), max_size=8))
def test_what_a_line_leaves_out_is_in_those_before(looks: list[tuple[int, int]]) -> None:
    seen = [observation(12, 3), observation(12, 4), observation(4, 12, uid="b"), observation()]
    ages = Ages({"uid-pod-0": (NOW - 60, NOW)}, NOW)
    states = [State(), State(seen_at=NOW), State(recommendations=(Logged(2, NOW),), ages=ages)]
    entries = [entry(observed=seen[look], before=states[known]) for look, known in looks]
    encoder, decoder = Encoder(), Decoder()
    after: State | None = None

    for written in entries:
        read = decoder.entry(encoder.line(written, states[1]).encode())
        assert read == replace(written, before=read.before)
        assert (read.before or after) == written.before
        after = states[1]


def test_a_pass_that_sees_nothing_new_costs_a_short_line() -> None:
    encoder, many = Encoder(), observation(*[5] * 10)
    first = encoder.line(entry(observed=many, before=State()), State(seen_at=NOW))
    second = encoder.line(entry(NOW + 2, observed=many, before=State(seen_at=NOW)), State())

    assert len(first) > 2_000
    assert len(second) < 300


def test_from_each_three_hundredth_line_on_a_part_of_a_file_can_be_read() -> None:
    encoder = Encoder()
    lines = [encoder.line(entry(NOW + n), State()).encode() for n in range(LONGEST_CHAIN + 2)]
    decoder = Decoder()

    with pytest.raises(OrphanError):
        decoder.entry(lines[LONGEST_CHAIN])
    assert decoder.entry(lines[LONGEST_CHAIN + 1]).at == NOW + LONGEST_CHAIN + 1


def test_after_a_missing_line_none_is_read_with_the_pods_of_another() -> None:
    encoder, decoder = Encoder(), Decoder()
    lines = [encoder.line(entry(NOW + n), State()).encode() for n in range(3)]
    decoder.entry(lines[0])

    with pytest.raises(OrphanError):
        decoder.entry(lines[2])


def test_two_processes_may_write_into_one_file() -> None:
    one, other, decoder = Encoder(), Encoder(), Decoder()
    few = entry(observed=observation(1))
    many = replace(entry(observed=observation(1, 2, 3)), writer="another")

    for _ in range(3):
        for encoder, written in ((one, few), (other, many)):
            read = decoder.entry(encoder.line(written, State()).encode())
            assert (read.writer, read.observed) == (written.writer, written.observed)


def test_what_a_pod_carries_is_no_line_of_its_own() -> None:
    odd = observation(pods=(pod("pod-0\n{}", unreadable=('a "\u2028"',)),))

    line = Encoder().line(entry(observed=odd), State())

    assert line.isprintable()
    assert Decoder().entry(line.encode()).observed == odd


LINE = json.loads(Encoder().line(entry(), State()))
DRAIN = {"current": 1, "desired": 1, "drain": {"replicas": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"v": 1, "by": ', "not JSON, expected a line of a journal"),
        (b"\xff\xfe", "not JSON, expected a line of a journal"),
        (b"[" * 100_000, "not JSON, expected a line of a journal"),
        (b"[]", "not a line of a journal"),
        (b'{"at": 1}', "not a line of a journal"),
        ({"v": 2}, "the format version is 2, expected 1; read it with the version of autoscaler"),
        ({"at": "x"}, "at: Input should be a valid number"),
        ({"at": float("inf")}, "at: Input should be a finite number"),
        ({"before": None}, "policy, before or decision is missing"),
        ({"observed": {}}, "expected a list of pods"),
        ({"observed": {"replicas": 1, "pods": [0]}}, "there is no pod 0, expected one of 0"),
        ({"observed": {"replicas": 1, "pods": [{}]}}, "pods.0.name: Field required"),
        ({"decision": {**DRAIN, "drain": {"marks": [3]}}}, "decision.drain.marks: "),
        ({"decision": {**DRAIN, "drain": {"marks": [[9, []]]}}}, "there is no pod 9, expected"),
        ({"decision": {"current": 1}}, "desired: Field required"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(text: Any, said: str) -> None:
    line = text if isinstance(text, bytes) else json.dumps({**LINE, **text}).encode()

    with pytest.raises(LineError) as told:
        Decoder().entry(line)

    assert said in str(told.value)
    assert "\n" not in str(told.value)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container within a JSON value, with each of its keys."""
    keys = [*value] if isinstance(value, dict) else [*range(len(value))]
    inner = (value[key] for key in keys if isinstance(value[key], dict | list))
    return [(value, key) for key in keys] + [place for each in inner for place in places(each)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "drain", "marks", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), json_values)
def test_whatever_a_line_says_it_is_an_entry_or_an_error_of_the_line(
    index: int, value: Any
) -> None:
    line = json.loads(Encoder().line(entry(observed=observation(12, 3, 40)), State()))
    found = places(line)
    container, key = found[index % len(found)]
    container[key] = value

    with suppress(LineError):
        Decoder().entry(json.dumps(line).encode())


RECORDED = Path(__file__).parent / "data" / "journal_1.jsonl"
KINDS = {
    "observed": {each.name for each in fields(Observation)},
    "before": {*State._fields},
    "decision": {*Decision._fields},
}


def test_what_version_1_has_written_can_still_be_read() -> None:
    """If this fails, a field was renamed or removed: raise VERSION."""
    decoder, lines = Decoder(), RECORDED.read_bytes().splitlines()

    entries = [decoder.entry(line) for line in lines]

    assert len(entries) == 33
    for part, known in KINDS.items():
        said = {key for line in lines for key in json.loads(line).get(part, {})}
        assert said <= known, part
    told = [pod for line in lines for pod in json.loads(line)["observed"]["pods"]]
    assert {key for pod in told if isinstance(pod, dict) for key in pod} <= {
        each.name for each in fields(PodState)
    }
