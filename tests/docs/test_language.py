"""User-facing texts use the terms of docs/concepts.md, not the words that these replace."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
# Each regular expression with what to write instead.
WORDS = {
    r"shr[iau]nk\w*": "scale down, scale-down",
    r"growth": "scale-up",
    r"(?<!memory )gr[oe]w(?:s|n|ing)?": "scale up, increase",
    r"in force": "active",
    r"hot pods?": "full pod",
    r"vacat\w+|emptied": "drained",
    r"worn": "due for recycling",
    r"t(?:ak(?:e|es|en|ing)|ook) (?:\w+ ){0,4}back": "revert, uncordon",
    r"g(?:ive|ives|iven|iving|ave) (?:\w+ ){0,3}back": "release, return",
    r"lets? (?:\w+ )?go": "release",
    r"pods? (?:that |which )?(?:goes|go|went|gone|is gone)": "deleted",
    r"(?:than was|not) chosen|unchosen": "other than the drained one",
    r"in doubt|doubts?": "uncertain, hold",
    r"own word|by the word of": "answer, report",
    r"the own": "its own, the same",
    r"nobody may change": "you cannot modify",
    r"mend(?:s|ed|ing)?": "fix",
    r"full of memory": "too close to its memory limit",
    r"yet to": "a noun, such as unscheduled pods or starting pods",
    r"laxer": "relaxed",
    r"st(?:and|ands|anding|ood) by": "is a standby",
    r"(?:scale-downs|it|that) rests?": "pause",
    r"left out for": "cordoned",
    r"(?:broken|wrong) edits?": "invalid, rejected file",
    r"last good version": "last valid version",
    r"polic(?:y|ies)(?: files?)?(?: is| are| was)? refused": "rejected",
    r"(?:last|previous) daemon's memory|memory of the (?:last|previous) \w+": "state",
    r"pages? on (?:its|their) way": "page that is loading",
    r"for ever": "forever",
    r"without a word": "silently",
    r"balancer of the cloud": "cloud load balancer",
    r"\w*(?:colour|behaviour|neighbour)\w*|licence|utilisation": "American spelling",
}
PATTERN = re.compile(
    "|".join(rf"\b(?P<w{number}>{words})\b" for number, words in enumerate(WORDS)), re.IGNORECASE
)


class Line(NamedTuple):
    """A line of a file, or the first one of a longer text in it."""

    number: int
    words: str


def faults(text: str) -> Iterator[str]:
    """Each avoided word in a text, with the better one."""
    for found in PATTERN.finditer(text):
        better = list(WORDS.values())[int((found.lastgroup or "w0").removeprefix("w"))]
        yield f"`{found.group()}`: write {better}"


def prose(file: Path) -> Iterator[Line]:
    """Every line of a page, without names in backticks; of the changelog the newest section."""
    text = file.read_text()
    if file.name == "CHANGELOG.md":
        text = "\n## ".join(text.split("\n## ")[:2])
    for number, line in enumerate(text.splitlines(), start=1):
        yield Line(number, re.sub(r"`[^`]+`|\]\([^)]*\)", "", line))


def comments(file: Path) -> Iterator[Line]:
    """The comments of a configuration file, and the texts of alerts in it."""
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if found := re.search(r"(?:^|\s)#(.*)|^\s+(?:summary|description): (.*)", line):
            yield Line(number, "".join(filter(None, found.groups())))


def descriptions(file: Path) -> Iterator[Line]:
    """The descriptions, titles and legends of a JSON file."""
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        for text in re.findall(r'"(?:description|title|legendFormat)": ("(?:[^"\\]|\\.)*")', line):
            yield Line(number, json.loads(text))


def literals(file: Path) -> Iterator[Line]:
    """The string literals of a module that are texts: with a space, and no docstrings."""
    tree = ast.parse(file.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings:
            continue
        if isinstance(node.value, str) and " " in node.value.strip():
            yield Line(node.lineno, node.value)


# Files by their globs: how their texts are found.
SOURCES: dict[str, Callable[[Path], Iterator[Line]]] = {
    "*.md": prose,
    "docs/**/*.md": prose,
    "deploy/**/*.md": prose,
    "policies/*.md": prose,
    "requirements/*.md": prose,
    "tests/**/*.md": prose,
    "Makefile": comments,
    "policies/*.yaml": comments,
    "deploy/**/*.yaml": comments,
    "deploy/**/*.yml": comments,
    "deploy/**/*.conf": comments,
    "deploy/**/*.cfg": comments,
    "deploy/**/*.lst": comments,
    "deploy/**/*Dockerfile": comments,
    "policies/schema.json": descriptions,
    "deploy/**/*.json": descriptions,
}
# Help of commands and metrics, Events, log lines, errors and the reasons of decisions.
CODE = (
    "autoscaler/*.py",
    "autoscaler/adapters/**/*.py",
    "autoscaler/adoption/*.py",
    "autoscaler/commands/*.py",
    "autoscaler/control/*.py",
    "autoscaler/core/**/*.py",
    "autoscaler/demo/*.py",
    "autoscaler/doctor/*.py",
    "autoscaler/model/*.py",
    "autoscaler/reporting/*.py",
    "autoscaler/simulation/*.py",
    "exporter/*.py",
    "exporter/agent/**/*.py",
)
SCANNED: list[Any] = [
    *(pytest.param(glob, texts, id=glob) for glob, texts in SOURCES.items()),
    *(pytest.param(glob, literals, id=glob) for glob in CODE),
]


@pytest.mark.parametrize(("glob", "texts"), SCANNED)
def test_texts_use_the_terms_of_the_concepts(
    glob: str, texts: Callable[[Path], Iterator[Line]]
) -> None:
    lines = [(file, line) for file in sorted(ROOT.glob(glob)) for line in texts(file)]
    assert lines, f"no texts in {glob}"

    found = [
        f"{file.relative_to(ROOT)}:{line.number}: {fault}"
        for file, line in lines
        for fault in faults(line.words)
    ]

    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A shrink ended sessions.", ["shrink"]),
        ("Nothing grows or shrinks.", ["grows", "shrinks"]),
        ("its last version stays in force", ["in force"]),
        ("another pod went than was chosen", ["pod went", "than was chosen"]),
        ("cordons are taken back", ["taken back"]),
        ("the last one gives the Lease back", ["gives the Lease back"]),
        ("each finds the own pod", ["the own"]),
        ("Memory grows with the sessions; the background does not.", []),
        ("Scale-downs pause, and the daemon holds: it is uncertain.", []),
    ],
)
def test_an_avoided_word_is_found(text: str, found: list[str]) -> None:
    assert [fault.split("`")[1] for fault in faults(text)] == found


def test_every_literal_of_a_call_is_read_and_no_docstring(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text('"""A shrink."""\nLOG.info(f"{name}: a shrink"\n  " ended")\nKEY = "shrink"\n')

    assert [line.words for line in literals(file)] == [": a shrink ended"]


def test_what_the_page_of_the_terms_defines_is_said_once() -> None:
    page = (ROOT / "docs" / "concepts.md").read_text()
    terms = re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE)
    defined = [term for term in terms if term not in {"Term", "---"}]

    assert len(defined) > 40
    assert len(set(defined)) == len(defined)
