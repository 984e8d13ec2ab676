"""The wheel in an empty environment of each Python that it supports, away from the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from exporter.release import commit_of
from tests.lab.bokeh_servers import APP, QUICK, free_port, served, wait_until
from tests.lab.environment import REQUIREMENTS, install, make
from tests.lab.images import ROOT
from tests.lab.interpreters import interpreter
from tests.lab.websocket_user import Users
from tests.lab.wheels import PARTS, build_wheels, constraints, hatchling, project_version

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# The exporter runs wherever Bokeh does; see `requires-python` and OLDEST_PYTHON.
WITH_DAEMON = ("3.11", "3.12", "3.13")
EXPORTER_ALONE = ("3.10",)
AWAY = {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from the sdist, which so has all that the wheel needs."""
    return build_wheels(tmp_path_factory.mktemp("dist"))[0]


@pytest.fixture(scope="module", params=[*EXPORTER_ALONE, *WITH_DAEMON])
def version(request: pytest.FixtureRequest) -> str:
    """A version of Python."""
    given: str = request.param
    return given


@pytest.fixture(scope="module")
def programs(version: str, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that has the wheel and Bokeh."""
    python = interpreter(version)
    if not python:
        pytest.skip(f"PYTHON {version} WAS NOT TESTED: no python{version} here that has venv")
    folder = tmp_path_factory.mktemp(f"python{version}")
    inner = make(python, folder)
    try:
        if version in EXPORTER_ALONE:
            for name in ("exporter.txt", "python-3.10.txt"):
                install(inner, "--require-hashes", "-r", str(REQUIREMENTS / name))
            install(inner, "--no-deps", str(wheel))
        else:
            pins = folder / "pins.txt"
            pins.write_text(constraints())
            install(inner, "--constraint", str(pins), f"{wheel}[daemon,report]")
    except subprocess.CalledProcessError as error:
        pytest.fail(f"pip on Python {version}: {error.stderr}")
    return folder / "bin"


def commit_in(wheel: Path) -> str:
    """The commit that a wheel names; empty if it names none."""
    with zipfile.ZipFile(wheel) as content:
        if "exporter/COMMIT" not in content.namelist():
            return ""
        return content.read("exporter/COMMIT").decode().strip()


def run(programs: Path, *words: str, folder: Path, code: int = 0) -> str:
    """What a program of the environment prints; on standard error if it fails as expected."""
    environment = {**os.environ, **AWAY}
    done = subprocess.run(
        [programs / words[0], *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_a_wheel_of_a_checkout_names_its_commit_also_by_way_of_an_sdist(wheel: Path) -> None:
    assert commit_in(wheel).removesuffix("-dirty") == commit_of(ROOT).removesuffix("-dirty")


@pytest.mark.parametrize(
    ("named", "commit"), [({}, ""), ({"BOKEH_AUTOSCALER_COMMIT": "1a2b3c4d5e6f"}, "1a2b3c4d5e6f")]
)
def test_a_wheel_made_without_a_repository_names_the_commit_that_it_is_told(
    tmp_path: Path, named: dict[str, str], commit: str
) -> None:
    for name in (*PARTS, "policies"):
        (tmp_path / name).symlink_to(ROOT / name)

    hatchling("wheel", tmp_path, tmp_path / "dist", **named)

    [wheel] = (tmp_path / "dist").iterdir()
    assert commit_in(wheel) == commit


@pytest.mark.parametrize("program", ["autoscaler", "bokeh-exporter"])
def test_it_tells_its_version_and_commit(
    programs: Path, wheel: Path, tmp_path: Path, program: str
) -> None:
    commit = commit_in(wheel)
    expected = f"{project_version()} (commit {commit})" if commit else project_version()

    assert run(programs, program, "--version", folder=tmp_path).strip() == expected


def test_it_simulates_a_shipped_policy(programs: Path, version: str, tmp_path: Path) -> None:
    words = ("autoscaler", "simulate", "--policy", str(ROOT / "policies" / "sessions.yaml"))
    if version in EXPORTER_ALONE:
        told = run(programs, *words, folder=tmp_path, code=1)
        assert told == (
            f"autoscaler needs Python 3.11 or newer, and this is {version}; "
            f"only bokeh-exporter runs on {version}\n"
        )
        return

    told = run(programs, *words, "--workload", "class-of-200", folder=tmp_path)

    assert "replica" in told
    assert [page.suffix for page in tmp_path.iterdir()] == [".html"]


def test_a_copy_for_an_image_that_cannot_be_modified_starts_a_server(
    programs: Path, wheel: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    run(programs, "bokeh-exporter", "copy", str(copy), folder=tmp_path)

    assert run(programs, "python", "-I", str(copy), "launch", "--", "true", folder=tmp_path) == ""
    told = run(programs, "python", "-I", "-S", str(copy), "--version", folder=tmp_path)
    assert commit_in(wheel) in told


def test_the_exporter_counts_and_drains_beside_a_real_server(
    programs: Path, version: str, wheel: Path, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    command = [str(programs / "bokeh"), "serve", "app.py", "--port", str(port), *QUICK]
    command += ["--num-procs", "2"]
    exporter = (str(programs / "bokeh-exporter"),)
    started = served(
        tmp_path,
        command,
        port=port,
        options=("--reconnect", "1s"),
        environment=AWAY,
        launcher=exporter,
        beside=exporter,
    )
    with started as server, Users() as users:
        server.wait_workers(2)
        there = [users.join(server.url) for _ in range(3)]
        wait_until(lambda: server.connected() == 3, "all three to be counted")
        users.leave(there[0])
        wait_until(lambda: server.connected() == 2, "two users left over")
        metrics = server.get("/metrics")[2]
        info = re.search(r"^bokeh_server_info\{(.*)\} 1", metrics, re.MULTILINE)
        assert info is not None
        assert f'python_version="{version}.' in info[1]
        assert f'commit="{commit_in(wheel)}"' in metrics
        server.terminate()
        wait_until(lambda: server.state()["draining"], "the drain to begin")
        for user in there[1:]:
            users.leave(user)
        assert server.exit_code() == 0
