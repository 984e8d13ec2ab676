"""Gives a connection to the worker that should answer what it asks for.

The board has all that the decision needs. The other worker is sent the socket, the bytes that were
read from it, and a claim that only one of both can get. It gets the claim before it answers. If it
does not do so in time, this worker gets the claim and answers; until then nothing has been written
to the client and no code of the application has run.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Collection, Container
from contextlib import suppress
from typing import Any, NamedTuple

from . import board, claim, handoff, pod, process
from .addressee import Asked, asked
from .board import CREATED, DRAINS, PROCESS, SESSIONS, Seat
from .handed_stream import classes, detached, unread
from .taking import MOST_BYTES, take
from .visits import Visit, digest

# How long to wait for a worker. A user who has been connected to the session would lose their work
# in another one; other users lose only time, and a new page loses nothing.
NEW_PAGE_SECONDS, NEW_SESSION_SECONDS, SESSION_SECONDS = 0.1, 2.0, 30.0
RUNS_SECONDS = 0.5  # two beats: an event loop that ran within them is given new pages
LOOK_SECONDS, LEAST_LOOKS = 0.1, 8  # at what has become of a connection
# Sessions by which workers may differ that can get a new session of a given id, and before pages
# wait for a worker in its first import.
ABOUT_EQUAL = 8


class Choice(NamedTuple):
    """The worker that should answer, and for how many seconds it is waited for.

    It is a process: who has its slot after it does not have its sessions.
    """

    slot: int
    process: int
    patience: float


def _choice(mine: Seat, slot: int, patience: float) -> Choice:
    return Choice(slot, mine.board.get(slot, PROCESS), patience)


def giving(connection: Any, port: int, start_line: Any, headers: Any) -> Awaitable[bool] | None:
    """Return what hands the connection whose request's head has just been read.

    It tells whether the connection has left. None: this worker answers the request.
    """
    mine = board.seat()
    if mine is None:
        return None
    if _is_handed(connection.stream):
        visit = Visit(start_line.path, websocket="Upgrade" in headers, port=port)
        return None if visit.websocket else _kept_page(mine, visit)
    try:
        found = _wanted(connection, port, start_line, headers)
        choice = choose(mine, port, found) if found is not None else None
    except Exception as error:
        handoff.errors.tell(error)
        return None
    if found is None:
        return None
    visit = Visit(start_line.path, websocket=found.websocket, port=port)
    if choice is None:
        return _kept_page(mine, visit) if found.is_new_page else None
    read = head(start_line, headers)
    return _give_in_turn(mine, found, choice, connection, read, visit)


def _is_handed(stream: Any) -> bool:
    """Tell whether a connection was given to this worker for the request that it has read."""
    handed = getattr(stream, "handed", False)
    if handed:  # its next request may be given to another worker
        stream.handed = False
    return bool(handed)


def _kept_page(mine: Seat, visit: Visit) -> Awaitable[bool] | None:
    """Count a page that this worker answers among its sessions; what to wait for before that."""
    mine.expect()
    return None if mine.board.get(mine.slot, CREATED) else _others_first(visit)


async def _others_first(visit: Visit) -> bool:
    """Let what came together with a worker's first page leave before it imports for seconds."""
    agent = process.worker()
    agent.arrive(visit)
    try:
        await asyncio.sleep(NEW_PAGE_SECONDS)
    finally:
        agent.leave(visit)
    return False


def _wanted(connection: Any, port: int, start_line: Any, headers: Any) -> Asked | None:
    """Return what a request asks for, if its connection can be handed."""
    stream, server = connection.stream, handoff.server_at(port)
    if server is None or not _can_be_handed(stream) or not _is_bokeh(server):
        return None
    if start_line.method != "GET" or "Transfer-Encoding" in headers:
        return None
    if headers.get("Content-Length", "0") != "0":
        return None
    with suppress(Exception):  # Bokeh will say what is wrong with it
        return asked(server.request_callback, connection, start_line, headers)
    return None


def _can_be_handed(stream: Any) -> bool:
    """Tell whether a stream is a plain TCP connection, and everything was written."""
    return type(stream) in classes() and not stream.closed() and not stream.writing()


def _is_bokeh(server: Any) -> bool:
    from bokeh.server.tornado import BokehTornado

    return isinstance(getattr(server, "request_callback", None), BokehTornado)


def choose(mine: Seat, port: int, found: Asked, tried: Collection[Choice] = ()) -> Choice | None:
    """Return the worker that should answer; None: this one. tried: choices that did not answer."""
    key = 0
    if found.session_id:
        key = board.key_of(found.app, found.session_id)
        # Somebody's session before one that nobody came to, then this worker's before another's.
        owners = sorted(
            mine.board.holders(key), key=lambda each: (not each[1], each[0] != mine.slot)
        )
        for slot, connected in owners:
            if slot == mine.slot:
                return None
            patient = connected or mine.board.creates(slot)
            choice = _choice(mine, slot, SESSION_SECONDS if patient else NEW_SESSION_SECONDS)
            if choice not in tried and is_there(mine, slot, port, choice.patience):
                return choice
        if key in mine:
            return None
    if mine.board.get(mine.slot, DRAINS) or (tried and not key):
        return None
    return _least_busy(mine, port, key, {(choice.slot, choice.process) for choice in tried})


def is_there(mine: Seat, slot: int, port: int, patience: float) -> bool:
    """Tell whether a worker can be given a connection. patience: how old its last beat may be."""
    alive = mine.board.get(slot, PROCESS) and mine.board.age(slot) <= patience
    return bool(alive) and mine.serves(slot, port)


