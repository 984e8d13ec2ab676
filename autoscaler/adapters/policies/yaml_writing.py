"""Writing of plain values as YAML, which every reader reads as the same values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from autoscaler.adapters.policies.scalars import STANDARD
from autoscaler.adapters.policies.yaml import parse

_PLAIN = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._/]*%?", re.ASCII)
# Texts that manifests have without quotes: words, options, images, and amounts such as 384Mi. Any
# other text that begins with a digit could be a number to some reader.
_WORD = re.compile(
    r"(--?[A-Za-z]|[A-Za-z/])([-A-Za-z0-9._/=@%]|:(?=[A-Za-z0-9]))*|\d+([KMGT]i|[m%])", re.ASCII
)
# Words that some readers of YAML 1.1 take for true and false, and ours does not.
_TRUTHS = ("y", "Y", "n", "N")
_WIDTH = 10_000


def flow_text(value: Any) -> str:
    """Return plain values as YAML on one line: `{min: 2, max: 20}`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow_text(k)}: {flow_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow_text(item) for item in value) + "]"
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and parse(value).value == value
    return str(value) if plain else json.dumps(value)


def block_text(value: Any) -> str:
    """Return plain values as a YAML document in block style, each on its own line."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True))


class _Dumper(yaml.SafeDumper):
    """Indents lists, repeats what is there twice, and quotes what any reader could take wrongly."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def _represented(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _is_plain(text) else '"'
    if text.endswith("\n") and text.replace("\n", "").isprintable() and text.strip() == text[:-1]:
        style = "|"
    return dumper.represent_scalar(f"{STANDARD}str", text, style=style)


def _is_plain(text: str) -> bool:
    if not _WORD.fullmatch(text) or text in _TRUTHS:
        return False
    read = parse(text)
    return bool(read.value == text and not read.problems)


_Dumper.add_representer(str, _represented)
