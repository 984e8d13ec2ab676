"""A pod's own word counts only when it is whole: whatever else comes, the pod is busy."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.model import Occupancy
from tests.builders import pod
from tests.cluster.processes import free_ports
from tests.cluster.scripted_sidecars import state

HERE = pod(ip="127.0.0.1")
EMPTY = state(0, quiet_for=90.0)


def http(body: str, status: str = "200 OK", *, missing: int = 0, headers: str = "") -> bytes:
    """An answer that announces more bytes than come, if any are missing."""
    length = len(body) + missing
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}".encode()


@contextmanager
def answering(reply: bytes | None) -> Iterator[HttpSidecars]:
    """A sidecar that says this to everybody and hangs up; None: it keeps silent."""
    with socket.create_server(("127.0.0.1", 0)) as server, HangUp() as open_ones:

        def serve() -> None:
            with suppress(OSError):  # the server is closed
                while True:
                    client, _ = server.accept()
                    client.recv(65536)
                    if reply is None:
                        open_ones.append(client)
                        continue
                    client.sendall(reply)
                    client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield HttpSidecars(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


class HangUp(list[socket.socket]):
    """Connections that end with the block."""

    def __enter__(self) -> HangUp:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self:
            each.close()


def test_an_empty_pod_says_so() -> None:
    with answering(http(json.dumps(EMPTY))) as sidecars:
        assert sidecars.occupancy([HERE]) == {
            HERE.uid: Occupancy(live=0, opening=0, blocked=0, quiet_for=90.0, idle_for=0.0)
        }


def test_in_a_pod_that_is_not_ready_no_server_means_nobody() -> None:
    with answering(http(json.dumps(EMPTY | {"ready": False}))) as sidecars:
        assert sidecars.occupancy([replace(HERE, ready=False)])


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in EMPTY.items() if name != key}


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(None, id="it accepts and says nothing"),
        pytest.param(b"", id="it hangs up"),
        pytest.param(http(json.dumps(EMPTY), "500 Internal Server Error"), id="HTTP 500"),
        pytest.param(
            http("", "302 Found", headers="Location: http://127.0.0.1:1/state\r\n"),
            id="it sends elsewhere",
        ),
        pytest.param(http(json.dumps(EMPTY), missing=10), id="it ends in the middle"),
        pytest.param(http("<html>"), id="no JSON"),
        pytest.param(http("[]"), id="another kind of JSON"),
        pytest.param(http("null"), id="nothing at all"),
        pytest.param(http(json.dumps(without("connections"))), id="no connections"),
        pytest.param(http(json.dumps(without("sessions"))), id="no sessions"),
        pytest.param(http(json.dumps(without("workers"))), id="no workers"),
        pytest.param(http(json.dumps(without("last_disconnect_age_s"))), id="no last disconnect"),
        pytest.param(http(json.dumps(without("ready"))), id="no word whether it is ready"),
        pytest.param(
            http(json.dumps(EMPTY | {"ready": False})), id="it sees no server in a pod that serves"
        ),
        pytest.param(
            http(json.dumps(EMPTY | {"workers": [{"ok": True}, {"ok": False}]})),
            id="one worker of two does not answer it",
        ),
        pytest.param(
            http(json.dumps(EMPTY | {"connections": {"live": None}})), id="a number that is none"
        ),
    ],
)
def test_whatever_is_no_whole_answer_says_nothing(reply: bytes | None) -> None:
    with answering(reply) as sidecars:
        assert sidecars.occupancy([HERE]) == {}


def test_nobody_listens_or_there_is_no_address_yet() -> None:
    (nobody,) = free_ports(1)

    assert HttpSidecars(nobody).occupancy([HERE, pod("pod-1", ip=None)]) == {}


def test_one_that_does_not_answer_keeps_no_other_from_being_heard() -> None:
    gone = pod("gone", ip="127.1.2.3")
    with answering(http(json.dumps(EMPTY))) as sidecars:
        assert list(sidecars.occupancy([gone, HERE])) == [HERE.uid]
