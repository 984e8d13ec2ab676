"""Which forked worker has which session, in memory that the workers of one server share.

Tornado forks all workers from one parent. Memory that the parent maps before the fork is shared by
all of them, also by those that are restarted later. Each worker writes only its own row and reads
all rows. So every worker knows the owner of a session from the start of its creation, without
asking and however busy the owner is. No process outside of the server can read or write the board.

A cell is one aligned 64-bit word, which the CPU writes in one step. An outdated value does no harm:
a worker that is given a connection answers its request, whatever it asks for.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache

from .visits import digest

# The first cells of a row. PREVIOUS: the process that had the row before. EXPECTED: new pages that
# have no session yet. CREATED: sessions created. CREATES_UNTIL: how long the creation of sessions
# may keep the event loop, in ms like BEAT.
PROCESS, PREVIOUS, BEAT, SESSIONS, DRAINS, TAKEN, EXPECTED, CREATED, CREATES_UNTIL, PORTS = range(
    10
)
MOST_PORTS = 4
GIVEN = PORTS + MOST_PORTS  # one cell for each worker
BUCKETS, BUCKET = 2048, 16  # of sessions: 256 KiB a worker
# Choices of a worker for a session that nobody has yet. A cell: 40 bits of the key, 8 of the chosen
# slot, 16 of the time.
CHOICES, CHOICE_TICK, CHOICE_SECONDS = 4096, 0.064, 4.0
MOST_WORKERS = 256
CREATION_SECONDS, BETWEEN_SECONDS = 30.0, 2.0  # that one creation takes, and the next one follows
CONNECTED = 1  # the bit of a key that says that somebody has been connected to the session


@cache
def _seed(app: str) -> str:
    return f"{app}\0"


def key_of(app: str, session_id: str) -> int:
    """Return a session's key: two applications may be asked for the same id."""
    return (int(digest(_seed(app) + session_id), 16) | 2) & ~CONNECTED


def _milliseconds() -> int:
    return int(time.monotonic() * 1000)


