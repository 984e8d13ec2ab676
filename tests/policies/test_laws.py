"""What holds for every file and every policy."""

from __future__ import annotations

import json
import string
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from autoscaler.adapters.policies.files import PolicyFiles
from autoscaler.adapters.policies.policy_file import PolicyFileError, load_policy
from autoscaler.policy import Policy
from autoscaler.units import (
    DAYS,
    LARGEST_PERCENT,
    LONGEST_SECONDS,
    duration_text,
    percent,
    percent_text,
    seconds,
)
from tests.policies.files import GOOD

# Files take as long as the machine is busy.
ON_DISK = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
WORDS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=63)
COUNTS = st.integers(1, 100_000)
AMOUNTS = st.floats(0.001, 1e15)


def durations(low: float = 0, high: float = LONGEST_SECONDS) -> st.SearchStrategy[str]:
    return st.floats(low, high).map(duration_text)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


REFUSALS = st.fixed_dictionaries(
    {"refuse": st.floats(0, 49.9, exclude_min=True).map(percent_text)},
    optional={"leadTime": durations()},
)
SPARES = st.integers(0, 100_000) | st.floats(0, 1e6).map(percent_text) | REFUSALS
SESSIONS = st.fixed_dictionaries(
    {"type": st.just("sessions"), "seats": COUNTS}, optional={"spare": SPARES}
)
RESOURCES = {
    kind: st.fixed_dictionaries(
        {"type": st.just(kind), "utilization": st.integers(1, 1_000).map(lambda n: f"{n}%")},
        optional={"source": st.sampled_from(["exporter", "cadvisor"])},
    )
    for kind in ("cpu", "memory")
}
# JSON leaves control characters and line separators as they are, but they are not text to YAML.
TEXT = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=50)
QUERIES = st.builds(
    lambda query, key, number: {"type": "prometheus", "query": query, key: number},
    TEXT,
    st.sampled_from(["perReplica", "value"]),
    AMOUNTS,
)


@st.composite
def metrics(draw: st.DrawFn) -> list[dict[str, Any]]:
    chosen = [draw(kind) for kind in (SESSIONS, *RESOURCES.values()) if draw(st.booleans())]
    return chosen + draw(st.lists(QUERIES, min_size=0 if chosen else 1, max_size=3))


def bounds(low: int, high: int) -> dict[str, int]:
    return {"min": min(low, high), "max": max(low, high)}


RULES = optional(
    stabilizationWindowSeconds=st.integers(0, 3_600),
    selectPolicy=st.sampled_from(["Max", "Min", "Disabled"]),
    tolerance=st.floats(0, 10),
    policies=st.lists(
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["Pods", "Percent"]),
                "value": COUNTS,
                "periodSeconds": st.integers(1, 1_800),
            }
        ),
        max_size=3,
    ),
)
DEADLINES = durations() | st.just("never")
DRAINS = optional(deadline=DEADLINES, tell=DEADLINES, settle=durations(), reconnect=durations())
TIMES = st.times().map(lambda time: time.strftime("%H:%M"))


@st.composite
def windows(draw: st.DrawFn, low: int, high: int) -> dict[str, Any]:
    """Windows with bounds of their own around `low` to `high`, which never contradict others."""
    window = {"from": draw(TIMES), "to": draw(TIMES)}
    window |= bounds(draw(st.integers(1, low)), draw(st.integers(high, 100_000)))
    day = st.sampled_from(DAYS)
    span = st.tuples(day, day).map("-".join)
    days = st.lists(day | span, min_size=1) | day | span
    return {**window, **draw(optional(days=days, timezone=st.sampled_from(["UTC", "Asia/Tokyo"])))}


PLACEMENTS = st.sampled_from(["packed", "spread"]) | st.builds(dict, minRoutable=COUNTS)


def settings_of_windows(*, has_sessions: bool, drains: bool) -> st.SearchStrategy[dict[str, Any]]:
    """What windows set besides bounds, as far as it means anything to the policy."""
    fields: dict[str, st.SearchStrategy[Any]] = {"spare": SPARES} if has_sessions else {}
    fields |= {"placement": PLACEMENTS} if has_sessions and drains else {}
    fields |= {"drain": st.builds(dict, deadline=DEADLINES)} if drains else {}
    return optional(**fields)


@st.composite
def consistent(draw: st.DrawFn) -> dict[str, Any]:
    """The parts of a policy that depend on each other."""
    replicas = bounds(draw(COUNTS), draw(COUNTS))
    low, high = replicas["min"], replicas["max"]
    fallbacks = st.fixed_dictionaries({"after": durations(), "replicas": st.integers(1, high)})
    chosen = draw(metrics())
    drain = draw(st.none() | st.just("none") | DRAINS)
    settings = settings_of_windows(
        has_sessions=any(each["type"] == "sessions" for each in chosen), drains=drain != "none"
    )
    further = optional(
        schedule=st.lists(st.builds(dict.__or__, windows(low, high), settings), max_size=3),
        fallback=fallbacks,
    )
    parts = {"metrics": chosen, "drain": drain or {}, "replicas": replicas}
    return {**parts, **draw(further)}


