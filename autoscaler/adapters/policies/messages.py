"""Error messages of pydantic, translated to the terms of the policy file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autoscaler.adapters.policies.scalars import shown
from autoscaler.adapters.policies.yaml import Document, Path, Problem, path_text
from autoscaler.policy import SPARE_TAGS, Policy
from autoscaler.policy.schedule import Contradiction, ContradictionsError

_EXAMPLES = {
    "after": "after: 10m",
    "deadline": "deadline: 1h",
    "deployment": "deployment: bokeh-app",
    "from": 'from: "08:00"',
    "max": "max: 20",
    "metrics": "metrics: [{type: sessions, seats: 20}]",
    "min": "min: 2",
    "name": "name: dashboards",
    "namespace": "namespace: bokeh",
    "periodSeconds": "periodSeconds: 60",
    "query": "query: sum(rate(http_requests_total[1m]))",
    "refuse": "refuse: 0.1%",
    "replicas": "replicas: {min: 2, max: 20}",
    "seats": "seats: 20",
    "target": "target: {namespace: bokeh, deployment: bokeh-app}",
    "to": 'to: "18:00"',
    "type": "type: sessions, cpu, memory or prometheus",
    "utilization": "utilization: 70%",
    "value": "value: 4",
}

_RULES = "{stabilizationWindowSeconds: 300}"
_MAPPINGS = {
    "behavior": f"{{scaleDown: {_RULES}}}",
    "cooldown": "{up: 0s, down: 5m}",
    "drain": "{deadline: 1h}",
    "idle": "{after: 2h, notice: 5m}",
    "notices": "{stay: Stay}",
    "fallback": "{after: 10m, replicas: 6}",
    "learn": "{first: 10, min: 5, max: 40}",
    "metrics": "{type: cpu, utilization: 70%}",
    "recycle": "{memory: 85%, age: 24h}",
    "policies": "{type: Pods, value: 4, periodSeconds: 60}",
    "replicas": "{min: 2, max: 20}",
    "scaleDown": _RULES,
    "scaleUp": _RULES,
    "schedule": '{from: "08:00", to: "18:00", min: 6}',
    "target": "{namespace: bokeh, deployment: bokeh-app}",
}

_EXPECTED: Mapping[str, str] = {
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "lower-case letters, digits and hyphens, such as bokeh-app",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} character",
    "string_type": "text in quotes",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entry",
    "tuple_type": "a list",
    "union_tag_invalid": "{expected_tags}",
}


def explain(error: ValidationError, document: Document) -> tuple[Problem, ...]:
    """Return every error of a file as a problem, in the order of the lines.

    Left out are values that are invalid as YAML, and missing keys that are present but misspelled,
    because other problems name these.
    """
    problems = (
        Problem(document.line(path), path_text(path), message)
        for path, message in faults(error, document.refused)
    )
    return tuple(sorted(problems, key=lambda problem: problem.line))


def faults(error: ValidationError, refused: Set[Path] = frozenset()) -> list[Contradiction]:
    """Return the path and the message of every error of a policy, save for refused values."""
    details = [detail for detail in error.errors() if _path(detail) not in refused]
    misspelt = {
        (*_path(detail)[:-1], _nearest_key(detail))
        for detail in details
        if detail["type"] == "extra_forbidden"
    }
    return [
        fault
        for detail in details
        if detail["type"] != "missing" or _path(detail) not in misspelt
        for fault in _faults(detail)
    ]


def _path(detail: ErrorDetails) -> Path:
    """Return the location without pydantic's tags after `metrics[0]` and of a spare."""
    location = detail["loc"]
    if location[:1] == ("metrics",):
        location = location[:2] + location[3:]
    path = tuple(element for element in location if element not in SPARE_TAGS)
    return (*path, "type") if detail["type"].startswith("union_tag") else path


def _faults(detail: ErrorDetails) -> Sequence[Contradiction]:
    """Return what is wrong with a value, or all contradictions within a policy."""
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, ContradictionsError):
        return error.found
    describe, path = _SPECIAL.get(detail["type"], _got_and_expected), _path(detail)
    return (Contradiction(path, describe(detail, path)),)


def _got_and_expected(detail: ErrorDetails, path: Path) -> str:
    context = {key: str(value).replace("'", "") for key, value in detail.get("ctx", {}).items()}
    value = detail["input"]
    if detail["type"] == "union_tag_invalid":
        value = value["type"]
    expected = _EXPECTED.get(detail["type"])
    wanted = expected.format(**context) if expected else detail["msg"]
    if detail["type"] == "string_pattern_mismatch" and path[-1] == "deployment":
        wanted = wanted.replace("digits and hyphens", "digits, hyphens and dots")
    digits = value.replace(".", "", 1) if isinstance(value, str) else ""
    if digits.isdecimal() and digits.isascii() and "number" in wanted:
        wanted += " without quotes"
    return f"got {shown(value)}, expected {wanted}"


def _missing(_: ErrorDetails, path: Path) -> str:
    key = str(path[-1])
    return f"is missing, expected {_EXAMPLES.get(key, key)}"


def _not_a_mapping(detail: ErrorDetails, path: Path) -> str:
    names = [element for element in path if isinstance(element, str)]
    wanted = "a mapping with name, target, replicas and metrics"
    if names:
        example = _MAPPINGS.get(names[-1])
        keys = ", ".join(_known_keys((*detail["loc"], "")))
        wanted = f"a mapping, such as {example}" if example else f"a mapping with {keys}"
    return f"got {shown(detail['input'])}, expected {wanted}"


def _own_message(detail: ErrorDetails, _: Path) -> str:
    """Return the message of one of our validators, with the value if it is not in the message."""
    message = str(detail.get("ctx", {}).get("error") or detail["msg"])
    whole = isinstance(detail["input"], Mapping) and detail["type"] != "spare"
    return message if whole else f"got {shown(detail['input'])}, {message}"


def _unknown_key(detail: ErrorDetails, _: Path) -> str:
    near = _nearest_key(detail)
    if near:
        return f"unknown key, did you mean {near}?"
    if str(detail["loc"][-1]).startswith(("x-", ".")):
        return "unknown key, expected an anchor (&name) at the value that uses it first"
    return f"unknown key, expected one of {', '.join(_known_keys(detail['loc']))}"


def _nearest_key(detail: ErrorDetails) -> str | None:
    """Return the known key that is most similar to an unknown one, ignoring case, or None."""
    known = {key.lower(): key for key in _known_keys(detail["loc"])}
    near = difflib.get_close_matches(str(detail["loc"][-1])[:100].lower(), known, 1)
    return known[near[0]] if near else None


def _known_keys(location: Path) -> list[str]:
    """Return the keys that are allowed in the mapping around the end of a location."""
    models: list[type[BaseModel]] = [Policy]
    for element in location[:-1]:
        tagged = [model for model in models if element in _tags(model)]
        fields = [field for model in models for field in _fields(model).get(element, ())]
        models = [inner for field in fields for inner in _models(field)] or tagged or models
    return list(dict.fromkeys(str(key) for model in models for key in _fields(model)))


def _fields(model: type[BaseModel]) -> dict[str | int, tuple[Any]]:
    return {field.alias or name: (field.annotation,) for name, field in model.model_fields.items()}


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields["type"].annotation) if "type" in model.model_fields else ()


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models inside an annotation such as `tuple[A | B, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


_SPECIAL: Mapping[str, Callable[[ErrorDetails, Path], str]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "model_attributes_type": _not_a_mapping,
    "model_type": _not_a_mapping,
    "spare": _own_message,
    "union_tag_not_found": _missing,
    "value_error": _own_message,
}
