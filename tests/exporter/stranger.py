"""A process of another user that makes or asks agents' sockets.

It starts as root and becomes that user, who could not read the interpreter's files.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UID = 12345
IS_ROOT = os.geteuid() == 0
NO_ROOT = "SKIPPED LOUDLY: only root can be another user, so who is trusted was not tested"


@contextmanager
def listening(*names: str, answer: str, uid: int = UID) -> Iterator[None]:
    """Somebody of that user answers under these abstract names or paths."""
    words = [sys.executable, "-m", "tests.exporter.stranger", str(uid), "listen", answer, *names]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(20)


def ask(address: str, line: str = "", uid: int = UID) -> str:
    """What an agent answers to somebody of that user, who is none of its ancestors."""
    words = [sys.executable, "-m", "tests.exporter.stranger", str(uid), "ask", address, line]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def _listen(answer: str, names: list[str]) -> None:
    listeners = []
    for name in names:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(_address(name))
        if name.startswith("/"):
            Path(name).chmod(0o666)
        listener.listen(8)
        listeners.append(listener)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    import selectors

    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        for listener in listeners:
            selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                client, _ = key.fileobj.accept()  # type: ignore[union-attr]
                with client, suppress(OSError):
                    client.sendall(answer.encode())


def _ask(address: str, line: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, suppress(ConnectionError):
        client.settimeout(20)
        client.connect(_address(address))
        with suppress(BrokenPipeError):  # it answered before we came to say anything
            client.sendall(line.encode())
            client.shutdown(socket.SHUT_WR)
        while chunk := client.recv(65536):
            sys.stdout.write(chunk.decode())


def _address(name: str) -> str:
    return name if name.startswith("/") else f"\0{name}"


if __name__ == "__main__":
    user, mode, *rest = sys.argv[1:]
    if int(user) != os.geteuid():
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    if mode == "listen":
        _listen(rest[0], rest[1:])
    else:
        _ask(rest[0], rest[1])
