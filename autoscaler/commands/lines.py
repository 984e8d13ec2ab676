"""Printing of commands: each text is one line, whatever it contains, and a table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from exporter.texts import visible

if TYPE_CHECKING:
    from autoscaler.simulation.timeline import Table


def say(*lines: str) -> None:
    """Print lines on standard output."""
    for line in lines:
        print(visible(line))


def complain(*lines: str) -> None:
    """Print lines on standard error."""
    for line in lines:
        print(visible(line), file=sys.stderr)


def print_table(table: Table) -> None:
    """Print a table on standard output, with its numbers to the right."""
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(box=None, pad_edge=False)
    for index, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if index else "left")
    for row in table.rows:
        shown.add_row(*map(visible, row))
    Console(markup=False, highlight=False).print(shown)