class Board:
    """The rows of all workers. Made by their parent before the fork."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._choices = GIVEN + workers
        self._table = self._choices + CHOICES
        self._width = self._table + BUCKETS * BUCKET
        self._memory = mmap.mmap(-1, 8 * self._width * workers)  # shared, and all zero
        self._cells = memoryview(self._memory).cast("Q")

    def get(self, slot: int, cell: int) -> int:
        """Read a cell of a worker's row."""
        return int(self._cells[slot * self._width + cell])

    def put(self, slot: int, cell: int, value: int) -> None:
        """Write a cell; only the worker of this slot does so."""
        self._cells[slot * self._width + cell] = max(0, value)

    def begin(self, slot: int, process: int) -> None:
        """Take a row over from the worker that had the slot before; what it gave stays given."""
        if previous := self.get(slot, PROCESS):
            self._clear(slot)
            self.put(slot, PREVIOUS, previous)
        self.put(slot, TAKEN, self.given_to(slot))
        self.put(slot, PROCESS, process)

    def _clear(self, slot: int) -> None:
        first = slot * self._width
        for cell in range(GIVEN):
            self.put(slot, cell, 0)
        tables = self._cells[first + self._choices : first + self._width]
        tables.cast("B")[:] = bytes(len(tables) * 8)

    def given_to(self, slot: int) -> int:
        """Count the connections that all workers have ever given to this one."""
        return sum(self.get(giver, GIVEN + slot) for giver in range(self.workers))

    def coming(self, slot: int) -> int:
        """Count the connections that were given to a worker and that it has not taken yet."""
        return max(0, self.given_to(slot) - self.get(slot, TAKEN))

    def bucket(self, slot: int, key: int) -> tuple[int, Sequence[int]]:
        """Return where the sessions with this key are in a worker's row, and all that are there."""
        first = slot * self._width + self._table + (key >> 2) % BUCKETS * BUCKET
        return first, self._cells[first : first + BUCKET].tolist()

    def replace(self, slot: int, key: int, new: int) -> bool:
        """Put `new` in the place of a key (0: a free place); False if there is no such place."""
        first, found = self.bucket(slot, new or key)
        wanted = (key, key | CONNECTED) if key else (0,)
        for number, value in enumerate(found):
            if value in wanted:
                self._cells[first + number] = new
                return True
        return False

    def holders(self, key: int) -> Iterator[tuple[int, bool]]:
        """Yield the workers that have a session, and whether anybody has been connected to it."""
        for slot in range(self.workers):
            _, found = self.bucket(slot, key)
            if key in found or key | CONNECTED in found:
                yield slot, key | CONNECTED in found

    def choose(self, slot: int, key: int, chosen: int) -> None:
        """Say which worker this one has chosen to create a session."""
        now = int(time.monotonic() / CHOICE_TICK) % 2**16
        self.put(slot, self._choice_cell(key), key >> 24 << 24 | chosen << 16 | now)

    def chosen(self, key: int) -> Iterator[int]:
        """Yield the workers that have lately been chosen to create a session."""
        now, most = int(time.monotonic() / CHOICE_TICK), CHOICE_SECONDS / CHOICE_TICK
        for slot in range(self.workers):
            cell = self.get(slot, self._choice_cell(key))
            if cell >> 24 == key >> 24 and (now - cell) % 2**16 <= most:
                yield cell >> 16 & 0xFF

    def _choice_cell(self, key: int) -> int:
        return self._choices + (key >> 2) % CHOICES

    def givers(self) -> set[int]:
        """Return the processes of all workers, and of killed ones that may have sent something."""
        cells = (PROCESS, PREVIOUS)
        return {self.get(slot, cell) for slot in range(self.workers) for cell in cells}

    def age(self, slot: int) -> float:
        """Return the seconds since a worker's event loop last ran."""
        return max(0.0, _milliseconds() - self.get(slot, BEAT)) / 1000

    def creates(self, slot: int) -> bool:
        """Tell whether a worker creates sessions, and may be too busy to say that it runs."""
        return _milliseconds() < self.get(slot, CREATES_UNTIL)

    def begins(self, slot: int) -> bool:
        """Tell whether a worker creates its first session, and imports what that needs."""
        return self.creates(slot) and not self.get(slot, CREATED)

    def load(self, slot: int) -> int:
        """Count the sessions of a worker, and the pages that will have one there."""
        return self.get(slot, SESSIONS) + self.get(slot, EXPECTED) + self.coming(slot)


