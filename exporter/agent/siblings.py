"""Messages between the workers of a pod: a page of one often opens its WebSocket at another.

A worker that accepts a WebSocket therefore tells the others within a second that this page has
arrived. A worker that drains tells the others at once which pages it has sent, so that they accept
the WebSockets of these pages. The messages carry digests of session IDs, because a session ID gives
access to the session and any process of the pod might read the message.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from . import pod
from .visits import digest

ARRIVED, SENT = "arrived", "sent"
MOST = 200  # digests in one line, which fits into answer.LINE_BYTES


def digests(said: dict[str, Any], key: str) -> list[str]:
    """Return the digests in a message from another worker."""
    values = said.get(key)
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def is_news(said: dict[str, Any]) -> bool:
    """Return whether a message is another worker's, which does not wait for an answer."""
    return ARRIVED in said or SENT in said


def names() -> list[pod.Name]:
    """Return the socket names of all workers of the instance, including this one."""
    with suppress(OSError):
        return [name for name in pod.listening(pod.instance()) if name.slot != pod.LAUNCHER]
    return []


def others() -> bool:
    """Return whether the instance has other workers."""
    return len(names()) > 1


def send(key: str, session_ids: Sequence[str]) -> None:
    """Send the digests of these sessions to every worker, without waiting for any of them."""
    listening = names() if session_ids else []
    for first in range(0, len(session_ids) if len(listening) > 1 else 0, MOST):
        news = [digest(session_id) for session_id in session_ids[first : first + MOST]]
        line = json.dumps({key: news}).encode() + b"\n"
        for name in listening:
            _send_line(name, line)


def _send_line(name: pod.Name, line: bytes) -> None:
    other = pod.connect(name)
    if other is not None:
        with other, suppress(OSError):
            if pod.may_answer(pod.peer(other)):
                other.send(line)


class Elsewhere:
    """Arrivals that have not been sent to the other workers yet."""

    def __init__(self) -> None:
        self._news: deque[str] = deque(maxlen=MOST)

    def note(self, session_id: str) -> None:
        """Remember the arrival of a page, which another worker may have sent."""
        self._news.append(session_id)

    def tell(self) -> None:
        """Send the new arrivals to every worker."""
        news = []
        with suppress(IndexError):
            while True:
                news.append(self._news.popleft())
        send(ARRIVED, news)
