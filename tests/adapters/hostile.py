"""Servers on loopback that drip, flood, keep silent and lie, with real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from autoscaler.adapters.http.fetching import Page

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Serve = Callable[[socket.socket, threading.Event], None]


def says(content: bytes) -> Serve:
    """Answers with these bytes and hangs up."""

    def serve(client: socket.socket, _: threading.Event) -> None:
        client.recv(65536)
        client.sendall(content)

    return serve


def drips(content: bytes, every: float = 0.05) -> Serve:
    """Sends a byte now and then, so that no single wait is ever long."""

    def serve(client: socket.socket, stop: threading.Event) -> None:
        client.recv(65536)
        for byte in content * 1_000:
            client.sendall(bytes([byte]))
            if stop.wait(every):
                return

    return serve


def keeps_open(content: bytes) -> Serve:
    """Answers and does not hang up, whatever was asked of it."""

    def serve(client: socket.socket, stop: threading.Event) -> None:
        client.recv(65536)
        client.sendall(content)
        stop.wait()

    return serve


def pours(client: socket.socket, stop: threading.Event) -> None:
    """Sends without an end, as fast as it is read."""
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not stop.is_set():
        client.sendall(b"x" * 65536)


@contextmanager
def server(serve: Serve, host: str = "127.0.0.1") -> Iterator[Page]:
    """One that treats each client so, in threads of its own."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def treat(client: socket.socket) -> None:
        with client, suppress(OSError):
            serve(client, stop)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threads.append(threading.Thread(target=treat, args=[client]))
                threads[-1].start()

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, backlog=128) as listener:
        threads.append(threading.Thread(target=accept, args=[listener]))
        threads[0].start()
        try:
            yield Page(host, listener.getsockname()[1], "/state")
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
