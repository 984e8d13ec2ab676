"""Whatever others write, a person reads it as one line of text, whichever way it takes."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes import client

from autoscaler.adapters.kubernetes.cluster import KubernetesCluster
from autoscaler.adapters.kubernetes.pods import OUR_COST, ROUTABLE, pod_state, replicas_writer
from autoscaler.adapters.prometheus.source import PrometheusSettings, PrometheusSource
from autoscaler.cli import main
from autoscaler.commands.decide import as_text
from autoscaler.commands.lines import complain
from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.control.reachability import Silence
from autoscaler.control.shard_lease import ShardLease
from autoscaler.control.state_store import StateStore
from autoscaler.core.lease import Lease, Place
from autoscaler.daemon import Daemon, Ports
from autoscaler.errors import AutoscalerError, ClusterError
from autoscaler.html_report.page import report_html
from autoscaler.model import Decision, Reason, Recommendation, Step, TargetRef, Unavailable
from autoscaler.ports import PolicySet, TargetState
from autoscaler.reporting.event_recorder import EventRecorder
from autoscaler.reporting.logs import JsonFormatter, LogRecorder, TextFormatter
from autoscaler.simulation.timeline import Change, Steps, Table, Timeline
from exporter.texts import LONGEST_EVENT, LONGEST_LINE, LONGEST_NAME, visible
from tests.builders import NOW, observation, pod, policy
from tests.fakes import FakeClock, FakeCluster, FakeLeases, FakePolicies
from tests.policies.files import GOOD

APP = TargetRef("bokeh", "bokeh-app")
# What others write, and what a person may see of it.
TEXTS = {
    "a line break that forges a log line": ("ok\n2027-01-01 ERROR forged", r"ok\n2027-01-01"),
    "a line break of Windows": ("ok\r\nforged", r"ok\r\nforged"),
    "a line break of Unicode": ("ok\u2028forged\x85too", r"ok\u2028forged\x85too"),
    "codes that clear a terminal": ("\x1b[2J\x1b[31mred", r"\x1b[2J\x1b[31mred"),
    "a terminal's 8-bit codes": ("\x9b31mred", r"\x9b31mred"),
    "a backspace that hides what it follows": ("bad\x08\x08\x08good", r"bad\x08\x08\x08good"),
    "NUL": ("a\0b", r"a\x00b"),
    "a mark that turns the order around": ("\u202egnp.exe", r"\u202egnp.exe"),
    "an isolate that is never closed": ("\u2066a", r"\u2066a"),
    "signs of no width": ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
    "half of a surrogate pair": ("a\ud800b", r"a\ud800b"),
    "a text without an end": ("x" * 200_000, "xxx"),
    "200,000 line breaks": ("\n" * 200_000, r"\n\n\n"),
}
HTML = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.mark.parametrize(("text", "shown"), TEXTS.values(), ids=TEXTS)
def test_a_text_of_others_is_one_line_and_not_too_long(text: str, shown: str) -> None:
    seen = visible(text)

    assert seen.startswith(shown)
    assert seen.isprintable()
    assert len(seen) <= LONGEST_LINE
    assert len(text) < LONGEST_LINE or seen.endswith("…")


@given(st.text(), st.integers(1, 50))
def test_a_visible_text_stays_as_it_is(text: str, longest: int) -> None:
    once = visible(text, longest)

    assert once.isprintable()
    assert len(once) <= longest
    assert visible(once, longest) == once


@given(st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" ")))
def test_ordinary_words_stay_as_they_are(text: str) -> None:
    assert visible(text) == text


# Ways to a person -----------------------------------------------------------------------------


def _outcome(text: str) -> Outcome:
    cluster = FakeCluster()
    cluster.deploy(APP, 1)
    return Outcome(policy(), cluster.targets[APP], problem=text)


def _event(text: str) -> str:
    cluster = FakeCluster()
    outcome = _outcome(text)
    EventRecorder(cluster).record(PassResult(NOW, (outcome,), PolicySet((policy(),))))
    return cluster.events[0][2]


class _ApiServer(BaseHTTPRequestHandler):
    """Takes Events, and refuses everything else in the words of its caller."""

    bodies: list[Any]
    said: str

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(201, b"{}")

    def do_GET(self) -> None:
        self._answer(500, json.dumps({"message": self.said, "error": self.said}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def _api_server(said: str = "") -> Iterator[tuple[str, list[Any]]]:
    bodies: list[Any] = []
    handler = type("Handler", (_ApiServer,), {"bodies": bodies, "said": said})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", bodies
        finally:
            server.shutdown()
            thread.join()


def _event_at_the_api_server(text: str) -> str:
    target = TargetState(APP, "uid", "1", 1, 1, ())
    with _api_server() as (url, bodies), client.ApiClient(client.Configuration(host=url)) as api:
        KubernetesCluster(api).announce(target.ref, target.uid, "FailedRescale", text, warning=True)
    return str(bodies[0]["message"])


def _words_of_the_api_server(text: str) -> str:
    with _api_server(text) as (url, _), client.ApiClient(client.Configuration(host=url)) as api:
        return str(KubernetesCluster(api).observe([APP])[APP])


def _words_of_prometheus(text: str) -> str:
    with _api_server(text) as (url, _):
        source = PrometheusSource(PrometheusSettings(url, patience=30.0, timeout=30.0))
        answer = source.read((), ["up"], NOW).external["up"]
    assert isinstance(answer, Unavailable)
    return answer.message


def _logged(text: str, formatter: logging.Formatter) -> str:
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(formatter.format(record))

    log, handler = logging.getLogger("autoscaler"), Kept()
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        LogRecorder().record(PassResult(NOW, (_outcome(text),), PolicySet((policy(),))))
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    return lines[-1]


def _log_line(text: str) -> str:
    return _logged(text, TextFormatter())


def _json_log_line(text: str) -> str:
    return str(json.loads(_logged(text, JsonFormatter()))["message"])


def _field_of_a_json_log_line(text: str) -> str:
    record = logging.LogRecord("autoscaler", logging.INFO, "", 0, "grew", (), None)
    record.fields = {"steps": [["MetricAboveTarget", 1, text]]}
    return str(json.loads(JsonFormatter().format(record))["steps"][0][2])


def _ready(text: str) -> str:
    cluster = FakeCluster(failures={APP: ClusterError(text)})
    daemon = Daemon(Ports(FakePolicies((policy(),)), cluster, cluster, cluster, FakeClock()))
    daemon.run_once()
    return daemon.unready() or ""


def _holder_of_a_lease(text: str) -> str:
    place = Place("bokeh", "bokeh-autoscaler-0")
    leases, store = FakeLeases(leases={place: Lease(text, "1")}), StateStore(FakeClock())
    lease = ShardLease(place, lambda _: True, leases, store, lambda: 0.0, "me")
    lease.attempt()
    told = lease.status().detail
    assert told.endswith("holds Lease bokeh/bokeh-autoscaler-0")  # a long name hides nothing
    return told


def _pod_with(**meta: Any) -> dict[str, Any]:
    named = {"name": "pod-0", "uid": "uid", "labels": {ROUTABLE: "false"}, **meta}
    return {"metadata": named, "spec": {}, "status": {}}


def _annotation_of_a_pod(text: str) -> str:
    notes = {"bokeh-autoscaler/cordoned-at": text, OUR_COST: text}
    odd = pod_state(_pod_with(annotations=notes))
    target = TargetState(APP, "uid", "1", 1, 1, (odd,))
    cluster = FakeCluster(targets={APP: target})
    result = PassResult(NOW, (Outcome(policy(), target),), PolicySet((policy(),)))
    EventRecorder(cluster).record(result)
    return cluster.events[0][2]


def _manager(kind: str, key: str, text: str) -> list[dict[str, Any]]:
    fields = {"f:metadata": {kind: {f"f:{key}": {}}}, "f:spec": {"f:replicas": {}}}
    return [{"manager": text, "time": "2027-01-01T00:00:00Z", "fieldsV1": fields}]


def _manager_of_a_label(text: str) -> str:
    return pod_state(_pod_with(managedFields=_manager("f:labels", ROUTABLE, text))).label_writer


def _manager_of_a_deletion_cost(text: str) -> str:
    cost = "controller.kubernetes.io/pod-deletion-cost"
    managed = _manager("f:annotations", cost, text)
    return pod_state(_pod_with(annotations={cost: "1"}, managedFields=managed)).cost_writer


def _manager_of_replicas(text: str) -> str:
    return replicas_writer({"metadata": {"managedFields": _manager("f:labels", ROUTABLE, text)}})


def _answer_of_a_sidecar(text: str) -> str:
    silence = Silence("pod-0", text, NOW - 60, NOW)
    cluster = FakeCluster()
    cluster.deploy(APP, 1)
    outcome = Outcome(policy(), cluster.targets[APP], unreachable=(silence,))
    EventRecorder(cluster).record(PassResult(NOW, (outcome,), PolicySet((policy(),))))
    return cluster.events[0][2]


def _decided(text: str) -> str:
    step, asks = Step(Reason.PARTIAL_DATA, 1, text), Recommendation("prometheus", None, text)
    decision = Decision(1, 1, (step,), (asks,))
    whole = as_text(Outcome(policy(), None, observation(1), decision))
    assert len(whole.splitlines()) == 4
    return whole.splitlines()[1]


WAYS: dict[str, Callable[[str], str]] = {
    "an Event": _event,
    "an Event as the API server has it": _event_at_the_api_server,
    "a line of the log": _log_line,
    "a line of the log in JSON": _json_log_line,
    "a field of the log in JSON": _field_of_a_json_log_line,
    "/readyz": _ready,
    "the holder of a Lease": _holder_of_a_lease,
    "an annotation of a pod": _annotation_of_a_pod,
    "the field manager of a label": _manager_of_a_label,
    "the field manager of a deletion cost": _manager_of_a_deletion_cost,
    "the field manager of the replicas": _manager_of_replicas,
    "the answer of a sidecar": _answer_of_a_sidecar,
    "a refusal of the API server": _words_of_the_api_server,
    "a refusal of Prometheus": _words_of_prometheus,
    "`decide`": _decided,
}
SOME = {"a line break": "A\nB", "a code of terminals": "A\x1b[31mB", "a bidi mark": "A\u202eB"}


@pytest.mark.parametrize("text", [*SOME.values(), "A" + "x" * 200_000], ids=[*SOME, "a long one"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_to_a_person_shows_texts_of_others_as_text(
    way: Callable[[str], str], text: str
) -> None:
    seen = way(text)

    assert seen.isprintable()
    assert "A" in seen
    assert "\x1b" not in seen
    assert len(seen) <= LONGEST_LINE + 100  # the line of a log begins with its time


@pytest.mark.parametrize("text", SOME.values(), ids=SOME)
def test_a_traceback_cannot_forge_a_line_of_the_log(text: str) -> None:
    try:
        raise RuntimeError(f"{text}\n2027-01-01 00:00:00,000 ERROR forged")
    except RuntimeError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("autoscaler", logging.ERROR, "", 0, "a defect", (), info)

    first, *others = TextFormatter().format(record).split("\n")

    assert first.endswith("a defect")
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    assert any("forged" in line for line in json.loads(JsonFormatter().format(record))["traceback"])


YAMLS = {
    "a value": (GOOD.replace("min: 2", 'min: "\\u202e\\e[31m\\n"'), "replicas.min"),
    "a key": (GOOD + '"\\e[2J\\nforged": 1\n', r"\x1b"),
    "a tag": (GOOD.replace("min: 2", "min: !<\u00a0x> 2"), "not valid YAML"),
    "a number in base 60": (GOOD.replace("min: 2", "min: 1" + ":1" * 50_000), "base 60"),
    "a kind": (f'kind: "{HTML}\\e[31m"\n', "expected a policy"),
}


@pytest.mark.parametrize(("text", "told"), YAMLS.values(), ids=YAMLS)
def test_check_shows_what_a_file_holds_as_text(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "\x1b[31m\npolicy.yaml"
    file.write_text(text)

    assert main(["check", str(file)]) == 2

    lines = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert all(line.isprintable() and r"\x1b[31m\npolicy.yaml" in line for line in lines)
    assert all(len(line) <= LONGEST_LINE for line in lines)
    assert told in "".join(lines) or r"\u001b" in "".join(lines)


def test_simulate_shows_what_a_trace_holds_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.yaml").write_text(GOOD)
    trace = tmp_path / "trace.csv"
    trace.write_text('start,end\n"\x1b[31m\nforged",\u202e1\n')

    words = ["simulate", "--policy", str(tmp_path / "policy.yaml"), "--trace", str(trace)]
    assert main([*words, "--html", str(tmp_path / "report.html")]) == 2

    lines = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert len(lines) == 1
    assert all(line.isprintable() and line.startswith(f"{trace}:") for line in lines)


def _page(text: str) -> str:
    steps = Steps((NOW,), (1,))
    change = Change(NOW, 1, 2, "MetricAboveTarget", text)
    timeline = Timeline(NOW, NOW + 60, 10, steps, steps, steps, steps, changes=(change,))
    return report_html(timeline, Table((text, "x"), ((text, text),)), text, text)


def test_the_page_of_a_simulation_shows_html_as_text() -> None:
    page = _page(HTML)

    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("text", ["A\x1bB", "A\u202eB"])
def test_the_page_of_a_simulation_shows_marks_and_codes_as_text(text: str) -> None:
    page = _page(text)

    assert text not in page
    assert visible(text) in page


def test_a_page_cannot_be_broken_out_of_by_the_end_of_a_script() -> None:
    page = _page("</script><script>alert(3)</script>")

    assert "alert(3)</script>" not in page


# What pods carry -------------------------------------------------------------------------------

COST = "controller.kubernetes.io/pod-deletion-cost"
AT, FOR = "bokeh-autoscaler/cordoned-at", "bokeh-autoscaler/cordoned-for"
ODD = {
    "a time that is none": {AT: "x" * 200_000, FOR: "scale-down"},
    "a time beyond all calendars": {AT: "9999-12-31T23:59:59-23:59", FOR: "scale-down"},
    "a time before them": {AT: "0001-01-01T00:00:00+23:59", FOR: "scale-down"},
    "a time without a zone": {AT: "2026-01-01", FOR: "scale-down"},
    "a cordon for no known reason": {AT: "2026-01-01T00:00:00Z", FOR: "\x1b[31m"},
    "a cordon without a reason": {AT: "2026-01-01T00:00:00Z"},
    "a cost in words": {COST: "x"},
    "a cost in Arabic digits": {COST: "٣"},
    "a cost with a sign that no ReplicaSet reads": {COST: "+5"},
    "a cost beyond 32 bits": {COST: "-2147483649"},
    "a cost of a thousand digits": {COST: "9" * 1_000},
    "a cost that is none, marked as ours": {COST: "x", OUR_COST: "x"},
}


@pytest.mark.parametrize("notes", ODD.values(), ids=ODD)
def test_what_cannot_be_read_on_a_pod_counts_as_absent_and_is_told_once(
    notes: dict[str, str],
) -> None:
    odd = pod_state(_pod_with(annotations=notes))

    assert (odd.cordon, odd.deletion_cost, odd.cost_is_ours) == (None, None, False)
    assert odd.unreadable
    assert all(len(each) <= LONGEST_NAME + 60 and each.isprintable() for each in odd.unreadable)
    target = TargetState(APP, "uid", "1", 1, 1, (odd,))
    cluster = FakeCluster(targets={APP: target})
    recorder = EventRecorder(cluster)
    for passed in range(3):
        outcome = Outcome(policy(), target)
        recorder.record(PassResult(NOW + passed, (outcome,), PolicySet((policy(),))))
    [(_, reason, told)] = cluster.events
    assert reason == "UnreadableAnnotation"
    assert told.startswith("dashboards: cannot read what pods carry (pod-0: ")
    assert len(told) <= LONGEST_EVENT


QUANTITIES = ["1e999999999", "Infinity", "NaN", "9" * 5_000, "1e40", "\x1b[31m", ""]


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_pod_whose_quantities_cannot_be_read_has_none(quantity: str) -> None:
    container = {"name": "app", "resources": {"requests": {"cpu": quantity}}}
    odd = pod_state({**_pod_with(), "spec": {"containers": [container]}})

    assert odd.resources.cpu_request is None
    assert odd.unreadable == ("the quantities of its resources",)


@given(
    st.dictionaries(
        st.sampled_from([AT, FOR, COST, OUR_COST, "kubectl.kubernetes.io/default-container"]),
        st.text() | st.integers().map(str) | st.datetimes().map(str),
    )
)
def test_no_annotation_keeps_a_pod_from_being_read(notes: dict[str, str]) -> None:
    seen = pod_state(_pod_with(annotations=notes))

    assert all(each.isprintable() for each in seen.unreadable)


def test_a_pod_that_can_be_read_is_not_told() -> None:
    notes = {AT: "2026-01-01T00:00:00Z", FOR: "full", COST: "-5", OUR_COST: "-5"}

    assert pod_state(_pod_with(annotations=notes)).unreadable == ()
    assert pod().unreadable == ()


def test_an_error_is_one_line_where_a_command_ends_with_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = AutoscalerError("a\nb\x1b[2J")

    complain(f"autoscaler run: {error}")

    assert capsys.readouterr().err == "autoscaler run: a\\nb\\x1b[2J\n"