class Seat:
    """This worker's row of the board."""

    def __init__(self, board: Board, slot: int) -> None:
        self.board, self.slot = board, slot
        self._lock = threading.Lock()
        self._keys: set[int] = set()
        self._creating = 0
        self._waiting: tuple[int, int] = (0, 0)
        self._expecting = 0  # of the expected pages, those that have been so since the last beat
        board.begin(slot, os.getpid())

    def serve(self, ports: Sequence[int]) -> None:
        """Say on which ports this worker serves its applications."""
        for number, port in enumerate(list(ports)[:MOST_PORTS]):
            self.board.put(self.slot, PORTS + number, port)

    def serves(self, slot: int, port: int) -> bool:
        """Tell whether another worker, or this one, serves a port."""
        ports = range(PORTS, PORTS + MOST_PORTS)
        return any(self.board.get(slot, cell) == port for cell in ports)

    def expect(self) -> None:
        """Say that a new page has come, which has no session yet."""
        with self._lock:
            self._change(EXPECTED, +1)

    def add(self, key: int) -> None:
        """Say that a session is being created here."""
        with self._lock:
            self._creating += 1
            self._creates_for(CREATION_SECONDS)
            if key not in self._keys:
                self._keys.add(key)
                self.board.replace(self.slot, 0, key)  # where there is no place, nobody is told
                self._change(EXPECTED, -1)
                self._expecting = max(0, self._expecting - 1)
            self.board.put(self.slot, SESSIONS, len(self._keys))

    def created(self) -> None:
        """Say that the creation of a session has ended."""
        with self._lock:
            self._creating -= 1
            self._creates_for(CREATION_SECONDS if self._creating else BETWEEN_SECONDS)
            self._change(CREATED, +1)

    def _creates_for(self, seconds: float) -> None:
        self.board.put(self.slot, CREATES_UNTIL, _milliseconds() + int(1000 * seconds))

    def _change(self, cell: int, amount: int) -> None:
        self.board.put(self.slot, cell, self.board.get(self.slot, cell) + amount)

    def __contains__(self, key: int) -> bool:
        """Tell whether a session is here, also one that had no place on the board."""
        return key in self._keys

    def connect(self, key: int) -> None:
        """Say that somebody is connected to a session from now on."""
        with self._lock:
            self.board.replace(self.slot, key, key | CONNECTED)

    def remove(self, key: int) -> None:
        """Say that a session is no more, or could not be created."""
        with self._lock:
            if key in self._keys:
                self._keys.discard(key)
                self.board.replace(self.slot, key, 0)
            self.board.put(self.slot, SESSIONS, len(self._keys))

    def give(self, slot: int, amount: int) -> None:
        """Count a connection that is given to another worker; -1: it was not taken."""
        with self._lock:
            self._change(GIVEN + slot, amount)

    def take(self) -> None:
        """Count a connection that was given to this worker and has arrived."""
        self._change(TAKEN, +1)

    def beat(self) -> None:
        """Say that the event loop runs.

        Whatever had been given by the last beat has arrived since: what has not is lost, such as
        what a worker gave that was killed meanwhile. Whatever page was expected then has a session,
        or needs none, such as one that leads to a login.
        """
        taken, given = self.board.get(self.slot, TAKEN), self.board.given_to(self.slot)
        if taken != given and (taken, given) == self._waiting:
            self.board.put(self.slot, TAKEN, given)
        self._waiting = (taken, given)
        self._forget_expected()
        self.board.put(self.slot, BEAT, _milliseconds())

    def _forget_expected(self) -> None:
        with self._lock:
            self._change(EXPECTED, -self._expecting)
            self._expecting = self.board.get(self.slot, EXPECTED)

    def drain(self) -> None:
        """Say that this worker takes no new sessions."""
        self.board.put(self.slot, DRAINS, 1)


_boards: list[tuple[Board, int, int]] = []  # at most one; this worker's slot, its process
_seats: list[Seat] = []  # at most one


def prepare(workers: int) -> Board:
    """Make the board of the workers that are about to be forked from this process."""
    return Board(min(workers, MOST_WORKERS))


def inherit(board: Board, slot: int) -> None:
    """Remember in a forked worker which board is its server's, and which row its own."""
    _boards[:] = [(board, slot, os.getpid())] if slot < board.workers else []


def is_forked() -> bool:
    """Tell whether this process is one of several forked workers with a board."""
    return bool(_boards) and _boards[0][2] == os.getpid()


def slot() -> int:
    """Return the number of this forked worker."""
    return _boards[0][1]


def sit_down() -> Seat:
    """Take this forked worker's row."""
    if not _seats:
        _seats.append(Seat(_boards[0][0], slot()))
    return _seats[0]


def seat() -> Seat | None:
    """Return this worker's row; None where connections are not handed."""
    return _seats[0] if _seats else None


def coming() -> int:
    """Count the connections that were given to this worker and that it has not taken yet."""
    mine = seat()
    return mine.board.coming(mine.slot) if mine is not None else 0


def drain() -> None:
    """Say that this worker takes no new sessions."""
    if (mine := seat()) is not None:
        mine.drain()


os.register_at_fork(after_in_child=_seats.clear)
