"""Ends of watches that say nothing, because not the API server made them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes import client

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.deadline import BoundedClient
from autoscaler.adapters.kubernetes.watched_cluster import WatchedCluster
from autoscaler.adapters.kubernetes.watching import Pace
from autoscaler.model import TargetRef
from tests.lab.processes import wait_until

ERROR = {"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "no"}}
UNKNOWN = {
    "an error without a code": {"type": "ERROR", "object": {"kind": "Status", "message": "no"}},
    "an error with a code that is none": {"type": "ERROR", "object": {"code": "Internal"}},
    "an error without an object": {"type": "ERROR"},
    "an object without metadata": {"type": "ADDED", "object": {"kind": "Pod"}},
    "an object without a type": {"object": {"metadata": {}}},
    "a text": "upstream connect error",
    "a list": [],
    "nothing": None,
}


class Gateway(BaseHTTPRequestHandler):
    """Answers lists with nothing, and ends each watch at once with a body of its own."""

    body = b""
    lists = 0

    def do_GET(self) -> None:
        is_watch = "watch" in parse_qs(urlsplit(self.path).query)
        type(self).lists += not is_watch
        empty = json.dumps({"metadata": {"resourceVersion": "100"}, "items": []}).encode()
        answer = self.body if is_watch else empty
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def watched() -> Iterator[WatchedCluster]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = client.Configuration()
        settings.host = f"http://127.0.0.1:{server.server_port}"
        api = KubernetesCluster(BoundedClient(settings))
        with closing(WatchedCluster(api, SystemClock(), Pace(2, 2))) as cluster:
            yield cluster
        server.shutdown()


@pytest.mark.parametrize("body", [b"", json.dumps(ERROR).encode()], ids=["nothing", "an error"])
def test_a_watch_that_is_ended_at_once_confirms_nothing(
    watched: WatchedCluster, body: bytes
) -> None:
    Gateway.body = body
    watched.observe([TargetRef("bokeh", "bokeh-app")])
    listed = time.monotonic()
    time.sleep(2.5)
    wait_until(lambda: all(age.failures >= 2 for age in watched.ages()), 30, "watches to fail")
    passed = time.monotonic() - listed
    for age in watched.ages():
        assert age.seconds >= passed, "the lists were the last that confirmed anything"


@pytest.mark.parametrize("event", UNKNOWN.values(), ids=list(UNKNOWN))
def test_what_is_not_known_is_no_bug_and_leads_to_another_list(
    watched: WatchedCluster, event: object, caplog: pytest.LogCaptureFixture
) -> None:
    Gateway.body, Gateway.lists = json.dumps(event).encode(), 0

    watched.observe([TargetRef("bokeh", "bokeh-app")])
    wait_until(lambda: Gateway.lists >= 2 * 4, 10, "each kind to be listed twice")

    assert "bug" not in caplog.text
    assert "not an event that is known" in caplog.text
