"""Clients that answer no pings: gone, frozen, or there and busy with a large document."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from tests.lab.bokeh_servers import QUICK, bokeh_serve, free_port, wait_until
from tests.lab.websocket_user import Users, token_in

pytestmark = [pytest.mark.slow, pytest.mark.timing_sensitive]

# The message `block` is work that goes on for ever.
WORKING = """
from bokeh.io import curdoc
from bokeh.models import Div

session_of = curdoc().session_context
curdoc().add_root(Div(text="hello"))
curdoc().on_message("block", lambda _: session_of.session.block_expiration())
"""
LARGE = """
from bokeh.io import curdoc
from bokeh.models import Div

curdoc().add_root(Div(text="x" * 40_000_000))
"""


def frozen_client(port: int, token: str) -> socket.socket:
    """A page's WebSocket whose owner answers no pings."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    client.sendall(
        (
            "GET /app/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: bokeh, {token}\r\n\r\n"
        ).encode()
    )
    return client


def masked(text: bytes) -> bytes:
    """A short text as a client's WebSocket frame; the mask is all zero."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


def test_a_client_that_answers_no_pings_is_stale_and_its_session_not_connected(
    tmp_path: Path,
) -> None:
    with bokeh_serve(tmp_path, "--keep-alive", "500") as server, Users() as users:
        server.wait_workers(1)
        users.join(server.url)
        port, token = int(server.url.split(":")[2][:-4]), token_in(users.get(server.url))
        with frozen_client(port, token):
            wait_until(lambda: server.connected() == 2, "the second client")
            gone = {"live": 1, "stale": 1}
            wait_until(lambda: server.state()["connections"] == gone, "one stale connection")
            assert server.state()["sessions"]["connected"] == 1
        wait_until(lambda: server.state()["connections"] == {"live": 1, "stale": 0}, "it to close")


def test_a_client_that_falls_silent_counts_until_the_window_after_that(tmp_path: Path) -> None:
    port = free_port()
    quick = ("--keep-alive", "500", *QUICK)
    ours = bokeh_serve(tmp_path, *quick, port=port, options=("--reconnect", "6s"))
    with ours as server, Users() as users:
        server.wait_workers(1)
        with frozen_client(port, token_in(users.get(server.url))):
            wait_until(lambda: server.state()["connections"]["live"] == 1, "the client")
            server.terminate()
            silent = {"live": 0, "stale": 1}
            wait_until(lambda: server.state()["connections"] == silent, "it to fall silent")
            found = time.monotonic()
            assert server.state()["last_disconnect_age_s"] < 2
            while time.monotonic() - found < 4:
                assert server.launcher.poll() is None, "it ended while its client may come back"
                time.sleep(0.1)
            assert server.exit_code() == 0


def test_work_goes_on_while_its_user_answers_no_pings(tmp_path: Path) -> None:
    port = free_port()
    ours = bokeh_serve(tmp_path, "--keep-alive", "500", app=WORKING, port=port)
    with ours as server, Users() as users:
        server.wait_workers(1)
        token = token_in(users.get(server.url))
        working = users.connect(server.url, token)
        with frozen_client(port, token):
            wait_until(lambda: server.state()["connections"]["live"] == 2, "the second client")
            assert users.say(working, "block", "") == "OK"
            users.leave(working)
            wait_until(lambda: server.state()["connections"]["stale"] == 1, "it to fall silent")
            assert server.state()["sessions"]["blocked"] == 1
            assert server.state()["empty_for_s"] is None


def test_a_client_that_takes_a_large_document_slowly_is_there(tmp_path: Path) -> None:
    port = free_port()
    ours = bokeh_serve(tmp_path, "--keep-alive", "1000", app=LARGE, port=port)
    with ours as server, Users() as users:
        server.wait_workers(1)
        with frozen_client(port, token_in(users.get(server.url))) as client:
            wait_until(lambda: server.connected() == 1, "the user")
            for part in ({"msgid": "1", "msgtype": "PULL-DOC-REQ"}, {}, {}):
                client.sendall(masked(json.dumps(part).encode()))
            began = time.monotonic()
            while time.monotonic() - began < 20:  # the pings are behind the document
                assert client.recv(20_000)
                time.sleep(0.02)
                late = time.monotonic() - began > 12
                assert not late or server.state()["connections"] == {"live": 1, "stale": 0}
            gone = {"live": 0, "stale": 1}
            wait_until(lambda: server.state()["connections"] == gone, "it to fall silent")
