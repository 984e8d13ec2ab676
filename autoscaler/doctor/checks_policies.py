"""Whether a policy of the daemon names the target."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error
from autoscaler.model import TargetRef

# Deployments and problems that one finding names.
MOST_NAMED = 5


def policy_rejected(facts: Facts) -> Iterator[Finding]:
    """The policy of the target must be valid."""
    found, ref = facts.daemon_policies, facts.ref
    if found is None or ref in found.targets:
        return
    for each in found.rejected:
        if each.target == ref:
            yield error(
                "policy-rejected",
                each.problems[0],
                "The daemon does not take this policy: it goes on with the last valid one if it "
                "has read one since it started, and else nothing scales this Deployment.",
                "# all problems of a file, before it is applied:\nautoscaler check FILE",
            )


def no_policy(facts: Facts) -> Iterator[Finding]:
    """Some policy of the daemon must name the target, or the daemon does not scale it."""
    found, ref = facts.daemon_policies, facts.ref
    if found is None or ref is None or not facts.is_unnamed:
        return
    named = ", ".join(map(str, found.targets[:MOST_NAMED]))
    more = len(found.targets) - MOST_NAMED
    why = f"they name {named}" + (f" and {more} others" if more > 0 else "")
    yield error(
        "no-policy",
        ", ".join(found.sources) or f"the daemon {facts.daemon and '/'.join(facts.daemon)}",
        "Nothing scales this Deployment, because no policy of the daemon names it: "
        + (f"{why}." if named else "there is none that is valid."),
        _naming(ref, [each.problems[0] for each in found.rejected[:MOST_NAMED]]),
    )


def _naming(ref: TargetRef, rejected: list[str]) -> str:
    """Return how a policy gets to name a Deployment. rejected: one problem of each wrong file."""
    lines = (
        *(f"# rejected: {problem}" for problem in rejected),
        "# in the policy of this app (policies/README.md), where those of the daemon are:",
        f"target: {{namespace: {ref.namespace}, deployment: {ref.deployment}}}",
    )
    return "\n".join(lines)
