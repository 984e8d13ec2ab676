"""A journal that a controller over fakes has written to a real file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoscaler.adapters.journals import RotatingFile
from autoscaler.policy import Policy
from autoscaler.reporting.journal import Journal
from tests.builders import policy
from tests.control.test_controller import DRAIN_PASSES, World
from tests.control.test_cuts import QUICK

SPARE = [{"type": "sessions", "seats": 10, "spare": 10}]


def rules(**overrides: Any) -> Policy:
    return policy(**{"behavior": QUICK, "metrics": SPARE, **overrides})


def a_journal(folder: Path, *policies: Policy, late: float = 0) -> Path:
    """22 sessions on two pods for 15 s, then none: a scale-up to 4 pods, and a drain to 1.

    late: seconds after `NOW` at which it begins.
    """
    path = folder / "journal.jsonl"
    file = RotatingFile(path, 10_000_000, 2)
    file.begin()
    journal = Journal(file, "a1b2c3d4")
    policies = policies or (rules(),)
    world = World(*policies, recorders=[journal], every_pass=True)
    for each in policies:
        world.cluster.deploy(each.target.ref, 10, 12)
    world.clock.advance(late)
    world.run(passes=3)
    for name in ("pod-0", "pod-1"):
        world.cluster.sessions["bokeh", name] = 0
    world.run(passes=3 * DRAIN_PASSES)
    journal.settle(10)
    file.close()
    return path
