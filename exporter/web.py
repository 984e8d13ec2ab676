"""A small HTTP server with limits: no client can overload it or lock other clients out.

One thread reads and writes for all clients; a second one makes the responses. Each request has one
deadline, from its first byte to the last byte of the response that the client reads.
"""

from __future__ import annotations

import errno
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from exporter.agent.thread_errors import ThreadErrors
from exporter.web_client import PLAIN, Limits, Phase, Request, Response, WebClient

__all__ = ["PLAIN", "Handler", "Limits", "Request", "Response", "Server"]

Handler = Callable[[Request], Response]
LARGEST_WAIT = 1.0
TROUBLE_SECONDS = 0.1  # before a retry, for example if the process has no file descriptor left
CLOSING_SECONDS = 2.0
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
FAILED = Response(500, PLAIN, b"internal error; see the server's log\n")


class Server:
    """Serves on a port from threads of its own. Raises OSError if the port cannot be opened.

    address: "" for all IPv4 and IPv6 addresses. answers: called by the second thread once for all
    requests that wait at that moment, so that they can share an observation; the function that it
    returns is called with each of these requests. An exception in either becomes a 500 response
    and a line on stderr.
    """

    def __init__(
        self, address: str, port: int, answers: Callable[[], Handler], limits: Limits | None = None
    ) -> None:
        self._limits = limits or Limits()
        self._answers = answers
        self._listener = _listen(address, port)
        self._wake, self._woken = socket.socketpair()
        self._clients: set[WebClient] = set()
        self._requests: SimpleQueue[WebClient | None] = SimpleQueue()
        self._answered: deque[tuple[WebClient, Request, Response]] = deque()
        self._closing = False
        self._complaints = ThreadErrors("the web server")
        self._selector = selectors.DefaultSelector()
        for end in (self._listener, self._woken):
            end.setblocking(False)
            self._selector.register(end, selectors.EVENT_READ)
        self._threads = [
            threading.Thread(target=run, name=f"web {name}", daemon=True)
            for name, run in (("clients", self._serve), ("pages", self._make_answers))
        ]

    @property
    def port(self) -> int:
        """The port in use, even if port 0 was requested."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Start to serve."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop serving and close the port."""
        self._closing = True
        self._requests.put(None)
        self._wake_up()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(CLOSING_SECONDS)
        for end in (self._listener, self._wake, self._woken):
            end.close()
        self._selector.close()

    # The thread of the clients ---------------------------------------------------------------

    def _serve(self) -> None:
        while not self._closing:
            try:
                self._serve_ready()
            except Exception as error:  # no client may end the server for the others
                self._complaints.tell(error)
                time.sleep(TROUBLE_SECONDS)
        for client in list(self._clients):
            self._drop(client)

    def _serve_ready(self) -> None:
        """Serve the clients that are ready, and drop those whose deadline has passed."""
        now = time.monotonic()
        nearest = min((client.until for client in self._clients), default=now + LARGEST_WAIT)
        for key, _ in self._selector.select(max(0.0, min(LARGEST_WAIT, nearest - now))):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._woken:
                self._hand_out()
            elif key.data in self._clients:  # unless it was just dropped to make room
                self._proceed(key.data)
        now = time.monotonic()
        for client in [client for client in self._clients if client.until <= now]:
            self._drop(client)

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            try:
                accepted, address = self._listener.accept()
            except OSError as error:
                if error.errno not in NO_DESCRIPTOR or not self._clients:
                    raise
                self._drop(self._displaced())  # the next round then accepts the new one
                return
            if len(self._clients) >= self._limits.connections:
                self._drop(self._displaced())
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = WebClient(accepted, address[0], self._limits)
            self._clients.add(client)
            self._selector.register(accepted, selectors.EVENT_READ, client)

    def _displaced(self) -> WebClient:
        """Return the client to drop: the oldest of the address that has the most connections.

        So an address that opens many connections displaces only its own.
        """
        ((busiest, _),) = Counter(client.address for client in self._clients).most_common(1)
        own = (client for client in self._clients if client.address == busiest)
        return min(own, key=lambda client: client.since)

    def _proceed(self, client: WebClient) -> None:
        """Read from or write to a client that is ready."""
        before = client.phase
        try:
            client.proceed()
        except OSError:
            client.phase = Phase.OVER
        self._enter_phase(client, before)

    def _enter_phase(self, client: WebClient, before: Phase) -> None:
        """Watch, queue or drop a client according to the phase that it has reached."""
        if client.phase is before:
            return
        if client.phase is Phase.OVER:
            self._drop(client)
        elif client.phase is Phase.WAITING:
            self._selector.unregister(client.socket)
            self._requests.put(client)
        elif before is Phase.WAITING:
            self._selector.register(client.socket, client.phase.events, client)
        else:
            self._selector.modify(client.socket, client.phase.events, client)

    def _hand_out(self) -> None:
        """Start to send the responses that have been made."""
        with suppress(BlockingIOError):
            self._woken.recv(4096)
        while self._answered:
            client, request, response = self._answered.popleft()
            if client in self._clients and client.request is request:
                client.answer(response)
                self._enter_phase(client, Phase.WAITING)
                self._make_room(client)

    def _make_room(self, newest: WebClient) -> None:
        """Drop the clients with the nearest deadlines while too many bytes are unsent."""
        unsent = sorted(
            (c for c in self._clients if c.unsent_bytes and c is not newest), key=lambda c: c.until
        )
        total = newest.unsent_bytes + sum(client.unsent_bytes for client in unsent)
        for client in unsent:
            if total <= self._limits.unsent_bytes:
                return
            total -= client.unsent_bytes
            self._drop(client)

    def _drop(self, client: WebClient) -> None:
        self._clients.discard(client)
        with suppress(KeyError, ValueError):  # it is not watched while its response is made
            self._selector.unregister(client.socket)
        client.socket.close()

    # The thread of the pages -----------------------------------------------------------------

    def _make_answers(self) -> None:
        while (first := self._requests.get()) is not None:
            waiting: list[WebClient | None] = [first]
            with suppress(Empty):
                while True:
                    waiting.append(self._requests.get_nowait())
            self._answer_all([client for client in waiting if client is not None])
            if None in waiting:
                return

    def _answer_all(self, waiting: list[WebClient]) -> None:
        try:
            answer = self._answers()
        except Exception as error:
            self._complaints.tell(error)
            answer = _fail
        for client in waiting:
            request = client.request
            if request is not None:
                self._answered.append((client, request, self._answer(answer, request)))
                self._wake_up()

    def _answer(self, answer: Handler, request: Request) -> Response:
        try:
            return answer(request)
        except Exception as error:
            self._complaints.tell(error)
            return FAILED

    def _wake_up(self) -> None:
        with suppress(OSError):
            self._wake.send(b"\0")


def _fail(_: Request) -> Response:
    return FAILED


def _listen(address: str, port: int) -> socket.socket:
    dual = not address and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual or ":" in address else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if dual:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
