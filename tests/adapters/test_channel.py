"""One deadline for a whole request, whatever the server does with its connection."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from autoscaler.adapters.http.answers import NoReply, Reply
from autoscaler.adapters.http.channel import Channel, Endpoint
from autoscaler.adapters.prometheus.source import PrometheusSettings, PrometheusSource
from tests.adapters.hostile import FINE, Serve, drips, keeps_open, pours, says, server
from tests.lab.processes import free_ports, wait_until

WITHIN = 0.6
LONG_BEFORE = 15.0
LARGEST = 4_096
VECTOR = b'{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"5"]}]}}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(VECTOR), VECTOR)


def get(channel: Channel, within: float = WITHIN) -> Reply | NoReply:
    return channel.get("/?q=1", {"X-Own": "1"}, within=within, largest=LARGEST)


def stubborn(content: bytes) -> Serve:
    """Drips for as long as the test goes on, whatever the client does."""

    def serve(client: socket.socket, stop: threading.Event) -> None:
        client.recv(65536)
        while not stop.wait(0.05):
            for byte in content:
                client.sendall(bytes([byte]))
                if stop.wait(0.05):
                    return

    return serve


@pytest.mark.parametrize(
    "serve",
    [
        pytest.param(lambda client, stop: stop.wait(), id="it says nothing"),
        pytest.param(stubborn(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000), id="it drips a header"),
        pytest.param(stubborn(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2_000), id="it drips headers"),
        pytest.param(stubborn(b"HTTP/1.1 100 Continue\r\n\r\n" * 999), id="it never begins"),
        pytest.param(stubborn(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 9_000), id="it drips a body"),
    ],
)
def test_a_request_ends_at_its_deadline(serve: Serve) -> None:
    with server(serve) as page:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            get(Channel(Endpoint(page.address, page.port)))
        assert time.monotonic() - began < LONG_BEFORE


def test_a_server_that_drips_headers_holds_no_thread_of_ours() -> None:
    with server(stubborn(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9_000)) as page:
        settings = PrometheusSettings(f"http://{page.host}", timeout=WITHIN, patience=0.1)
        PrometheusSource(settings).read([("sessions", "exporter")], ["a", "b"], time.time())
        wait_until(lambda: not asking(), LONG_BEFORE, "the threads to end")


def asking() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "asking"]


def test_a_server_that_pours_is_cut_off() -> None:
    with server(pours) as page:
        said = get(Channel(Endpoint(page.address, page.port)), LONG_BEFORE)

    assert said == NoReply("answered with more than 4 KiB")


def test_a_connection_that_was_closed_meanwhile_is_made_again() -> None:
    with server(says(FINE)) as page:  # it closes, and said nothing of it
        channel = Channel(Endpoint(page.address, page.port))
        for _ in range(3):
            said = get(channel, LONG_BEFORE)
            assert isinstance(said, Reply)
            assert said.body == b"{}"


def test_a_connection_that_breaks_in_an_answer_is_not_tried_again() -> None:
    asked: list[bytes] = []

    def serve(client: socket.socket, _: threading.Event) -> None:
        while request := client.recv(65536):
            asked.append(request)
            client.sendall(FINE if len(asked) == 1 else FINE[:-1])
            if len(asked) == 2:
                return

    with server(serve) as page:
        channel = Channel(Endpoint(page.address, page.port))
        get(channel, LONG_BEFORE)
        said = get(channel, LONG_BEFORE)

    assert said == NoReply("did not give a complete HTTP response")
    assert len(asked) == 2


def test_the_next_address_of_a_name_is_tried() -> None:
    with server(keeps_open(FINE)) as page:  # on 127.0.0.1 only; localhost may be ::1 first
        assert isinstance(get(Channel(Endpoint("localhost", page.port)), LONG_BEFORE), Reply)


@pytest.mark.parametrize("host", ["127.0.0.1", "name.invalid"])
def test_nobody_answers_there(host: str) -> None:
    (port,) = free_ports(1)

    with pytest.raises(OSError, match=r"\w"):
        get(Channel(Endpoint(host, port)))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself, with its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    crt, key, both = folder / "crt", folder / "key", folder / "both"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", crt, "-keyout", key]
    subprocess.run(["openssl", *words.split(), *names], check=True, capture_output=True)
    both.write_bytes(crt.read_bytes() + key.read_bytes())
    return both


@contextmanager
def encrypted(certificate: Path, clients: list[socket.socket]) -> Iterator[int]:
    """A server that answers over TLS on kept connections; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(client: socket.socket, _: threading.Event) -> None:
        with closing(context.wrap_socket(client, server_side=True)) as wrapped:
            clients.append(wrapped)
            while wrapped.recv(65536):
                wrapped.sendall(ANSWER)

    with server(serve) as page:
        try:
            yield page.port
        finally:
            for each in clients:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


def test_over_tls_connections_are_kept_and_the_certificate_is_looked_at(certificate: Path) -> None:
    clients: list[socket.socket] = []
    with encrypted(certificate, clients) as port:
        url = f"https://127.0.0.1:{port}"
        trusting = PrometheusSource(PrometheusSettings(url, ca_file=certificate, patience=5.0))
        for _ in range(3):
            assert trusting.read([], ["a"], 1.0).external["a"][0] == 5000
        assert len(clients) == 1

        doubting = PrometheusSource(PrometheusSettings(url, patience=5.0))
        assert "set --prometheus-ca-file" in str(doubting.read([], ["a"], 0.0).external["a"])
        gone = PrometheusSettings(url, ca_file=Path("/no/such/file"), patience=5.0)
        said = str(PrometheusSource(gone).read([], ["a"], 0.0).external["a"])
        assert "cannot read the CA file /no/such/file" in said


def test_a_server_that_drips_its_side_of_tls_ends_at_the_deadline() -> None:
    with server(drips(b"\x16\x03\x03\x40\x00\x02", every=0.02)) as page:
        began = time.monotonic()
        with pytest.raises(OSError, match=r"\w"):
            get(Channel(Endpoint(page.address, page.port, ssl.create_default_context)))
        assert time.monotonic() - began < LONG_BEFORE
