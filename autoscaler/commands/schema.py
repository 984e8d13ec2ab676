"""`autoscaler schema`: print the JSON Schema of a policy file, for editors."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from autoscaler.adapters.policies.definition import definition
from autoscaler.adapters.policies.yaml_writing import block_text
from autoscaler.policy import Policy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Print the JSON Schema of a policy, for editors: autoscaler schema > schema.json"
    )
    parser.add_argument(
        "--resource",
        action="store_true",
        help="print the CustomResourceDefinition of ScalingPolicies instead, as YAML",
    )


def run(args: argparse.Namespace) -> int:
    """Print the schema and return 0."""
    sys.stdout.write(definition_text() if args.resource else schema_text())
    return 0


def definition_text() -> str:
    """Return the definition as it is kept in the component `scaling-policies`."""
    note = "# Policies as Kubernetes objects; `autoscaler schema --resource` prints this file.\n"
    return note + block_text(definition())


def schema_text() -> str:
    """Return the schema as it is kept in policies/schema.json."""
    schema = {
        # The newest draft that all YAML editors support.
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Scaling policy of bokeh-autoscaler",
        **_tidy(Policy.model_json_schema(by_alias=True)),
    }
    return json.dumps(schema, indent=2) + "\n"


def _tidy(node: Any) -> Any:
    """Remove what clutters the hints of editors: generated titles and empty defaults."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _tidy(value)
        for key, value in node.items()
        if key != "title" and (key, value) != ("default", None)
    }


if __name__ == "__main__":
    sys.exit(run(argparse.Namespace()))
