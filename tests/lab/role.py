"""The Roles that we ship, as one, and what is left of them without one of their rights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MANIFEST = Path("deploy/kubernetes/base/rbac.yaml")


def our_rules() -> list[dict[str, Any]]:
    objects = yaml.safe_load_all(MANIFEST.read_text())
    return [rule for each in objects if each["kind"] == "Role" for rule in each["rules"]]


def single_rights() -> Iterator[tuple[str, str]]:
    yield from dict.fromkeys(
        (verb, resource)
        for rule in our_rules()
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


def without(verb: str, resource: str) -> list[dict[str, Any]]:
    rules = []
    for rule in copy.deepcopy(our_rules()):
        for each in rule["resources"]:
            verbs = [v for v in rule["verbs"] if (v, each) != (verb, resource)]
            if verbs:
                rules.append({**rule, "resources": [each], "verbs": verbs})
    return rules
