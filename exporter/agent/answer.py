"""Answer collectors on a unix socket, from a thread of its own.

The socket's name is abstract unless a folder is mounted (see `pod`). An answer has counts and
nothing else, and only trusted users get one. An error is reported on stderr and does not keep the
next client from its answer.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from . import pod
from .thread_errors import ThreadErrors

SAMPLE_SECONDS = 1.0
CLIENT_SECONDS = 1.0  # a client that does not read cannot hold the agent longer
LINE_SECONDS = 0.2  # a client sends its line or closes that direction at once, if it has a CPU
LINE_BYTES = 16384
TROUBLE_SECONDS = 0.2  # before a retry after an error
SLOTS = 4096
MOST_CLIENTS = 32

MakeReport = Callable[[], dict[str, Any]]
OnMessage = Callable[[dict[str, Any], pod.Peer], bool]

_sockets: list[socket.socket] = []  # of this process; a forked child must close them


def socket_name(slot: int | str) -> str:
    """Return `bokeh-exporter/<instance>/<slot>/<pid>/<nonce>`, or such a path in the pod's folder.

    The nonce distinguishes two containers of a pod, which may have equal process IDs.
    """
    prefix, separator = pod.prefix_and_separator(pod.instance())
    return prefix + separator.join((str(slot), str(os.getpid()), secrets.token_hex(4)))


def listen(slot: int | str) -> socket.socket:
    """Return a listening socket under this process's name. Raises OSError."""
    pod.sweep(pod.instance())
    name = socket_name(slot)
    listener = _bound(name if name.startswith("/") else f"\0{name}")
    listener.listen(16)
    return listener


def claim(wanted: int) -> int:
    """Return the wanted slot, or the next one that no live worker of the instance has.

    A slot is claimed by binding a name, so two workers that start at once cannot both get it, and
    it is free again as soon as its owner ends. If another process has bound all names, two workers
    share a slot. Raises OSError.
    """
    for slot in range(wanted, wanted + SLOTS):
        try:
            _bound(f"\0bokeh-exporter-slot/{pod.instance()}/{slot}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return slot
    return wanted


def is_first(what: str) -> bool:
    """Tell whether this is the first live process of the instance that asks this of something."""
    try:
        _bound(f"\0bokeh-exporter-first/{pod.instance()}/{what}")
    except OSError:
        return False
    return True


def _bound(name: str) -> socket.socket:
    """Return a socket bound to this name, which a forked child closes. Raises OSError."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(name)
        if name.startswith("/"):  # any user may connect; `_accept` decides who gets an answer
            os.chmod(name, 0o666)  # noqa: PTH101, S103
    except OSError:
        bound.close()
        raise
    _sockets.append(bound)
    return bound


def keep(own: socket.socket) -> None:
    """Have a forked child drop this socket of its parent's too."""
    _sockets.append(own)


def forget() -> None:
    """Close the parent's sockets in a forked child.

    Otherwise the child would keep the name bound after the parent's end, answer in its place, and
    delay the end of an answer that the parent is sending.
    """
    for kept in _sockets:
        kept.close()
    _sockets.clear()


os.register_at_fork(after_in_child=forget)


def encoded(report: dict[str, Any]) -> bytes:
    """Return a report as one line of JSON without a line break."""
    return json.dumps(report, separators=(",", ":")).encode()


@dataclass(slots=True, eq=False)
class CollectorClient:
    """A collector that is being answered. Times are of the monotonic clock."""

    socket: socket.socket
    peer: pod.Peer
    since: float = field(default_factory=time.monotonic)
    line: bytes = b""
    heard: bool = False  # its line has been read, or none will arrive
    answered: bool = False  # the answer has been made; `unsent` is the rest of it
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))

    def answer(self, answer: bytes) -> None:
        """Start to send an answer; nothing more is read from this client."""
        self.heard = self.answered = True
        self.unsent = memoryview(answer)

    def send(self) -> None:
        """Send as much as the client accepts now, and close that direction after all of it."""
        with suppress(BlockingIOError):
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
            self.socket.shutdown(socket.SHUT_WR)

    def read(self) -> dict[str, Any] | None:
        """Read from the client, and return its message once the line is complete."""
        with suppress(BlockingIOError):
            chunk = self.socket.recv(LINE_BYTES)
            self.line += chunk
            line, end, _ = self.line.partition(b"\n")
            self.heard = bool(end) or not chunk or len(self.line) > LINE_BYTES
            if end or (self.heard and line):
                return _words(line)
        return None

    def is_due(self, now: float) -> bool:
        """Return whether to make its answer: its line has been read, or none arrived in time."""
        return not self.answered and (self.heard or now - self.since > LINE_SECONDS)

    def is_done(self, now: float) -> bool:
        """Return whether its answer is sent completely, or its time is over."""
        return now - self.since > CLIENT_SECONDS or (self.answered and not self.unsent)

    def patience(self, now: float) -> float:
        """Return the seconds that are left until its next deadline."""
        until = self.since + (CLIENT_SECONDS if self.answered else LINE_SECONDS)
        return max(0.0, until - now)


