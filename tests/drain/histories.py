"""`python -m tests.drain.histories [--seed S] [--histories N]`: fresh ones; exits with 1 at a cut.

A history that breaks a law is shrunk and printed as the list of its steps.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import time
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.drain.happenings import Histories

STEPS = 30


def run(number: int, histories: int, without: Sequence[str] = (), *, shrink: bool = True) -> None:
    """Raises AssertionError with the steps of a history that breaks a law.

    without: what does not happen in these.
    """
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    run_state_machine_as_test(
        seed(number)(type("Fresh", (Histories,), dict.fromkeys(without))),
        settings=settings(
            max_examples=histories,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drain.histories")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--histories", type=int, default=2_000)
    parser.add_argument("--without", nargs="*", default=(), help="what does not happen in them")
    parser.add_argument("--quick", action="store_true", help="do not shrink what is found")
    given = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # of clocks that are wrong
    began = time.monotonic()
    print(f"--seed {given.seed} --histories {given.histories}", flush=True)
    try:
        run(given.seed, given.histories, given.without, shrink=not given.quick)
    except AssertionError as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n")
        return 1
    print(f"no session cut, nothing left behind, in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
