"""The claim to a connection that two workers have: exactly one of them gets it, and answers.

It is an eventfd that holds one unit. The kernel gives it to the first process that reads it, and a
process that is killed before it has read takes nothing away.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def new() -> Iterator[int]:
    """Yield this process's descriptor of a claim that nobody has got. Raises OSError."""
    descriptor = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def get(descriptor: int) -> bool:
    """Get a claim for this process; False if somebody has got it before."""
    try:
        os.eventfd_read(descriptor)
    except BlockingIOError:
        return False
    return True
