"""Connects the forked workers of one server, which hand connections to each other.

All workers of `--num-procs` accept connections on one socket, so a page, its WebSocket and a
reconnect each reach an arbitrary worker. The worker that has read the head of a request looks up
on the board which worker has the session, and sends it the open socket with the bytes that it has
read (`giving`). The other worker continues as if it had accepted the connection itself (`taking`):
routing, login, response and counts are its own. A page of a new session goes to the worker with
the fewest sessions, before any code of the application runs.

Whenever that is impossible, the request is answered by the worker that received it.
"""

from __future__ import annotations

import errno
import functools
import os
import secrets
import socket
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..console import say  # noqa: TID252 - not by the name `exporter`, which may be the app's
from . import answer, board, pod
from .board import Seat
from .taking import take_from
from .thread_errors import ThreadErrors

BEAT_SECONDS = 0.25
BACKLOG = 1024

_servers: weakref.WeakSet[Any] = weakref.WeakSet()  # Tornado's TCP servers of this process
_served: dict[int, weakref.ref[Any]] = {}  # by port
_hooked: set[Any] = set()  # what `tornado.process.fork_processes` has been replaced by
_family: list[str] = []  # what this server's workers call each other
_spare: list[int] = []  # at most one descriptor, for when there is no other one left
_listens_as: list[int] = []  # the user of this worker when it began; it may become another one
errors = ThreadErrors("the hand-off between workers")


def is_on() -> bool:
    """Tell whether the launcher has switched it on."""
    return os.environ.get(pod.HAND_OFF) == "on"


# How the workers of a server find each other -----------------------------------------------------


def hook_forks(module: Any) -> None:
    """Wrap `tornado.process.fork_processes`, which returns once in every forked worker."""
    original = module.fork_processes
    if original in _hooked:
        return

    @functools.wraps(original)
    def fork_processes(num_processes: int | None, max_restarts: int | None = None) -> Any:
        if not is_on():
            return original(num_processes, max_restarts)
        wanted = num_processes or 0
        made = board.prepare(wanted if wanted > 0 else module.cpu_count())
        _family[:] = [secrets.token_hex(8)]
        slot = original(num_processes, max_restarts)
        board.inherit(made, slot)
        return slot

    module.fork_processes = fork_processes
    _hooked.add(fork_processes)


def add_sockets(original: Any, self: Any, sockets: Any) -> None:
    """Wrap TCPServer.add_sockets, with which a server starts to accept connections."""
    listening = list(sockets)
    original(self, listening)
    _servers.add(self)
    for port in filter(None, map(_port_of, listening)):
        _served[port] = weakref.ref(self)
    if (mine := board.seat()) is not None:
        mine.serve(sorted(_served))


def begin(io_loop: Any) -> None:
    """Take part in the hand-off. Called in each worker before its event loop runs."""
    if board.seat() is not None or not board.is_forked():
        return
    if any(server.ssl_options is not None for server in _servers):
        say_why_not("the server ends TLS itself; let a proxy end it")
        return
    if _servers and not _served:
        say_why_not("the server listens on a Unix socket; let it listen on a port")
        return
    if not _listen(io_loop):
        return
    mine = board.sit_down()
    mine.serve(sorted(_served))
    io_loop.add_callback(_beat, io_loop, mine)


def _listen(io_loop: Any) -> bool:
    """Take the name by which the other workers find this one; False if that is impossible."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        _listens_as[:] = [os.geteuid()]
        listener.bind(name(board.slot(), os.getpid()))
        listener.listen(BACKLOG)
        listener.setblocking(False)
        _spare[:] = [_reserved()]
        io_loop.add_handler(listener, _accept, io_loop.READ)
    except OSError as error:
        listener.close()
        errors.tell(error)
        return False
    answer.keep(listener)
    return True


def say_why_not(why: str) -> None:
    """Print why the workers hand over nothing; one of them does so for all."""
    if is_on() and answer.is_first("hand-off"):
        say(f"no hand-off between workers: {why}")


def name(slot: int, number: int) -> str:
    """Return the name of the socket of a worker: its slot and its process."""
    return f"\0bokeh-exporter-handoff/{_family[0]}/{slot}/{number}"


def is_ours(user: int) -> bool:
    """Tell whether the workers of this server run, or began to run, as this user."""
    return user in (*_listens_as, os.geteuid())


def server_at(port: int) -> Any:
    """Return the HTTP server that listens on a port here, or None."""
    reference = _served.get(port)
    return reference() if reference is not None else None


def _port_of(listening: socket.socket) -> int:
    name = listening.getsockname()
    return int(name[1]) if isinstance(name, tuple) else 0


def _accept(listener: Any, _: int) -> None:
    """Accept workers that want to hand a connection to this one, and nobody else."""
    mine = board.seat()
    for _turn in range(BACKLOG):
        try:
            giver, _address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                _turn_away(listener)
            return
        who = pod.peer(giver)
        if mine is None or not is_ours(who.uid) or who.pid not in mine.board.givers():
            giver.close()
        else:
            take_from(giver, mine, server_at, errors)


def _reserved() -> int:
    """Return a descriptor that only keeps its number. Raises OSError if there is none left."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _turn_away(listener: Any) -> None:
    """Disconnect a worker that there is no descriptor for, so that it does not wait."""
    if _spare:
        os.close(_spare.pop())
    with suppress(OSError):
        listener.accept()[0].close()
    with suppress(OSError):
        _spare.append(_reserved())


def _beat(io_loop: Any, mine: Seat) -> None:
    if board.seat() is mine:  # else this is a forked child's copy of the loop
        mine.beat()
        io_loop.call_later(BEAT_SECONDS, _beat, io_loop, mine)


def opens(websocket: Any) -> None:
    """Have a WebSocket's messages sent at once.

    Bokeh sends each message in several small parts. The kernel keeps the second part back until the
    client acknowledges the first one, which the client delays by 40 ms. This happens more often if
    the session is in this worker already, because the first message is then sent earlier.
    """
    if board.seat() is not None:
        websocket.set_nodelay(True)


# What the board says of this worker's sessions ---------------------------------------------------


def creating(app: str, session_id: str) -> None:
    """Say that a session is being created here."""
    _write(lambda mine: mine.add(board.key_of(app, session_id)))


def created() -> None:
    """Say that the creation of a session has ended."""
    _write(Seat.created)


def connected(app: str, session_id: str) -> None:
    """Say that somebody is connected to a session."""
    _write(lambda mine: mine.connect(board.key_of(app, session_id)))


def gone(app: str, session_id: str) -> None:
    """Say that a session is no more, or could not be created."""
    _write(lambda mine: mine.remove(board.key_of(app, session_id)))


def _write(change: Callable[[Seat], None]) -> None:
    """Change this worker's row, if it has one. A defect here must not reach the application."""
    try:
        if (mine := board.seat()) is not None:
            change(mine)
    except Exception as error:
        errors.tell(error)
