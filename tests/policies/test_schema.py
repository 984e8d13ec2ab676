"""policies/schema.json is what the models say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from autoscaler.adapters.policies.definition import definition
from autoscaler.commands.schema import definition_text, schema_text

POLICIES = Path(__file__).parents[2] / "policies"


def test_the_schema_is_fresh():
    expected = (POLICIES / "schema.json").read_text()
    assert schema_text() == expected, "renew it: autoscaler schema > policies/schema.json"


@pytest.mark.parametrize(
    "path",
    [
        "kubernetes/components/scaling-policies/definition.yaml",
        "helm/bokeh-autoscaler/files/definition.yaml",
    ],
)
def test_the_definition_of_scaling_policies_is_fresh(path):
    expected = (POLICIES.parent / "deploy" / path).read_text()
    assert definition_text() == expected, f"renew it: autoscaler schema --resource > deploy/{path}"


def test_the_definition_has_what_the_api_server_takes_as_a_structural_schema():
    def walk(node):
        assert not {"$ref", "anyOf", "oneOf", "const", "additionalProperties"} & node.keys()
        assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields")
        for each in (*node.get("properties", {}).values(), *filter(None, [node.get("items")])):
            walk(each)

    [version] = definition()["spec"]["versions"]
    walk(version["schema"]["openAPIV3Schema"])


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
