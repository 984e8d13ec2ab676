"""`autoscaler users` before an address that opens no session: what it says, in one line."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from autoscaler.cli import main

STARTING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
OTHER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@contextlib.contextmanager
def server(answer: bytes) -> Iterator[str]:
    """Serve one answer to each request, or close the connection if it is empty."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):  # the end of the test
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def said(url: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["users", url, "3"]) == 1
    out, line = capsys.readouterr()
    assert out == ""
    assert line.count("\n") == 1
    return line.removeprefix("autoscaler users: ").rstrip()


@pytest.mark.parametrize("place", ["127.0.0.1:1", "nowhere.invalid"])
def test_an_address_that_nobody_listens_at_is_named(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = said(f"http://{place}/app", capsys)

    assert line.startswith(f"cannot connect to {place} (")
    assert line.endswith("correct the address, or wait until the app has started")


ANSWERS = {
    "the connection is closed, as by a forwarded port": (b"", "cannot connect to {place} ("),
    "a proxy without a pod": (STARTING, "http://{place}/app answers with HTTP 503: Service"),
    "another page": (OTHER, "http://{place}/app opens no session (http://{place}/app is not a"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_answers_in_place_of_the_app_is_told(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, words = ANSWERS[case]
    with server(answer) as place:
        line = said(f"http://{place}/app", capsys)

    assert line.startswith(words.format(place=place))
