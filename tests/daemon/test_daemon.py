"""The daemon lives on whatever a pass does, answers its probes and ends within five seconds."""

from __future__ import annotations

import argparse
import json
import logging
import socket
import threading
import time
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from autoscaler.adapters.metrics_server import WebServer
from autoscaler.commands import run
from autoscaler.commands.run import _verdict
from autoscaler.control import leadership
from autoscaler.control.pass_result import Outcome, PassResult
from autoscaler.core.lease import Lease
from autoscaler.daemon import Daemon, Ports
from autoscaler.errors import AutoscalerError, ClusterError
from autoscaler.model import TargetRef
from autoscaler.ports import LeadershipStatus, PolicySet
from autoscaler.reporting.logs import JsonFormatter, LogRecorder
from tests.builders import policy
from tests.fakes import FakeCluster, FakeLeases, FakePolicies

APP = TargetRef("bokeh", "bokeh-app")
LOADED = "dashboards.yaml: policy dashboards of bokeh/bokeh-app is loaded"


class Exploding(FakeCluster):
    """A cluster adapter with a defect."""

    exploding = True

    def observe(self, refs):  # type: ignore[no-untyped-def]
        if self.exploding:
            raise RuntimeError("a defect")
        return super().observe(refs)


def a_daemon(cluster: FakeCluster, leases: FakeLeases | None = None, **options: object) -> Daemon:
    ports = Ports(FakePolicies((policy(),)), cluster, cluster, cluster, cluster.clock, leases)
    return Daemon(ports, **options)  # type: ignore[arg-type]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "autoscaler")
    return caplog


def test_a_pass_that_explodes_is_logged_and_the_next_one_runs(
    log: pytest.LogCaptureFixture,
) -> None:
    cluster = Exploding()
    cluster.deploy(APP, 10, 12)
    daemon = a_daemon(cluster)

    daemon.run_once()
    assert "bug, please report it" in log.text
    assert "nothing was changed" not in log.text

    cluster.exploding = False
    cluster.clock.advance(5)
    result = daemon.run_once()
    assert result is not None
    assert result.outcomes[0].changed


def test_it_is_ready_once_a_target_could_be_read() -> None:
    cluster = FakeCluster()
    cluster.deploy(APP, 1)
    cluster.failures[APP] = ClusterError("not allowed to get deployments")
    daemon = a_daemon(cluster)
    assert daemon.unready() == "no reconcile pass has finished yet"

    daemon.run_once()
    assert daemon.unready() == "not allowed to get deployments"

    del cluster.failures[APP]
    cluster.clock.advance(5)
    daemon.run_once()
    assert (daemon.unready(), daemon.ready()) == (None, "ok")
    assert daemon.unhealthy() is None


def test_one_whose_deployment_does_not_exist_yet_is_ready_and_says_so() -> None:
    cluster = FakeCluster()
    daemon = a_daemon(cluster)

    daemon.run_once()

    assert daemon.unready() is None, "its own rollout would wait for the app's"
    assert daemon.ready() == "ok, but bokeh/bokeh-app: no such Deployment"


def test_one_that_stands_by_is_ready_and_says_once_for_whom(log: pytest.LogCaptureFixture) -> None:
    cluster, leases = FakeCluster(), FakeLeases()
    cluster.deploy(APP, 10, 12)
    leases.edit(leases.shard(), Lease("other"))
    daemon = a_daemon(cluster, leases, recorders=[LogRecorder()])

    for _ in range(3):
        cluster.clock.advance(5)
        daemon.run_once()
    daemon.release()

    assert daemon.unready() is None
    standby = "standby: other holds Lease autoscaler/bokeh-autoscaler-0"
    assert log.messages == [standby, LOADED]
    assert cluster.replicas(APP) == 2


@pytest.mark.parametrize(("dry_run", "leaders"), [(False, 2), (True, 0)])
def test_a_dry_run_does_not_claim_to_lead(*, dry_run: bool, leaders: int) -> None:
    cluster = FakeCluster()
    daemon = a_daemon(cluster, dry_run=dry_run, shards=2)
    daemon.run_once()

    page = generate_latest(daemon.telemetry.registry).decode()
    assert page.count("\nbokeh_autoscaler_leader{") == leaders


