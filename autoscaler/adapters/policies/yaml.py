"""Parsing of YAML to plain values with line numbers. `scalars` and `yaml_writing` import yaml too.

Only text, numbers, true, false, null, lists and mappings are built, and their size is limited
before that, because a file may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from itertools import islice, takewhile
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from autoscaler.adapters.policies.scalars import REFUSED, SHOWN_LENGTH, STANDARD, scalar, shown

Path = tuple[str | int, ...]

# The deepest policy has 6 levels, and the longest reasonable one about 200 values.
MAX_DEPTH = 20
MAX_VALUES = 2_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_HINTS = {
    "mapping values are not allowed": 'expected text with ": " in it to be in quotes',
    "cannot start any token": "expected spaces instead of tabs, and quotes around text that starts"
    " with a character such as % or @",
    "undefined alias": "expected an anchor (&name) before its use (*name)",
    "characters are not allowed": "expected text without control characters",
}
_HINT = "expected valid YAML; check the indentation, brackets and quotes here"


class Problem(NamedTuple):
    """One problem of a file; line 0 and an empty path refer to the whole file."""

    line: int
    path: str
    message: str


class Document(NamedTuple):
    """The values of a file, the line of each, and the problems of single values.

    An invalid value is `REFUSED` in `value`, and its path is in `refused`. spans: where the text of
    each value begins and ends, in characters.
    """

    value: Any
    lines: Mapping[Path, int]
    problems: tuple[Problem, ...] = ()
    refused: frozenset[Path] = frozenset()
    spans: Mapping[Path, tuple[int, int]] = MappingProxyType({})

    def line(self, path: Path) -> int:
        """Return the line of a value, or of the nearest mapping or list that should contain it."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


NOT_YAML: Final = "not valid YAML"
ODD_KEY: Final = "a key is a list or a mapping, expected a word"


class UnreadableError(Exception):
    """The text cannot be parsed; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def parse(text: str) -> Document:
    """Return the first document of a YAML text, with a problem if it is not the only one.

    Raises UnreadableError.
    """
    roots, second = _roots(text, 1, MAX_VALUES)
    document = _Builder(MAX_VALUES).document(roots[0])
    if second is None:
        return document
    message = "a second document starts here (---), expected one policy per file"
    return document._replace(problems=(*document.problems, Problem(second, "", message)))


def parse_all(text: str, max_values: int) -> list[Document]:
    """Return all documents of a YAML text. Raises UnreadableError.

    max_values: values that all documents together may have, with expanded aliases.
    """
    builder = _Builder(max_values)
    return [builder.document(root) for root in _roots(text, None, max_values)[0]]


def _roots(text: str, most: int | None, max_values: int) -> tuple[list[Node], int | None]:
    """Return the first documents, at least one, and the line of the second. Raises UnreadableError.

    most: number of documents to read; None: all.
    """
    try:
        second = _bound(text, max_values)
        roots = list(islice(yaml.compose_all(text, Loader=_LOADER), most))
    except yaml.YAMLError as error:
        raise UnreadableError(_syntax_problem(error, text)) from None
    if not roots:
        raise UnreadableError(Problem(0, "", "the file is empty, expected a policy"))
    return roots, second


def path_text(path: Path) -> str:
    """Return a path as people write it: `metrics[0].seats`."""
    text = ""
    for element in path:
        if isinstance(element, int):
            text += f"[{element}]"
        else:
            plain = element.isidentifier() and element.isascii() and len(element) <= SHOWN_LENGTH
            text += ("." if text else "") + (element if plain else shown(element))
    return text


def _bound(text: str, max_values: int) -> int | None:
    """Check the limits before anything is built; return the line of a second document, if any.

    Events are counted while they are parsed, because libyaml takes two minutes for 250 kB of `[`.
    Raises UnreadableError.
    """
    depth = documents = nodes = 0
    second: int | None = None
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
        if documents == 2 and second is None:
            second = line
        if nodes > 2 * max_values:  # each value and its key
            raise UnreadableError(_too_many(line, max_values))
    return second


def _too_many(line: int, max_values: int) -> Problem:
    message = f"more than {max_values} values (with expanded aliases), expected fewer"
    return Problem(line, "", message)


def _too_deep(line: int) -> Problem:
    return Problem(line, "", f"nested too deeply, expected at most {MAX_DEPTH} levels")


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    """Return the parser's error with its line and a hint."""
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        line = min(mark.line, text.count("\n")) + 1
    else:
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
    hint = next((hint for words, hint in _HINTS.items() if words in what), _HINT)
    if "\u00a0" in text:
        hint = "expected ordinary spaces, but the file has no-break spaces"
    return Problem(line, "", f"{NOT_YAML}: {what}, {hint}")


