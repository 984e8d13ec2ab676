"""The handshake of a Bokeh page, as a browser makes it, on a running event loop.

GET the page, take the token from its `render_items`, open `/ws` with the subprotocols `bokeh` and
that token, wait for the acknowledgment, then ask for the document.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import HTTPHeaders
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError
from tornado.websocket import WebSocketClientConnection, websocket_connect

from exporter.texts import visible

_TOKEN = re.compile(r'"token"\s*:\s*"([^"]+)"')
ANSWER_WITHIN = 15.0
LONGEST_REASON = 200
# A message of the protocol has three frames; the server reads none before it has sent its ACK.
ACK_FRAMES = ("header", "metadata", "content")
PULL_DOC = ('{"msgid":"1","msgtype":"PULL-DOC-REQ"}', "{}", "{}")


def token_in(page: str) -> str | None:
    """Return the session token of a page, or None if it is not a page of a Bokeh server."""
    found = _TOKEN.search(page)
    return None if found is None else found.group(1)


def web_socket_of(page: str) -> str:
    """Return where the page at this URL opens its WebSocket."""
    parts = urlsplit(page)
    scheme = "wss" if parts.scheme == "https" else "ws"
    path = f"{parts.path.rstrip('/')}/ws"
    return parts._replace(scheme=scheme, path=path, fragment="").geturl()


def cookies_of(headers: HTTPHeaders) -> dict[str, str]:
    """Return the headers by which a browser sends back the cookies that it was given.

    Without them a proxy in front sends the WebSocket to another pod than the page.
    """
    cookies = [each.split(";")[0] for each in headers.get_list("Set-Cookie")]
    return {"Cookie": "; ".join(cookies)} if cookies else {}


def is_connected(failure: BaseException) -> bool:
    """Return whether a request that failed had a whole answer."""
    without = (HTTPTimeoutError, HTTPStreamClosedError, TimeoutError, ssl.SSLError)
    is_refused = isinstance(failure, OSError) and failure.errno is not None
    return not isinstance(failure, without) and not is_refused


def is_server_error(failure: BaseException) -> bool:
    """Return whether a server, or a proxy in front of it, answered that it cannot serve now."""
    return isinstance(failure, HTTPClientError) and failure.code // 100 == 5


def reason_of(failure: BaseException) -> str:
    """Return why a page or its WebSocket could not be opened, to stand in parentheses."""
    match failure:
        case HTTPTimeoutError():
            return f"no answer in time ({failure.message})"
        case HTTPStreamClosedError():
            return "the connection was closed before the answer"
        case TimeoutError():
            return f"no answer within {ANSWER_WITHIN:g} s"
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not trusted ({failure.verify_message}); if users have its CA, "
                "set SSL_CERT_FILE to a file with it"
            )
    return visible(" ".join(str(failure).split()) or type(failure).__name__, LONGEST_REASON)


async def open_socket(
    page: str, token: str, headers: Mapping[str, str]
) -> WebSocketClientConnection:
    """Open the WebSocket of a page and wait for its acknowledgment.

    Raises HTTPClientError with the status if it is refused, and OSError if it is closed at once.
    """
    request = HTTPRequest(web_socket_of(page), headers=dict(headers), request_timeout=ANSWER_WITHIN)
    connection = await websocket_connect(request, subprotocols=["bokeh", token])
    try:
        for _ in ACK_FRAMES:
            if await connection.read_message() is None:
                raise OSError(f"{page} closed the connection before its acknowledgment")
    except BaseException:
        connection.close()
        raise
    return connection


async def until_closed(connection: WebSocketClientConnection) -> None:
    """Read what comes until the connection has ended."""
    while await connection.read_message() is not None:
        pass


async def ask(connection: WebSocketClientConnection, kind: str, content: Any, answer: str) -> Any:
    """Send a message and return the content of its answer; other messages are skipped.

    Raises OSError if the connection ends before.
    """
    for part in ({"msgid": kind, "msgtype": kind}, {}, content):
        await connection.write_message(json.dumps(part))
    while True:
        said, found = await _message(connection)
        if said == answer:
            return found


async def _message(connection: WebSocketClientConnection) -> tuple[str, Any]:
    """Return the type and the content of the next message."""
    header, _, content = [json.loads(await _frame(connection)) for _ in ACK_FRAMES]
    for _ in range(2 * header.get("num_buffers", 0)):  # each buffer has a header of its own
        await _frame(connection)
    return header["msgtype"], content


async def _frame(connection: WebSocketClientConnection) -> str | bytes:
    frame = await connection.read_message()
    if frame is None:
        raise OSError("the server closed the connection")
    return frame
