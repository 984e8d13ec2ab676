"""Sphinx and its theme, which build the site of the pages, beside the environment of the tests.

`python -m tests.lab.docs_environment`, called by `make parts`, puts them into the cache.
"""

from __future__ import annotations

from tests.lab.environment import REQUIREMENTS, Environment

ENVIRONMENT = Environment("docs", REQUIREMENTS / "docs.txt", "ten seconds")

if __name__ == "__main__":
    print(ENVIRONMENT.line())
