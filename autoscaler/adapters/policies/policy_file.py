"""One policy file: its text, and the policy in it or all that is wrong with it."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from autoscaler.adapters.policies.kinds import (
    kind_in_text,
    other_kind,
    other_target,
    template_in_text,
)
from autoscaler.adapters.policies.messages import explain
from autoscaler.adapters.policies.resource import (
    is_resource,
    path_in_resource,
    policy_document,
)
from autoscaler.adapters.policies.yaml import (
    NOT_YAML,
    ODD_KEY,
    Document,
    Problem,
    UnreadableError,
    parse,
    parse_all,
)
from autoscaler.errors import PolicyError
from autoscaler.policy import Policy
from exporter.texts import visible

# A policy has about 50 lines; a ConfigMap holds at most 1 MiB for all of its files.
MAX_BYTES = 256 * 1024
# What kubectl prints of all autoscalers in a cluster: an HPA has about 100 values and 3 KiB.
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_MANIFEST_VALUES = 50_000
MAX_PROBLEMS = 100
# Characters of a value's path, whose keys may have any length.
LONGEST_PATH = 400


class PolicyFileError(PolicyError):
    """All problems of one policy file.

    problems: one line each, `file:line: path: what is wrong, what was expected`.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """One file: its policy, if it is valid, and its problems.

    lines: line numbers of its name and its target, for problems that concern two files.
    """

    path: Path
    policy: Policy | None = None
    problems: tuple[Problem, ...] = ()
    lines: Mapping[str, int] | None = None

    @property
    def messages(self) -> tuple[str, ...]:
        """The problems as lines of text."""
        return tuple(_message(self.name, problem) for problem in self.problems)

    @property
    def name(self) -> str:
        """The path as it was given, in one line of text."""
        return visible(self.path)


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Return the policy in a file. Raises PolicyFileError with all problems of the file."""
    file = read_policy_file(Path(path))
    if file.policy is None:
        raise PolicyFileError(file.messages)
    return file.policy


def read_documents(path: Path, data: bytes | None = None) -> list[Document]:
    """Return the values of all YAML documents of a manifest, or of `data` that is called so.

    Raises PolicyFileError.
    """
    text = ""
    try:
        text = _text(path, data, MAX_MANIFEST_BYTES, "a YAML file")
        return parse_all(text, MAX_MANIFEST_VALUES)
    except UnreadableError as error:
        is_syntax = error.problem.message.startswith(NOT_YAML)
        problem = (template_in_text(text) if is_syntax else None) or error.problem
        raise PolicyFileError((_message(visible(path), problem),)) from None


def policy_in(document: Document, path: Path) -> Policy:
    """Return the policy in one document of a file. Raises PolicyFileError with all problems."""
    policy, faults = _validated(document)
    if policy is None or faults:
        raise PolicyFileError(PolicyFile(path, problems=_limited(faults)).messages)
    return policy


def read_policy_file(path: Path, data: bytes | None = None) -> PolicyFile:
    """Return a file with its policy or with all of its problems. Never raises.

    data: its content, where the file itself is elsewhere.
    """
    text = ""
    try:
        text = _text(path, data)
        document = parse(text)
    except UnreadableError as error:
        return PolicyFile(path, problems=_limited(kind_in_text(text) or (error.problem,)))
    if is_resource(document):
        return policy_of_resource(path, document)
    if foreign := other_kind(document):
        return PolicyFile(path, problems=_limited(foreign))
    policy, faults = _validated(document)
    if faults and any(problem.message == ODD_KEY for problem in document.problems):
        faults = kind_in_text(text) or faults
    problems = _limited(sorted(faults, key=lambda problem: problem.line))
    lines = {key: document.lines.get((key,), 1) for key in ("name", "target")}
    return PolicyFile(path, None if problems else policy, problems, lines)


def policy_of_resource(path: Path, document: Document) -> PolicyFile:
    """Return the policy in a ScalingPolicy, or all problems of it. Never raises."""
    inside = policy_document(document)
    if inside.value is None:
        return PolicyFile(path, problems=_limited(inside.problems))
    policy, faults = _validated(inside._replace(problems=()))
    told = [each._replace(path=path_in_resource(each.path)) for each in faults]
    problems = _limited(sorted((*document.problems, *told), key=lambda problem: problem.line))
    lines = {key: inside.line((key,)) for key in ("name", "target")}
    return PolicyFile(path, None if problems else policy, problems, lines)


def _validated(document: Document) -> tuple[Policy | None, tuple[Problem, ...]]:
    """Return the policy of a document, if it is valid, and its problems."""
    try:
        return Policy.model_validate(document.value), document.problems
    except ValidationError as error:
        faults = explain(error, document)
    if target := other_target(document):
        faults = (target, *(each for each in faults if not each.path.startswith("target")))
    return None, document.problems + faults


def _limited(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Limit the number of problems: a file may have thousands, and each becomes a log line."""
    told = tuple(
        Problem(each.line, visible(each.path, LONGEST_PATH), visible(each.message))
        for each in problems[:MAX_PROBLEMS]
    )
    if len(problems) <= MAX_PROBLEMS:
        return told
    line, more = problems[MAX_PROBLEMS].line, len(problems) - MAX_PROBLEMS
    return (*told, Problem(line, "", f"{more} more problems from here on"))


def _text(
    path: Path, data: bytes | None = None, most: int = MAX_BYTES, expected: str = "a policy file"
) -> str:
    """Return a file's text. Raises UnreadableError unless it is a small regular UTF-8 file."""
    try:
        data = _bytes(path, most, expected) if data is None else data
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise unreadable(f"cannot be read ({reason}), expected {expected}") from None
    if len(data) > most:
        raise unreadable(f"is larger than {most // 1024} KiB, expected {expected}")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise unreadable("is UTF-16 or UTF-32 text, expected UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(Problem(line, "", _NOT_TEXT)) from None


_NOT_TEXT = "is binary or in another encoding, expected UTF-8 text"


def _bytes(path: Path, most: int, expected: str) -> bytes:
    """Return the content, at most one byte more than allowed.

    Raises OSError, ValueError or UnreadableError.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise unreadable(f"is a directory, expected {expected}")
    # Opening a named pipe would block until its other end is opened.
    if not stat.S_ISREG(mode):
        raise unreadable(f"is not a regular file, expected {expected}")
    with path.open("rb") as file:
        return file.read(most + 1)


def unreadable(message: str) -> UnreadableError:
    """Return the error of a whole file."""
    return UnreadableError(Problem(0, "", message))


def _message(name: str, problem: Problem) -> str:
    place = f"{name}:{problem.line}" if problem.line else name
    return ": ".join(part for part in (place, problem.path, problem.message) if part)
