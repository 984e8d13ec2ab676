"""The Prometheus adapter against real servers, and against real ones that misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.prometheus import PrometheusSettings, PrometheusSource
from autoscaler.model import Sample, Unavailable
from tests.cluster.processes import free_ports
from tests.prometheus_server import PrometheusServer, series

SESSIONS = ("sessions", "exporter")
CPU = ("cpu", "exporter")
MEMORY = ("memory", "exporter")


def source(url: str, **settings: Any) -> PrometheusSource:
    return PrometheusSource(PrometheusSettings(url, **{"timeout": 1.0, **settings}))


def sessions(namespace: str, pod: str, app: str = "/app", state: str = "connected") -> Any:
    labels = {"namespace": namespace, "pod": pod, "app": app, "state": state}
    return series("bokeh_sessions", quality="exact", **labels)


@pytest.mark.slow
@pytest.mark.prometheus
def test_samples_of_all_pods_come_with_their_own_times(prometheus: PrometheusServer) -> None:
    now = time.time()
    pod = {"namespace": "bokeh", "pod": "a"}
    prometheus.push(
        {
            sessions("bokeh", "a"): [(now - 20, 1.0), (now - 5, 3.0)],
            sessions("bokeh", "a", app="/other"): [(now - 6, 4.0)],
            sessions("bokeh", "a", state="lingering"): [(now - 5, 9.0)],
            sessions("other", "b"): [(now - 29, 8.0)],
            sessions("bokeh", "old"): [(now - 40, 8.0)],
            series("bokeh_cpu_seconds_total", **pod): [(now - 45, 10.0), (now - 15, 25.0)],
            series("bokeh_memory_working_set_bytes", **pod): [(now - 5, 1024.0)],
        }
    )

    readings = source(prometheus.url).read([SESSIONS, CPU, MEMORY], [], now)

    assert readings.failed == {}
    found = readings.samples[SESSIONS]
    assert set(found) == {("bokeh", "a"), ("other", "b")}, "older than two scrapes is missing"
    assert found["bokeh", "a"].value == 7
    assert found["bokeh", "a"].at == pytest.approx(now - 6, abs=0.01)
    assert readings.samples[CPU]["bokeh", "a"].value == 500
    assert readings.samples[CPU]["bokeh", "a"].window == pytest.approx(30, abs=0.01)
    assert readings.samples[MEMORY]["bokeh", "a"].value == 1_024_000


@pytest.mark.slow
@pytest.mark.prometheus
def test_containers_of_cadvisor_add_up_and_pauses_do_not_count(
    prometheus: PrometheusServer,
) -> None:
    now = time.time()

    def container(name: str) -> Any:
        labels = {"namespace": "bokeh", "pod": "a", "container": name}
        return series("container_memory_working_set_bytes", **labels)

    parts = {"app": 1000.0, "sidecar": 24.0, "POD": 5.0, "": 1029.0}
    prometheus.push({container(name): [(now - 5, value)] for name, value in parts.items()})

    readings = source(prometheus.url).read([("memory", "cadvisor")], [], now)

    assert readings.samples["memory", "cadvisor"]["bokeh", "a"].value == 1_024_000


@pytest.mark.slow
@pytest.mark.prometheus
def test_users_queries_are_asked_together_and_a_wrong_one_harms_no_other(
    prometheus: PrometheusServer,
) -> None:
    now = time.time()
    prometheus.push({series("load", app=app): [(now - 1, 2.5)] for app in ("a", "b")})
    queries = {
        "sum(load)  # with a comment": Sample(5000, 0),
        "sum(load) / 2": Sample(2500, 0),
        "load": Unavailable("the query returned 2 series, expected 1: wrap it in sum(...)"),
        "nothing_of_this_name": Unavailable("the query returned nothing"),
        "scalar(sum(load))": Sample(5000, 0),
        "42": Sample(42000, 0),
        "sum(load": None,
        "sum(load) - 100": Unavailable("the query returned -95, expected a number of at least 0"),
    }
    prom = source(prometheus.url)

    for _ in range(2):
        answers = prom.read([], queries, now).external
        wrong = answers["sum(load"]
        assert isinstance(wrong, Unavailable)
        assert "the query is refused" in wrong.message
        assert {q: _timeless(a) for q, a in answers.items() if q != "sum(load"} == {
            q: expected for q, expected in queries.items() if q != "sum(load"
        }


def _timeless(answer: Sample | Unavailable) -> Sample | Unavailable:
    return answer._replace(at=0) if isinstance(answer, Sample) else answer


@pytest.mark.slow
@pytest.mark.prometheus
def test_nothing_scraped_yet_is_no_failure(prometheus: PrometheusServer) -> None:
    readings = source(prometheus.url + "/").read([SESSIONS], [], time.time())

    assert readings.samples[SESSIONS] == {}
    assert readings.failed == {}


Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A real HTTP server that answers as it is told to, and counts."""

    def __init__(self) -> None:
        self.requests: list[BaseHTTPRequestHandler] = []
        self.answer: Answer = lambda handler: reply(handler, success([]))
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append(self)
                outer.answer(self)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.server.shutdown()
    started.server.server_close()


