"""One line that counts the tests of all parts of the suite: `python -m tests.lab.counts TARGET`.

Each part appends its numbers to the file that TEST_COUNTS names. That the target of the Makefile
has passed on this commit is kept in build/passed, for `make release`.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from exporter.release import commit_of

ROOT = Path(__file__).parents[2]
TARGETS = ("test", "test-node", "test-all")
ORDER = ("failed", "passed", "skipped", "xfailed", "error", "rerun")


def add(counts: Mapping[str, int], seconds: float) -> None:
    """Append the numbers of one part, if anybody counts."""
    if name := os.environ.get("TEST_COUNTS"):
        with Path(name).open("a") as file:
            file.write(json.dumps({"counts": counts, "seconds": seconds}) + "\n")


def total(lines: list[str]) -> str:
    """Return pytest's own last line, for all parts together. Its seconds are those of the parts."""
    parts = [json.loads(line) for line in lines]
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part["counts"])
    words = ", ".join(f"{counts[kind]} {kind}" for kind in ORDER if counts[kind])
    return f" {words} in {sum(part['seconds'] for part in parts):.2f}s ".center(80, "=")


def record(root: Path, target: str, line: str) -> None:
    """Remember that the tests of a target of the Makefile have passed, and on which commit."""
    file = _record(root, target)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{commit_of(root)}\n{line}\n")


def passed(root: Path, target: str) -> tuple[str, str]:
    """On which commit the tests of a target last passed, and their line; empty for never."""
    file = _record(root, target)
    commit, _, line = file.read_text().partition("\n") if file.is_file() else ("", "", "")
    return commit, line.strip()


def _record(root: Path, target: str) -> Path:
    return root / "build" / "passed" / target


def main() -> None:
    """Print the line. `make` comes here only if everything has passed."""
    file = Path(os.environ["TEST_COUNTS"])
    line = total(file.read_text().splitlines())
    for target in sys.argv[1:]:
        record(ROOT, target, line)
    print(line)
    file.unlink()


if __name__ == "__main__":
    main()
