"""What is told of policies that are loaded, changed or removed, and of rejected files. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from autoscaler.policy import Policy
from autoscaler.policy.difference import settings
from autoscaler.ports import PolicySet
from autoscaler.units import counted


class PolicyChange(NamedTuple):
    """A policy that is not as it was. file: where it is, or was."""

    policy: str
    file: str
    text: str


def policy_changes(before: PolicySet, after: PolicySet) -> Iterator[PolicyChange]:
    """Yield each policy that was loaded, changed or removed."""
    if before.policies is after.policies:
        return
    old = {policy.name: policy for policy in before.policies}
    new = {policy.name: policy for policy in after.policies}
    for name, policy in new.items():
        if words := _loaded(old.get(name), policy):
            yield PolicyChange(name, after.files.get(name, name), words)
    for name in old.keys() - new.keys():
        yield PolicyChange(name, before.files.get(name, name), f"policy {name} is removed")


def _loaded(old: Policy | None, new: Policy) -> str:
    """Return what has happened to a policy; "" if nothing has."""
    if old is None:
        return f"policy {new.name} of {new.target.ref} is loaded"
    changed = [str(each) for each in settings(old, new)]
    if old.target != new.target:
        changed.insert(0, f"target: {old.target.ref} -> {new.target.ref}")
    return f"policy {new.name} has changed: {'; '.join(changed)}" if changed else ""


def in_one_line(file: str, problems: Sequence[str], longest: int) -> str:
    """Return the problems of a file without its name, as many as a text of a length holds.

    problems: one line each, as in `PolicySet.problems`; the first is always told.
    """
    told: list[str] = []
    for each in (_without_name(file, problem) for problem in problems):
        if told and len("; ".join((*told, each))) > longest:
            break
        told.append(each)
    if more := len(problems) - len(told):
        told.append(counted(more, "more problem"))
    return "; ".join(told)


def _without_name(file: str, problem: str) -> str:
    rest = problem.removeprefix(f"{file}:")
    if rest == problem:
        return problem
    line, sign, words = rest.partition(": ")
    return f"line {line}: {words}" if sign and line.isdecimal() else rest.strip()
