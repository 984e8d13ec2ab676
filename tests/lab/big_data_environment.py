"""The packages of deploy/examples/big-data, 0.9 GB beside the environment that runs the tests.

`python -m tests.lab.big_data_environment`, called by `make parts`, puts them into the cache.
"""

from __future__ import annotations

import sys

from tests.lab.environment import REQUIREMENTS, Environment
from tests.lab.parts import missing

ENVIRONMENT = Environment("big data", REQUIREMENTS / "big-data.txt", "a minute")
HOW = "`make parts` installs it (a minute)"


def main() -> int:
    problem = ENVIRONMENT.get()
    ready = f"{ENVIRONMENT.name}: {ENVIRONMENT.python()}"
    print(missing(ENVIRONMENT.name, problem, "mend this, then make parts") if problem else ready)
    return 0


if __name__ == "__main__":
    sys.exit(main())
