"""The packages of deploy/examples/big-data, 0.9 GB beside the environment that runs the tests.

`python -m tests.lab.big_data_environment`, called by `make parts`, puts them into the cache.
"""

from __future__ import annotations

from tests.lab.environment import REQUIREMENTS, Environment

ENVIRONMENT = Environment("big data", REQUIREMENTS / "big-data.txt", "a minute")

if __name__ == "__main__":
    print(ENVIRONMENT.line())
