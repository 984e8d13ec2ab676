"""policies/schema.json is what the models say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from autoscaler.commands.schema import schema_text

POLICIES = Path(__file__).parents[2] / "policies"


def test_the_schema_is_fresh():
    expected = (POLICIES / "schema.json").read_text()
    assert schema_text() == expected, "renew it: autoscaler schema > policies/schema.json"


def test_the_schema_shows_defaults_as_people_write_them():
    properties = json.loads(schema_text())["properties"]
    assert properties["interval"]["default"] == "2s"
    assert properties["drain"]["default"]["deadline"] == "never"
    assert properties["drain"]["default"]["settle"] == "15s"
    assert properties["drain"]["default"]["tell"] == "1h"


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_policy_that_we_ship_fits_the_schema(path):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(schema_text()))


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_policy_that_we_ship_names_the_schema_for_editors(path):
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")
