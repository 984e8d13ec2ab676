"""A Prometheus, or a cache in front of it, that gives the same answer for ever."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from autoscaler.adapters.prometheus.source import PrometheusSettings, PrometheusSource
from autoscaler.model import Sample, Unavailable

QUERY = "sum(queue_length)"


class Frozen(BaseHTTPRequestHandler):
    """Answers every query with a number of one time."""

    at = 0.0

    def do_GET(self) -> None:
        result = [{"metric": {}, "value": [self.at, "7"]}]
        answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def source() -> Iterator[PrometheusSource]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Frozen) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield PrometheusSource(PrometheusSettings(f"http://127.0.0.1:{server.server_port}"))
        server.shutdown()


def test_a_number_that_stays_as_old_as_it_is_is_no_number(source: PrometheusSource) -> None:
    Frozen.at = time.time()
    assert source.read([], [QUERY], Frozen.at).external == {QUERY: Sample(7_000, Frozen.at)}
    assert source.read([], [QUERY], Frozen.at + 30).external == {QUERY: Sample(7_000, Frozen.at)}
    later = [source.read([], [QUERY], Frozen.at + age).external[QUERY] for age in (60, 3_600)]
    assert later[0] == later[1]
    assert isinstance(later[0], Unavailable)
    assert "which is too old" in later[0].message
