"""Apps that know nothing of us are adopted by what `autoscaler init` prints, on a real node."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.adoption import apps
from tests.deploy.pages import blocks, run_shell
from tests.lab.images import ROOT, build_base, build_image, wheels
from tests.lab.live_cluster import NAMESPACE
from tests.lab.websocket_user import User
from tests.node.adopting import OLD, USERS, Newcomers, Steps, adopt_beside, cleared
from tests.node.shipped import Shipped

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(700)]

STOCK = "localhost/stock-bokeh:test"
# Of the packages beside Bokeh and Panel, those that neither needs, and that take a minute to copy.
LARGE = ("dask", "distributed", "llvmlite", "numba", "pyarrow", "scipy", "xarray")
DOCKERFILE = """\
ARG BASE
FROM ${BASE}
RUN --mount=type=bind,target=/context python -m venv /opt/venv && \
    /opt/venv/bin/pip install --quiet --no-index --find-links /context/wheels bokeh panel
COPY app.py /app/app.py
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp
WORKDIR /app
USER 65532:65532
CMD ["bokeh", "serve", "app.py"]
"""
# By what the manifest says of the start: what `init` has to be told too.
CASES: Mapping[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "bokeh serve by command and args": (
        *({"command": ["bokeh", "serve"], "args": ["app.py"]}, ()),
    ),
    "panel serve by args alone": ({"args": ["panel", "serve", "app.py"]}, ()),
    "an image with only CMD": ({}, ("--start", "bokeh serve app.py")),
}


@pytest.fixture(scope="session")
def stock_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image as an app's team builds it without us. The archive."""
    context = tmp_path_factory.mktemp("stock")
    shutil.copy(ROOT / "deploy" / "images" / "example" / "app.py", context)
    (context / "wheels").mkdir()
    for wheel in wheels(ROOT / "requirements" / "big-data.txt").iterdir():
        if wheel.name.partition("-")[0] not in LARGE:
            shutil.copy(wheel, context / "wheels")
    dockerfile = context / "Dockerfile"
    dockerfile.write_text(DOCKERFILE)
    return build_image(STOCK, dockerfile, context, {"BASE": build_base()})


@pytest.fixture(params=CASES)
def case(
    request: pytest.FixtureRequest, shipped: Shipped, stock_image: Path, tmp_path: Path
) -> Iterator[str]:
    """Its three pods run; afterwards nothing of it is left."""
    if not shipped.ours:
        pytest.skip("NO WAY TO LOAD IMAGES into a cluster that is not ours")
    shipped.import_image(stock_image)
    objects = apps.app(CASES[request.param][0], apps.restricted)
    apps.pod(objects)["containers"][0]["image"] = STOCK
    run_shell(f"kubectl apply -f {apps.write(tmp_path, objects)}", tmp_path)
    shipped.rolled_out(OLD)
    shipped.await_listening(OLD)
    yield str(request.param)
    cleared(shipped)


def test_the_printed_steps_lose_nobody(case: str, shipped: Shipped, tmp_path: Path) -> None:
    where = ("--namespace", NAMESPACE, "--deployment", OLD, "--output", "adoption")
    image = ("--exporter-image", "localhost/bokeh-exporter:test")
    guests: list[User] = shipped.join(USERS, OLD)
    newcomers = Newcomers(shipped)

    run_shell(shlex.join(["autoscaler", "init", *where, *image, *CASES[case][1]]), tmp_path)

    start, give, look, switch, count, delete = blocks(tmp_path / "adoption" / "STEPS.md", "sh")
    steps = Steps(start, lambda: run_shell(f"{give}\n{look}", tmp_path), switch, count, delete)
    try:
        adopt_beside(shipped, tmp_path, guests, newcomers, steps)
        assert "error" not in run_shell(look, tmp_path)
    finally:
        for user in guests:
            shipped.users.leave(user)
        newcomers.leave()
