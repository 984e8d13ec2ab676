"""The Prometheus adapter against servers that misbehave as no real one does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from autoscaler.adapters.prometheus.source import PrometheusSettings, PrometheusSource
from autoscaler.model import Sample, Unavailable
from autoscaler.ports import Signal
from tests.lab.processes import free_ports, wait_until

SESSIONS = ("sessions", "exporter")
WITHIN = 30.0


def source(url: str, **settings: Any) -> PrometheusSource:
    return PrometheusSource(PrometheusSettings(url, **settings))


Answer = Callable[[BaseHTTPRequestHandler], None]

SERIES = {"namespace": "bokeh", "pod": "a", "app": "/app", "quality": "exact"}


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

        class Listening(ThreadingHTTPServer):
            request_queue_size = 128  # with five, a burst loses connections for a second

        self.server = Listening(("127.0.0.1", 0), Handler)
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
    handler: BaseHTTPRequestHandler,
    body: bytes,
    code: int = 200,
    length: int | None = None,
    headers: Mapping[str, str] = {},
) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name, value)
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
        pytest.param(lambda h: reply(h, b"<html>"), "is not JSON", id="HTML in place of JSON"),
        pytest.param(lambda h: reply(h, b"[]"), "is not JSON", id="JSON of another shape"),
        pytest.param(lambda h: reply(h, b"", 500), "500 Internal Server Error", id="500"),
        pytest.param(lambda h: reply(h, b"", 401), "401 Unauthorized; set --prom", id="401"),
        pytest.param(lambda h: reply(h, b"", 403), "403 Forbidden; set --prom", id="403"),
        pytest.param(lambda h: reply(h, b"", 302), "302 Found", id="a redirect to a log-in page"),
        pytest.param(lambda h: reply(h, ERROR, 422), "invalid: too many", id="422"),
        pytest.param(lambda h: reply(h, ERROR), "instead of data: too many", id="error in 200"),
        pytest.param(
            lambda h: reply(h, success([], warnings=["store x is down"])),
            "partial data: store x is down",
            id="a store behind it is down",
        ),
        pytest.param(
            lambda h: reply(h, success([], isPartial=True)),
            "partial data: isPartial: a storage node did not answer",
            id="a storage node of VictoriaMetrics is down",
        ),
        pytest.param(
            lambda h: reply(h, success([]), headers={"M3-Results-Limited": "max_fetch_series"}),
            "partial data: M3-Results-Limited: max_fetch_series",
            id="M3 left some out",
        ),
        pytest.param(lambda h: reply(h, b"[" * 200_000), "is not JSON", id="JSON too deep"),
        pytest.param(
            lambda h: reply(h, b'{"status": "success", "data": 3}'),
            "instead of data",
            id="no data",
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
    patience = {"timeout": 1.0} if "within 1 s" in said else {}
    readings = source(server.url, **patience).read([SESSIONS], ["q"], time.time())

    message = readings.failed["sessions", "exporter"]
    assert said in message
    assert message.startswith(f"Prometheus at {server.url}: ")
    assert "\n" not in message
    assert isinstance(readings.external["q"], Unavailable)
    assert readings.samples == {}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:{port}", "cannot connect"),
        ("prometheus:9090", "expected an address such as http://prometheus:9090"),
        ("http://", "expected an address such as http://prometheus:9090"),
    ],
)
def test_an_address_that_is_wrong_is_one_line(url: str, said: str) -> None:
    (port,) = free_ports(1)

    failed = source(url.format(port=port)).read([SESSIONS], [], time.time()).failed

    assert said in failed["sessions", "exporter"]


def test_hints_of_promql_are_no_partial_data(server: Server) -> None:
    hints = {"warnings": ["PromQL warning: x"], "infos": ["PromQL info: y"], "isPartial": False}
    server.answer = lambda handler: reply(handler, success([], **hints))

    assert source(server.url).read([SESSIONS], [], time.time()).failed == {}


def query_of(handler: BaseHTTPRequestHandler) -> str:
    return parse_qs(urlsplit(handler.path).query)["query"][0]


def by_query(answers: Mapping[str, bytes | float | threading.Event]) -> Answer:
    """Answers a query with a body, or after seconds or an event; any other with the number 5."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        found = answers.get(query_of(handler), 0.0)
        if isinstance(found, threading.Event):
            found.wait(60)
        elif isinstance(found, float):
            time.sleep(found)
        if not isinstance(found, bytes):
            found = success([{"metric": {}, "value": [time.time(), "5"]}])
        with suppress(OSError):
            reply(handler, found)

    return answer