def _is_open(mine: Seat, slot: int, port: int, patience: float = RUNS_SECONDS) -> bool:
    """Tell whether a worker can be given new sessions now."""
    return not mine.board.get(slot, DRAINS) and is_there(mine, slot, port, patience)


def _least_busy(
    mine: Seat, port: int, key: int, without: Container[tuple[int, int]]
) -> Choice | None:
    """Return the worker that should create a session; key: of a session with a given id, or 0.

    Several requests can ask for a given id at once, and reach several workers. All of these choose
    the same one: the one that has lately been chosen, or else, by the id, one of those that have
    about as few sessions as the least busy one.
    """
    rows = mine.board

    def can_have(slot: int, patience: float) -> bool:
        is_new = (slot, rows.get(slot, PROCESS)) not in without
        return slot == mine.slot or (is_new and _is_open(mine, slot, port, patience))

    slots = [slot for slot in range(rows.workers) if can_have(slot, RUNS_SECONDS)]
    if not key:
        return _for_new_page(mine, port, slots)
    before = (slot for slot in rows.chosen(key) if can_have(slot, NEW_SESSION_SECONDS))
    chosen = next(before, None)
    if chosen is None:
        most = min(rows.get(slot, SESSIONS) for slot in slots) + ABOUT_EQUAL
        equal = (slot for slot in slots if rows.get(slot, SESSIONS) <= most)
        chosen = max(equal, key=lambda slot: digest(f"{key} {slot}"))
    rows.choose(mine.slot, key, chosen)
    return _choice(mine, chosen, NEW_SESSION_SECONDS) if chosen != mine.slot else None


def _for_new_page(mine: Seat, port: int, running: list[int]) -> Choice | None:
    """Return the worker with the fewest sessions.

    Workers that import for the first time stand still. They would get nothing of a crowd that comes
    meanwhile, so a page waits for them if the others have many more sessions.
    """
    rows = mine.board
    chosen = min(running, key=lambda slot: (rows.load(slot), slot != mine.slot))
    others = (slot for slot in range(rows.workers) if _begins(mine, slot, port))
    first = min(others, key=rows.load, default=chosen)
    if rows.load(first) + ABOUT_EQUAL < rows.load(chosen):
        return _choice(mine, first, NEW_SESSION_SECONDS)
    return _choice(mine, chosen, NEW_PAGE_SECONDS) if chosen != mine.slot else None


def _begins(mine: Seat, slot: int, port: int) -> bool:
    """Tell whether a worker that creates its first session will serve this port afterwards."""
    return _is_open(mine, slot, port, SESSION_SECONDS) and mine.board.begins(slot)


async def _give_in_turn(
    mine: Seat, found: Asked, choice: Choice, connection: Any, read: bytes, visit: Visit
) -> bool:
    """Hand a connection to the worker that is chosen, or to the next choice if that takes nothing.

    A worker that takes nothing may have been killed, or may have begun to create the session. If
    none is left, this worker continues with the connection as if it had been handed to it.
    """
    read += unread(connection.stream)
    if len(read) > min(MOST_BYTES, connection.params.max_header_size):
        return False  # it may not be read in one piece, nor be accepted as it is written anew
    try:
        own = detached(connection)
    except OSError:  # no descriptor is free
        return False
    tried: set[Choice] = set()
    following: Choice | None = choice
    while following is not None:
        if await _give(mine, following, own, read, visit):
            own.close()
            return True
        tried.add(following)
        following = choose(mine, visit.port, found, tried)
    take(own, read, handoff.server_at, lambda: True)
    return True


async def _give(mine: Seat, choice: Choice, own: socket.socket, read: bytes, visit: Visit) -> bool:
    """Hand a connection, which is a visit of this worker until another one has got it."""
    agent = process.worker()
    agent.arrive(visit)
    mine.give(choice.slot, +1)
    taken = False
    try:
        name = handoff.name(choice.slot, choice.process)
        taken = await _send(name, choice, own, read)
    except Exception as error:
        handoff.errors.tell(error)
    finally:
        if not taken:
            mine.give(choice.slot, -1)
        agent.leave(visit)
    if taken:
        request = "websocket" if visit.websocket else "page"
        agent.tally.add("bokeh_connections_handed_total", request)
    return taken


async def _send(name: str, choice: Choice, own: socket.socket, read: bytes) -> bool:
    """Send a connection to a process and to nobody else; False: this worker has got the claim."""
    taker = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    taker.setblocking(False)
    with taker, suppress(OSError), claim.new() as token:
        taker.connect(name)
        who = pod.peer(taker)
        if who.pid != choice.process or not handoff.is_ours(who.uid):
            return False
        socket.send_fds(taker, [read], [own.fileno(), token])
        try:
            await _ended(taker, choice.patience)
        except Exception as error:  # whatever it is, the claim tells who answers
            handoff.errors.tell(error)
        return not claim.get(token)
    return False


async def _ended(taker: socket.socket, patience: float) -> None:
    """Wait until a worker has got the claim, or will not get it, and has closed the way to it.

    This worker looks from time to time: to be woken would cost as much as to send the connection,
    and the user does not wait for this. A time for which its loop stands still counts as one look
    only: on a new server, all workers import at the same time.
    """
    looks = max(LEAST_LOOKS, round(patience / LOOK_SECONDS))
    for _ in range(looks):
        await asyncio.sleep(patience / looks)
        try:
            taker.recv(1)
        except BlockingIOError:
            continue
        except OSError:  # it was killed
            pass
        return


def head(start_line: Any, headers: Any) -> bytes:
    """Write a request's head anew, which parses to the same."""
    lines = [f"{start_line.method} {start_line.path} {start_line.version}"]
    lines += [f"{name}: {value}" for name, value in headers.get_all()]
    return "\r\n".join([*lines, "", ""]).encode("latin1")
