"""One measured figure and its goal."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Figure(NamedTuple):
    what: str
    value: float
    unit: str
    goal: float | None = None

    def line(self) -> str:
        goal = "" if self.goal is None else f"{self.goal:g} {self.unit}"
        mark = "" if self.goal is None or self.value <= self.goal else "  over its goal"
        value = f"{self.value:.4g} {self.unit}"
        return f"{self.what:<58}{value:>12}{goal:>12}{mark}"


def median_seconds(work: Callable[[], object], *, calls: int = 1, rounds: int = 15) -> float:
    """Median over the rounds of the mean time of one call."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(calls):
            work()
        times.append((time.perf_counter() - began) / calls)
    return statistics.median(times)


def cpu_seconds(pid: int) -> float:
    """CPU time of one process since its start, user and system."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - a file of the kernel
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident_megabytes(pid: int) -> float:
    """RSS of one process."""
    with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123 - a file of the kernel
        return int(file.read().split()[1]) * 4096 / 1e6
