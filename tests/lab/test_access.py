"""The ways into an API server, where the test suite itself would otherwise fail by chance."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from urllib3 import BaseHTTPResponse, PoolManager
from urllib3.connection import HTTPConnection

from tests.lab.access import end_watch


class Short(BaseHTTPRequestHandler):
    """A watch that the server ends after one line."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"{}\n")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def stream() -> Iterator[BaseHTTPResponse]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Short) as server, PoolManager() as pool:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        answer = pool.request("GET", url, preload_content=False)
        yield answer
        answer.close()
        pool.clear()
        server.shutdown()
        thread.join()


def _close_connection(stream: BaseHTTPResponse) -> None:
    assert isinstance(stream.connection, HTTPConnection)
    stream.connection.close()


@pytest.mark.parametrize(
    "done",
    [
        pytest.param(lambda stream: None, id="the server still sends"),
        pytest.param(lambda stream: stream.read(), id="the stream was read to its end"),
        pytest.param(lambda stream: stream.close(), id="the stream is closed"),
        pytest.param(_close_connection, id="only its connection is closed"),
    ],
)
def test_a_watch_can_be_ended_whatever_its_thread_has_done(
    stream: BaseHTTPResponse, done: Callable[[BaseHTTPResponse], object]
) -> None:
    done(stream)
    end_watch(stream)
