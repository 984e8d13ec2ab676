"""One line that counts the tests of all parts of the suite: `python -m tests.lab.counts`.

Each part appends its numbers to the file that TEST_COUNTS names.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

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


if __name__ == "__main__":
    file = Path(os.environ["TEST_COUNTS"])
    print(total(file.read_text().splitlines()))
    file.unlink()
