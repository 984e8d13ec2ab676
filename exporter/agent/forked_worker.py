"""The end of a worker that Tornado forked and whose server does not handle SIGTERM.

Tornado's parent restarts a worker that a signal ended, and gives up after a hundred times, with
code 1. So the signal that the launcher sends ends such a worker with code 0, as Bokeh's own servers
end. This happens with `pn.serve` and with scripts that run the event loop themselves.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any


def end_with_code_0() -> None:
    """Have SIGTERM end this process normally, if Tornado forked it and nobody handles the signal.

    A handler that the server or the application sets afterwards replaces this one.
    """
    process = sys.modules.get("tornado.process")
    if process is None or process.task_id() is None:
        return
    worker = os.getpid()

    def end(number: int, _: Any) -> None:
        if os.getpid() == worker:
            os._exit(0)
        signal.signal(number, signal.SIG_DFL)  # this is a child of the worker
        os.kill(os.getpid(), number)

    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, end)
