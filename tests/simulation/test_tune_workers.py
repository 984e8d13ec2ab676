"""Where tuning runs: in processes of this machine and on a real Dask cluster, with one result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoscaler.cli import main
from tests.lab.big_data_environment import ENVIRONMENT
from tests.lab.bokeh_servers import end, free_port, wait_until
from tests.simulation.traces import some_days

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
RULES = """\
name: dashboards
target: {namespace: bokeh, deployment: bokeh-app}
replicas: {min: 1, max: 20}
metrics:
  - {type: sessions, seats: 10, spare: 40}
"""
# The environment with Dask lacks packages that only the command line needs.
CLIENT = """
import sys
sys.path.append(sys.argv.pop(1))
from autoscaler.cli import main
sys.exit(main())
"""
GOAL = ("--goal", "refused < 2%")


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    visits = some_days(tmp_path / "visits.csv")
    few = ("--candidates", "10", "--tick", "60s", "--json")
    return ["tune", "--policy", str(rules), "--trace", str(visits), *GOAL, *few]


@pytest.fixture
def python() -> str:
    found = ENVIRONMENT.python()
    if not found:
        pytest.skip(f"NO DASK: {ENVIRONMENT.how}")
    return str(found)


def client(python: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command in the environment that has Dask."""
    command = [python, "-c", CLIENT, sysconfig.get_path("purelib"), *words]
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=settings, timeout=200
    )


@contextmanager
def dask(python: str, folder: Path, workers: int) -> Iterator[str]:
    """A scheduler and its workers, which have this package."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = ["worker", address, "--no-nanny", "--no-dashboard", "--nthreads", "1"]
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    commands = [scheduler, *[[*worker, "--local-directory", str(folder)]] * workers]
    with (folder / "log").open("wb") as log:
        started = [
            subprocess.Popen(
                [python, "-m", "dask", *each], stdout=log, stderr=log, env=settings, cwd=folder
            )
            for each in commands
        ]
        try:
            yield address
        finally:
            for process in reversed(started):
                end(process)


def test_two_processes_find_the_same_as_one(words: list[str], capsys) -> None:
    outputs = []
    for jobs in ("1", "2"):
        assert main([*words, "--jobs", jobs]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


def test_a_dask_cluster_finds_the_same_as_this_machine(
    words: list[str], python: str, tmp_path: Path, capsys
) -> None:
    words += ("--candidates", "20")  # enough for both workers to be asked
    assert main([*words, "--jobs", "1"]) == 0
    local = json.loads(capsys.readouterr().out)

    with dask(python, tmp_path, workers=2) as address:
        remote = client(python, [*words, "--dask", address])

    assert remote.stderr == ""
    assert json.loads(remote.stdout) == local
    log = (tmp_path / "log").read_text()
    assert log.count("Run out-of-band function 'exec'") == 2, "both workers were asked"


def test_an_interrupt_ends_all_processes_and_leaves_no_file(
    words: list[str], tmp_path: Path
) -> None:
    html = tmp_path / "tune.html"
    left = [path.name for path in tmp_path.iterdir()]
    process = subprocess.Popen(
        [sys.executable, "-m", "autoscaler.cli", *words, "--jobs", "2", "--html", str(html)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        wait_until(lambda: len(group(process.pid)) >= 4, "its workers")
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        end(process)
    assert process.returncode == 130
    assert b"Traceback" not in said
    wait_until(lambda: not group(process.pid), "the end of its workers")
    assert [path.name for path in tmp_path.iterdir()] == left


def group(leader: int) -> list[int]:
    """The processes of a group: the command, its workers, and what tracks their resources."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def test_a_scheduler_that_does_not_answer_is_told(words: list[str], python: str) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    said = client(python, [*words, "--dask", address])
    assert said.returncode == 2
    assert said.stderr.startswith(f"Dask at {address}: cannot connect (")
    assert said.stderr.count("\n") == 1
