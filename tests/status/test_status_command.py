"""`autoscaler status --url`: a daemon's page over HTTP, and what is said where there is none."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from autoscaler.adapters.metrics_server import WebServer
from autoscaler.cli import main
from autoscaler.daemon import Daemon, Ports
from autoscaler.errors import ClusterError
from autoscaler.model import TargetRef
from tests.builders import policy
from tests.fakes import FakeCluster, FakeLeases, FakePolicies
from tests.lab.processes import free_ports

APP, OTHER = TargetRef("bokeh", "bokeh-app"), TargetRef("team-a", "dash")
POLICIES = (policy(), policy(name="other", target=OTHER._asdict()))
WITHIN = 20.0


def daemon(*, passes: int) -> Daemon:
    cluster = FakeCluster()
    cluster.deploy(APP, 10, 12)
    cluster.deploy(OTHER, 4)
    made = Daemon(Ports(FakePolicies(POLICIES), cluster, cluster, cluster, cluster.clock))
    for _ in range(passes):
        made.run_once()
    return made


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a daemon after one pass, or as many as a test asks for."""
    made = daemon(passes=getattr(request, "param", 1))
    server = made.web_server(("127.0.0.1", 0))
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def test_it_prints_each_target(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--url", url]) == 0

    said = capsys.readouterr()
    rows = [re.split(r"   +", line) for line in said.out.splitlines()]
    assert rows == [
        ["TARGET", "USERS", "SEATS", "REPLICAS", "DRAINING", "REASON", "AGE"],
        ["bokeh/bokeh-app", "22", "20", "2 -> 3", "0", "MetricAboveTarget", "0s"],
        ["team-a/dash", "4", "10", "1", "0", "DesiredWithinRange", "0s"],
    ]
    assert said.err == ""


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], {"bokeh-app", "dash"}),
        (["bokeh/bokeh-app"], {"bokeh-app"}),
        (["dash"], {"dash"}),
        (["other"], {"dash"}),
        (["bokeh-app", "dash"], {"bokeh-app", "dash"}),
        (["-n", "team-a"], {"dash"}),
        (["-n", "team-a", "-n", "bokeh"], {"bokeh-app", "dash"}),
    ],
    ids=[
        "all",
        "a namespace and a name",
        "a name",
        "the name of a policy",
        "names",
        "a namespace",
        "namespaces",
    ],
)
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_names_and_namespaces_choose(
    url: str, options: list[str], shown: set[str], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--url", f"{url}/", *options, "-o", form]) == 0

    read: Any = json.loads if form == "json" else yaml.safe_load
    said = read(capsys.readouterr().out)
    assert {each["deployment"] for each in said["policies"]} == shown
    assert all(each["decision"]["steps"] is not None for each in said["policies"])


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (
            ["nobody", "-n", "bokeh"],
            1,
            "no policy for nobody -n bokeh; there are policies for bokeh/bokeh-app, team-a/dash",
        ),
        (["dash", "typo"], 1, "the daemon has no policy for typo; there are policies for"),
        (["--url", "http://127.0.0.1:1"], 1, "cannot ask the daemon at http://127.0.0.1:1: Conn"),
        (["--url", "localhost:9551"], 2, "expected an address with http:// or https://, such as"),
        (["--output", "xml"], 2, "invalid choice: 'xml'"),
        (["--every", "0s"], 2, "'0s': expected more than 0s"),
        (["--port", "0"], 2, "'0': expected a whole number, 1 to 65535"),
    ],
    ids=[
        "a name",
        "one of several names",
        "nobody listens",
        "no address",
        "a format",
        "an interval",
        "a port",
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(
    url: str, options: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ended: object = main(["status", "--url", url, *options])
    except SystemExit as usage:
        ended = usage.code

    said = capsys.readouterr()
    assert (ended, said.out) == (code, "")
    assert told in said.err.splitlines()[-1]
    assert code == 2 or said.err.count("\n") == 1


def test_of_many_policies_an_error_names_some(capsys: pytest.CaptureFixture[str]) -> None:
    every = [
        policy(name=f"p{n}", target={"namespace": "b", "deployment": f"d{n}"}) for n in range(300)
    ]
    cluster = FakeCluster()
    made = Daemon(Ports(FakePolicies(tuple(every)), cluster, cluster, cluster, cluster.clock))
    made.run_once()
    server = made.web_server(("127.0.0.1", 0))
    server.start()

    assert main(["status", "--url", f"http://127.0.0.1:{server.port}", "nobody"]) == 1

    server.stop()
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(", 290 others")
    assert line.count("b/d") == 10


def test_a_deployment_for_which_nobody_leads_is_an_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster = FakeCluster()
    cluster.deploy(APP, 10)
    cluster.deploy(OTHER, 4)
    leases = FakeLeases()
    leases.failures[leases.old("bokeh")] = ClusterError("not allowed to get leases")
    made = Daemon(Ports(FakePolicies(POLICIES), cluster, cluster, cluster, cluster.clock, leases))
    for _ in range(3):
        made.run_once()
        cluster.clock.advance(5.0)
    server = made.web_server(("127.0.0.1", 0))
    server.start()
    try:
        address = f"http://127.0.0.1:{server.port}"
        codes = [main(["status", "--url", address, *names]) for names in ([], ["dash"])]
        table = capsys.readouterr()
        codes.append(main(["status", "--url", address, "-o", "json"]))
        machines = capsys.readouterr()
    finally:
        server.stop()

    assert codes == [1, 0, 1], "the other one is led"
    assert "not allowed to get leases" in table.out
    assert table.err == "", "the table has told it"
    [line] = machines.err.splitlines()
    assert line.startswith("autoscaler status: bokeh/bokeh-app: not allowed to get leases")


@pytest.mark.parametrize("url", [0], indirect=True)
def test_before_the_first_pass_it_says_so(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--url", url]) == 1

    told = "/status answered HTTP 503: no reconcile pass has finished yet"
    assert told in capsys.readouterr().err


def test_an_older_daemon_without_the_page_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    server = WebServer(("127.0.0.1", 0), daemon(passes=1).telemetry.registry, {"/readyz": str})
    server.start()
    try:
        assert main(["status", "--url", f"http://127.0.0.1:{server.port}"]) == 1
    finally:
        server.stop()

    assert "HTTP 404: page not found; try /metrics or /readyz" in capsys.readouterr().err


@pytest.mark.slow
def test_on_a_terminal_a_watch_draws_over_itself_and_ends_on_ctrl_c(url: str) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "autoscaler.cli", "status", "--url", url, "--watch"]
    with subprocess.Popen([*command, "--every", "0.1s"], stdout=theirs, stderr=theirs) as watch:
        os.close(theirs)
        said, until = "", time.monotonic() + WITHIN
        while said.count("TARGET") < 3 and time.monotonic() < until:
            if select.select([ours], [], [], 1.0)[0]:
                said += os.read(ours, 65_536).decode()
        watch.send_signal(signal.SIGINT)
        assert watch.wait(WITHIN) == 0
    os.close(ours)

    first, second, *_ = said.split("TARGET")[1:]
    assert first.endswith("\x1b[3A\r\x1b[J"), "three lines up, and clear"
    assert second.count("\n") == 3


@pytest.mark.slow
def test_a_watch_goes_on_while_no_daemon_answers() -> None:
    made = daemon(passes=1)
    (port,) = free_ports(1)
    server = made.web_server(("127.0.0.1", port))
    server.start()
    command = [sys.executable, "-m", "autoscaler.cli", "status", "--watch", "--every", "0.1s"]
    with subprocess.Popen(
        [*command, "--url", f"http://127.0.0.1:{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        assert watch.stdout.readline().startswith("TARGET")
        server.stop()
        assert watch.stderr.readline().startswith("autoscaler status: cannot ask")
        again = made.web_server(("127.0.0.1", port))
        again.start()
        try:
            while not (line := watch.stdout.readline()).startswith("TARGET"):
                assert line, "it has ended"
        finally:
            again.stop()
            watch.send_signal(signal.SIGINT)
        assert watch.wait(WITHIN) == 0
