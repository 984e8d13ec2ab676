"""How a worker that Tornado forked ends on SIGTERM, and how other processes do."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# What each kind of process does; it then waits for the signal that it sends to itself.
SCRIPT = """
import os, signal, sys
import tornado.process
from exporter.agent import forked_worker

kind = sys.argv[1]
if kind == "handles it":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(5))
if kind != "was not forked":
    tornado.process._task_id = 0
forked_worker.end_with_code_0()
if kind == "is a child" and (child := os.fork()):
    os._exit(-os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        pytest.param("is a worker", 0, id="a worker ends normally"),
        pytest.param("handles it", 5, id="a worker that handles the signal does so"),
        pytest.param("is a child", signal.SIGTERM, id="a child of a worker dies of the signal"),
        pytest.param("was not forked", -signal.SIGTERM, id="a single server dies of the signal"),
    ],
)
def test_sigterm_ends_a_process(kind: str, code: int) -> None:
    assert subprocess.run([sys.executable, "-c", SCRIPT, kind], check=False).returncode == code
