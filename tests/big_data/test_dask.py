"""With DASK_SCHEDULER the same app draws on a real Dask cluster, and outlives it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.big_data.conftest import Stars
from tests.big_data.visitor import visit
from tests.lab import big_data_servers as servers
from tests.lab.bokeh_servers import end, free_port

pytestmark = pytest.mark.slow


@contextmanager
def dask(python: str, port: int) -> Iterator[None]:
    """A scheduler and one worker, which find the example's modules where they start."""
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = ["worker", f"tcp://127.0.0.1:{port}", "--no-nanny", "--no-dashboard"]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        processes = [
            subprocess.Popen(
                [python, "-m", "dask", *words], cwd=servers.EXAMPLE, stdout=log, stderr=log
            )
            for words in (scheduler, [*worker, "--local-directory", folder])
        ]
        try:
            yield
        finally:
            for process in reversed(processes):
                end(process)


@pytest.mark.timeout(420)
def test_the_app_draws_on_a_cluster_says_that_it_is_gone_and_comes_back(
    python: str, points: Path, stars: Stars
) -> None:
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        with dask(python, port):
            app = stack.enter_context(servers.app(python, points, DASK_SCHEDULER=address))
            user = stack.enter_context(visit(app.url))
            assert stars.are_in(user.await_picture())
            user.type("brightness=..5")
            user.await_picture(other_than=user.picture())

        user.type("kind=M")
        user.await_text(f"the Dask scheduler {address} does not answer")
        assert app.connected() == 1

        before = user.picture()
        with dask(python, port):
            assert stars.only("M").are_in(user.await_picture(other_than=before))
