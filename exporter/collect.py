"""Ask all workers of an instance at once for their reports.

Any process of the network namespace may listen under an agent's name, and an agent may send
anything. So processes that are not trusted are ignored, and the size of an answer is bounded before
it is read. Uses the standard library only: the launcher imports this module too, and PID 1 should
stay small.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from exporter.agent import pod
from exporter.agent.pod import Name, Peer
from exporter.console import say

LARGEST_ANSWER = 1 << 20  # bytes; a worker with 10,000 connections sends 0.1 MiB
ALL_ANSWERS = 2 << 20  # bytes in one round; the parsed reports take up to 15 times as much memory
DEADLINE_SECONDS = 0.5  # an idle worker answers in 1 ms, one with a busy CPU in 30 ms
MOST_PEERS = 256  # further agents are ignored
MOST_NEW = 256  # unknown names that are looked up in one round
MOST_TOLD = 10  # untrusted users that are named on stderr

Trust = Callable[[Peer], bool]


class Peers:
    """The trusted agents and launchers of an instance.

    trusts: returns whether the process at the other end of a socket is trusted.
    """

    def __init__(self, instance: str, trusts: Trust = pod.may_answer) -> None:
        self.deadline = DEADLINE_SECONDS
        self._instance = instance
        self._trusts = trusts
        self._ours: dict[Name, int] = {}
        self._strangers: set[Name] = set()
        self._told: set[int] = set()
        self._lock = threading.RLock()

    @property
    def pids(self) -> Mapping[Name, int]:
        """The process ID of each peer in the last `present`; 0 if it is in another container."""
        return self._ours

    def present(self) -> tuple[Name, ...]:
        """Return the names of all live peers, ordered by slot and process ID."""
        with self._lock:
            return self._present(pod.listening(self._instance))

    def _present(self, listed: list[Name]) -> tuple[Name, ...]:
        here = set(listed)
        self._ours = {name: pid for name, pid in self._ours.items() if name in here}
        self._strangers &= here
        new = [name for name in listed if name not in self._ours and name not in self._strangers]
        for name in new[:MOST_NEW]:
            client = pod.connect(name)
            if client is not None:
                with client:
                    self._is_ours(name, pod.peer(client))
        return tuple(sorted(self._ours, key=lambda name: (name.slot, name.pid)))

    def ask(self, names: Iterable[Name], line: bytes = b"") -> dict[Name, bytes]:
        """Return the complete answer of each peer; see the function `ask`."""
        return ask(names, line, self.deadline, self._is_ours)

    def _is_ours(self, name: Name, peer: Peer) -> bool:
        """Return whether a peer is trusted.

        Checked at each connection, because another process can take over the name.
        """
        with self._lock:
            ours = self._trusts(peer) and (name in self._ours or len(self._ours) < MOST_PEERS)
            if ours:
                self._ours[name] = peer.pid
            else:
                self._ours.pop(name, None)
                self._strangers.add(name)
                self._tell(peer.uid)
            return ours

    def _tell(self, uid: int) -> None:
        """Write one line to stderr for each user whose agents are ignored."""
        if pod.may_answer(Peer(0, uid)) or uid in self._told or len(self._told) >= MOST_TOLD:
            return
        self._told.add(uid)
        say(STRANGER.format(uid=uid))


STRANGER = (
    "ignoring an agent or launcher that runs as user {uid}, which is not trusted; if it belongs to "
    "this pod, run both containers as one user or set --trusted-uids {uid}"
)


def ask(
    names: Iterable[Name],
    line: bytes = b"",
    deadline: float = DEADLINE_SECONDS,
    is_ours: Callable[[Name, Peer], bool] = lambda _, peer: pod.may_answer(peer),
) -> dict[Name, bytes]:
    """Return the answers that arrive completely within `deadline` seconds, by name.

    A peer has no answer if it is silent, is not trusted, or sends too much. line: sent to each peer
    before its answer is read.
    """
    asking = Asking()
    until = time.monotonic() + deadline
    try:
        for name in names:
            client = pod.connect(name)
            if client is not None and is_ours(name, pod.peer(client)):
                asking.begin(name, client, line)
            elif client is not None:
                client.close()
        while asking.clients and (left := until - time.monotonic()) > 0:
            asking.proceed(left)
    finally:
        asking.end()
    return asking.answers


class Asking:
    """The connections of one round, and the answers received so far."""

    def __init__(self) -> None:
        self.answers: dict[Name, bytes] = {}
        self.clients: dict[Name, socket.socket] = {}
        self._received: dict[Name, bytes] = {}
        self._selector = selectors.DefaultSelector()

    def begin(self, name: Name, client: socket.socket, line: bytes) -> None:
        """Send the line, and close that direction so the agent does not wait for more."""
        with suppress(OSError):  # an agent of an older version answers and closes without reading
            if line and name.slot != pod.LAUNCHER:
                client.send(line)
            client.shutdown(socket.SHUT_WR)
        self._selector.register(client, selectors.EVENT_READ, name)
        self.clients[name], self._received[name] = client, b""

    def proceed(self, seconds: float) -> None:
        """Receive what arrives within `seconds`."""
        for key, _ in self._selector.select(seconds):
            if key.data in self.clients:
                self._receive(key.data)

    def _receive(self, name: Name) -> None:
        received = self._received[name]
        try:
            chunk = self.clients[name].recv(65536)
        except OSError:  # it died, or is of an older version and closed without reading our line
            chunk = b""
        if not chunk:
            self._received[name] = self.answers[name] = bytes(received)
            self._close(name)
            return
        received = self._received[name] = received + chunk
        if len(received) > LARGEST_ANSWER:
            self._close(name)
        elif sum(map(len, self._received.values())) > ALL_ANSWERS:
            largest = max(self._received, key=lambda each: len(self._received[each]))
            self.answers.pop(largest, None)
            self._close(largest)

    def _close(self, name: Name) -> None:
        """Close a connection. A complete answer still counts towards the total size."""
        if name not in self.answers:
            self._received.pop(name, None)
        client = self.clients.pop(name, None)
        if client is not None:
            self._selector.unregister(client)
            client.close()

    def end(self) -> None:
        """Close all connections."""
        for name in list(self.clients):
            self._close(name)
        self._selector.close()
