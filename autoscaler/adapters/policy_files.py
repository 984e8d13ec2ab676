"""Policies out of YAML files and directories, reloaded when they are edited.

Nothing may scale on ambiguous input: a file with a problem keeps the version that was in force, and
has none if there was none.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from autoscaler.adapters.policy_messages import explain
from autoscaler.adapters.policy_yaml import Problem, UnreadableError, parse
from autoscaler.errors import PolicyError
from autoscaler.policy import Policy
from autoscaler.ports import PolicySet

# A policy is some 50 lines; a ConfigMap holds at most 1 MiB for all of its files.
MAX_BYTES = 256 * 1024
MAX_PROBLEMS = 100
SUFFIXES = (".yaml", ".yml")

Signature = tuple[int, ...]


class PolicyFileError(PolicyError):
    """Everything that is wrong with one policy file.

    problems: one line each, `file:line: path: what is wrong, what was expected`.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """One file: the policy that it holds, if it holds one, and what is wrong with it.

    lines: where its name and its target stand, for problems that concern two files.
    """

    path: Path
    policy: Policy | None = None
    problems: tuple[Problem, ...] = ()
    lines: Mapping[str, int] | None = None

    @property
    def messages(self) -> tuple[str, ...]:
        """The problems as lines for the reader."""
        return tuple(_message(self.name, problem) for problem in self.problems)

    @property
    def name(self) -> str:
        """The path as it was given, in one line of text."""
        return printable(self.path)


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """The policy in a file. Raises PolicyFileError with every problem of the file."""
    file = read_policy_file(Path(path))
    if file.policy is None:
        raise PolicyFileError(file.messages)
    return file.policy


def read_policy_file(path: Path) -> PolicyFile:
    """One file, with its policy or with everything that is wrong with it. Raises nothing."""
    try:
        document = parse(_text(path))
    except UnreadableError as error:
        return PolicyFile(path, problems=(error.problem,))
    policy: Policy | None = None
    faults = document.problems
    try:
        policy = Policy.model_validate(document.value)
    except ValidationError as error:
        faults += explain(error, document)
    problems = _first(sorted(faults, key=lambda problem: problem.line))
    lines = {key: document.lines.get((key,), 1) for key in ("name", "target")}
    return PolicyFile(path, None if problems else policy, problems, lines)


def _first(problems: list[Problem]) -> tuple[Problem, ...]:
    """At most as many as anyone reads: a file may have thousands, and each becomes a log line."""
    if len(problems) <= MAX_PROBLEMS:
        return tuple(problems)
    line, more = problems[MAX_PROBLEMS].line, len(problems) - MAX_PROBLEMS
    return (*problems[:MAX_PROBLEMS], Problem(line, "", f"{more} more problems from here on"))


def _text(path: Path) -> str:
    """A file's text. Raises UnreadableError for anything but a small regular UTF-8 file."""
    try:
        data = _bytes(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _unreadable(f"cannot be read ({reason}), expected a policy file") from None
    if len(data) > MAX_BYTES:
        raise _unreadable(f"is larger than {MAX_BYTES // 1024} KiB, expected a policy file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(Problem(line, "", _NOT_TEXT)) from None


_NOT_TEXT = "is binary or in another encoding, expected UTF-8 text"


def _bytes(path: Path) -> bytes:
    """At most one byte more than is allowed. Raises OSError, ValueError or UnreadableError."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise _unreadable("is a directory, expected a policy file")
    # To open a named pipe would wait for its other end.
    if not stat.S_ISREG(mode):
        raise _unreadable("is not a regular file, expected a policy file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _unreadable(message: str) -> UnreadableError:
    return UnreadableError(Problem(0, "", message))


def _message(name: str, problem: Problem) -> str:
    place = f"{name}:{problem.line}" if problem.line else name
    return ": ".join(part for part in (place, problem.path, problem.message) if part)


def printable(path: Path) -> str:
    """A file name that cannot break a line or the encoding of a terminal."""
    name = str(path)
    return name if name.isprintable() else name.encode("unicode_escape").decode("ascii")


class PolicyFiles:
    """The policies of some files and directories; implements `ports.PolicySource`.

    A directory stands for its *.yaml and *.yml files, but for those that begin with a dot. A file
    that was removed takes its policy along; one with a problem keeps the version in force.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._read: dict[Path, tuple[Signature | None, PolicyFile]] = {}
        self._in_force: dict[Path, PolicyFile] = {}

    def load(self) -> PolicySet:
        """The policies in force now; costs one stat a file where nothing changed."""
        files = self.examine()
        in_force = [(file.name, file.policy) for file in self._in_force.values() if file.policy]
        return PolicySet(
            policies=tuple(policy for _, policy in in_force),
            problems={file.name: file.messages for file in files if file.problems},
            files={policy.name: name for name, policy in in_force},
        )

    def examine(self) -> tuple[PolicyFile, ...]:
        """Every file as it is now, with what is wrong between files as well."""
        paths, unlisted = _policy_paths(self._paths)
        current = {path: self._current(path) for path in paths}
        self._read = {path: self._read[path] for path in paths}
        # A dangling symlink is a mount in the middle of its update, not a removed file.
        before = {
            path: file
            for path, file in self._in_force.items()
            if path in current and _is_there(path)
        }
        self._in_force, clashes = settle(current, before)
        files = (
            replace(file, problems=file.problems + tuple(clashes.get(path, ())))
            for path, file in current.items()
        )
        return (*files, *unlisted)

    def _current(self, path: Path) -> PolicyFile:
        """A file's contents, read anew only if its stat changed or it could not be read."""
        signature = _signature(path)
        known, file = self._read.get(path, (None, PolicyFile(path)))
        if signature is None or signature != known:
            file = read_policy_file(path)
            unreadable = any(problem.line == 0 for problem in file.problems)
            self._read[path] = (None if unreadable else signature, file)
        return file


def _is_there(path: Path) -> bool:
    """Whether there is a file or a symlink, dangling or not; it need not be readable."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _is_directory(path: Path) -> bool:
    """Unlike Path.is_dir, False where that cannot be told: reading it will say why."""
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
    """The policy files under the paths, each once, and the directories that give none."""
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
    """The policy files of a directory by name. Raises UnreadableError where there is none."""
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise _unreadable(f"cannot be read ({error.strerror}), expected a directory") from None
    found = [path for path in entries if path.suffix in SUFFIXES and path.name[0] != "."]
    if not found:
        raise _unreadable("has no policy file, expected files ending in .yaml or .yml")
    return found


def settle(
    current: Mapping[Path, PolicyFile], before: Mapping[Path, PolicyFile]
) -> tuple[dict[Path, PolicyFile], dict[Path, list[Problem]]]:
    """The files in force, no two of them with one name or one target, and the clashes by file.

    A file that has no policy now, or clashes, stays at the version that was in force before. That
    can clash in turn with a third, so it goes on until nothing clashes; it ends because versions
    that were in force together never do.
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
    """Each file that shares its policy's name or target with others, and which ones."""
    sharing: dict[tuple[str, str], list[PolicyFile]] = defaultdict(list)
    for file in files:
        if file.policy is not None:
            sharing["name", file.policy.name].append(file)
            sharing["target", str(file.policy.target.ref)].append(file)
    for (key, value), group in sharing.items():
        for file in group if len(group) > 1 else ():
            others = ", ".join(other.name for other in group if other is not file)
            message = f"{value} is also the {key} of {others}, expected one policy for each {key}"
            yield file.path, Problem((file.lines or {}).get(key, 1), key, message)
