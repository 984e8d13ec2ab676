"""Sidecars of pods that run nothing: each answers `/state` at its pod's own loopback address."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tests.lab.processes import free_ports

State = dict[str, object]
REPLY = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}"


class ScriptedSidecars:
    """One port on many addresses of 127.0.0.0/8, thousands if need be, all served by one thread."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self._states: dict[str, Callable[[], State]] = {}
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="sidecars")
        self._thread.start()

    def say(self, ip: str, live: int) -> None:
        """From now on the sidecar at this address tells of so many users."""
        self.ask(ip, partial(state, live))

    def ask(self, ip: str, about: Callable[[], State]) -> None:
        """From now on the sidecar at this address answers with what `about` gives then."""
        listens = ip in self._states
        self._states[ip] = about
        if not listens:
            asyncio.run_coroutine_threadsafe(self._listen(ip), self._loop).result()

    def refuse(self) -> None:
        """Refuse connections, until something is said of an address again."""
        self._states.clear()
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self, ip: str) -> None:
        server = await asyncio.start_server(partial(self._answer, ip), ip, self.port)
        self._servers.append(server)

    async def _answer(
        self, ip: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):  # who asked went away
            await reader.readuntil(b"\r\n\r\n")
            body = json.dumps(self._states[ip]())
            writer.write(REPLY.format(len(body), body).encode())
            await writer.drain()
        writer.close()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        answering = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*answering)


def state(live: int, opening: int = 0, empty_for: float = 3_600.0) -> State:
    """The part of the exporter's `/state` that the daemon reads.

    empty_for: seconds since the last sign of a user, if nobody is there.
    """
    return {
        "ready": True,
        "workers": [{"ok": True}],
        "connections": {"live": live, "stale": 0},
        "sessions": {"connected": live, "pending": opening, "opening": 0, "blocked": 0},
        "requests": 0,
        "empty_for_s": None if live or opening else empty_for,
        "last_activity_age_s": 0.0,
    }
