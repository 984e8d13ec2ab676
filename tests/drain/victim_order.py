"""Holds the product's deletion order against what a real ReplicaSet controller deleted.

`python -m tests.drain.victim_order FILE` reads populations of the shape of
tests/core/data/victim_cases.yaml, prints one line for each wrong prediction and ends with
`N passed, M failed, U undetermined`; it exits with 1 if any failed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from autoscaler.core.drain.deletion_order import first_to_go
from autoscaler.model import PodState

Json = Mapping[str, Any]
# The controller acts within a second or two of the patch whose time the file tells.
ACTED_WITHIN = 2.0


def unix(stamp: Any) -> float | None:
    if stamp is None:
        return None
    moment = stamp if isinstance(stamp, datetime) else datetime.fromisoformat(str(stamp))
    return moment.timestamp()


def pod_of(row: Json) -> PodState:
    return PodState(
        name=row["name"],
        uid=row["uid"],
        phase=row["phase"],
        ready=row["ready"],
        ready_since=unix(row["ready_since"]),
        created_at=unix(row.get("created")),
        deleting=bool(row.get("deleting")),
        node=row["node"] or "" if row["assigned"] else "",
        restarts=row["restarts"],
        sidecar_restarts=row.get("sidecar_restarts", 0),
        deletion_cost=row["cost"],
    )


def predict(population: Json) -> set[str] | None:
    """The names of the pods that the product expects to go; None where it does not say."""
    pods = [pod_of(row) for row in population["pods"]]
    now = unix(population["now"])
    assert now is not None
    within = population.get("within", ACTED_WITHIN)
    related = [pod_of(row) for row in population.get("related", ())]
    uids = first_to_go(pods, population["remove"], now, within, related)
    return None if uids is None else {pod.name for pod in pods if pod.uid in uids}


def judge(populations: Sequence[Json]) -> tuple[list[str], int, int]:
    """A line for each wrong prediction, and how many were right and undetermined."""
    wrong, passed, undetermined = [], 0, 0
    for population in populations:
        expected = predict(population)
        deleted = set(population["deleted"])
        if expected is None:
            undetermined += 1
        elif expected == deleted:
            passed += 1
        else:
            wrong.append(
                f"{population['id']}: expected {sorted(expected)}, deleted {sorted(deleted)}"
            )
    return wrong, passed, undetermined


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m tests.drain.victim_order FILE", file=sys.stderr)
        return 2
    try:
        populations = yaml.safe_load(Path(arguments[0]).read_text())["populations"]
        wrong, passed, undetermined = judge(populations)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        print(f"{arguments[0]}: no populations can be read: {error}", file=sys.stderr)
        return 2
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{passed} passed, {len(wrong)} failed, {undetermined} undetermined")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
