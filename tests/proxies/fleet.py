"""Real Bokeh servers with addresses of their own on one port, as pods have them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.lab.bokeh_servers import Served, bokeh_serve, stop_at_once, wait_until

PORT = 5006
CREATED = 'bokeh_sessions_created_total{app="/app"}'
START_WITHIN = 60.0  # seconds; several fleets may start at once
# Bokeh stands still for seconds when it discards a hundred sessions that nobody has come to.
SOON_EMPTY = ("--reconnect", "1s")  # a server that is told to go waits no half minute
KEEP_SESSIONS = ("--unused-session-lifetime", "3600000")


class Fleet:
    """Servers at 127.X.Y.1, .2, .3, with X and Y at random: others may run tests here too.

    arguments: further ones of `bokeh serve`. addresses: others for them. workers: of each server.
    options: of the launcher.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        count: int = 3,
        addresses: Sequence[str] = (),
        workers: int = 1,
        options: tuple[str, ...] = SOON_EMPTY,
    ) -> None:
        self.network = f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}"
        numbers = range(1, count + 1)
        self.addresses = list(addresses) or [f"{self.network}.{number}" for number in numbers]
        self.servers: list[Served] = []
        self._folder = folder
        self._arguments = ("--num-procs", str(workers), *arguments)
        self._workers = workers
        self._options = options
        self._stacks: list[ExitStack] = []

    def __enter__(self) -> Self:
        self._stacks = [ExitStack() for _ in self.addresses]
        try:
            self.servers = [self._start(number) for number in range(len(self.addresses))]
            self._await_all()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:  # all at once: each takes a moment to end
            server.kill_workers()
            stop_at_once(server.sidecar)
        with ExitStack() as everything:
            for stack in self._stacks:
                everything.push(stack)

    def _start(self, number: int) -> Served:
        address = self.addresses[number]
        arguments = ("--address", address, *KEEP_SESSIONS, *self._arguments)
        server = bokeh_serve(
            self._folder, *arguments, port=PORT, address=address, options=self._options
        )
        return self._stacks[number].enter_context(server)

    def stop(self, number: int) -> None:
        """At once, whoever is there."""
        self._stacks[number].close()

    def start_stopped(self) -> None:
        """Start those anew that have ended."""
        for number, server in enumerate(self.servers):
            if server.launcher.poll() is not None:
                self.stop(number)
                self.servers[number] = self._start(number)
        self._await_all()

    def _await_all(self) -> None:
        for server in self.servers:
            server.wait_workers(self._workers, START_WITHIN)

    def created(self) -> list[int]:
        """How many sessions each server has ever built."""
        return [int(server.value(CREATED)) for server in self.servers]

    def connected(self) -> list[int]:
        """How many users each server has."""
        return [server.connected() for server in self.servers]

    def await_connected(self, wanted: list[int]) -> None:
        wait_until(lambda: self.connected() == wanted, f"{wanted} users, got {self.connected()}")
