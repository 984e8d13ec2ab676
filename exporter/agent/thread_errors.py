"""Reports of errors in threads that must keep running."""

from __future__ import annotations

import time

from ..console import say  # noqa: TID252 - not by the name `exporter`, which may be the app's

COMPLAIN_SECONDS = 60.0
LONGEST = 500  # characters


class ThreadErrors:
    """Writes a line to stderr for an error, at most once a minute. whose: the name of the part."""

    def __init__(self, whose: str) -> None:
        self._whose = whose
        self._told = -COMPLAIN_SECONDS

    def tell(self, error: Exception) -> None:
        """Report an error, unless one was reported within the last minute. Never raises."""
        now = time.monotonic()
        if now - self._told >= COMPLAIN_SECONDS:
            self._told = now
            say(f"{self._whose} continues after an error: {error!r:.{LONGEST}}")
