"""Requests to a Kubernetes API, or to whatever is in its place, that drips, pours or is silent."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import closing
from pathlib import Path

import pytest
from kubernetes import client
from urllib3.util.retry import Retry

from autoscaler.adapters.kubernetes import calls
from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.deadline import BoundedClient
from autoscaler.adapters.kubernetes.leases import KubernetesLeases
from autoscaler.core.lease import Lease, Place
from autoscaler.errors import ClusterError
from autoscaler.model import TargetRef
from tests.adapters.hostile import Serve, drips, pours, server
from tests.adapters.test_channel import certificate, stubborn

__all__ = ["certificate"]

PLACE = Place("bokeh", "x")
APP = TargetRef("bokeh", "bokeh-app")
LEASE = {"metadata": {"resourceVersion": "7"}, "spec": {"holderIdentity": "other"}}
BODY = json.dumps(LEASE).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


def connected(url: str, certificate: Path | None = None) -> KubernetesCluster:
    settings = client.Configuration(host=url)
    settings.retries = Retry(0, redirect=0)
    settings.ssl_ca_cert = certificate and str(certificate)
    return KubernetesCluster(BoundedClient(settings))


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "WITHIN", 0.5)


OK = b"HTTP/1.1 200 OK\r\n"
DRIPS = [
    pytest.param(lambda _, stop: stop.wait(), id="it says nothing"),
    pytest.param(stubborn(OK + b"X: " + b"y" * 10_000), id="it drips a header"),
    pytest.param(stubborn(OK + b"X: y\r\n" * 2_000), id="it drips headers"),
    pytest.param(stubborn(b"HTTP/1.1 100 Continue\r\n\r\n" * 999), id="it never begins"),
    pytest.param(stubborn(OK + b"\r\n" + b" " * 9_000), id="it drips a body of any length"),
    pytest.param(
        stubborn(OK + b"Content-Length: 9000\r\n\r\n" + b" " * 9_000), id="it drips a body"
    ),
    pytest.param(
        stubborn(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 9_000),
        id="it drips chunks",
    ),
    pytest.param(stubborn(b"HTTP/1.1 500 No\r\n\r\n" + b" " * 9_000), id="it drips an error"),
]


@pytest.mark.parametrize("serve", DRIPS)
@pytest.mark.usefixtures("in_a_hurry")
def test_a_request_ends_at_its_deadline(serve: Serve) -> None:
    with server(serve) as page:
        ends_in_time(f"http://{page.host}")


@pytest.mark.parametrize("serve", DRIPS)
@pytest.mark.usefixtures("in_a_hurry")
def test_a_request_over_tls_ends_at_its_deadline(serve: Serve, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def encrypted(connection: socket.socket, stop: threading.Event) -> None:
        with closing(context.wrap_socket(connection, server_side=True)) as wrapped:
            serve(wrapped, stop)

    with server(encrypted) as page:
        ends_in_time(f"https://{page.host}", certificate)


@pytest.mark.usefixtures("in_a_hurry")
def test_a_server_that_drips_its_side_of_tls_ends_at_the_deadline() -> None:
    with server(drips(b"\x16\x03\x03\x40\x00\x02", every=0.02)) as page:
        ends_in_time(f"https://{page.host}")


def ends_in_time(url: str, certificate: Path | None = None) -> None:
    found = connected(url, certificate).observe([APP])[APP]

    assert isinstance(found, ClusterError)
    assert "Kubernetes API: no complete answer within 0.5 s" in str(found)


@pytest.mark.parametrize("serve", DRIPS[:2])
@pytest.mark.usefixtures("in_a_hurry")
def test_a_lease_is_read_and_written_within_the_deadline_or_not_at_all(serve: Serve) -> None:
    with server(serve) as page:
        leases = KubernetesLeases(connected(f"http://{page.host}").api, "bokeh", "x")
        with pytest.raises(ClusterError, match="no complete answer within"):
            leases.read(PLACE)
        with pytest.raises(ClusterError, match="no complete answer within"):
            leases.write(PLACE, Lease("me", "1"), taken=False)


@pytest.mark.parametrize("largest", ["LARGEST_LIST", "LARGEST_OBJECT"])
def test_an_answer_without_an_end_is_cut_off(monkeypatch: pytest.MonkeyPatch, largest: str) -> None:
    monkeypatch.setattr(calls, largest, 1 << 20)
    with server(pours) as page:
        cluster = connected(f"http://{page.host}")
        if largest == "LARGEST_LIST":
            said = str(cluster.observe([APP])[APP])
        else:
            with pytest.raises(ClusterError) as error:
                KubernetesLeases(cluster.api, "bokeh", "x").read(PLACE)
            said = str(error.value)

    assert "the answer has more than 1 MiB" in said


def test_a_connection_is_kept_and_its_next_request_has_a_deadline_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "WITHIN", 5.0)
    clients: list[socket.socket] = []

    def serve(connection: socket.socket, stop: threading.Event) -> None:
        clients.append(connection)
        while connection.recv(65536) and not stop.wait(1.5):
            connection.sendall(ANSWER)

    with server(serve) as page, connected(f"http://{page.host}").api as api:
        leases = KubernetesLeases(api, "bokeh", "x")
        found = [leases.read(PLACE) for _ in range(4)]
        api.rest_client.close()

    assert [each and each.holder for each in found] == ["other"] * 4
    assert len(clients) == 1
