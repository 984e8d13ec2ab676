"""Edited policy files: comments and layout stay, and what cannot be edited is not guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.policies.edits import edited_text, text_diff, value_diff, whole_text
from autoscaler.adapters.policies.policy_file import load_policy
from autoscaler.adapters.policies.resource import policy_document
from autoscaler.adapters.policies.yaml import parse
from autoscaler.policy import Policy
from autoscaler.simulation.candidates import candidates, edited_policy, plain_policy
from autoscaler.simulation.engine import Assumptions

SHIPPED = sorted((Path(__file__).parents[2] / "policies").glob("*.yaml"))
FILE = """\
# Für alle Büros
name: dashboards
target: {namespace: bokeh, deployment: bokeh-app}
replicas: {min: 1, max: 20}  # of the cluster
metrics:
  - type: sessions
    # Measured in May.
    seats: 10
    spare: 5  # free seats
  - {type: cpu, utilization: 70%}
"""
SPARE = ("metrics", 0, "spare")


def edited(text: str, edits: dict[Any, Any]) -> str | None:
    before = Policy.model_validate(parse(text).value)
    after = edited_policy(plain_policy(before), edits)
    assert after is not None
    return edited_text(text, edits, after)


RESOURCE = """\
apiVersion: bokeh-autoscaler.io/v1alpha1
kind: ScalingPolicy
metadata: {name: dashboards, namespace: bokeh}
spec:
  target: {deployment: bokeh-app}
  replicas: {min: 1, max: 20}  # of the cluster
  metrics:
    - {type: sessions, seats: 10, spare: 5}
"""


@pytest.mark.parametrize(
    ("edits", "old", "new"),
    [
        pytest.param({SPARE: 7}, "spare: 5", "spare: 7", id="a value"),
        pytest.param(
            {("cooldown", "down"): "10m"},
            "spare: 5}\n",
            "spare: 5}\n  cooldown: {down: 10m}\n",
            id="a key that it lacks",
        ),
    ],
)
def test_it_changes_the_spec_of_a_scaling_policy(edits: dict[Any, Any], old: str, new: str) -> None:
    before = Policy.model_validate(policy_document(parse(RESOURCE)).value)
    after = edited_policy(plain_policy(before), edits)

    assert after is not None
    assert edited_text(RESOURCE, edits, after) == RESOURCE.replace(old, new)


EDITS = {
    "a number": ({SPARE: 7}, {"    spare: 5  # free seats": "    spare: 7  # free seats"}),
    "a mapping in place of a number": (
        {SPARE: {"refuse": "0.1%", "leadTime": "1m"}},
        {"spare: 5  #": "spare: {refuse: 0.1%, leadTime: 1m}  #"},
    ),
    "a value within a mapping on one line": (
        {("metrics", 1, "utilization"): "80%"},
        {"utilization: 70%": "utilization: 80%"},
    ),
    "two values": ({SPARE: 7, ("metrics", 0, "seats"): 8}, {"spare: 5": "spare: 7", "10": "8"}),
    "a key that the file lacks": (
        {("cooldown", "down"): "10m"},
        {"utilization: 70%}\n": "utilization: 70%}\ncooldown: {down: 10m}\n"},
    ),
}


@pytest.mark.parametrize(("edits", "changes"), EDITS.values(), ids=EDITS)
def test_it_changes(edits: dict[Any, Any], changes: dict[str, str]) -> None:
    expected = FILE
    for old, new in changes.items():
        expected = expected.replace(old, new)
    assert edited(FILE, edits) == expected


TEXTS = {
    "a key of a mapping in lines, after the last one": (
        FILE.replace("    spare: 5  # free seats\n", ""),
        {SPARE: 7},
        "    seats: 10\n    spare: 7\n  - {type",
    ),
    "a key of a mapping on one line": (
        FILE + "cooldown: {up: 1m}\n# the end",
        {("cooldown", "down"): "10m"},
        "cooldown: {up: 1m, down: 10m}\n# the end",
    ),
    "a key of an empty mapping": (
        FILE + "cooldown: {}",
        {("cooldown", "down"): "10m"},
        "cooldown: {down: 10m}",
    ),
    "a number in place of a mapping in lines": (
        FILE.replace("spare: 5  # free seats", "spare:\n      refuse: 0.1%  # of all"),
        {SPARE: 7},
        "    spare: 7  # of all\n  - {type",
    ),
    "a number in place of a mapping on one line": (
        FILE.replace("spare: 5", "spare: {refuse: 0.1%}"),
        {SPARE: 7},
        "    spare: 7  # free seats\n  - {type",
    ),
    "the last line of a file without a line end": (
        FILE.rstrip("\n"),
        {("cooldown", "down"): "10m"},
        "utilization: 70%}\ncooldown: {down: 10m}",
    ),
}


@pytest.mark.parametrize(("text", "edits", "expected"), TEXTS.values(), ids=TEXTS)
def test_it_edits(text: str, edits: dict[Any, Any], expected: str) -> None:
    found = edited(text, edits)
    assert found is not None
    assert expected in found
    assert "# Measured in May." in found


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            FILE.replace("seats: 10", "seats: &n 10").replace("spare: 5", "spare: *n"),
            id="an anchor and its alias",
        ),
        pytest.param(
            FILE.replace("spare: 5  # free seats", "spare:  # seats\n      refuse: 0.1%"),
            id="a comment between a key and its value",
        ),
    ],
)
def test_what_cannot_be_edited_is_left(text: str) -> None:
    assert edited(text, {SPARE: 7, ("metrics", 0, "seats"): 8}) is None


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_edit_of_our_policies_keeps_all_comments(path: Path) -> None:
    own, text = load_policy(path), path.read_text()
    for each in candidates(own, Assumptions(), (), 40)[1::6]:
        found = edited_text(text, each.edits, each.policy)
        assert found is not None
        assert comments(found) == comments(text)


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


def test_the_diff_shows_the_file_and_its_changed_lines() -> None:
    after = edited(FILE, {SPARE: 7})
    assert after is not None
    assert text_diff("rules.yaml", FILE, after)[:2] == ["--- rules.yaml", "+++ rules.yaml"]
    assert text_diff("rules.yaml", FILE, after)[-3:-1] == [
        "-    spare: 5  # free seats",
        "+    spare: 7  # free seats",
    ]


def test_without_the_text_the_diff_shows_the_values() -> None:
    values = parse(FILE).value
    assert value_diff(values, {SPARE: "25%", ("cooldown", "down"): "10m"}) == [
        "-metrics[0].spare: 5",
        "+metrics[0].spare: 25%",
        "+cooldown.down: 10m",
    ]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_policy_without_a_text_is_written_whole(path: Path) -> None:
    own = load_policy(path)
    assert Policy.model_validate(parse(whole_text(own)).value) == own


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_scaling_policy_without_a_text_is_written_whole(path: Path, tmp_path: Path) -> None:
    own = load_policy(path)
    named = own.with_values(name=f"{own.target.namespace}/{own.name}")
    (tmp_path / "whole.yaml").write_text(whole_text(named, as_resource=True))
    assert load_policy(tmp_path / "whole.yaml") == named
