"""Printing of commands: each text is one line, whatever it contains."""

from __future__ import annotations

import sys

from exporter.texts import visible


def say(*lines: str) -> None:
    """Print lines on standard output."""
    for line in lines:
        print(visible(line))


def complain(*lines: str) -> None:
    """Print lines on standard error."""
    for line in lines:
        print(visible(line), file=sys.stderr)