def vector(rows: str) -> bytes:
    return b'{"status":"success","data":{"resultType":"vector","result":[%s]}}' % rows.encode()


def row(value: str) -> bytes:
    """An answer of one row with this value, written as JSON."""
    return vector(f'{{"metric":{{}},"value":{value}}}')


@pytest.mark.parametrize(
    ("body", "number"),
    [
        pytest.param(row('[1, "1e306"]'), None, id="larger than any quantity"),
        pytest.param(row('[1, "1e400"]'), None, id="larger than any float"),
        pytest.param(row("[1, 1e400]"), None, id="as a JSON number"),
        pytest.param(row(f"[1, {10**400}]"), None, id="an integer larger than any float"),
        pytest.param(row('[9e9, "-0"]'), 0, id="minus zero"),
        pytest.param(row('[1, "NaN"]'), None, id="NaN"),
        pytest.param(row("[1, NaN]"), None, id="NaN as Python writes JSON"),
        pytest.param(row('["yesterday", "1"]'), None, id="no time"),
        pytest.param(row('[1, "many"]'), None, id="a word"),
        pytest.param(row("[1, [[2]]]"), None, id="a list in the value"),
        pytest.param(row("[[1, 2], 3, 4]"), None, id="a list of lists"),
        pytest.param(row("null"), None, id="null"),
        pytest.param(row('[9e9, "9e15"]'), 9 * 10**18, id="the largest that is a quantity"),
        pytest.param(vector("3"), None, id="a number in place of a row"),
        pytest.param(vector("[], []"), None, id="lists in place of rows"),
        pytest.param(vector("null"), None, id="null in place of a row"),
        pytest.param(vector('{"metric": 3}'), None, id="a row without labels"),
        pytest.param(vector('{"metric": {}, "histogram": [1, {}]}'), None, id="a histogram"),
        pytest.param(
            b'{"status":"success","data":{"resultType":"string","result":[1,"5"]}}',
            None,
            id="a string that looks like a number",
        ),
        pytest.param(b'{"status":"success","data":{}}', None, id="no result"),
        pytest.param(b'{"status":"success","data":{"result":{"a":1}}}', None, id="an object"),
    ],
)
def test_an_odd_answer_is_odd_for_its_own_query_alone(
    server: Server, body: bytes, number: int | None
) -> None:
    server.answer = by_query({"odd": body})

    external = source(server.url).read([], ["good", "odd"], time.time()).external

    assert external["good"][0] == 5000
    odd = external["odd"]
    if number is None:
        assert isinstance(odd, Unavailable)
        assert "\n" not in odd.message
        assert len(odd.message) < 250
    else:
        assert isinstance(odd, Sample)
        assert odd.value == number


