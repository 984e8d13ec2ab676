"""Real programs on loopback: started with a log each, awaited, and ended by their ids."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from typing import Self, TypeVar

T = TypeVar("T")
LEAST_PAUSE, MOST_PAUSE = 0.02, 0.5  # seconds
PORTS = range(15_000, 30_000)
MOST_KEPT = 100  # of the ports that one process has taken; the server of an older one listens
GRACE = 10.0  # seconds from SIGTERM to SIGKILL; etcd and the API server need under one


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on, all different.

    From below those that the system gives to connections (32768 and up): a server may take ten
    seconds to listen, and one of the hundreds of connections meanwhile would have its port. For the
    same reason nobody else who asks here is given it meanwhile.
    """
    with ExitStack() as stack:
        free: list[int] = []
        for port in SystemRandom().sample(PORTS, 200):
            with suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                keep(port)
                free.append(port)
            if len(free) == count:
                return free
        raise AssertionError(f"none but {len(free)} of 200 ports are free")


_kept: deque[socket.socket] = deque()


def keep(port: int) -> None:
    """Keep a port from all other tests of this machine, also from those in other processes.

    By a name that only one socket has. Raises OSError if the port is kept already.
    """
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0port-of-a-test/{port}")
    except OSError:
        name.close()
        raise
    _kept.append(name)
    if len(_kept) > MOST_KEPT:
        _kept.popleft().close()


def wait_until(predicate: Callable[[], T], timeout: float, what: str) -> T:
    """Poll until `predicate` is true and return what it gave; fail after `timeout` seconds.

    It is asked less and less often: what takes 10 s is noticed half a second late, and asking takes
    half of the time at most. Otherwise waiting would be most of the work of a cluster.
    """
    began = time.monotonic()
    while True:
        asked = time.monotonic()
        if result := predicate():
            return result
        now = time.monotonic()
        assert now < began + timeout, f"waited {timeout:g} s in vain for {what}"
        time.sleep(min(MOST_PAUSE, max(LEAST_PAUSE, (now - began) / 20, now - asked)))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process neither runs nor ends: its peers wait for answers that do not come."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


class Processes:
    """Child processes that end with the `with` block, last started first."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str | Path], **environment: str) -> None:
        """Start a program; all it writes goes to `<name>.log`. environment: beside our own."""
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [str(word) for word in command],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def check(self) -> None:
        """Fail with the end of the log of a program that has ended by itself."""
        for name, process in self._running.items():
            status = process.poll()
            assert status is None, f"{name} ended with status {status}:\n{self.tail(name)}"

    def await_ready(self, predicate: Callable[[], bool], timeout: float, what: str) -> None:
        """Poll until `predicate` holds; fail with the logs when it does not or a program ends."""

        def ready() -> bool:
            self.check()
            return predicate()

        try:
            wait_until(ready, timeout, what)
        except AssertionError as error:
            logs = "\n".join(f"--- {name}\n{self.tail(name)}" for name in self._running)
            raise AssertionError(f"{error}\n{logs}") from None

    def tail(self, name: str, lines: int = 20) -> str:
        return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-lines:])

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def send(self, name: str, number: int) -> None:
        self._running[name].send_signal(number)

    def has_ended(self, name: str) -> bool:
        return self._running[name].poll() is not None

    def stop(self, name: str) -> None:
        """SIGTERM, then SIGKILL after the grace period."""
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop_all(self) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()