class _Builder:
    """Converts nodes to values; an invalid value is recorded and does not stop the others."""

    def __init__(self, max_values: int) -> None:
        self._max_values = max_values
        self._built = 0

    def document(self, root: Node) -> Document:
        """Return the next document. Raises UnreadableError if expanded aliases are too many."""
        self.lines: dict[Path, int] = {}
        self.spans: dict[Path, tuple[int, int]] = {}
        self.problems: list[Problem] = []
        self.refused: set[Path] = set()
        value = self._build(root, (), 0)
        problems, refused = tuple(self.problems), frozenset(self.refused)
        return Document(value, self.lines, problems, refused, self.spans)

    def _build(self, node: Node, path: Path, depth: int) -> Any:
        """Return the value of a node. Raises UnreadableError if expanded aliases are too many."""
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self.spans.setdefault(path, (node.start_mark.index, node.end_mark.index))
        self._built += 1
        if depth > MAX_DEPTH:
            raise UnreadableError(_too_deep(line))
        if self._built > self._max_values:
            raise UnreadableError(_too_many(line, self._max_values))
        if isinstance(node, MappingNode) and node.tag == f"{STANDARD}map":
            return self._mapping(node, path, depth)
        if isinstance(node, SequenceNode) and node.tag == f"{STANDARD}seq":
            return [
                self._build(item, (*path, index), depth + 1)
                for index, item in enumerate(node.value)
            ]
        try:
            return scalar(node)
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
        merges = [pair for pair in node.value if _is_merge(pair[0])]
        others = [pair for pair in node.value if not _is_merge(pair[0])]
        # Merged keys first, because the mapping's own keys override them and their lines.
        for key_node, value_node in merges:
            self.lines[(*path, key_node.value)] = key_node.start_mark.line + 1
            merged |= self._merged(value_node, path, depth + 1)
        keys = {key.value for key, _ in others if isinstance(key, ScalarNode)}
        self._forget(path, keys & merged.keys())
        for key_node, value_node in others:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self.problems.append(Problem(line, path_text(path), ODD_KEY))
            elif (key := key_node.value) in own:
                message = f"is a duplicate key (first on line {first[key]}), expected it once"
                self.problems.append(Problem(line, path_text((*path, key)), message))
            else:
                first[key] = self.lines[(*path, key)] = line
                own[key] = self._build(value_node, (*path, key), depth + 1)
        return merged | own

    def _forget(self, path: Path, keys: Set[str]) -> None:
        """Drop the places of the values of a mapping that others override.

        They come after the mapping itself; to look at all would take minutes for a large manifest.
        """
        if not keys:
            return
        inside = takewhile(lambda each: each != path, reversed(self.lines))
        within = len(path) + 1
        own = {(*path, key) for key in keys}
        for hidden in [each for each in inside if each[:within] in own]:
            del self.lines[hidden]
            self.spans.pop(hidden, None)

    def _merged(self, node: Node, path: Path, depth: int) -> dict[str, Any]:
        """Return what `<<: *anchor` or `<<: [*one, *two]` merges; the first of several wins."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in reversed(sources):
            value = self._build(source, path, depth)
            if not isinstance(value, dict):
                self._refuse((*path, "<<"), "expected an alias of a mapping, such as *name")
                return {}
            merged |= value
        return merged


def _is_merge(node: Node) -> bool:
    return bool(node.tag == f"{STANDARD}merge")