@pytest.mark.parametrize(
    "rows",
    [
        '{"metric":{"namespace":["a"],"pod":{}},"values":[[1,"2"]]}',
        '{"metric":{"namespace":"a","pod":"b"},"values":[[1,[2]],[3],7,null,[{},"1"]]}',
        '{"metric":{"namespace":"a","pod":"b"},"values":"1"}',
        '{"metric":{"namespace":"a","pod":"b"}}',
        '{"metric":null,"values":[[1,"2"]]}',
        '{"metric":"a","values":[[1,"2"]]},3,null,[[1,"2"]]',
        '{"metric":{"namespace":"a","pod":"b"},"values":[[1e400,"2"],[1,1e400],[1,"1e306"]]}',
        f'{{"metric":{{"namespace":"a","pod":"b"}},"values":[[1,{10**400}]]}}',
    ],
    ids=[
        "labels that are lists",
        "points of all shapes",
        "a word in place of points",
        "no points",
        "no labels",
        "rows that are none",
        "beyond every number",
        "an integer beyond every number",
    ],
)
@pytest.mark.parametrize("signal", ["sessions", "memory", "cpu", "arrivals"])
def test_an_odd_row_of_a_signal_harms_no_other_pod(
    server: Server, rows: str, signal: Signal
) -> None:
    now = time.time()
    name = "bokeh_sessions_created_total"
    labels = f'{{"__name__":"{name}","namespace":"bokeh","pod":"good","quality":"exact"}}'
    good = f'{{"metric":{labels},"values":[[{now - 9},"1"],[{now - 1},"9"]]}}'
    server.answer = lambda handler: reply(handler, vector(f"{rows},{good},{rows}"))

    readings = source(server.url).read([(signal, "exporter")], [], now)

    assert readings.failed == {}
    assert set(readings.samples[signal, "exporter"]) == {("bokeh", "good")}


def test_a_slow_query_delays_nobody_and_is_read_by_a_later_pass(server: Server) -> None:
    ready = threading.Event()
    server.answer = by_query({"slow": ready, "hangs": 30.0})
    prom = source(server.url, timeout=30.0, patience=1.0)
    queries = ["good", "slow", "hangs"]

    first = prom.read([], queries, time.time()).external
    assert first["good"][0] == 5000
    assert isinstance(first["slow"], Unavailable)
    assert "no answer within" in first["slow"].message, "a pass waits no longer than its patience"

    server.answer = by_query({"slow": 30.0, "hangs": 30.0})
    ready.set()
    wait_until(lambda: isinstance(value_of(prom, "slow"), Sample), WITHIN, "the slow answer")
    second = prom.read([], queries, time.time()).external
    assert second["slow"][0] == 5000, "while the next answer is under way the last one counts"
    assert isinstance(second["hangs"], Unavailable)


def value_of(prom: PrometheusSource, query: str) -> Sample | Unavailable:
    """What a pass reads that wants this query alone."""
    return prom.read([], [query], time.time()).external[query]


@pytest.mark.slow
def test_hanging_queries_leave_room_for_the_others(server: Server) -> None:
    hanging = {f"hangs_{index}": 30.0 for index in range(30)}
    server.answer = by_query(hanging)
    prom = source(server.url, timeout=2.0, patience=1.0)
    good = [f"good_{index}" for index in range(30)]

    def all_answered() -> bool:
        external = prom.read([], [*hanging, *good], time.time()).external
        return all(isinstance(external[query], Sample) for query in good)

    wait_until(all_answered, WITHIN, "the good ones: eight at a time, after those that hang")
    for _ in range(3):
        external = prom.read([], [*hanging, *good], time.time()).external
        assert [external[query][0] for query in good] == [5000] * len(good)
        time.sleep(0.3)


def test_equal_queries_are_asked_once_and_at_most_eight_at_a_time(server: Server) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1
        reply(handler, success([{"metric": {}, "value": [time.time(), "5"]}]))

    server.answer = answer
    queries = [f"sum(load_{index % 50})" for index in range(100)]

    external = source(server.url, patience=5.0, timeout=5.0).read([], queries, time.time()).external

    assert len(server.requests) == 50
    assert {answer[0] for answer in external.values()} == {5000}
    assert most[0] <= 8


def test_connections_are_kept_and_one_that_was_closed_meanwhile_is_made_again(
    server: Server,
) -> None:
    clients: list[Any] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        clients.append(handler.client_address)
        body = success([])
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = len(clients) == 2  # without a word

    server.answer = answer
    prom = source(server.url)
    readings = [prom.read([SESSIONS], [], time.time()) for _ in range(4)]

    assert [each.failed for each in readings] == [{}] * 4
    assert len(clients) == 4
    assert len(set(clients)) == 2