INDEPENDENT = st.fixed_dictionaries(
    {
        "name": WORDS,
        "target": st.fixed_dictionaries({"namespace": WORDS, "deployment": WORDS}),
    },
    optional={
        "interval": durations(1, 3_600),
        "behavior": optional(scaleUp=RULES, scaleDown=RULES),
        "cooldown": optional(up=durations(), down=durations()),
    },
)
POLICIES: st.SearchStrategy[Policy] = st.builds(
    lambda one, other: Policy.model_validate({**one, **other}), INDEPENDENT, consistent()
)


def load(data: bytes) -> Policy:
    with TemporaryDirectory() as folder:
        path = Path(folder, "policy.yaml")
        path.write_bytes(data)
        return load_policy(path)


@ON_DISK
@given(POLICIES)
def test_every_policy_is_read_back_as_it_was_written(policy):
    assert load(policy.model_dump_json(by_alias=True).encode()) == policy


def problems_of(data: bytes) -> tuple[str, ...]:
    """What is wrong with the data, if anything is. Whatever else is raised fails the test."""
    try:
        load(data)
    except PolicyFileError as error:
        return error.problems or ("",)
    return ()


def assert_is_good_or_refused_in_lines(data: bytes) -> None:
    assert all(problem and problem.isprintable() for problem in problems_of(data))


PIECES = st.sampled_from(
    [
        *GOOD.splitlines(keepends=True),
        *"[]{}:,-?&*!|>'\"%@`#\n\t \x85\ufeff=",
        *("- ", ": ", "<<: ", "&a ", "*a", "---\n", "!!python/object:x ", "!!set "),
        *("null", "on", "1.5", ".nan", "1e9", "2026-01-01", "08:00"),
        *("metrics:", "type: cpu", "spare: ", "{refuse: ", "schedule:\n", "drain:"),
    ]
)


@ON_DISK
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data):
    assert_is_good_or_refused_in_lines(data)


@ON_DISK
@given(st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join))
@example("? ? ? ?" * 30)
@example("metrics: [{type: sessions, seats: 1, spare: {refuse: {}, (share): 1}}]")
@example("metrics: [{type: sessions, sessions: {sessions: 1}}]")
@example("? {a: b}\n: 1")
def test_no_yaml_raises_anything_else(text):
    assert_is_good_or_refused_in_lines(text.encode(errors="replace"))


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
KEYS = st.sampled_from(sorted({*Policy.model_fields, "type", "seats", "spare", "min", "days"}))


@ON_DISK
@given(
    st.dictionaries(
        KEYS,
        st.recursive(
            LEAVES,
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(KEYS | WORDS, inner, max_size=3)
            ),
            max_leaves=12,
        ),
    )
)
def test_no_values_raise_anything_else(value):
    assert_is_good_or_refused_in_lines(json.dumps(value).encode())


OF_OTHERS = st.sampled_from(
    [
        *("metadata", "name", "namespace", "spec", "data", "items", "scaleTargetRef", "triggers"),
        *("metrics", "behavior", "minReplicas", "maxReplicas", "replicas", "target", "type"),
        *("resource", "pods", "object", "external", "averageUtilization", "averageValue", "query"),
        *("threshold", "serverAddress", "advanced", "pollingInterval", "cooldownPeriod", "kind"),
    ]
)
KINDS = st.sampled_from(["HorizontalPodAutoscaler", "ScaledObject", "ConfigMap", "List", "Pod"])


@ON_DISK
@given(
    KINDS | st.text(max_size=5),
    st.dictionaries(
        OF_OTHERS,
        st.recursive(
            LEAVES | st.sampled_from(["Resource", "cpu", "prometheus", "Utilization", "500m"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(OF_OTHERS | st.text(max_size=5), inner, max_size=4)
            ),
            max_leaves=15,
        ),
    ),
)
def test_no_object_of_another_kind_raises_anything_else(kind, value):
    assert_is_good_or_refused_in_lines(json.dumps({**value, "kind": kind}).encode())


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["a.yaml", "b.yaml", "c.yml"]),
        st.none() | st.just("broken") | st.tuples(*[st.sampled_from(["x", "y", "z"])] * 2),
    ),
    max_size=12,
)


@ON_DISK
@given(st.lists(EDITS, max_size=6))
def test_no_two_policies_in_force_share_a_name_or_a_target(rounds):
    with TemporaryDirectory() as folder:
        source = PolicyFiles([folder])
        for edits in rounds:
            for name, content in edits:
                path = Path(folder, name)
                if content is None:
                    path.unlink(missing_ok=True)
                elif content == "broken":
                    path.write_text("name: [")
                else:
                    new, target = content
                    text = GOOD.replace("dashboards", new).replace("bokeh-app", target)
                    path.write_text(text)
            loaded = source.load()
            assert len({policy.name for policy in loaded.policies}) == len(loaded.policies)
            assert len({policy.target for policy in loaded.policies}) == len(loaded.policies)
            assert all(Path(file).exists() for file in loaded.files.values())


@given(st.floats(0, LONGEST_SECONDS))
def test_every_duration_is_read_back_as_it_was_written(value):
    assert seconds(duration_text(value)) == value


@given(st.floats(0, LARGEST_PERCENT))
def test_every_percentage_is_read_back_as_it_was_written(value):
    assert percent(percent_text(value)) == value
