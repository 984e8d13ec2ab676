"""YAML text as plain values, each with its line: the only importer of yaml.

Nothing is constructed but text, numbers, true, false, null, lists and mappings, and everything is
bounded before it is built: a policy comes from an editor, a ConfigMap or a mistake.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path = tuple[str | int, ...]

# The deepest policy has 6 levels and the longest sensible one some 200 values.
MAX_DEPTH = 20
MAX_VALUES = 2_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0|[1-9]\d{0,17})", re.ASCII)
_SEXAGESIMAL = re.compile(r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?", re.ASCII)
# Numbers to YAML 1.2 and to JSON, but text to YAML 1.1 for want of a point or a sign.
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", re.ASCII)
_SHOWN_LENGTH = 40

_HINTS = {
    "mapping values are not allowed": 'expected text with ": " in it to be in quotes',
    "cannot start any token": "expected spaces instead of tabs, and text that starts with a sign"
    " such as % or @ in quotes",
    "undefined alias": "expected an anchor (&name) before its use (*name)",
    "characters are not allowed": "expected text without control characters",
}
_HINT = "expected valid YAML: look at the indentation, brackets and quotes here"


class Problem(NamedTuple):
    """One thing that is wrong with a file; line 0 and an empty path concern the file as a whole."""

    line: int
    path: str
    message: str


class Document(NamedTuple):
    """The values of a file, the line of each, and what was wrong with single values.

    A value with a problem of its own is `REFUSED` in `value` and listed in `refused`.
    """

    value: Any
    lines: Mapping[Path, int]
    problems: tuple[Problem, ...] = ()
    refused: frozenset[Path] = frozenset()


REFUSED: Final = object()


class UnreadableError(Exception):
    """The text has no values to speak of; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def parse(text: str) -> Document:
    """The one document of a YAML text. Raises UnreadableError."""
    try:
        _bound(text)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise UnreadableError(_syntax_problem(error, text)) from None
    if root is None:
        raise UnreadableError(Problem(0, "", "the file is empty, expected a policy"))
    builder = _Builder()
    value = builder.build(root, (), 0)
    return Document(value, builder.lines, tuple(builder.problems), frozenset(builder.refused))


def path_text(path: Path) -> str:
    """A path as a person writes it: `metrics[0].seats`."""
    text = ""
    for element in path:
        if isinstance(element, int):
            text += f"[{element}]"
        else:
            plain = element.isidentifier() and element.isascii() and len(element) <= _SHOWN_LENGTH
            text += ("." if text else "") + (element if plain else shown(element))
    return text


def shown(value: Any) -> str:
    """A value of a file, shortened, on one line."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        short = value if len(value) <= _SHOWN_LENGTH else value[: _SHOWN_LENGTH - 1] + "…"
        return json.dumps(short, ensure_ascii=not short.isprintable())
    return json.dumps(value)


def _bound(text: str) -> None:
    """Refuse deep nesting, too much and a second document before anything is built in memory.

    libyaml needs two minutes for 250 kB of `[`, so the events are counted as they come.
    """
    depth = documents = nodes = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        documents += isinstance(event, yaml.DocumentStartEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        line = event.start_mark.line + 1 if event.start_mark else 1
        if depth > MAX_DEPTH:
            raise UnreadableError(_too_deep(line))
        if documents > 1:
            message = "a second document starts here (---), expected one policy per file"
            raise UnreadableError(Problem(line, "", message))
        if nodes > 2 * MAX_VALUES:  # each value and its key
            raise UnreadableError(_too_many(line))


def _too_many(line: int) -> Problem:
    message = f"more than {MAX_VALUES} values, aliases unfolded, expected fewer"
    return Problem(line, "", message)


def _too_deep(line: int) -> Problem:
    return Problem(line, "", f"nested too deeply, expected at most {MAX_DEPTH} levels")


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    """What the parser said, at its line, with what to look for."""
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        line = min(mark.line, text.count("\n")) + 1
    else:
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
    hint = next((hint for words, hint in _HINTS.items() if words in what), _HINT)
    return Problem(line, "", f"not valid YAML: {what}, {hint}")


class _Builder:
    """Turns nodes into values; a fault of one value is noted and the others go on."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self.refused: set[Path] = set()
        self._built = 0

    def build(self, node: Node, path: Path, depth: int) -> Any:
        """The value of a node. Raises UnreadableError where aliases unfold beyond the bounds."""
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self._built += 1
        if depth > MAX_DEPTH:
            raise UnreadableError(_too_deep(line))
        if self._built > MAX_VALUES:
            raise UnreadableError(_too_many(line))
        if isinstance(node, MappingNode) and node.tag == f"{_STANDARD}map":
            return self._mapping(node, path, depth)
        if isinstance(node, SequenceNode) and node.tag == f"{_STANDARD}seq":
            return [
                self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)
            ]
        try:
            return _scalar(node)
        except ValueError as error:
            return self._refuse(path, str(error))

    def _refuse(self, path: Path, message: str) -> object:
        self.problems.append(Problem(self.lines[path], path_text(path), message))
        self.refused.add(path)
        return REFUSED

    def _mapping(self, node: MappingNode, path: Path, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == f"{_STANDARD}merge":
                self.lines[(*path, key_node.value)] = line
                merged |= self._merged(value_node, path, depth + 1)
            elif not isinstance(key_node, ScalarNode):
                message = "a key is a list or a mapping, expected a word"
                self.problems.append(Problem(line, path_text(path), message))
            elif (key := key_node.value) in own:
                message = f"is here twice (first on line {first[key]}), expected each key once"
                self.problems.append(Problem(line, path_text((*path, key)), message))
            else:
                first[key] = self.lines[(*path, key)] = line
                own[key] = self.build(value_node, (*path, key), depth + 1)
        return merged | own

    def _merged(self, node: Node, path: Path, depth: int) -> dict[str, Any]:
        """What `<<: *anchor` or `<<: [*one, *two]` brings in; the first of several wins."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in reversed(sources):
            value = self.build(source, path, depth)
            if not isinstance(value, dict):
                self._refuse((*path, "<<"), "expected an alias of a mapping, such as *name")
                return {}
            merged |= value
        return merged


def _scalar(node: Node) -> Any:
    """Text, number, true, false or null. Raises ValueError with a message for the reader."""
    text = node.value
    kind = node.tag.removeprefix(_STANDARD) if node.tag.startswith(_STANDARD) else ""
    if not isinstance(node, ScalarNode) or kind not in _SCALARS:
        raise ValueError(f"tag {shown(_short_tag(node.tag))} is refused, expected a plain value")
    if not node.style and _SEXAGESIMAL.fullmatch(text):
        raise ValueError(
            f"{text} without quotes is a number in base 60 to many YAML readers,"
            f' expected quotes: "{text}"'
        )
    if not node.style and kind == "str" and _EXPONENT.fullmatch(text):
        return float(text)
    return _SCALARS[kind](text)


def _short_tag(tag: str) -> str:
    return "!!" + tag.removeprefix(_STANDARD) if tag.startswith(_STANDARD) else tag


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
    # Dates and `=` mean nothing here: they are the text that they look like.
    "timestamp": str,
    "value": str,
    "merge": str,
}
