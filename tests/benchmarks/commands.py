"""How long the command line takes to answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.figure import Figure, median_seconds

# The words of each command, and the seconds that it may take.
COMMANDS: tuple[tuple[list[str], float | None], ...] = (
    (["--help"], 0.3),
    (["check", "policies"], 0.3),
    (["simulate", "--help"], 0.2),
    (["run", "--help"], None),
)
AUTOSCALER = Path(sys.executable).with_name("autoscaler")


def measure() -> Iterator[Figure]:
    for words, goal in COMMANDS:
        seconds = median_seconds(
            lambda words=words: subprocess.run(  # type: ignore[misc]
                [AUTOSCALER, *words], stdout=subprocess.DEVNULL, check=True
            ),
            rounds=9,
        )
        yield Figure(f"autoscaler {' '.join(words)}", seconds, "s", goal)
