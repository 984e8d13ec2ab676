"""`python -m tests.drain.mutations [--seed S] [--histories N] [NAME ...]`: do the laws bite?

Takes one protection after the other out of the product, and says after how many histories a law was
found broken: a directed one where there is one, and fresh ones. Exits with 1 if one was not missed.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from autoscaler.adapters import sidecars
from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.kubernetes.pods import marks_patch
from autoscaler.control import actor, controller
from autoscaler.core import holds
from autoscaler.core.drain import cleanup, fleet, plan, pods
from autoscaler.model import PodMarks, PodState
from autoscaler.policy import Policy
from tests.drain import histories, history, model_cluster
from tests.drain.directed import DIRECTED

WITHIN = 500  # histories


class Change(NamedTuple):
    """One attribute of the product, and what it is without the protection."""

    of: Any
    name: str
    value: Any


def _policy(**drains: str) -> list[Change]:
    given = history.rules

    def rules(**more: Any) -> Policy:
        return given(**{**more, "drain": {**more.get("drain", {}), **drains}})

    return [Change(history, "rules", rules)]


def _answer_unseen(state: Any) -> Any:
    """`ready: false` for an answer."""
    return _answer({**state, "ready": True})


_answer = sidecars.occupancy


def _note_patch_of_any_version(pod: PodState, marks: PodMarks) -> Any:
    return marks_patch(replace(pod, version=""), marks)


def _no_sight(seen: Any, pods: Any, now: Any) -> str:
    return ""


def _deaf() -> list[Change]:
    return [Change(SystemClock, "hear", lambda *arguments: None)]


def _since_written(seen: Any, pod: PodState, now: float) -> float:
    return 0.0 if pod.cordon is None else now - pod.cordon.at


MUTATIONS: dict[str, Callable[[], list[Change]]] = {
    "no settle": lambda: _policy(settle="0s"),
    "settle from what is written on the pod": lambda: [
        Change(fleet, "cordoned_for", _since_written)
    ],
    "no reconnect window": lambda: _policy(reconnect="0s"),
    "marks need not be visible": lambda: [Change(plan, "too_fresh", _no_sight)],
    "nobody live is empty": lambda: [
        Change(pods, "is_empty", lambda pod, *_: bool(pod.occupancy) and not pod.occupancy.live)
    ],
    "no answer is empty": lambda: [
        Change(pods, "is_empty", lambda pod, *_: not pod.occupancy or not pod.occupancy.live)
    ],
    "a sidecar that sees no server is an answer": lambda: [
        Change(model_cluster, "occupancy", _answer_unseen)
    ],
    "sidecars are not asked again": lambda: [
        Change(actor.Actor, "_ask_again", lambda *arguments: None)
    ],
    "what somebody wrote meanwhile is overwritten": lambda: [
        Change(model_cluster, "marks_patch", _note_patch_of_any_version)
    ],
    "old answers count": lambda: [Change(actor, "ANSWERS_WITHIN", 1e9)],
    "the order is not computed": lambda: [
        Change(plan, "_removable", lambda fleet, marked: (marked, None))
    ],
    "deletion costs of others do not matter": lambda: [
        Change(plan, "has_foreign_cost", lambda pod: False)
    ],
    "pods from the previous scale-down do not matter": lambda: [
        Change(fleet, "remaining", lambda pods, *_: tuple(p for p in pods if p.is_active)),
        Change(plan, "_obstacle", lambda fleet: None),
    ],
    "a lost answer does not matter": lambda: [Change(actor, "UNSURE_FOR", 0.0)],
    "a rollout does not matter": lambda: [
        Change(holds, "in_rollout", lambda draft, observed: draft),
        Change(plan, "_removable", lambda fleet, marked: (marked, None)),
    ],
    "a mark stays when users came back": lambda: [
        Change(cleanup, "_right_marks", lambda fleet, pod: None)
    ],
    "what was watched is not read again": lambda: [
        Change(controller, "needs_fresh_read", lambda *arguments: False)
    ],
    "the API server's time is not heard": _deaf,
    "nor by the daemon before": _deaf,
    "evicted pods count": lambda: [
        Change(PodState, "is_active", property(lambda pod: not pod.deleting))
    ],
}


@contextmanager
def without(name: str) -> Iterator[None]:
    """The product without one of its protections."""
    changes = MUTATIONS[name]()
    before = [Change(each.of, each.name, getattr(each.of, each.name)) for each in changes]
    try:
        for each in changes:
            setattr(each.of, each.name, each.value)
        yield
    finally:
        for each in before:
            setattr(each.of, each.name, each.value)


def problems_without(name: str) -> list[str]:
    """What goes wrong in the directed history of a protection where that is taken out."""
    with without(name):
        return DIRECTED[name]().problems


def missed_after(name: str, seed: int, most: int) -> tuple[int, str]:
    """How many histories there were until one broke a law, and which; "" for none."""
    if name in DIRECTED and (problems := problems_without(name)):
        return 1, "; ".join(problems)
    made = 0
    deploys = model_cluster.ModelCluster.__init__

    def deploy(*arguments: Any, **options: Any) -> None:
        nonlocal made
        made += 1
        deploys(*arguments, **options)

    with without(name):
        model_cluster.ModelCluster.__init__ = deploy  # type: ignore[method-assign]
        try:
            histories.run(seed, most, shrink=False)
        except AssertionError as error:
            return made - 1, str(error)  # the last one is the same once more
        finally:
            model_cluster.ModelCluster.__init__ = deploys  # type: ignore[method-assign]
    return made, ""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drain.mutations")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--histories", type=int, default=WITHIN)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of: " + "; ".join(MUTATIONS))
    given = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # of clocks that are wrong
    print(f"--seed {given.seed}", flush=True)
    found = True
    for name in given.names or MUTATIONS:
        number, what = missed_after(name, given.seed, given.histories)
        told = f"missed after {number} histories: {what[:160]}" if what else "NOT MISSED"
        print(f"{name}: {told}", flush=True)
        found = found and bool(what)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
