"""With DASK_SCHEDULER the same app draws on a real Dask cluster, and outlives it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.big_data import servers
from tests.big_data.visitor import visit
from tests.exporter.servers import end, free_port

pytestmark = pytest.mark.slow


# Several views drawn in this process's memory and on the cluster.
COMPARE = """
import sys
from pathlib import Path
import numpy as np
from big_data.filters import parse_text
from big_data.store import Store
from big_data.view import View

memory, cluster = Store(Path(sys.argv[1])), Store(Path(sys.argv[1]), sys.argv[2])
assert memory.whole() == cluster.whole()
some = parse_text("kind=G,K&x=..30000", memory.source().schema)
for view in (
    memory.whole(),
    View((-3000, 2000), (500, 2500), 300, 200),
    View((-40000, 0), (0, 40000), 300, 200, "", some),
    View((-9000, 9000), (-9000, 9000), 90, 60, "brightness", some),
):
    one, other = (store.draw(view).dimension_values(2, flat=False) for store in (memory, cluster))
    assert one.any()
    # The mean of float32 depends a little on the order; counts do not.
    assert np.mean(one != other) <= (0.01 if view.measure else 0), view
"""


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


@pytest.mark.timeout(240)
def test_the_app_draws_on_a_cluster_says_that_it_is_gone_and_comes_back(
    python: str, points: Path
) -> None:
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    gone = f"the Dask scheduler {address} does not answer"
    with servers.app(python, points, DASK_SCHEDULER=address) as app, visit(app.url) as user:
        user.await_text(gone)
        with dask(python, port):
            everything = user.await_picture()
            compare = [python, "-c", COMPARE, str(points), address]
            subprocess.run(compare, cwd=servers.EXAMPLE, check=True)

        user.type("kind=O,B")
        user.await_text(gone)
        assert app.connected() == 1

        with dask(python, port):
            some = user.await_picture(other_than=everything)
            assert 0 < np.count_nonzero(some) < np.count_nonzero(everything)
