"""Policies from YAML files and directories, which are reloaded when they are edited.

Nothing may scale by ambiguous input: if a file is rejected, its last valid version stays active, or
no policy if there was none.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from autoscaler.adapters.policies.kinds import (
    kind_in_text,
    other_kind,
    other_target,
    template_in_text,
)
from autoscaler.adapters.policies.messages import explain
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
from autoscaler.ports import PolicySet
from exporter.texts import visible

# A policy has about 50 lines; a ConfigMap holds at most 1 MiB for all of its files.
MAX_BYTES = 256 * 1024
# What kubectl prints of all autoscalers in a cluster: an HPA has about 100 values and 3 KiB.
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_MANIFEST_VALUES = 50_000
MAX_PROBLEMS = 100
# Characters of a value's path, whose keys may have any length.
LONGEST_PATH = 400
SUFFIXES = (".yaml", ".yml")

Signature = tuple[int, ...]


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
        text = _text(path, data, MAX_MANIFEST_BYTES)
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


def read_policy_file(path: Path) -> PolicyFile:
    """Read a file, and return it with its policy or with all of its problems. Never raises."""
    text = ""
    try:
        text = _text(path)
        document = parse(text)
    except UnreadableError as error:
        return PolicyFile(path, problems=_limited(kind_in_text(text) or (error.problem,)))
    if foreign := other_kind(document):
        return PolicyFile(path, problems=_limited(foreign))
    policy, faults = _validated(document)
    if faults and any(problem.message == ODD_KEY for problem in document.problems):
        faults = kind_in_text(text) or faults
    problems = _limited(sorted(faults, key=lambda problem: problem.line))
    lines = {key: document.lines.get((key,), 1) for key in ("name", "target")}
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


def _text(path: Path, data: bytes | None = None, max_bytes: int = MAX_BYTES) -> str:
    """Return a file's text. Raises UnreadableError unless it is a small regular UTF-8 file."""
    try:
        data = _bytes(path, max_bytes) if data is None else data
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _unreadable(f"cannot be read ({reason}), expected a policy file") from None
    if len(data) > max_bytes:
        raise _unreadable(f"is larger than {max_bytes // 1024} KiB, expected a policy file")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _unreadable("is UTF-16 or UTF-32 text, expected UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(Problem(line, "", _NOT_TEXT)) from None


_NOT_TEXT = "is binary or in another encoding, expected UTF-8 text"


def _bytes(path: Path, max_bytes: int) -> bytes:
    """Return the content, at most one byte more than allowed.

    Raises OSError, ValueError or UnreadableError.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise _unreadable("is a directory, expected a policy file")
    # Opening a named pipe would block until its other end is opened.
    if not stat.S_ISREG(mode):
        raise _unreadable("is not a regular file, expected a policy file")
    with path.open("rb") as file:
        return file.read(max_bytes + 1)


def _unreadable(message: str) -> UnreadableError:
    return UnreadableError(Problem(0, "", message))


def _message(name: str, problem: Problem) -> str:
    place = f"{name}:{problem.line}" if problem.line else name
    return ": ".join(part for part in (place, problem.path, problem.message) if part)


class PolicyFiles:
    """The policies of files and directories; implements `ports.PolicySource`.

    A directory stands for its *.yaml and *.yml files, except those that begin with a dot. Deleting
    a file removes its policy; if a file is rejected, its last valid version stays active.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._read: dict[Path, tuple[Signature | None, PolicyFile]] = {}
        self._active: dict[Path, PolicyFile] = {}
        self._signatures: dict[Path, Signature | None] = {}
        self._loaded = PolicySet()

    def load(self) -> PolicySet:
        """Return the active policies. Costs one stat per file if nothing has changed.

        The value is the same object then.
        """
        paths, unlisted = _policy_paths(self._paths)
        signatures = {path: _signature(path) for path in paths}
        if signatures != self._signatures or unlisted or not self._is_all_read():
            self._loaded, self._signatures = self._load(), signatures
        return self._loaded

    def _is_all_read(self) -> bool:
        """Return whether every file could be read, so that its stat tells of a change."""
        return all(signature is not None for signature, _ in self._read.values())

    def _load(self) -> PolicySet:
        files = self.examine()
        active = [(file.name, file.policy) for file in self._active.values() if file.policy]
        return PolicySet(
            policies=tuple(policy for _, policy in active),
            problems={file.name: file.messages for file in files if file.problems},
            files={policy.name: name for name, policy in active},
        )

    def examine(self) -> tuple[PolicyFile, ...]:
        """Return every file as it is now, including the problems between files."""
        paths, unlisted = _policy_paths(self._paths)
        current = {path: self._current(path) for path in paths}
        self._read = {path: self._read[path] for path in paths}
        # A dangling symlink means that its mount is being updated, not that it was deleted.
        before = {
            path: file for path, file in self._active.items() if path in current and _is_there(path)
        }
        self._active, clashes = settle(current, before)
        files = (
            replace(file, problems=file.problems + tuple(clashes.get(path, ())))
            for path, file in current.items()
        )
        return (*files, *unlisted)

    def _current(self, path: Path) -> PolicyFile:
        """Return a file, which is reread only if its stat has changed or it was unreadable."""
        signature = _signature(path)
        known, file = self._read.get(path, (None, PolicyFile(path)))
        if signature is None or signature != known:
            file = read_policy_file(path)
            unreadable = any(problem.line == 0 for problem in file.problems)
            self._read[path] = (None if unreadable else signature, file)
        return file


def _is_there(path: Path) -> bool:
    """Return whether a file or a symlink exists, even if it is dangling or unreadable."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _is_directory(path: Path) -> bool:
    """Return whether a path is a directory; False on an error, which reading it will report."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _signature(path: Path) -> Signature | None:
    try:
        info = path.stat()
    except (OSError, ValueError):
        return None
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def _policy_paths(paths: Iterable[Path]) -> tuple[list[Path], list[PolicyFile]]:
    """Return the policy files under the paths, each once, and the directories without any."""
    found: dict[Path, Path] = {}
    unlisted = []
    for path in paths:
        try:
            listed = _listed(path) if _is_directory(path) else [path]
        except UnreadableError as error:
            unlisted.append(PolicyFile(path, problems=(error.problem,)))
        else:
            found |= {file.absolute(): file for file in listed if file.absolute() not in found}
    return list(found.values()), unlisted


def _listed(directory: Path) -> list[Path]:
    """Return the policy files of a directory by name. Raises UnreadableError without any."""
    try:
        entries = sorted(directory.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise _unreadable(f"cannot be read ({error.strerror}), expected a directory") from None
    found = [path for path in entries if path.suffix in SUFFIXES and path.name[0] != "."]
    if not found:
        raise _unreadable("has no policy file, expected files ending in .yaml or .yml")
    return found


def settle(
    current: Mapping[Path, PolicyFile], before: Mapping[Path, PolicyFile]
) -> tuple[dict[Path, PolicyFile], dict[Path, list[Problem]]]:
    """Return the active files, all with different names and targets, and the clashes by file.

    A file that is invalid, or clashes with another one, keeps the version that was active before.
    That version can clash with a third file, so this is repeated until nothing clashes. It ends,
    because versions that were active together do not clash.
    """
    chosen = {
        path: version
        for path, file in current.items()
        if (version := file if file.policy else before.get(path))
    }
    problems: dict[Path, list[Problem]] = defaultdict(list)
    while clashes := list(_clashes(chosen.values())):
        for path, problem in clashes:
            if chosen[path] is current[path]:
                problems[path].append(problem)
        for path in {path for path, _ in clashes}:
            if path in before:
                chosen[path] = before[path]
            else:
                del chosen[path]
    return chosen, problems


def _clashes(files: Iterable[PolicyFile]) -> Iterator[tuple[Path, Problem]]:
    """Yield each file that shares its policy's name or target with others, and the problem."""
    sharing: dict[tuple[str, str], list[PolicyFile]] = defaultdict(list)
    for file in files:
        if file.policy is not None:
            sharing["name", file.policy.name].append(file)
            sharing["target", str(file.policy.target.ref)].append(file)
    for (key, value), group in sharing.items():
        for file in group if len(group) > 1 else ():
            others = ", ".join(other.name for other in group if other is not file)
            message = f"{value} is also the {key} of {others}, expected a different {key} in each"
            yield file.path, Problem((file.lines or {}).get(key, 1), key, message)
