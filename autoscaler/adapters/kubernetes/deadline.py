"""One deadline for each request to the Kubernetes API, and a limit on the size of its answer.

The timeouts of the client apply to each `recv`, so a server or a proxy that sends a byte per second
can delay a reconcile pass forever. Here a timer ends the connection of a request that takes too
long, whatever step it is in: the TLS handshake, sending, or receiving headers and body. Only
connecting has a timeout of its own for each address, and the lookup of the host name takes as long
as the machine's resolver.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Self

from kubernetes import client
from kubernetes.config.config_exception import ConfigException

from autoscaler.errors import ThrottledError

# Bytes to receive at a time.
_CHUNK = 64 << 10
# Bytes of one object; the API server stores at most 1.5 MiB.
LARGEST_OBJECT = 4 << 20
# Seconds for which an API server may ask to wait; whoever answers in its place may say anything.
LONGEST_WAIT = 60.0
BUSY = (429, 503)
UNAUTHORIZED = 401
LEASES = "/apis/coordination.k8s.io/"


class _Thread(threading.local):
    deadline: Deadline | None = None


_THIS_THREAD = _Thread()


class Deadline:
    """Context manager for one request of this thread; ends its connection after `seconds`.

    has_passed: whether that has happened.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.has_passed = False
        self._is_over = False
        self._lines: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self.end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Begin to count the seconds."""
        _THIS_THREAD.deadline = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the connection alone from now on; another request may use it."""
        _THIS_THREAD.deadline = None
        self._timer.cancel()
        with self._lock:
            self._is_over = True
            for line in self._lines:
                line.close()

    def follow(self, connection: socket.socket) -> None:
        """Remember the connection that the request uses.

        The descriptor is duplicated, because TLS replaces the socket during its handshake.
        """
        line = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._lines.append(line)
            if self.has_passed:
                _end(line)

    def end(self) -> None:
        """End the request now, from any thread, as if the time had passed."""
        with self._lock:
            if self._is_over:
                return
            self.has_passed = True
            for line in self._lines:
                _end(line)


class BoundedClient(client.ApiClient):
    """A client whose connections obey the deadline of the request that uses them.

    After an answer with `Retry-After` it makes no request for so long, but for those of Leases,
    without which the daemon would lose its leadership. After HTTP 401 it reads the token again and
    repeats the request at once, because it may have been rotated.

    load: reads the token into the settings; None: it never changes.
    """

    def __init__(
        self,
        settings: client.Configuration,
        load: Callable[[client.Configuration], None] | None = None,
    ) -> None:
        super().__init__(settings)
        self._load = load
        pools = self.rest_client.pool_manager
        classes = pools.pool_classes_by_scheme
        pools.pool_classes_by_scheme = {name: _following(pool) for name, pool in classes.items()}
        self._busy_until = 0.0

    def call_api(self, *args: Any, **kw: Any) -> Any:
        """Make any request. The body of an error is read here, because the client has no limit."""
        left = self._busy_until - time.monotonic()
        if left > 0 and LEASES not in args[1]:
            raise throttled("the API server is busy", left)
        answer: Any = super().call_api(*args, **kw)
        if answer.status == UNAUTHORIZED and self._has_renewed(args[2]):
            read_body(answer.response, LARGEST_OBJECT)  # so that its connection can be used again
            answer = super().call_api(*args, **kw)
        if answer.status in BUSY:
            wait = retry_after(answer.getheader("Retry-After"))
            self._busy_until = max(self._busy_until, time.monotonic() + wait)
        if not 200 <= answer.status <= 299:
            answer.data = read_body(answer.response, LARGEST_OBJECT)
        return answer

    def _has_renewed(self, headers: dict[str, str]) -> bool:
        """Put the token as it is now into the headers of a request, if it can be read."""
        if self._load is None:
            return False
        with suppress(ConfigException, OSError, ValueError):
            self._load(self.configuration)
            for token in self.configuration.auth_settings().values():
                headers[token["key"]] = token["value"]
            return True
        return False


def retry_after(header: str | None) -> float:
    """Return for how many seconds an answer asks to wait; 0 if it does not say."""
    try:
        return min(max(0.0, float(header or 0)), LONGEST_WAIT)  # in this order NaN is 0
    except ValueError:  # a date, which the API server does not send
        return 1.0


def throttled(words: str, seconds: float) -> ThrottledError:
    """Return the error of a request that has to wait for so long."""
    error = ThrottledError(f"{words}: it asked to wait (Retry-After)")
    error.retry_after = seconds
    return error


def read_body(response: Any, largest: int) -> bytes:
    """Return the body of a urllib3 response. Raises ValueError if it exceeds `largest` bytes."""
    body = bytearray()
    for part in response.stream(_CHUNK, decode_content=False):
        body += part
        if len(body) > largest:
            response.close()
            raise ValueError(f"the answer has more than {largest >> 20} MiB")
    return bytes(body)


def read_lines(response: Any, largest: int) -> Iterator[bytes]:
    """Yield each line of a response as it arrives. Raises ValueError if one is too long."""
    rest = b""
    for part in response.stream(_CHUNK, decode_content=False):
        *lines, rest = (rest + part).split(b"\n")
        yield from lines
        if len(rest) > largest:
            raise ValueError(f"a line of the answer has more than {largest >> 20} MiB")
    if rest:
        yield rest


def _following(pool: Any) -> Any:
    """Return the class of pools whose connections tell the deadline of their thread."""
    base = pool.ConnectionCls

    class Connection(base):  # type: ignore[misc, valid-type]
        def _new_conn(self) -> socket.socket:
            made: socket.socket = super()._new_conn()
            _follow(made)
            return made

        def request(self, *args: Any, **kw: Any) -> None:
            """Send a request, on a new connection or on one that was kept."""
            if self.sock is not None:
                _follow(self.sock)
            super().request(*args, **kw)

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})


def _follow(connection: socket.socket) -> None:
    if _THIS_THREAD.deadline is not None:
        _THIS_THREAD.deadline.follow(connection)


def _end(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
