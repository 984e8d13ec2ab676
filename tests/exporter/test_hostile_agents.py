"""Whatever an agent answers, the others count as before, and neither sidecar nor launcher ends."""

from __future__ import annotations

import json
import math
import resource
import secrets
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter import collect
from exporter.agent import pod
from exporter.exposition import OPENMETRICS, render
from exporter.ledger import Collected, Ledger, Totals, WorkerView
from exporter.metrics import TABLE
from exporter.observe import PodView, sum_apps
from exporter.port_watch import PortView
from exporter.state import state
from exporter.wire import LARGEST, MOST_USERS, Report, parse
from tests.exporter.agents import Agent, answer, app, patient
from tests.exporter.test_sidecar import answers, largest_memory
from tests.lab.bokeh_servers import BIN, PATIENCE, end, free_port, wait_until

CREATED = "bokeh_sessions_created_total"
USERS = answer(apps={"/app": app(connected=2, live=2)}, counters=[[CREATED, ["/app"], 5]])


def text(**values: Any) -> bytes:
    return json.dumps(answer(**values)).encode()


NO_ANSWERS = {
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "deep, and closed": b"[" * 50_000 + b"]" * 50_000,
    "more than the limit": text(info={"mode": "x"}) + b" " * collect.LARGEST_ANSWER,
    "brackets": b'{"a":[' + b"[]," * 100_000 + b"0]}",
    "a number of a million digits": b'{"at":' + b"1" * 900_000 + b"}",
    "another encoding": json.dumps(answer()).encode("utf-16"),
    "Infinity": text(at=math.inf),
    "NaN": text(last_disconnect_age_s=math.nan),
    "1e999": text().replace(b"1000.0", b"1e999"),
    "true for a count": text(apps={"/app": app(live=True)}),
    "text for a count": text(apps={"/app": app(live="x")}),
    "a negative count": text(apps={"/app": app(live=-50)}),
    "half a user": text(apps={"/app": app(live=0.5)}),
    "more users than there can be": text(apps={"/app": app(live=MOST_USERS + 1)}),
    "a session that takes more seats than any": text(apps={"/app": app(costed=1, costs=1001)}),
    "seats that nobody takes": text(apps={"/app": app(costs=1)}),
    "seats that are no number": text(apps={"/app": app(costed=1, costs=math.nan)}),
    "more requests than there can be": text(requests=MOST_USERS + 1),
    "many applications": text(apps={f"/{n}": {"live": 0} for n in range(1001)}),
    "a long route": text(apps={"/" + "x" * 501: app()}),
    "a route that cannot be shown": text(apps={"/\ud800": app()}),
    "a list of applications": text(apps=[]),
    "many sockets": text(sockets=list(range(50_001))),
    "sockets that are none": text(sockets=[1, "2"]),
    "a label that cannot be shown": text(counters=[[CREATED, ["\udfff"], 1]]),
    "a label that is no text": text(counters=[[CREATED, [1], 1]]),
    "a cgroup that is none": text(cgroup=[1]),
}