@pytest.mark.parametrize("path", ["", "/", "/api/prom", "/api/prom/"])
def test_parameters_of_the_address_go_along_with_each_query(server: Server, path: str) -> None:
    prom = source(f"{server.url}{path}?tenant=a&dedup=true&empty=")
    prom.read([SESSIONS], ["sum(load)"], time.time())

    assert len(server.requests) == 2
    for request in server.requests:
        asked = urlsplit(request.path)
        assert asked.path == f"{path.rstrip('/')}/api/v1/query"
        sent = parse_qs(asked.query, keep_blank_values=True)
        assert sent.pop("query")
        assert sent == {"tenant": ["a"], "dedup": ["true"], "empty": [""], "timeout": ["5"]}


def test_an_error_shows_the_address_without_what_may_be_secret(server: Server) -> None:
    server.answer = lambda handler: reply(handler, b"", 500)
    url = server.url.replace("http://", "http://me:word@") + "/prom?token=hidden"

    failed = source(url).read([SESSIONS], [], time.time()).failed[SESSIONS]

    assert failed == f"Prometheus at {server.url}/prom: HTTP 500 Internal Server Error"


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

    assert f"cannot read {tmp_path / 'gone'}" in failed["sessions", "exporter"]
    assert server.requests == []


def test_an_answer_that_is_too_large_for_one_number_is_refused_before_it_is_read(
    server: Server,
) -> None:
    found = [{"metric": {"pod": f"pod-{n}"}, "value": [1, "5"]} for n in range(30_000)]
    server.answer = by_query({"everything": success(found)})

    external = source(server.url).read([], ["good", "everything"], time.time()).external

    assert external["good"][0] == 5000
    assert "answered with more than 1 MiB" in str(external["everything"])


@pytest.mark.parametrize(
    ("ahead", "clocks"),
    [
        pytest.param(0.0, False, id="equal"),
        pytest.param(29.0, False, id="a pod that was not scraped for two scrapes looks the same"),
        pytest.param(300.0, True, id="ours is five minutes ahead"),
        pytest.param(-300.0, False, id="ours is behind: no sample is lost"),
    ],
)
def test_samples_that_only_our_clock_finds_too_old_tell_of_the_clocks(
    server: Server, ahead: float, clocks: bool
) -> None:
    now = time.time()
    row = {"metric": SERIES, "values": [[now - 1, "3"]]}
    server.answer = lambda handler: reply(handler, success([row]))

    readings = source(server.url).read([SESSIONS], [], now + ahead)

    assert bool(readings.samples[SESSIONS]) is not clocks
    told = readings.hints.get(SESSIONS, "")
    ours = "by which its newest sample is 301 s old; synchronize the clocks"
    assert (ours in told) is clocks, told


@pytest.mark.parametrize("count", [20, 60])
def test_slow_queries_of_one_policy_leave_every_pass_of_another_its_value(
    server: Server, count: int
) -> None:
    """At the start, after an edit of the slow ones, and while fast ones become slow."""
    slow: dict[str, bytes | float] = {f"slow_{index}": 30.0 for index in range(count)}
    edited: dict[str, bytes | float] = {f"edited_{index}": 30.0 for index in range(count)}
    server.answer = by_query(slow | edited)
    prom = source(server.url, timeout=4.0, patience=2.0)

    def values(queries: Iterable[str]) -> list[Any]:
        wanted = ["good", *queries] if count > 20 else [*queries, "good"]
        found = []
        for _ in range(3):
            found.append(prom.read([], wanted, time.time()).external["good"][0])
            time.sleep(0.2)
        return found

    assert values(slow) == [5000] * 3
    assert values(edited) == [5000] * 3

    fast = [f"fast_{index}" for index in range(count)]
    assert values(fast) == [5000] * 3
    server.answer = by_query(dict.fromkeys(fast, 30.0))
    assert values(fast) == [5000] * 3


def test_a_query_that_fails_its_trial_is_run_again_and_read_by_a_later_pass(
    server: Server,
) -> None:
    ready = threading.Event()
    server.answer = by_query({"slow": ready})
    prom = source(server.url, timeout=30.0, patience=0.4)
    assert isinstance(value_of(prom, "slow"), Unavailable)
    ready.set()

    wait_until(lambda: isinstance(value_of(prom, "slow"), Sample), WITHIN, "the answer")
    assert value_of(prom, "slow")[0] == 5000
