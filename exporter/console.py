"""Messages in the container's log."""

from __future__ import annotations

import sys
from contextlib import suppress

from .texts import visible  # a relative import: the agent loads this under a private name


def say(message: str) -> None:
    """Write one line to stderr, if possible.

    stderr may be closed, on a full disk, or a pipe without a reader. None of this may stop a
    process that serves users.
    """
    with suppress(OSError, ValueError, AttributeError):  # sys.stderr is None if it was closed
        sys.stderr.write(f"bokeh-exporter: {visible(message)}\n")
        sys.stderr.flush()