def _words(line: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


class Answerer:
    """Answers all clients concurrently, so that a slow one does not delay the others."""

    def __init__(
        self,
        slot: int | str,
        report: MakeReport,
        sample: Callable[[], None],
        on_message: OnMessage,
    ) -> None:
        self._claimed = not isinstance(slot, int)
        self._slot, self._report, self._sample, self._on_message = (
            slot,
            report,
            sample,
            on_message,
        )
        self._listener: socket.socket | None = None
        self._clients: dict[int, CollectorClient] = {}
        self._sampled = -SAMPLE_SECONDS
        self._complaints = ThreadErrors("the agent")

    def begin(self) -> None:
        """Claim a slot and listen, unless that is done. Raises OSError; `run` then retries."""
        if self._listener is None:
            if isinstance(self._slot, int) and not self._claimed:
                self._slot, self._claimed = claim(self._slot), True
            listener = listen(self._slot)
            listener.setblocking(False)
            self._listener = listener

    def run(self) -> None:
        """Answer forever; errors are reported on stderr and retried."""
        while True:
            try:
                self.begin()
                self._serve_ready()
            except Exception as error:
                self._complaints.tell(error)
                time.sleep(TROUBLE_SECONDS)

    def _serve_ready(self) -> None:
        """Wait for clients or for the next sample, and serve the clients that are ready."""
        assert self._listener is not None  # noqa: S101 - begin() has set it
        poll = select.poll()
        if len(self._clients) < MOST_CLIENTS:
            poll.register(self._listener, select.POLLIN)
        for number, client in self._clients.items():
            wanted = (0 if client.heard else select.POLLIN) | (
                select.POLLOUT if client.unsent else 0
            )
            poll.register(number, wanted)
        ready = dict(poll.poll(1000 * self._timeout(time.monotonic())))
        for number, client in list(self._clients.items()):
            self._serve(client, ready.get(number, 0))
        if self._listener.fileno() in ready:
            self._accept()
        if time.monotonic() - self._sampled >= SAMPLE_SECONDS:
            self._sampled = time.monotonic()
            self._sample()

    def _timeout(self, now: float) -> float:
        until_sample = max(0.0, self._sampled + SAMPLE_SECONDS - now)
        return min([until_sample, *(c.patience(now) for c in self._clients.values())]) + 0.001

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101
        with suppress(BlockingIOError):
            accepted, _ = self._listener.accept()
            other = pod.peer(accepted)
            if not pod.may_ask(other):
                accepted.close()
                return
            _sockets.append(accepted)
            accepted.setblocking(False)
            client = self._clients[accepted.fileno()] = CollectorClient(accepted, other)
            self._serve(client, select.POLLIN)

    def _serve(self, client: CollectorClient, events: int) -> None:
        """Serve one client: act on its line first, so that the answer confirms it."""
        done = True
        try:
            with suppress(ConnectionError):
                done = self._hear_and_answer(client, events)
        finally:
            if done:
                self._clients.pop(client.socket.fileno(), None)
                self._drop(client.socket)

    def _hear_and_answer(self, client: CollectorClient, events: int) -> bool:
        """Return whether the client is done. Raises ConnectionError if it has disconnected."""
        if events & (select.POLLIN | select.POLLHUP) and not client.heard:
            said = client.read()
            if said is not None and not self._on_message(said, client.peer):
                return True
        if client.is_due(time.monotonic()):
            client.answer(encoded(self._report()))
        if client.unsent:
            client.send()
        gone = events & (select.POLLERR | select.POLLNVAL)
        return bool(gone) or client.is_done(time.monotonic())

    def _drop(self, accepted: socket.socket) -> None:
        with suppress(ValueError):
            _sockets.remove(accepted)
        accepted.close()


def _nothing() -> None:
    """Do nothing: the default of `sample`."""


def _answer_all(*_: object) -> bool:
    """Answer whatever is said: the default of `on_message`."""
    return True


def start(
    slot: int | str,
    report: MakeReport,
    sample: Callable[[], None] = _nothing,
    on_message: OnMessage = _answer_all,
) -> None:
    """Answer forever in a daemon thread, and call `sample` about once a second.

    slot: the preferred slot of a worker, or the name of another process such as the launcher.
    on_message: called with each message of a client; tells whether it is answered. Errors never
    disturb the process: if no socket can be bound now, the thread retries.
    """
    answerer = Answerer(slot, report, sample, on_message)
    with suppress(OSError):
        answerer.begin()
    with suppress(RuntimeError):  # no thread can be started; the app must run nevertheless
        threading.Thread(target=answerer.run, name="bokeh-exporter", daemon=True).start()
