"""Runs a command on what others leave of the processors: `python -m tests.lab.background COMMAND`.

Linux shares them among sessions first (autogroups, sched(7)), so `nice` alone says nothing between
a test and the pods of a node beside it: the command gets a session of its own, and that the lowest
priority. Ctrl-C and SIGTERM reach all of it; its exit code is the command's.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

LOWEST = 19
FORWARDED = (signal.SIGINT, signal.SIGTERM)


def become(command: list[str]) -> None:
    """This process becomes the command, in a session of its own."""
    os.setsid()
    os.nice(LOWEST)
    with suppress(OSError):  # a kernel without autogroups goes by `nice`
        Path("/proc/self/autogroup").write_text(str(LOWEST))
    os.execvp(command[0], command)


def main() -> int:
    child = os.fork()
    if child == 0:
        become(sys.argv[1:])
    for number in FORWARDED:
        signal.signal(number, lambda number, _: os.killpg(child, number))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
