"""How long the command line takes to answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.figure import Figure, median_seconds

AUTOSCALER = Path(sys.executable).with_name("autoscaler")


def measure() -> Iterator[Figure]:
    for words in (["--help"], ["check", "policies"], ["simulate", "--help"], ["run", "--help"]):
        seconds = median_seconds(
            lambda words=words: subprocess.run(  # type: ignore[misc]
                [AUTOSCALER, *words], stdout=subprocess.DEVNULL, check=True
            ),
            rounds=9,
        )
        goal = 0.3 if words in (["--help"], ["check", "policies"]) else None
        yield Figure(f"autoscaler {' '.join(words)}", seconds, "s", goal)
