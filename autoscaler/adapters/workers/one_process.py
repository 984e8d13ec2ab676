"""One process that does one piece of work after the other, and drops it for a newer one."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, Generic, TypeVar

from autoscaler.errors import AutoscalerError

LOG = logging.getLogger("autoscaler")
Job = TypeVar("Job")
Work = Callable[[Any, Callable[[float], None]], Any]
KILLED = "the process of the simulation was killed, perhaps for its memory; change the policy"
# Seconds between two looks whether a job is still wanted.
TELL_EVERY = 0.1
# What is sent to the process in place of a job: the one that it does is no longer wanted.
DROP = None


@dataclass(frozen=True)
class Progress:
    """The share of a piece of work that is done."""

    share: float


@dataclass(frozen=True)
class Done:
    """The result of a piece of work."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """Why a piece of work has no result; one line for each problem."""

    reason: str


@dataclass(frozen=True)
class Dropped:
    """A piece of work was not finished, for nobody wants it any more."""


Message = Progress | Done | Failed | Dropped


@dataclass
class _Order(Generic[Job]):
    owner: object
    job: Job
    tell: Callable[[Message], None]
    is_wanted: bool = True


class OneProcess(Generic[Job]):
    """Does the last job of each owner, one after the other, in a process of its own.

    work: a picklable function of the job and of what is called with its progress; it keeps its own
    state between jobs. It may raise AutoscalerError.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._orders: dict[object, _Order[Job]] = {}
        self._current: _Order[Job] | None = None
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None

    def submit(self, owner: object, job: Job, tell: Callable[[Message], None]) -> None:
        """Do this in place of the owner's older job. tell: called in another thread."""
        with self._changed:
            self._drop(owner)
            self._orders[owner] = _Order(owner, job, tell)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._changed.notify()

    def forget(self, owner: object) -> None:
        """Do nothing more for an owner."""
        with self._changed:
            self._drop(owner)

    def _drop(self, owner: object) -> None:
        self._orders.pop(owner, None)
        current = self._current
        if current is not None and current.owner == owner and current.is_wanted:
            current.is_wanted = False
            if self._connection is not None:
                with suppress(OSError):  # it was killed, which the other thread will notice
                    self._connection.send(DROP)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._orders)
                order = self._current = self._orders.pop(next(iter(self._orders)))
            try:
                self._do(order)
            except (EOFError, OSError):
                self._connection = None
                self._tell(order, Failed(KILLED))
            with self._changed:
                self._current = None

    def _do(self, order: _Order[Job]) -> None:
        connection = self._connection = self._connection or self._start()
        with self._changed:
            if not order.is_wanted:
                return
            connection.send(order.job)
        message: Message = Progress(0.0)
        while isinstance(message, Progress):
            message = connection.recv()
            self._tell(order, message)

    def _tell(self, order: _Order[Job], message: Message) -> None:
        if not order.is_wanted:
            return
        try:
            order.tell(message)
        except Exception:  # such as a page that has just been closed; the others go on
            LOG.exception("the result of a simulation could not be told")

    def _start(self) -> Connection:
        """Start a process, which ends with this one."""
        context = get_context("spawn")  # a fork would copy the locks that other threads hold
        ours, theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs, self._work), daemon=True).start()
        theirs.close()
        return ours


class _DroppedError(Exception):
    """The job that is being done is no longer wanted."""


def _serve(connection: Connection, work: Work) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one

    told_at = -inf

    def progress(share: float) -> None:
        nonlocal told_at
        if (now := monotonic()) - told_at < TELL_EVERY:
            return
        told_at = now
        if connection.poll():
            raise _DroppedError
        connection.send(Progress(share))

    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        if job is not DROP:
            connection.send(_answer(work, job, progress))


def _answer(work: Work, job: Any, progress: Callable[[float], None]) -> Message:
    try:
        return Done(work(job, progress))
    except _DroppedError:
        return Dropped()
    except AutoscalerError as error:
        return Failed(str(error))
    except Exception as error:
        return Failed(f"the simulation failed: {error!r}")