def success(result: list[Any], **more: Any) -> bytes:
    data = {"resultType": "vector", "result": result}
    return json.dumps({"status": "success", "data": data, **more}).encode()


def reply(
    handler: BaseHTTPRequestHandler, body: bytes, code: int = 200, length: int | None = None
) -> None:
    handler.send_response(code)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.send_header("Connection", "close")  # which also makes the server do so
    handler.end_headers()
    handler.wfile.write(body)


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    try:
        for _ in range(30):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)
    except OSError:
        pass
    handler.close_connection = True


def hang(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)
    handler.close_connection = True


ERROR = json.dumps({"status": "error", "errorType": "execution", "error": "too many"}).encode()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(lambda h: reply(h, b"<html>"), "not in JSON", id="HTML in place of JSON"),
        pytest.param(lambda h: reply(h, b"[]"), "not in JSON", id="JSON of another shape"),
        pytest.param(lambda h: reply(h, b"", 500), "500 Internal Server Error", id="500"),
        pytest.param(lambda h: reply(h, b"", 401), "401 Unauthorized: set --prom", id="401"),
        pytest.param(lambda h: reply(h, b"", 403), "403 Forbidden: set --prom", id="403"),
        pytest.param(lambda h: reply(h, b"", 302), "302 Found", id="a redirect to a log-in page"),
        pytest.param(lambda h: reply(h, ERROR, 422), "refused: too many", id="422"),
        pytest.param(lambda h: reply(h, ERROR), "in place of data: too many", id="error in 200"),
        pytest.param(
            lambda h: reply(h, success([], warnings=["store x is down"])),
            "partial data: store x is down",
            id="a store behind it is down",
        ),
        pytest.param(lambda h: reply(h, b'{"sta', length=500), "at http", id="cut short"),
        pytest.param(drip, "within 1 s", id="an answer that drips"),
        pytest.param(hang, "no answer within 1 s", id="no answer"),
    ],
)
def test_a_server_that_misbehaves_is_one_line_in_time(
    server: Server, answer: Answer, said: str
) -> None:
    server.answer = answer
    began = time.monotonic()

    readings = source(server.url).read([SESSIONS], ["q"], time.time())

    message = readings.failed["sessions", "exporter"]
    assert said in message
    assert message.startswith(f"Prometheus at {server.url}: ")
    assert "\n" not in message
    assert isinstance(readings.external["q"], Unavailable)
    assert readings.samples == {}
    assert time.monotonic() - began < 2.5


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:{port}", "no connection"),
        ("prometheus:9090", "expected an address such as http://prometheus:9090"),
        ("http://", "expected an address such as http://prometheus:9090"),
    ],
)
def test_an_address_that_is_wrong_is_one_line(url: str, said: str) -> None:
    (port,) = free_ports(1)

    failed = source(url.format(port=port)).read([SESSIONS], [], time.time()).failed

    assert said in failed["sessions", "exporter"]


def test_hints_of_promql_are_no_partial_data(server: Server) -> None:
    hints = {"warnings": ["PromQL warning: x"], "infos": ["PromQL info: y"]}
    server.answer = lambda handler: reply(handler, success([], **hints))

    assert source(server.url).read([SESSIONS], [], time.time()).failed == {}


def test_the_number_of_requests_does_not_grow_with_the_policies(server: Server) -> None:
    prom = source(server.url, timeout=20.0)
    counts = []
    for policies in (1, 100):
        server.requests.clear()
        queries = [f"sum(load_{index})" for index in range(policies)]
        prom.read([SESSIONS, CPU, MEMORY], queries, time.time())
        counts.append(len(server.requests))

    assert counts == [4, 4]


def test_credentials_and_headers_are_sent_and_a_new_token_at_once(
    server: Server, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    prom = source(server.url, bearer_token_file=token, headers={"X-Scope-OrgID": "team"})
    prom.read([SESSIONS], [], time.time())
    token.write_text("second\n")
    prom.read([SESSIONS], [], time.time())

    sent = [request.headers["Authorization"] for request in server.requests]
    assert sent == ["Bearer first", "Bearer second"]
    assert server.requests[0].headers["X-Scope-OrgID"] == "team"


def test_basic_auth_is_sent(server: Server, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")

    source(server.url, username="me", password_file=password).read([SESSIONS], [], time.time())

    assert server.requests[0].headers["Authorization"] == "Basic bWU6c2VjcmV0"


def test_a_token_file_that_is_gone_is_one_line(server: Server, tmp_path: Path) -> None:
    prom = source(server.url, bearer_token_file=tmp_path / "gone")

    failed = prom.read([SESSIONS], [], time.time()).failed

    assert "gone cannot be read" in failed["sessions", "exporter"]
    assert server.requests == []