@pytest.mark.slow
def test_it_scales_answers_its_probes_and_ends_within_five_seconds() -> None:
    cluster, leases = FakeCluster(), FakeLeases()
    cluster.deploy(APP, 10, 12)
    daemon = a_daemon(cluster, leases, listen=("127.0.0.1", 0))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    until(lambda: cluster.replicas(APP) == 3)

    began = time.monotonic()
    daemon.stop()
    thread.join(5)

    assert not thread.is_alive()
    assert time.monotonic() - began < 5
    assert leases.leases[leases.shard()].holder == "", "the next daemon need not wait"


def until(condition, seconds: float = 10) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Hanging(FakeCluster):
    """A cluster adapter that waits for something that never comes, until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = threading.Event()

    def observe(self, refs):  # type: ignore[no-untyped-def]
        self.goes_on.wait()
        return super().observe(refs)


def test_a_pass_that_hangs_gives_up_the_lease_until_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster, leases = Hanging(), FakeLeases()
    daemon = a_daemon(cluster, leases)
    hanging = threading.Thread(target=daemon.run_once)
    hanging.start()
    until(lambda: leases.shard() in leases.leases, 30)
    monkeypatch.setattr(leadership, "HUNG_AFTER", 0.1)
    until(lambda: "no progress" in _status(daemon), 30)
    leases.edit(leases.shard(), leases.leases[leases.shard()]._replace(holder="other"))

    cluster.goes_on.set()
    hanging.join()
    until(lambda: "standby: other" in _status(daemon), 30)
    daemon.release()


def _status(daemon: Daemon) -> str:
    assert isinstance(daemon._leadership, leadership.LeaseLeadership)
    return "".join(each.status().detail for each in daemon._leadership._shards)


@pytest.fixture
def web() -> Iterator[WebServer]:
    daemon = a_daemon(FakeCluster())
    checks = {"/healthz": lambda: None, "/readyz": lambda: "no reconcile pass has finished yet"}
    server = WebServer(("127.0.0.1", 0), daemon.telemetry.registry, checks)
    server.start()
    yield server
    server.stop()


def get(server: WebServer, path: str, accept: str = "") -> tuple[int, str, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}{path}", headers={"Accept": accept}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


@pytest.mark.parametrize(
    ("path", "code", "body"),
    [
        ("/healthz", 200, "ok\n"),
        ("/readyz", 503, "no reconcile pass has finished yet\n"),
        ("/nothing", 404, "page not found; try /metrics, /healthz or /readyz\n"),
    ],
)
def test_probes_say_what_is_wrong(web: WebServer, path: str, code: int, body: str) -> None:
    assert get(web, path)[::2] == (code, body)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("", "text/plain"), ("application/openmetrics-text;version=1.0.0", "openmetrics-text")],
)
def test_metrics_come_in_the_format_that_was_asked_for(
    web: WebServer, accept: str, kind: str
) -> None:
    code, got, body = get(web, "/metrics", accept)

    assert (code, kind in got) == (200, True)
    assert "bokeh_autoscaler_policies" in body


def test_long_heads_and_slow_clients_take_neither_its_memory_nor_its_probes(web: WebServer) -> None:
    line = b"A: " + b"x" * 65_500 + b"\r\n"
    tracemalloc.start()
    try:
        with ExitStack() as clients:
            for number in range(80):
                client = socket.create_connection(("127.0.0.1", web.port))
                clients.enter_context(client)
                with suppress(OSError):  # it hangs up
                    client.sendall(b"GET /metrics HTTP/1.1\r\n" + line * (98 if number % 4 else 0))
            code, _, _ = get(web, "/readyz")
            _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert code == 503, "it answers: no reconcile pass has finished yet"
    assert most < 16 << 20


def test_a_port_that_is_taken_is_one_line(web: WebServer) -> None:
    taken = ("127.0.0.1", web.port)
    registry = a_daemon(FakeCluster()).telemetry.registry
    with pytest.raises(AutoscalerError, match=r"cannot listen on .*set another --listen"):
        WebServer(taken, registry, {})


def test_the_journal_tells_news_once(log: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster()
    cluster.deploy(APP, 9, 9)
    daemon = a_daemon(cluster, recorders=[LogRecorder()])

    for _ in range(5):
        cluster.clock.advance(5)
        daemon.run_once()
    cluster.deploy(APP, 10, 12)
    cluster.clock.advance(5)
    daemon.run_once()

    lines = [r.getMessage() for r in log.records if r.levelno == logging.INFO]
    grown = "sessions: (22 connected + 0 spare) / 10 seats"
    assert lines == [
        LOADED,
        "dashboards: 2 replicas, DesiredWithinRange: nothing to change",
        f"dashboards: 2 -> 3 replicas, MetricAboveTarget: {grown}",
    ]


def test_a_json_log_line_carries_the_decision() -> None:
    record = logging.LogRecord("autoscaler", logging.INFO, "", 0, "%s: grew", ("app",), None)
    record.fields = {"policy": "app", "desired": 3}

    entry = json.loads(JsonFormatter().format(record))

    assert entry["message"] == "app: grew"
    assert (entry["policy"], entry["desired"], entry["level"]) == ("app", 3, "info")


STATUSES = {
    "leads": (LeadershipStatus(True, "leading: me holds Lease bokeh/bokeh-autoscaler"), 0),
    "stands by": (LeadershipStatus(False, "standby: other holds it", is_standby=True), 1),
}


@pytest.mark.parametrize(("status", "code"), STATUSES.values(), ids=STATUSES)
def test_one_pass_that_was_left_to_another_daemon_is_no_success(
    status: LeadershipStatus, code: int
) -> None:
    outcomes = (Outcome(policy()),) if status.is_leader else ()

    assert _verdict(PassResult(0.0, outcomes, PolicySet((policy(),)), {"bokeh": status})) == code


@pytest.mark.parametrize(
    ("words", "lease"),
    [([], "bokeh-autoscaler"), (["--lease", "team-a"], "team-a"), (["--lease", "none"], None)],
)
def test_the_lease_is_chosen_on_the_command_line(words: list[str], lease: str | None) -> None:
    assert _options(*words).lease == lease


@pytest.mark.parametrize("name", ["", "Team", "-a", "a" * 64, "a/b"])
def test_a_name_that_no_lease_can_have_is_refused(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        _options(f"--lease={name}")

    assert f"{name!r}: expected a name of a-z, 0-9 and -, or none" in capsys.readouterr().err


def _options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    url = ["--prometheus-url", "http://localhost:9090"]
    return parser.parse_args(["--policies", ".", *url, *words])


def test_a_journal_whose_disk_is_full_at_the_start_keeps_nothing_from_starting(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    path.symlink_to("/dev/full")
    cluster = FakeCluster()
    cluster.deploy(APP, 10, 12)
    options = argparse.Namespace(journal=path, journal_size=1_000_000, journal_files=2)
    journal = run._journal(options)
    assert journal is not None

    a_daemon(cluster, recorders=[journal]).run_once()
    journal.settle(10)

    assert cluster.replicas(APP) == 3
    assert not journal.is_writing
    assert f"cannot write {path}: No space left on device; the journal ends here" in log.text


def test_a_journal_that_cannot_be_opened_says_which_and_why(tmp_path: Path) -> None:
    options = argparse.Namespace(journal=tmp_path, journal_size=1_000_000, journal_files=2)

    with pytest.raises(AutoscalerError, match=f"--journal {tmp_path}: Is a directory"):
        run._journal(options)


@pytest.mark.parametrize(("option", "text"), [("size", "0"), ("size", "1.5"), ("files", "0")])
def test_a_journal_without_room_is_refused(
    option: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser("autoscaler run")
    run.add_arguments(parser)

    with pytest.raises(SystemExit):
        parser.parse_args([f"--journal-{option}", text])

    assert f"argument --journal-{option}: {text!r}: expected a whole number, 1 to" in (
        capsys.readouterr().err
    )
