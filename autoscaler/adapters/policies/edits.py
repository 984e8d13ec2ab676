"""Other values in a policy file, whose comments and layout stay."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import unified_diff
from typing import Any

from pydantic import ValidationError

from autoscaler.adapters.policies.resource import is_resource, policy_document, resource_of
from autoscaler.adapters.policies.yaml import (
    Document,
    Path,
    UnreadableError,
    parse,
    path_text,
)
from autoscaler.adapters.policies.yaml_writing import block_text, flow_text
from autoscaler.policy import Policy
from autoscaler.simulation.candidates import value_at

Spans = Mapping[Path, tuple[int, int]]
# What the lists and mappings on one line begin with.
FLOW = ("{", "[")


def edited_text(text: str, edits: Mapping[Path, Any], policy: Policy) -> str | None:
    """Return the text of a policy file with other values.

    policy: what it describes then. Returns None if the text cannot be edited so, such as a file in
    which a value has an anchor and others refer to it.
    """
    try:
        for path, value in edits.items():
            text = _edited(text, path, value)
        found = Policy.model_validate(_policy_in(text).value)
    except (UnreadableError, ValidationError):
        return None
    return text if found == policy else None


def whole_text(policy: Policy, *, as_resource: bool = False) -> str:
    """Return a policy as a file of its own, without comments, or as a ScalingPolicy."""
    return (
        block_text(resource_of(policy.settings)) if as_resource else settings_text(policy.settings)
    )


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return the settings of a policy as a file of its own."""
    return "".join(f"{key}: {flow_text(value)}\n" for key, value in settings.items())


def text_diff(name: str, before: str, after: str) -> list[str]:
    """Return the lines of a unified diff of a policy file."""
    lines = unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="")
    return list(lines)


def value_diff(before: Any, edits: Mapping[Path, Any]) -> list[str]:
    """Return the other values as lines of a diff.

    before: the values of the file.
    """
    lines = []
    for path, value in edits.items():
        old = value_at(before, path)
        lines += [f"-{path_text(path)}: {flow_text(old)}"] if old is not None else []
        lines.append(f"+{path_text(path)}: {flow_text(value)}")
    return lines


def _policy_in(text: str) -> Document:
    """Return the policy of a file, also that of a ScalingPolicy, with the places of its values."""
    document = parse(text)
    return policy_document(document) if is_resource(document) else document


def _edited(text: str, path: Path, value: Any) -> str:
    """Return the text with one other value, which replaces one or is added to its mapping."""
    spans = _policy_in(text).spans
    if path in spans:
        start = spans[path][0]
        is_block = text[start] not in FLOW and len(_inside(spans, path)) > 1
        before = text[:start].rstrip() + " " if is_block else text[:start]
        return before + flow_text(value) + text[_end(text, spans, path) :]
    parent = path[:-1]
    while parent not in spans:
        parent = parent[:-1]
    for key in reversed(path[len(parent) + 1 :]):
        value = {key: value}
    return _added(text, spans, parent, f"{path[len(parent)]}: {flow_text(value)}")


def _added(text: str, spans: Spans, parent: Path, entry: str) -> str:
    """Return the text with another entry at the end of a mapping."""
    start, end = spans[parent]
    if text[start] in FLOW:
        comma = ", " if len(_inside(spans, parent)) > 1 else ""
        return text[: end - 1].rstrip() + comma + entry + text[end - 1 :]
    indent = start - (text.rfind("\n", 0, start) + 1)
    end = _end(text, spans, parent)
    line_end = text.find("\n", end) if "\n" in text[end:] else len(text)
    return f"{text[:line_end]}\n{' ' * indent}{entry}{text[line_end:]}"


def _inside(spans: Spans, path: Path) -> list[Path]:
    """Return the paths of a value and of all values in it."""
    return [each for each in spans if each[: len(path)] == path]


def _end(text: str, spans: Spans, path: Path) -> int:
    """Return where a value ends; the parser's end of a block is after the comments below it."""
    return max(
        spans[each][1]
        for each in _inside(spans, path)
        if text[spans[each][0]] in FLOW or len(_inside(spans, each)) == 1
    )
