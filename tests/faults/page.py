"""The table of docs/faults.md, made of `tests.faults.table`: `python -m tests.faults.page`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.faults.row import Row
from tests.faults.table import GROUPS

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN = "<!-- Made by `python -m tests.faults.page`. -->\n"
END = "<!-- End. -->\n"
HEADS = ("Fault", "What the daemon does", "Reason", "Event", "Metric", "Alerts", "Recovery")


def line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def cells(row: Row) -> Iterator[str]:
    """Yield what each column says of a row."""
    yield row.fault
    yield row.does
    yield f"`{row.reason}`" if row.reason else "none"
    yield f"`{row.event}`" if row.event else "none"
    yield f"`{row.metric.series}` {row.metric.how}"
    yield ", ".join(f"[{name}](runbook.md#{name.lower()})" for name in row.alerts) or "none"
    yield row.recovers


def tables() -> str:
    """Return the tables, one for each group of faults."""
    texts = []
    for group, rows in GROUPS.items():
        head = line(HEADS) + line("---" for _ in HEADS)
        texts.append(f"## {group}\n\n{head}{''.join(line(cells(row)) for row in rows)}")
    return "\n".join(texts)


def page() -> str:
    """Return the page as it should be."""
    before, rest = PAGE.read_text().split(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page())
