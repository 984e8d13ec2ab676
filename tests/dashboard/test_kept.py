"""Values that are read while somebody looks: asking never waits, and a failure keeps the last."""

from __future__ import annotations

import threading

from autoscaler.dashboard.kept import Kept, Latest
from autoscaler.errors import MetricsError
from tests.lab.processes import wait_until

WITHIN = 20.0


class Well:
    """Gives the number of times that it was asked for a key, unless it is dry or shut."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.is_dry = False
        self.open = threading.Event()
        self.open.set()

    def __call__(self, key: str) -> int:
        self.open.wait(WITHIN)
        self.asked[key] = self.asked.get(key, 0) + 1
        if self.is_dry:
            raise MetricsError("the well is dry")
        return self.asked[key]


def reaches(kept: Kept[str, int], key: str, least: int) -> Latest[int]:
    def found() -> Latest[int] | None:
        latest = kept.latest(key)
        return latest if latest and (latest.value or 0) >= least else None

    return wait_until(found, WITHIN, f"{least} reads of {key}")


def test_a_value_is_read_again_and_again_for_each_key_that_is_asked_for() -> None:
    kept = Kept(well := Well(), 0.01)

    reaches(kept, "a", 3)
    assert set(well.asked) == {"a"}
    reaches(kept, "b", 2)
    assert reaches(kept, "a", 4).problem == ""


def test_asking_does_not_wait_for_a_read() -> None:
    kept = Kept(well := Well(), 0.01)
    well.open.clear()

    assert kept.latest("a") is None
    assert kept.latest("a") is None
    well.open.set()
    reaches(kept, "a", 1)


def test_a_failure_keeps_the_last_value_and_ends_with_the_next_one() -> None:
    kept = Kept(well := Well(), 0.01)
    before = reaches(kept, "a", 1)

    well.is_dry = True
    wait_until(lambda: (kept.latest("a") or before).problem, WITHIN, "a failure")
    failed = kept.latest("a")
    assert failed is not None
    assert failed.problem == "the well is dry"
    assert failed.value is not None
    assert failed.number > before.number

    well.is_dry = False
    wait_until(lambda: not (kept.latest("a") or failed).problem, WITHIN, "the next value")


def test_what_nobody_asks_for_any_more_is_not_read() -> None:
    kept = Kept(well := Well(), 0.01, forgotten_after=2.0)
    reaches(kept, "a", 1)
    reaches(kept, "b", 1)

    def is_forgotten() -> bool:
        before, seen = well.asked["a"], kept.latest("b")
        assert seen is not None
        reaches(kept, "b", (seen.value or 0) + 5)
        return well.asked["a"] == before

    wait_until(is_forgotten, WITHIN, "the end of the reads of a")
    assert kept.latest("a") is None
