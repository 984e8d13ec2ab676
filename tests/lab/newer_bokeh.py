"""Bokeh 3.10, which asks for Python 3.12, beside a test run on an older Python.

`python -m tests.lab.newer_bokeh`, called by `make parts`, puts it into the cache where the
machine has such a Python. BOKEH_AUTOSCALER_BOKEH310_PYTHON names one that has it already.
"""

from __future__ import annotations

import os
import sys

from tests.lab.environment import REQUIREMENTS, Environment
from tests.lab.interpreters import interpreter

VARIABLE = "BOKEH_AUTOSCALER_BOKEH310_PYTHON"
ENVIRONMENT = Environment("bokeh 3.10", REQUIREMENTS / "bokeh-3.10.txt", "half a minute")
RELEASES = range(12, 20)


def given() -> str:
    """The Python that has Bokeh 3.10; empty where there is none."""
    return os.environ.get(VARIABLE, "") or ENVIRONMENT.python()


def _new_enough() -> str:
    """A Python 3.12 or newer of this machine; empty if there is none."""
    return next(filter(None, (interpreter(f"3.{minor}") for minor in RELEASES)), "")


def _missing(problem: str, how: str) -> str:
    return f"NOT AVAILABLE: bokeh 3.10: {problem}: its tests are skipped; to get it: {how}"


def main() -> int:
    python = "" if given() else _new_enough()
    if problem := ENVIRONMENT.get(python) if python else "":
        print(_missing(problem, "mend this, then make parts"))
    elif found := given():
        print(f"bokeh 3.10: {found}")
    else:
        print(_missing("no Python 3.12 or newer here", f"install one, or set {VARIABLE}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
