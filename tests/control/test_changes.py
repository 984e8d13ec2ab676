"""Work for many targets that goes on side by side, of which some takes long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from autoscaler.control.changes import PARALLEL_CHANGES, Changes
from autoscaler.control.pass_result import Outcome
from autoscaler.policy import Policy
from tests.builders import policy


def of(namespace: str, number: int) -> Policy:
    name = f"{namespace}-{number}"
    return policy(name=name, target={"namespace": namespace, "deployment": name})


@contextmanager
def hanging() -> Iterator[threading.Event]:
    """A write that ends once the event is set."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


def test_a_namespace_whose_writes_hang_holds_up_only_its_own() -> None:
    bad, good = [of("bad", n) for n in range(3 * PARALLEL_CHANGES)], of("good", 0)
    changes = Changes(patience=1.0)
    with hanging() as later, hanging() as first:
        for each in bad[:PARALLEL_CHANGES]:
            changes.begin(each, lambda: (first.wait(60), Outcome(good))[1])
        assert changes.ended(bad) == ()
        first.set()
        for each in bad[PARALLEL_CHANGES:]:
            changes.begin(each, lambda: (later.wait(60), Outcome(good))[1])
        changes.begin(good, lambda: Outcome(good))
        while not changes.ended([good]):
            assert changes.are_under_way(good.target.ref), "it was dropped"
    changes.settle()


def test_a_namespace_whose_writes_end_in_time_again_gets_all_threads_again() -> None:
    changes = Changes(patience=1.0)
    late, quick = of("bad", 0), of("bad", 1)
    with hanging() as ends:
        changes.begin(late, lambda: (ends.wait(60), Outcome(late))[1])
        assert changes.ended([late]) == ()
    while changes.are_under_way(late.target.ref):
        changes.ended([late])
    changes.begin(quick, lambda: Outcome(quick))
    while not changes.ended([quick]):
        pass

    together = threading.Barrier(PARALLEL_CHANGES, timeout=60)
    all_at_once = [of("bad", number) for number in range(PARALLEL_CHANGES)]
    for each in all_at_once:
        changes.begin(each, lambda: (together.wait(), Outcome(late))[1])
    changes.settle()

    assert len(changes.ended(all_at_once)) == PARALLEL_CHANGES
