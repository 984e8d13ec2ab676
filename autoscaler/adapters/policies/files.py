"""Policies from YAML files and directories, which are reloaded when they are edited.

Nothing may scale by ambiguous input: if a file is rejected, its last valid version stays active, or
no policy if there was none.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from autoscaler.adapters.policies.policy_file import PolicyFile, read_policy_file, unreadable
from autoscaler.adapters.policies.yaml import Problem, UnreadableError
from autoscaler.ports import PolicySet

SUFFIXES = (".yaml", ".yml")
KUSTOMIZE = ("kustomization.yaml", "kustomization.yml")
NO_FILE = "has no policy file, expected files ending in .yaml or .yml"

Signature = tuple[int, ...]


class PolicyFiles:
    """The policies of files and directories; implements `ports.PolicySource`.

    A directory stands for its *.yaml and *.yml files, except those that begin with a dot and the
    one of kustomize. Deleting a file removes its policy; if a file is rejected, its last valid
    version stays active.
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
            empty=frozenset(
                file.name for file in files if [each.message for each in file.problems] == [NO_FILE]
            ),
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
            was_read = all(problem.line for problem in file.problems)
            self._read[path] = (signature if was_read else None, file)
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
        raise unreadable(f"cannot be read ({error.strerror}), expected a directory") from None
    found = [path for path in entries if is_policy_name(path.name)]
    if not found:
        raise unreadable(NO_FILE)
    return found


def is_policy_name(name: str) -> bool:
    """Return whether a file of a directory is one of its policy files.

    The file by which kustomize applies a directory is none.
    """
    return name.endswith(SUFFIXES) and name[0] != "." and name not in KUSTOMIZE


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
