"""The values of YAML that are neither lists nor mappings, and how errors show a value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from yaml.nodes import Node, ScalarNode

from exporter.texts import visible

STANDARD = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0|[1-9]\d{0,17})", re.ASCII)
_SEXAGESIMAL = re.compile(r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?", re.ASCII)
# Numbers in YAML 1.2 and JSON, but text in YAML 1.1, which requires a point and a sign.
_EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+", re.ASCII)
SHOWN_LENGTH = 40
# Stands for a value that cannot be read.
REFUSED: Final = object()


def shown(value: Any) -> str:
    """Return a value of a file as text, shortened and on one line."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if value is REFUSED:
        return "an unreadable value"
    if isinstance(value, str):
        short = value if len(value) <= SHOWN_LENGTH else value[: SHOWN_LENGTH - 1] + "…"
        return visible(json.dumps(short, ensure_ascii=False))
    return json.dumps(value)


def scalar(node: Node) -> Any:
    """Return text, number, true, false or null. Raises ValueError with the error message."""
    text = node.value
    kind = node.tag.removeprefix(STANDARD) if node.tag.startswith(STANDARD) else ""
    if not isinstance(node, ScalarNode) or kind not in _SCALARS:
        raise ValueError(f"tag {shown(_short_tag(node.tag))} is rejected, expected a plain value")
    if not node.style and _SEXAGESIMAL.fullmatch(text):
        raise ValueError(
            f"{shown(text)[1:-1]} without quotes is a number in base 60 to many YAML readers,"
            f" expected quotes: {shown(f'{text:0>5}')}"  # the hour of a day has two digits
        )
    if not node.style and kind == "str" and _EXPONENT.fullmatch(text):
        return float(text)
    return _SCALARS[kind](text)


def _short_tag(tag: str) -> str:
    return "!!" + tag.removeprefix(STANDARD) if tag.startswith(STANDARD) else tag


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(
            f"got {shown(text)[1:-1]}, expected a whole number in plain decimal digits"
        )
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise ValueError(f"got {shown(text)}, expected a number") from None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(
            f'{text} without quotes means true or false to YAML, expected quotes: "{text}"'
        )
    return text.lower() == "true"


def _null(_: str) -> None:
    return None


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": _integer,
    "float": _number,
    "bool": _boolean,
    "null": _null,
    # Dates and `=` have no special meaning here; they are plain text.
    "timestamp": str,
    "value": str,
    "merge": str,
}
