"""A pod's own word counts only when it is whole: whatever else comes, the pod is busy."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf, nan
from typing import Any

import pytest

from autoscaler.adapters.sidecars import HttpSidecars
from autoscaler.model import Occupancy, Unavailable, Unreachable
from tests.builders import pod
from tests.lab.processes import free_ports
from tests.lab.scripted_sidecars import state

HERE = pod(ip="127.0.0.1")
EMPTY = state(0, empty_for=90.0)


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
            HERE.uid: Occupancy(live=0, opening=0, blocked=0, empty_for=90.0, idle_for=0.0)
        }


def test_a_pod_without_agents_is_empty_when_its_port_is() -> None:
    with answering(http(json.dumps(EMPTY | {"requests": None, "workers": []}))) as sidecars:
        said = sidecars.occupancy([HERE])[HERE.uid]
        assert isinstance(said, Occupancy)
        assert (said.requests, said.empty_for) == (0, 90.0)


def test_a_busy_pod_says_what_keeps_it() -> None:
    busy = state(2, opening=1) | {"requests": 3, "a key of a newer exporter": [1]}
    with answering(http(json.dumps(busy))) as sidecars:
        assert sidecars.occupancy([HERE]) == {
            HERE.uid: Occupancy(live=2, opening=1, requests=3, empty_for=None, idle_for=0.0)
        }


def test_a_pod_tells_how_many_of_its_sessions_may_be_closed() -> None:
    said = state(3) | {"hints": {"may_close": 2, "a newer one": "x"}}
    with answering(http(json.dumps(said))) as sidecars:
        found = sidecars.occupancy([HERE])[HERE.uid]
        assert isinstance(found, Occupancy)
        assert (found.live, found.may_close, found.empty_for) == (3, 2, None)


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in EMPTY.items() if name != key}


def edited(**values: Any) -> bytes:
    """An answer as of an empty pod, but for these values."""
    return http(json.dumps(EMPTY | values))


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        pytest.param(
            None, "did not give a complete response within 2 s", id="it accepts and says nothing"
        ),
        pytest.param(b"", "did not give a complete HTTP response", id="it hangs up"),
        pytest.param(
            http(json.dumps(EMPTY), "500 Internal Server Error"), "answered HTTP 500", id="HTTP 500"
        ),
        pytest.param(
            http("", "302 Found", headers="Location: http://127.0.0.1:1/state\r\n"),
            "answered HTTP 302",
            id="it sends elsewhere",
        ),
        pytest.param(
            http(json.dumps(EMPTY), missing=10),
            "did not give a complete HTTP response",
            id="it ends in the middle",
        ),
        pytest.param(http("<html>"), "JSON", id="no JSON"),
        pytest.param(http("[" * 60_000), "JSON", id="JSON so deep that nobody parses it"),
        pytest.param(http("x" * 65_537), "more than 64 KiB", id="larger than any exporter's"),
        pytest.param(
            http("", headers=f"Content-Length: {'9' * 5_000}\r\n"),
            "did not give a complete HTTP response",
            id="a length of five thousand digits",
        ),
        pytest.param(
            http(json.dumps(EMPTY), headers=f"X: {'x' * 40_000}\r\n"),
            "did not give a complete HTTP response",
            id="a head larger than 16 KiB",
        ),
        pytest.param(
            http(json.dumps(EMPTY), headers="Content-Encoding: gzip\r\n"),
            "answered in the encoding 'gzip', which was not requested",
            id="packed",
        ),
        pytest.param(edited(empty_for_s=nan), "JSON", id="NaN"),
        pytest.param(edited(empty_for_s=inf), "JSON", id="Infinity"),
        pytest.param(http("[]"), "unusable", id="another kind of JSON"),
        pytest.param(http("null"), "unusable", id="nothing at all"),
        pytest.param(http(json.dumps(without("connections"))), "connections", id="no connections"),
        pytest.param(http(json.dumps(without("sessions"))), "sessions", id="no sessions"),
        pytest.param(http(json.dumps(without("workers"))), "workers", id="no workers"),
        pytest.param(http(json.dumps(without("ready"))), "ready", id="no word whether it serves"),
        pytest.param(
            http(json.dumps(without("empty_for_s"))), "too old", id="an exporter from before"
        ),
        pytest.param(edited(ready=False), "no Bokeh server", id="it sees no server"),
        pytest.param(
            edited(workers=[{"ok": True}, {"ok": False}]),
            "a worker does not answer",
            id="one worker of two does not answer it",
        ),
        pytest.param(
            edited(connections={"live": 1}),
            "both connections and that the pod is empty",
            id="it contradicts itself",
        ),
        *(
            pytest.param(edited(**{key: wrong}), f"unusable: {key}", id=f"{key} is {wrong!r}")
            for key, wrongs in {
                "ready": ["true", 1, None],
                "empty_for_s": ["90", True, -1, 1e300, [90]],
                "last_activity_age_s": ["0", False, -1],
                "requests": ["0", 0.5, -1, 10**30],
                "connections": [{"live": None}, {"live": 0.0}, {"live": True}, 0, []],
                "sessions": [{"pending": 0, "opening": "0", "blocked": 0}, None],
                "workers": [[{"ok": 1}], [True], {"ok": True}, None],
            }.items()
            for wrong in wrongs
        ),
    ],
)
def test_whatever_is_no_whole_answer_is_none_and_says_why(reply: bytes | None, why: str) -> None:
    with answering(reply) as sidecars:
        said = sidecars.occupancy([HERE])[HERE.uid]
        assert isinstance(said, Unavailable)
        assert why in said.message


def test_a_pod_without_an_address_is_not_asked() -> None:
    assert HttpSidecars(1).occupancy([pod("pod-1", ip=None)]) == {}


def test_one_that_does_not_answer_keeps_no_other_from_being_heard() -> None:
    (port,) = free_ports(1)
    assert isinstance(HttpSidecars(port).occupancy([HERE])[HERE.uid], Unavailable)
    gone = pod("gone", ip="127.1.2.3")
    with answering(http(json.dumps(EMPTY))) as sidecars:
        said = sidecars.occupancy([gone, HERE])
        assert isinstance(said[gone.uid], Unavailable)
        assert isinstance(said[HERE.uid], Occupancy)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        pytest.param(None, Unreachable, id="no answer: the network may be closed to the daemon"),
        pytest.param(http("", "403 Forbidden"), Unreachable, id="a mesh answers in its place"),
        pytest.param(http("<html>"), Unreachable, id="another server is at that port"),
        pytest.param(
            edited(ready=False), Unavailable, id="the exporter itself, which sees nothing"
        ),
    ],
)
def test_one_that_cannot_be_reached_is_told_from_one_that_cannot_say(
    reply: bytes | None, kind: type
) -> None:
    with answering(reply) as sidecars:
        assert type(sidecars.occupancy([HERE])[HERE.uid]) is kind
