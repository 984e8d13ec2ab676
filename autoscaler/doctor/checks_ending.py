"""Whether users keep their sessions when a pod ends: in a rollout, or when a node is drained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import ceil
from typing import Any

from autoscaler.adapters.kubernetes.inspection import words
from autoscaler.adapters.kubernetes.pods import Json
from autoscaler.doctor.facts import Facts
from autoscaler.doctor.findings import Finding, error, note, warning
from autoscaler.doctor.manifests import (
    LAUNCH,
    STOP,
    apps,
    container_yaml,
    deployment_at,
    drain_deadline,
    field_at,
    is_seen,
    is_shell,
    labels,
    launched,
    pre_stop,
    selects,
    servers,
    template,
    template_yaml,
    where,
)

EXEC = re.compile(r"\bexec\s+(\S+/)?(python\S*\s+\S*)?bokeh-exporter launch\b")
# What a pod has if its template does not say.
DEFAULT_GRACE = 30


def no_launcher(facts: Facts) -> Iterator[Finding]:
    """The launcher must be the first process. If the image decides, it is not known."""
    for container in servers(facts) if is_seen(facts) else ():
        if launched(container) is False:
            name, start = container["name"], json.dumps(words(container))
            yield error(
                "no-launcher",
                field_at(facts, f"spec.containers, {name}, command"),
                "A rollout or a node drain ends all sessions of a pod at once, because the server "
                "itself receives SIGTERM.",
                container_yaml(
                    container, "command: [bokeh-exporter, launch, --]", f"args: {start}"
                ),
            )


def launcher_behind_shell(facts: Facts) -> Iterator[Finding]:
    """A shell in front of the launcher does not pass SIGTERM on, unless it becomes the launcher."""
    for container in apps(facts):
        line = words(container)[-1] if is_shell(container) else ""
        if LAUNCH.search(line) and not EXEC.search(line):
            yield error(
                "launcher-behind-shell",
                field_at(facts, f"spec.containers, {container['name']}, command"),
                "A rollout or a node drain ends all sessions of a pod after the grace period, "
                "because the shell does not pass SIGTERM on.",
                "# begin the last command with `exec`: exec bokeh-exporter launch -- bokeh serve "
                "app.py\n" + container_yaml(container, "command: [bokeh-exporter, launch, --]"),
            )


def pods_end_first(facts: Facts) -> Iterator[Finding]:
    """A rollout should start a pod before it ends another one."""
    strategy = _strategy(facts)
    rolling = strategy.get("rollingUpdate") or {}
    if is_seen(facts) and strategy.get("type") != "Recreate":
        most = rolling.get("maxUnavailable", "25%")
        if most not in (0, "0%"):
            yield note(
                "rollout-ends-pods-first",
                deployment_at(facts, f"spec.strategy.rollingUpdate.maxUnavailable ({most})"),
                "In a rollout, new users find fewer pods than before.",
                "spec:\n  strategy:\n    rollingUpdate: {maxSurge: 25%, maxUnavailable: 0}",
            )


def grace_too_short(facts: Facts) -> Iterator[Finding]:
    """Kubernetes must wait for as long as the launcher does."""
    if not is_seen(facts):
        return
    grace, needed = needed_grace(facts)
    if grace < needed:
        yield error(
            "grace-too-short",
            field_at(facts, f"spec.terminationGracePeriodSeconds ({grace})"),
            f"A rollout or a node drain ends the sessions of a pod after {grace} s, before their "
            "users have left.",
            template_yaml(f"spec: {{terminationGracePeriodSeconds: {needed}}}"),
        )


def needed_grace(facts: Facts) -> tuple[int, int]:
    """Return for how many seconds Kubernetes waits for a pod to end, and how many it must."""
    spec = template(facts).get("spec") or {}
    grace = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE)
    return int(grace), round(pre_stop(facts) + drain_deadline(facts) + STOP)


def recreated(facts: Facts) -> Iterator[Finding]:
    """A rollout must start new pods before it ends old ones."""
    strategy = _strategy(facts)
    if strategy.get("type") == "Recreate":
        yield error(
            "strategy-recreate",
            deployment_at(facts, "spec.strategy.type (Recreate)"),
            "A rollout takes the app down: no new pod starts before the last user of the old ones "
            "has left.",
            "spec:\n  strategy:\n    type: RollingUpdate\n"
            "    rollingUpdate: {maxSurge: 25%, maxUnavailable: 0}",
        )


def _strategy(facts: Facts) -> Any:
    deployment = facts.cluster.deployment if facts.cluster else None
    return (deployment or {}).get("spec", {}).get("strategy") or {}


def budget_missing(facts: Facts) -> Iterator[Finding]:
    """A node drain must end one pod after the other."""
    budgets = facts.cluster.budgets if facts.cluster else None
    if budgets is not None and is_seen(facts) and not _budgets(facts):
        yield warning(
            "no-disruption-budget",
            f"Deployment {facts.ref}, no PodDisruptionBudget selects its pods",
            "When nodes are drained, all pods may end at once, and nobody can open a page.",
            _budget(facts),
        )


def budget_blocks(facts: Facts) -> Iterator[Finding]:
    """It must allow one eviction, and the API server evicts no pod that has two of them."""
    several = len(_budgets(facts)) > 1
    for budget in _budgets(facts):
        if several or _allows_none(budget["spec"], facts):
            place = f"spec ({len(_budgets(facts))} select the pods)" if several else "spec"
            yield warning(
                "disruption-budget-blocks",
                where(budget, "PodDisruptionBudget", place),
                "A node drain never ends, because no pod may be evicted, so somebody will delete "
                "the pods with their sessions.",
                "# delete all of them but one" if several else "spec: {maxUnavailable: 1}",
            )


def _allows_none(spec: Json, facts: Facts) -> bool:
    """Return whether a PodDisruptionBudget keeps all pods that there are."""
    if spec.get("maxUnavailable") in (0, "0%"):
        return True
    deployment = (facts.cluster.deployment if facts.cluster else None) or {}
    pods = max(1, int(deployment.get("spec", {}).get("replicas", 1)))
    kept: int | str = spec.get("minAvailable", 0)
    share = str(kept).removesuffix("%")
    if share == str(kept) or not share.isdecimal():
        return isinstance(kept, int) and kept >= pods
    return ceil(pods * int(share) / 100) >= pods


def _budgets(facts: Facts) -> list[Any]:
    budgets = (facts.cluster.budgets if facts.cluster else None) or ()
    return [each for each in budgets if selects(each, labels(facts))]


def _budget(facts: Facts) -> str:
    deployment: Any = facts.cluster.deployment if facts.cluster else {}
    selector = deployment["spec"]["selector"].get("matchLabels") or {}
    chosen = "".join(f"\n      {key}: {value}" for key, value in selector.items())
    meta = facts.ref
    return (
        "apiVersion: policy/v1\nkind: PodDisruptionBudget\n"
        f"metadata: {{name: {meta and meta.deployment}, namespace: {meta and meta.namespace}}}\n"
        f"spec:\n  maxUnavailable: 1\n  selector:\n    matchLabels:{chosen}"
    )
