from __future__ import annotations

import io
import sys

import pytest

from autoscaler.commands import progress as module
from autoscaler.commands.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "patience", "shown"),
    [
        pytest.param(Terminal, -1.0, True, id="work that takes long, on a terminal"),
        pytest.param(Terminal, 1_000.0, False, id="work that is done soon"),
        pytest.param(io.StringIO, -1.0, False, id="no terminal"),
    ],
)
def test_a_bar_is_shown_on_a_terminal_once_work_takes_long(monkeypatch, stream, patience, shown):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setattr(module, "PATIENCE", patience)
    with progress("reading") as show:
        show(0.5)
    assert ("reading" in sys.stderr.getvalue()) is shown
