"""Runs every benchmark, or those whose names are given: `python -m tests.benchmarks decide`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from tests.benchmarks import (
    big_data,
    commands,
    daemon,
    decide,
    exporter,
    handoff,
    journal,
    queries,
    simulation,
    traces,
    tuning,
)
from tests.benchmarks.figure import Figure

BENCHMARKS: dict[str, Callable[[], Iterator[Figure]]] = {
    "decide": decide.measure,
    "journal": journal.measure,
    "commands": commands.measure,
    "exporter": exporter.measure,
    "handoff": handoff.measure,
    "daemon": daemon.measure,
    "queries": queries.measure,
    "traces": traces.measure,
    "simulation": simulation.measure,
    "tuning": tuning.measure,
    "big-data": big_data.measure,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]}: there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    print(f"{'what':<58}{'median':>12}{'goal':>12}")
    for name in names or BENCHMARKS:
        for figure in BENCHMARKS[name]():
            print(figure.line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
