"""`make cluster` as a person uses it: addresses that answer, a kubectl, and nothing left behind."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy import tutorial
from tests.lab.images import ROOT, our_image
from tests.lab.processes import wait_until
from tests.lab.real_node import problem

pytestmark = [pytest.mark.slow, pytest.mark.containers, pytest.mark.timeout(400)]

ENDS = "Ctrl-C ends it all."
ENDED_WITHIN = 60.0


@pytest.fixture(autouse=True)
def _possible() -> None:
    if reason := problem():
        pytest.skip(f"NO KUBERNETES NODE: {reason}")


@contextmanager
def terminal(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A program as a terminal runs it: Ctrl-C reaches all that it started."""
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def said_by(process: subprocess.Popen[str]) -> str:
    """What it says until everything is there."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if ENDS in line:
            break
    return said


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_it_says_where_everything_is_and_leaves_nothing_behind() -> None:
    with terminal("tests.lab.live_cluster") as process:
        said = said_by(process)
        urls = re.findall(r" (http://127\.0\.0\.1:\S+)$", said, re.MULTILINE)
        assert len(urls) == 3, said
        for url in urls:
            wait_until(lambda url=url: answers(url), 30.0, url)
        [kubectl] = re.findall(r"alias kubectl='(.+)'", said)
        pods = subprocess.run(
            [*shlex.split(kubectl), "get", "pods", "--all-namespaces"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert {"bokeh-app", "bokeh-autoscaler", "prometheus", "sticky-haproxy"} <= set(
            re.findall(r"^\S+ +(\S+)-\w+-\w+ +\d/\d +Running", pods, re.MULTILINE)
        )

        [inside] = re.findall(r"alias inside='(.+)'", said)
        asked = [*shlex.split(inside.replace("$PATH", os.environ["PATH"])), "autoscaler", "status"]
        told = subprocess.check_output(asked, text=True)
        assert "bokeh/bokeh-app" in told

        [users] = re.findall(r"users for it: +(\S+/autoscaler users \S+)", said)
        with subprocess.Popen([*shlex.split(users), "8", "--for", "2m"]) as eight:
            replicas = ("-n", "bokeh", "get", "deployment", "bokeh-app", "-o")
            asked = [*shlex.split(kubectl), *replicas, "jsonpath={.spec.replicas}"]
            wait_until(lambda: int(subprocess.check_output(asked)) >= 3, 60.0, "8 users of 4 seats")
            eight.send_signal(signal.SIGINT)
            assert eight.wait(30) == 0, "nobody was refused or cut off"
        log = ("-n", "bokeh-autoscaler", "logs", "-l", "app.kubernetes.io/name=bokeh-autoscaler")
        lines = subprocess.check_output(
            [*shlex.split(kubectl), *log, "--tail=-1"], text=True
        ).splitlines()
        assert any("-> 3 replicas, MetricAboveTarget" in line for line in lines)
        assert not any(line.startswith("{") for line in lines), "a log for people"

        os.killpg(process.pid, signal.SIGINT)

        assert process.wait(ENDED_WITHIN) == 0
    assert not any(map(answers, urls))
    [entered] = re.findall(r"nsenter --target (\d+)", kubectl)
    assert not Path("/proc", entered).exists()
    [folder] = {Path(word).parent for word in kubectl.split() if word.endswith("admin.kubeconfig")}
    assert not folder.exists()


def test_a_bare_one_has_nothing_of_ours_and_takes_what_the_tutorial_installs(
    tmp_path: Path,
) -> None:
    tutorial.write(tmp_path)
    rolled_out = "rollout status --timeout=120s deployment"

    own = str(our_image("bokeh-example"))
    with terminal("tests.lab.live_cluster", "--bare", "--image", own) as process:
        said = said_by(process)
        assert re.search(
            r"^images on the node:.* localhost/bokeh-example:test\b", said, re.MULTILINE
        )
        [inside] = re.findall(r"alias inside='(.+)'", said)
        asked = [*shlex.split(inside.replace("$PATH", os.environ["PATH"])), "sh", "-c"]

        def run(line: str) -> str:
            return subprocess.check_output([*asked, line], cwd=tmp_path, text=True)

        names = run("kubectl get namespaces,deployments,priorityclasses -A -o name").split()
        assert [name for name in names if "bokeh" in name] == []
        for line in tutorial.step(2):
            run(line)
        run(f"kubectl -n bokeh-autoscaler {rolled_out}/prometheus")
        assert "dashboards-2" in run("autoscaler status")
        metrics = re.findall(r"(http://127\.0\.0\.1:\S+/metrics) ", said)
        assert all(map(answers, metrics))
        assert len(metrics) == 1
        [dashboard] = re.findall(r"the dashboard +(\S+)", said)
        served = [*asked, f"exec {sys.executable} -m http.server 9552 --bind 127.0.0.1"]
        with subprocess.Popen(served, cwd=tmp_path, stderr=subprocess.DEVNULL) as server:
            wait_until(lambda: answers(dashboard), 30.0, dashboard)
            server.terminate()

        process.terminate()

        assert process.wait(ENDED_WITHIN) == 128 + signal.SIGTERM


def test_it_exits_as_its_command_does() -> None:
    with terminal("tests.lab.real_node", "--", "sh", "-c", "kubectl get nodes; exit 7") as run:
        said, _ = run.communicate(timeout=120)

    assert "node-1" in said
    assert run.returncode == 7
