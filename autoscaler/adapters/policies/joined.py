"""Policies from files and from ScalingPolicies, side by side."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.policy import Policy
from autoscaler.ports import PolicyResources, PolicySet, PolicySource


class FilesAndResources:
    """Implements `ports.PolicySource`. Where both have a policy for a target, the file's counts."""

    def __init__(self, files: PolicySource, resources: PolicyResources) -> None:
        self._files, self._resources = files, resources
        self._last = (PolicySet(), PolicySet())
        self._joined = PolicySet()

    def load(self) -> PolicySet:
        """Return the active policies; the same object if nothing has changed."""
        found = (self._files.load(), self._resources.load())
        if any(one is not other for one, other in zip(found, self._last, strict=True)):
            self._joined, self._last = _joined(*found), found
        return self._joined


def _joined(files: PolicySet, resources: PolicySet) -> PolicySet:
    clashes = dict(_clashes(files, resources))
    chosen = [policy for policy in resources.policies if policy.name not in clashes]
    problems = {**files.problems, **resources.problems}
    for name, words in clashes.items():
        file = resources.files[name]
        problems[file] = (*problems.get(file, ()), words)
    return PolicySet(
        (*files.policies, *chosen),
        problems,
        {**files.files, **{each.name: resources.files[each.name] for each in chosen}},
        resources.resources,
        resources.is_complete,
        files.empty,
    )


def _clashes(files: PolicySet, resources: PolicySet) -> Iterator[tuple[str, str]]:
    """Yield the name of each resource's policy that a file takes the place of, and why."""
    names = {policy.name: policy for policy in files.policies}
    targets = {policy.target.ref: policy for policy in files.policies}
    for policy in resources.policies:
        other: Policy | None = targets.get(policy.target.ref) or names.get(policy.name)
        if other is not None:
            key = "target" if other.target.ref == policy.target.ref else "name"
            value = policy.target.ref if key == "target" else policy.name
            file = files.files.get(other.name, "a file")
            words = f"{resources.files[policy.name]}: {value} is also the {key} of {file}"
            yield policy.name, f"{words}, which is active; remove one of the two"
