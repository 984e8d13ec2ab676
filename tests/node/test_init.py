"""Apps that know nothing of us are adopted by what `autoscaler init` prints, on a real node."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.adoption import apps
from tests.deploy.pages import blocks, run_shell
from tests.lab.images import ROOT, build_base, build_image, copy_wheels_of_bokeh
from tests.lab.live_cluster import NAMESPACE
from tests.lab.objects import ROUTABLE
from tests.lab.processes import wait_until
from tests.lab.stack import names_of_the_tutorial
from tests.lab.websocket_user import User
from tests.node.adopting import (
    OLD,
    USERS,
    Newcomers,
    Steps,
    adopt_beside,
    cleared,
    decided,
    labelled,
)
from tests.node.shipped import KUBELET_SYNC, SOON, Shipped, listens

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(700)]

COOKIE = "sticky_pod="  # of HAProxy
STOCK = "localhost/stock-bokeh:test"
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
    copy_wheels_of_bokeh(context / "wheels")
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
    try:
        run_shell(f"kubectl apply -f {apps.write(tmp_path, objects)}", tmp_path)
        shipped.rolled_out(OLD)
        # They have no probe that would wait for it. Those of the test before may still end.
        wait_until(lambda: all(map(serves, remaining(shipped))), SOON, "the app to listen")
        shipped.await_listening(OLD)
        yield str(request.param)
    finally:
        cleared(shipped)


def remaining(shipped: Shipped) -> list[Any]:
    """The pods of the app that are not being deleted."""
    there = labelled(shipped, OLD)
    return [each for each in there if each.metadata.deletion_timestamp is None]


def serves(pod: Any) -> bool:
    return pod.status.pod_ip is not None and listens(pod.status.pod_ip, 5006)


@pytest.fixture
def guests(case: str, shipped: Shipped) -> Iterator[list[User]]:
    """Users of the app before anything of ours is there."""
    present = shipped.join(USERS, OLD)
    yield present
    for user in present:
        shipped.users.leave(user)


@pytest.fixture
def no_proxy(shipped: Shipped, tmp_path: Path) -> Iterator[None]:
    """A namespace without a sticky proxy, and a node that has the image of one."""
    for tag, image in names_of_the_tutorial().items():
        shipped.tag_image(image, tag)
    shipped.kubectl("delete", "service", "sticky-routable", "sticky-all", "--ignore-not-found")
    shipped.kubectl("delete", "secret", "sticky-haproxy", "--ignore-not-found")
    yield
    if (tmp_path / "adoption" / "sticky").exists():
        run_shell("kubectl delete -k adoption/sticky --ignore-not-found --wait=false", tmp_path)
    shipped.kubectl("delete", "secret", "sticky-haproxy", "--ignore-not-found")


def written_steps(folder: Path, case: str, *options: str) -> Path:
    """The page of steps that the command writes for the app in the cluster."""
    where = ("--namespace", NAMESPACE, "--deployment", OLD, "--output", "adoption")
    image = ("--exporter-image", "localhost/bokeh-exporter:test")
    line = ["autoscaler", "init", *where, *image, *CASES[case][1], *options]
    run_shell(shlex.join(line), folder)
    return folder / "adoption" / "STEPS.md"


def test_the_printed_steps_lose_nobody(
    case: str, shipped: Shipped, guests: list[User], newcomers: Newcomers, tmp_path: Path
) -> None:
    start, give, look, switch, count, delete, *_ = blocks(written_steps(tmp_path, case), "sh")
    steps = Steps(start, lambda: run_shell(f"{give}\n{look}", tmp_path), switch, count, delete)

    adopt_beside(shipped, tmp_path, guests, newcomers, steps)

    assert "error" not in run_shell(look, tmp_path)


@pytest.mark.parametrize("case", ["panel serve by args alone"], indirect=True)
def test_the_printed_steps_lead_new_users_through_a_sticky_proxy_and_lose_nobody(
    case: str,
    shipped: Shipped,
    no_proxy: None,
    guests: list[User],
    newcomers: Newcomers,
    tmp_path: Path,
) -> None:
    page = written_steps(tmp_path, case, "--sticky", "haproxy")
    start, proxy, give, look, switch, count, delete, *_ = blocks(page, "sh")

    def give_and_look() -> None:
        run_shell(f"{give}\n{look}", tmp_path)

    steps = Steps(f"{start}\n{proxy}", give_and_look, switch, count, delete)
    adopt_beside(shipped, tmp_path, guests, newcomers, steps)

    assert "error" not in run_shell(look, tmp_path)
    with urlopen(shipped.url(OLD), timeout=SOON) as answer:
        assert COOKIE in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("case", ["bokeh serve by command and args"], indirect=True)
def test_the_printed_steps_in_place_cost_what_they_say_and_no_more(
    case: str, shipped: Shipped, guests: list[User], newcomers: Newcomers, tmp_path: Path
) -> None:
    page = written_steps(tmp_path, case, "--in-place")
    replicas, roll, switch, give, look, *_ = blocks(page, "sh")

    assert run_shell(replicas, tmp_path).endswith("3")
    assert shipped.all_connected(guests)
    run_shell(roll, tmp_path)
    wait_until(lambda: not any(map(shipped.users.is_connected, guests)), SOON, "the price")
    with newcomers.coming():
        run_shell(switch, tmp_path)
        run_shell(f"{give}\n{look}", tmp_path)
        wait_until(lambda: decided(shipped, OLD), KUBELET_SYNC + SOON, "a decision of the daemon")
    assert newcomers.refused == []
    assert newcomers.came
    assert shipped.all_connected(newcomers.came)
    assert all(ROUTABLE in pod.metadata.labels for pod in labelled(shipped, OLD))
