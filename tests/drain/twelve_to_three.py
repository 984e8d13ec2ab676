"""`python -m tests.drain.twelve_to_three [--seed S] [--runs N]`: sessions cut, ours beside HPA's.

Many Deployments shrink from 12 to 3 pods while users come and go at random, on a real API server
with the real Deployment, ReplicaSet and HPA controllers: once scaled by our controller, once by the
real HPA, with the same users. How time passes for either is told in `ours` and `theirs`.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.drain import ours, theirs
from tests.drain.fleet import Toll
from tests.hpa.oracle import Oracle
from tests.lab.build import KUBERNETES, installed

RUNS = 200
AT_ONCE = 40  # with more pods than these have, two cores do not keep the HPA's time


def seeds(seed: int, runs: int) -> range:
    """One for each run."""
    return range(seed * 1_000, seed * 1_000 + runs)


def summary(seed: int, us: Toll, them: Toll) -> str:
    return (
        f"DRAIN_SEED={seed}: {us.runs} runs from 12 to 3 pods: ours cut {us.cut} of {us.sessions} "
        f"sessions (with {us.pods:.1f} pods on average), "
        f"the HPA {them.cut} of {them.sessions} (with {them.pods:.1f})"
    )


def travel(oracle: Oracle, runs: Sequence[int]) -> tuple[Toll, Toll, list[str]]:
    """What it cost with us and with the HPA, and what should not have happened."""
    us = them = Toll(0, 0, 0, 0.0)
    problems: list[str] = []
    for first in range(0, len(runs), AT_ONCE):
        fleet = runs[first : first + AT_ONCE]
        toll, found = ours.travel(oracle.cluster, fleet)
        us, problems = us + toll, problems + found
        them += theirs.travel(oracle, fleet)
    return us, them, problems


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drain.twelve_to_three")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args(arguments)
    programs = installed(KUBERNETES)
    if programs is None:
        print("no Kubernetes control plane: `make parts` builds it", file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory() as folder,
        Oracle(programs, Path(folder), theirs.OPTIONS) as oracle,
    ):
        us, them, problems = travel(oracle, seeds(given.seed, given.runs))
    print(*problems, sep="\n", end="\n" if problems else "")
    print(summary(given.seed, us, them))
    return 1 if problems or us.cut else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
