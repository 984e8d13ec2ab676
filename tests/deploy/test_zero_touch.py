"""For images that nobody may change: a copied folder is the launcher and the agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.bokeh_servers import APP, BIN, PATIENCE, end, free_port, wait_until
from tests.lab.websocket_user import Users

pytestmark = pytest.mark.slow


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """What the init container leaves in its emptyDir."""
    folder = tmp_path / "agent"
    folder.mkdir()
    subprocess.run([BIN / "bokeh-exporter", "copy", folder], check=True)
    return folder


@contextmanager
def sidecar(instance: str, app_port: int) -> Iterator[str]:
    """A sidecar's address, as it runs beside the app."""
    port = free_port()
    words = ["--instance", instance, "--app-port", str(app_port), "--address", "127.0.0.1"]
    with running([BIN / "bokeh-exporter", "sidecar", *words, "--port", str(port)]):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running(
    command: Sequence[str | Path], folder: Path | None = None, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [str(word) for word in command], cwd=folder, env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        end(process)


def workers_and_users(address: str) -> tuple[int, int]:
    """What the sidecar knows for sure; it guesses where no agent answers."""
    try:
        with urllib.request.urlopen(f"{address}/state", timeout=PATIENCE) as answer:
            state = json.load(answer)
    except OSError:
        return 0, 0
    if state["quality"] != "exact":
        return 0, 0
    return len(state["workers"]), state["sessions"]["connected"]


@pytest.mark.parametrize("how", ["PYTHONPATH", "launcher"])
def test_an_untouched_app_reports_its_users(tmp_path: Path, agent: Path, how: str) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    instance = f"zero-touch-{port}"
    serve = [sys.executable, "-m", "bokeh", "serve", "app.py", "--port", str(port)]
    environment = {"BOKEH_EXPORTER_INSTANCE": instance}
    if how == "PYTHONPATH":
        environment["PYTHONPATH"] = str(agent / "exporter" / "agent" / "bootstrap")
    else:
        # -I -S: with no package but Python's own, as in an image without ours.
        serve = [sys.executable, "-I", "-S", str(agent), "launch", "--", *serve]

    with sidecar(instance, port) as address, running(serve, tmp_path, **environment), Users() as us:
        user = wait_until(lambda: us.try_join(f"http://127.0.0.1:{port}/app"), "the app")

        wait_until(lambda: workers_and_users(address) == (1, 1), "one worker with one user")
        us.leave(user)
        wait_until(lambda: workers_and_users(address) == (1, 0), "nobody")


def test_an_app_finds_the_hints_in_the_copy(tmp_path: Path, agent: Path) -> None:
    """In an image that has Python and the copy, but no package of ours."""
    script = "from exporter import hints; hints.costs(2); print(hints.__file__)"
    launch = [sys.executable, "-I", "-S", str(agent), "launch", "--"]
    # Without site no sitecustomize runs: it is run here as site would.
    inner = f"import sitecustomize; {script}"
    done = subprocess.run(
        [*launch, sys.executable, "-S", "-c", inner],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(agent / "exporter" / "hints.py")


def test_copying_again_brings_a_newer_agent(agent: Path) -> None:
    """An emptyDir outlives the init container's restarts."""
    entry = agent / "exporter" / "launch.py"
    entry.write_text("old")

    subprocess.run([BIN / "bokeh-exporter", "copy", agent], check=True)

    assert "def " in entry.read_text()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    command = (BIN / "bokeh-exporter", "copy", tmp_path / "file")
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert result.stderr.startswith("bokeh-exporter: ")
    assert result.stderr.count("\n") == 1