@pytest.mark.parametrize("said", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_an_answer_that_is_none_is_that_of_one_worker(instance: str, said: bytes) -> None:
    honest, lying = Agent(instance, 0, USERS), Agent(instance, 1, answer())
    ledger = patient(instance)
    assert ledger.collect().silent == 0
    lying.values = said
    seen = ledger.collect()
    assert [worker.ok for worker in seen.workers] == [True, False]
    assert seen.counters[CREATED, ("/app",)] == 5
    lying.values = answer()
    assert ledger.collect().silent == 0
    for agent in (honest, lying):
        agent.die()


HARMLESS = {
    "a counter of no table": {"counters": [["other_total", [], 1.0]]},
    "a counter with other labels": {"counters": [[CREATED, ["/app", "more"], 1.0]]},
    "a counter that is a histogram": {"counters": [["bokeh_event_loop_lag_seconds", [], 1.0]]},
    "a counter that is a gauge": {"counters": [["bokeh_up", [], 1.0]]},
    "a histogram that is a counter": {"histograms": [[CREATED, ["/app"], [1], 1.0]]},
    "a histogram with other bounds": {
        "histograms": [["bokeh_event_loop_lag_seconds", [], [1] * 50, 1.0]]
    },
    "a clock's jitter": {"last_disconnect_age_s": -1e-9},
    "HTML and lines in a route": {"apps": {'/"<b>\n\\\x1b[2J': app(live=1)}},
    "versions with lines": {"info": {"bokeh_version": 'a"\nb', "other": [1, 2]}},
    "unknown keys, deep": {"new": [[[[[[{"a": [1]}]]]]]]},
}


@pytest.mark.parametrize("values", HARMLESS.values(), ids=HARMLESS)
def test_what_an_older_or_newer_agent_may_say_is_shown_or_left_out(values: dict[str, Any]) -> None:
    report = parse(json.dumps(answer(**values)).encode())
    assert report is not None
    assert_can_be_shown(report)


def assert_can_be_shown(report: Report) -> None:
    """Both pages, and /metrics in both formats."""
    totals = Totals().plus([report])
    view = WorkerView(pod.Name("x/0/1/n", "0", 1), True, report, 0.0)
    collected = Collected(2000.0, (view,), counters=totals.counters, histograms=totals.histograms)
    seen = PodView(collected, sum_apps([report]), PortView(), (0, 0), watched_s=9.0)
    assert json.loads(json.dumps(state(seen), allow_nan=False))
    list(parse_text(render(seen, "")[0].decode()))
    list(parse_openmetrics(render(seen, OPENMETRICS)[0].decode()))


numbers = st.one_of(
    st.integers(-(10**25), 10**25), st.floats(), st.booleans(), st.none(), st.text(max_size=5)
)
anything = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
labels = st.lists(st.one_of(st.text(max_size=5), numbers), max_size=3)
HINTS = ("busy", "may_close", "costed", "costs")
names = st.one_of(st.sampled_from([spec.name for spec in TABLE]), st.text(max_size=5))
apps = st.dictionaries(
    st.text(max_size=5),
    st.dictionaries(st.sampled_from([*app(), *HINTS, "ports", "new"]), anything, max_size=9).map(
        lambda said: {**app(), **said}
    ),
    max_size=3,
)
said_by_agents = st.fixed_dictionaries(
    {},
    optional={
        "apps": apps,
        "counters": st.lists(st.tuples(names, labels, numbers), max_size=4),
        "histograms": st.lists(
            st.tuples(names, labels, st.lists(numbers, max_size=13), numbers), max_size=3
        ),
        "sockets": st.one_of(st.none(), st.lists(numbers, max_size=4)),
        "info": st.dictionaries(st.sampled_from(["mode", "x"]), anything, max_size=2),
        **{
            each.name: anything
            for each in fields(Report)
            if each.name not in ("apps", "counters", "histograms", "sockets", "info")
        },
    },
)


@given(said_by_agents)
@settings(max_examples=100, deadline=None)
def test_whatever_an_agent_says_is_no_answer_or_can_be_shown(said: dict[str, Any]) -> None:
    report = parse(json.dumps(answer(**said)).encode())
    if report is not None:
        assert_can_be_shown(report)
        counts = [value for each in report.apps.values() for value in (each.live, each.pending)]
        assert all(0 <= count <= MOST_USERS for count in counts)
        assert all(0 <= value <= LARGEST for value in report.counters.values())


@given(st.one_of(st.binary(max_size=200), anything.map(lambda v: json.dumps(v).encode())))
@settings(max_examples=300, deadline=None)
def test_no_bytes_are_more_than_no_answer(said: bytes) -> None:
    parse(said)
    parse(said, port=5006)


@given(st.lists(st.one_of(st.binary(max_size=60), st.just(b"\n")), max_size=5))
@settings(max_examples=60, deadline=None)
def test_no_bytes_of_a_worker_disturb_the_collector(
    played: tuple[Agent, Ledger], said: list[bytes]
) -> None:
    agent, ledger = played
    agent.values = b"".join(said)
    assert [worker.ok for worker in ledger.collect().workers] == [True, False]


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[Agent, Ledger]]:
    instance = f"test-{secrets.token_hex(4)}"
    honest, lying = Agent(instance, 0, USERS), Agent(instance, 1, b"")
    yield lying, patient(instance)
    for agent in (honest, lying):
        agent.die()


def test_a_worker_that_claims_a_departure_in_the_future_does_not_hold_its_server_for_ever(
    instance: str,
) -> None:
    agent, now = Agent(instance, 0, answer(at=1e17, last_disconnect_age_s=0.0)), time.monotonic()
    ledger = patient(instance)
    ledger.collect()
    assert ledger._last_disconnect is not None
    assert now <= ledger._last_disconnect <= time.monotonic()
    agent.die()


def test_all_answers_together_are_bounded(instance: str) -> None:
    large = text() + b" " * 900_000
    agents = [Agent(instance, slot, large) for slot in range(4)]
    agents.append(Agent(instance, 9, USERS))
    ledger, accepted = patient(instance), []
    for _ in range(3):
        seen = ledger.collect()
        assert {w.name.slot: w.ok for w in seen.workers}["9"]
        accepted.append(sum(worker.ok for worker in seen.workers[:4]))
    # Those accepted first keep their place, also in a round in which the answers of others arrive.
    assert 1 <= accepted[0] <= 2
    assert max(accepted) <= 2
    assert sum(ledger._sizes.values()) <= collect.ALL_ANSWERS
    for agent in agents:
        agent.die()


