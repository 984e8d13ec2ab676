"""What the hand-off uses of Tornado and Bokeh beyond their documentation; run by either Python.

`python handoff_contract.py FOLDER`: the folder of this repository. Fails with what is different.
"""

import asyncio
import inspect
import socket
import sys

from bokeh.application import Application
from bokeh.server.tornado import BokehTornado
from bokeh.util.token import generate_jwt_token
from tornado import process
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, parse_request_start_line
from tornado.iostream import IOStream
from tornado.websocket import WebSocketHandler

sys.path.insert(0, sys.argv[1])
from exporter.agent import addressee, giving, handed_stream

WEBSOCKET = {"Upgrade": "websocket", "Connection": "Upgrade"}


def head_of(text: str) -> tuple:
    line, _, rest = text.partition("\r\n")
    return parse_request_start_line(line), HTTPHeaders.parse(rest)


def ask(application: BokehTornado, target: str, **headers: str) -> object:
    start_line, found = head_of(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
    for name, value in headers.items():
        found[name.replace("_", "-")] = value
    return addressee.asked(application, None, start_line, found)


def requests_are_understood() -> None:
    application = BokehTornado({"/app": Application(), "/": Application()}, prefix="/pre")
    token = generate_jwt_token("known", expiration=300)
    for target in ("/pre/app", "/pre/app/", "/pre/app/autoload.js?x=1"):
        assert ask(application, target) == ("/app", "", False), target
        assert ask(application, target, Bokeh_Session_Id="a") == ("/app", "a", False), target
    assert ask(application, "/pre/app?bokeh-session-id=b") == ("/app", "b", False)
    assert ask(application, "/pre/app?bokeh-session-id=%20b%01") == ("/app", "b", False)
    assert ask(application, f"/pre/app?bokeh-token={token}") == ("/app", "known", False)
    there = {**WEBSOCKET, "Sec_WebSocket_Protocol": f"bokeh, {token}"}
    assert ask(application, "/pre/app/ws", **there) == ("/app", "known", True)
    assert ask(application, "/pre/", Bokeh_Session_Id="a") == ("/", "a", False)
    for other in ("/pre/app/metadata", "/pre/static/js/bokeh.min.js", "/app", "/pre/nothing"):
        assert ask(application, other) is None, other


def heads_are_written_as_they_were() -> None:
    lines = [
        "GET /app?a=%20&b=c HTTP/1.1", "Host: a:5006", "Cookie: a=b; c=d", "Cookie: e=f",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "X-Latin: caf\xe9", "X-Empty: ",
    ]  # fmt: skip
    text = "\r\n".join([*lines, "", ""])
    start_line, headers = head_of(text)
    again = giving.head(start_line, headers).decode("latin1")
    assert head_of(again)[0] == start_line
    assert list(head_of(again)[1].get_all()) == list(headers.get_all())


class Taken(HTTPMessageDelegate):
    """Detaches its connection when the head has been read, as a connection that is handed."""

    def __init__(self, connection: HTTP1Connection) -> None:
        self.connection = connection
        self.stream: IOStream | None = None
        self.calls: list[str] = []

    def headers_received(self, start_line: object, headers: object) -> None:
        self.unread = handed_stream.unread(self.connection.stream)
        self.stream = self.connection.detach()

    def finish(self) -> None:
        self.calls.append("finish")

    def on_connection_close(self) -> None:
        self.calls.append("close")


async def a_connection_leaves_at_its_head_with_all_that_was_read() -> None:
    client, server = socket.socketpair()
    client.sendall(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\n")
    stream = IOStream(server)
    connection = HTTP1Connection(stream, False)
    delegate = Taken(connection)
    assert await connection.read_response(delegate) is False
    assert delegate.stream is stream
    assert delegate.calls == []
    assert delegate.unread == b"GET /two HTTP/1.1\r\n"
    kept = socket.socket(fileno=__import__("os").dup(stream.socket.fileno()))
    stream.close()
    client.sendall(b"Host: a\r\n\r\n")
    kept.setblocking(False)
    limits = {"max_buffer_size": None, "read_chunk_size": None}
    again = handed_stream.handed(kept, delegate.unread, **limits)
    assert await again.read_until(b"\r\n\r\n") == b"GET /two HTTP/1.1\r\nHost: a\r\n\r\n"
    client.close()
    again.close()


async def a_long_head_is_read_to_its_end() -> None:
    client, server = socket.socketpair()
    server.setblocking(False)
    stream = handed_stream.handed(server, b"a" * 90_000 + b"\n", read_chunk_size=4096)
    assert len(await stream.read_until(b"\n")) == 90_001
    client.sendall(b"b\n")
    assert await stream.read_until(b"\n") == b"b\n"
    client.close()
    stream.close()


def names_are_there() -> None:
    fork = inspect.signature(process.fork_processes)
    assert list(fork.parameters) == ["num_processes", "max_restarts"]
    made = HTTPServer(BokehTornado({"/app": Application()}))
    assert made.ssl_options is None
    assert (made.max_buffer_size, made.read_chunk_size) == (None, None)
    assert isinstance(made.request_callback, BokehTornado)
    assert callable(made.handle_stream)
    assert callable(HTTP1ServerConnection.start_serving)
    assert callable(WebSocketHandler.set_nodelay)


async def main() -> None:
    requests_are_understood()
    heads_are_written_as_they_were()
    names_are_there()
    await a_connection_leaves_at_its_head_with_all_that_was_read()
    await a_long_head_is_read_to_its_end()


asyncio.run(main())
