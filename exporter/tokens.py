"""The bearer token that sidecars require of the daemon: a file that may change at any time.

Both sides mount the same Secret, and the kubelet updates the two mounts up to minutes apart. So
after a change both keep the previous content for a while: the daemon sends the new token first and
the previous one to a sidecar that rejects it, and a sidecar accepts both.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from pathlib import Path

LARGEST = 4_096
MOST = 4  # lines
# Longer than the kubelet takes to update a mounted Secret everywhere.
LAST_FOR_SECONDS = 600.0


class TokenError(Exception):
    """A token file that cannot be used; the message says which file, why, and what to change."""


class TokenFile:
    """The tokens of a file, which is reread for each use. Threads may share it."""

    def __init__(self, path: Path, steady: Callable[[], float] = time.monotonic) -> None:
        """Read it once. Raises TokenError."""
        self._path = path
        self._steady = steady
        self._lock = threading.Lock()
        self._lines: tuple[str, ...] = ()
        self._last: tuple[str, ...] = ()
        self._changed_at = 0.0
        self.tokens()

    def tokens(self) -> tuple[str, ...]:
        """Return the tokens in the file, then those of its previous content. Raises TokenError."""
        lines = self._read()
        with self._lock:
            now = self._steady()
            if lines != self._lines:
                self._last, self._lines, self._changed_at = self._lines, lines, now
            known = self._last if now - self._changed_at < LAST_FOR_SECONDS else ()
            return tuple(dict.fromkeys((*lines, *known)))

    def accepts(self, authorization: str) -> bool:
        """Return whether an Authorization header's value has one of the tokens.

        Raises TokenError if the file cannot be used.
        """
        scheme, _, said = authorization.partition(" ")
        given = said.strip().encode("utf-8", "replace")
        right = [hmac.compare_digest(given, token.encode()) for token in self.tokens()]
        return any(right) and scheme.lower() == "bearer"

    def _read(self) -> tuple[str, ...]:
        try:
            with self._path.open("rb") as file:
                content = file.read(LARGEST + 1)
        except OSError as error:
            raise TokenError(
                f"cannot read the token file {self._path}: {error.strerror}; mount its Secret"
            ) from None
        lines = tuple(line.strip() for line in content.decode("ascii", "replace").splitlines())
        lines = tuple(line for line in lines if line)
        if not 1 <= len(lines) <= MOST or len(content) > LARGEST or not all(map(_is_token, lines)):
            raise TokenError(
                f"the token file {self._path} is invalid; expected 1 to {MOST} lines, each a token "
                "of printable ASCII characters without spaces"
            )
        return lines


def _is_token(line: str) -> bool:
    return line.isascii() and line.isprintable() and " " not in line