@pytest.mark.parametrize(
    "said",
    [
        text(sockets=list(range(10**6, 10**6 + 50_000))),
        b'{"at":[' + b"0," * 500_000 + b"0]}",
        b'{"at":[' + b"1.5," * 250_000 + b"0]}",
        b"{" + b",".join(b'"%d":0' % n for n in range(90_000)) + b"}",
        b'{"a":[' + b"[]," * 29_000 + b'0],"b":[' + b"{}," * 29_000 + b"0]}",
    ],
    ids=["sockets", "a list", "floats", "an object", "brackets"],
)
def test_no_answer_takes_much_memory(said: bytes) -> None:
    tracemalloc.start()
    try:
        parse(said)
        assert tracemalloc.get_traced_memory()[1] < 25 << 20
    finally:
        tracemalloc.stop()


# A server that is nothing but a lying worker; each argument is a shell-proof Python expression.
LIAR = """
import os, socket, sys, threading
name = f"bokeh-exporter/{os.environ['BOKEH_EXPORTER_INSTANCE']}/0/{os.getpid()}/x"
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind("\\0" + name)
listener.listen(8)
said = eval(sys.argv[1])

def lie(client):
    try:
        client.sendall(said)
        while sys.argv[2] == "for ever":
            client.sendall(said)
    except OSError:
        pass
    client.close()

while True:
    client, _ = listener.accept()
    threading.Thread(target=lie, args=(client,), daemon=True).start()
"""
LIES = {
    "deep": ('b"[" * 200_000', "once"),
    "a flood": ('b"x" * 1_000_000', "for ever"),
    "a byte now and then": ('b""', "for ever"),
    "another type": ('b\'{"at": "x", "apps": {}}\'', "once"),
}


def launched(instance: str, lie: tuple[str, str], folder: Path) -> subprocess.Popen[bytes]:
    words = ["launch", f"--instance={instance}", "--drain-deadline=3s", "--", sys.executable, "-c"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [str(BIN / "bokeh-exporter"), *words, LIAR, *lie],
            stdin=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lying_worker_ends_no_launcher_in_a_drain(
    instance: str, lie: tuple[str, str], tmp_path: Path
) -> None:
    launcher = launched(instance, lie, tmp_path)
    try:
        wait_until(lambda: len(pod.listening(instance)) == 2, "the launcher and the worker")
        began = time.monotonic()
        launcher.send_signal(signal.SIGTERM)
        assert launcher.wait(PATIENCE) == 0
        assert time.monotonic() - began >= 3  # it may have users: they have all of the deadline
        said = (tmp_path / "log").read_text()
        assert "workers that do not answer: 1" in said
        assert "Traceback" not in said
    finally:
        end(launcher)


@pytest.mark.slow
def test_a_launcher_that_cannot_look_waits_for_the_deadline_and_says_why(
    instance: str, tmp_path: Path
) -> None:
    launcher = launched(instance, LIES["another type"], tmp_path)
    try:
        wait_until(lambda: len(pod.listening(instance)) == 2, "the launcher and the worker")
        resource.prlimit(launcher.pid, resource.RLIMIT_NOFILE, (0, 0))  # it can open nothing
        began = time.monotonic()
        launcher.send_signal(signal.SIGTERM)
        assert launcher.wait(PATIENCE) == 128 + signal.SIGTERM  # nobody knows the workers
        assert time.monotonic() - began >= 3
        said = (tmp_path / "log").read_text()
        blind = "cannot ask the workers for their sessions; assuming they have some"
        assert f"{blind}: Too many open files" in said
        assert "draining for at most 3s (the number of sessions is unknown)" in said
        assert "Traceback" not in said
    finally:
        end(launcher)


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lying_worker_ends_no_sidecar(
    instance: str, lie: tuple[str, str], tmp_path: Path
) -> None:
    port = free_port()
    words = ["sidecar", f"--port={port}", f"--instance={instance}", "--address=127.0.0.1"]
    sidecar = subprocess.Popen([str(BIN / "bokeh-exporter"), *words])
    launcher = launched(instance, lie, tmp_path)
    try:
        wait_until(lambda: answers(port), "the sidecar")
        wait_until(lambda: len(pod.listening(instance)) == 2, "the launcher and the worker")
        for _ in range(10):
            assert answers(port, "/state")
            assert answers(port, "/metrics")
        assert largest_memory(sidecar.pid) < 64 << 20
    finally:
        end(launcher)
        end(sidecar)
