"""An app with users in it is adopted as its page says, word by word, on a real node."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.pages import ADOPT_PAGE, blocks, files, run_shell
from tests.lab.objects import ROUTABLE
from tests.lab.processes import wait_until
from tests.lab.websocket_user import User
from tests.node.adopting import OLD, USERS, Newcomers, Steps, adopt_beside, cleared, labelled
from tests.node.clicks import AFTERWARDS
from tests.node.shipped import SOON, Shipped

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(700)]

BESIDE, IN_PLACE = "A second Deployment beside it", "In place"
IMAGES = {"dashboards": "localhost/bokeh-example", "bokeh-exporter": "localhost/bokeh-exporter"}


@pytest.fixture
def folder(shipped: Shipped, tmp_path: Path) -> Iterator[Path]:
    """The files of the page, with images that this node has; nothing of them runs yet."""
    if not shipped.ours:
        pytest.skip("NO WAY TO LOAD IMAGES into a cluster that is not ours")
    for name, text in files(ADOPT_PAGE).items():
        (tmp_path / name).write_text(with_local_images(text))
    yield tmp_path
    cleared(shipped)


def with_local_images(text: str) -> str:
    for printed, ours in IMAGES.items():
        text = re.sub(rf"registry\.example\.com/{printed}:[\d.]+", f"{ours}:test", text)
    return text


@pytest.fixture
def guests(shipped: Shipped, folder: Path) -> Iterator[list[User]]:
    """Users of three stock pods: no launcher, no sidecar, no label."""
    run_shell("kubectl apply -f dashboards.yaml", folder)
    shipped.rolled_out(OLD)
    shipped.await_listening(OLD)
    present = shipped.join(USERS, OLD)
    yield present
    for user in present:
        shipped.users.leave(user)


def test_a_second_deployment_loses_nobody(
    shipped: Shipped, folder: Path, guests: list[User], newcomers: Newcomers
) -> None:
    start, let_scale, switch, count, delete = blocks(ADOPT_PAGE, "sh", BESIDE)

    def give() -> None:
        shipped.write_policy(OLD, files(ADOPT_PAGE)["dashboards-policy.yaml"])
        run_shell(let_scale, folder)

    adopt_beside(shipped, folder, guests, newcomers, Steps(start, give, switch, count, delete))


def test_in_place_the_rollout_is_the_whole_price(
    shipped: Shipped, folder: Path, guests: list[User], newcomers: Newcomers
) -> None:
    """The users who are there when the pods are rolled are lost, as the page says; nobody else."""
    replicas, _server_side, roll, selector = blocks(ADOPT_PAGE, "sh", IN_PLACE)

    assert run_shell(replicas, folder).endswith("3")
    time.sleep(AFTERWARDS)
    assert shipped.all_connected(guests)
    assert len(labelled(shipped, OLD)) == 3

    add_what_is_marked(folder)
    run_shell(roll, folder)
    wait_until(lambda: not any(map(shipped.users.is_connected, guests)), SOON, "the price")
    with newcomers.coming():
        time.sleep(AFTERWARDS)
        run_shell(selector, folder)
        time.sleep(AFTERWARDS)
    assert newcomers.refused == []
    assert shipped.all_connected(newcomers.came)
    assert shipped.replicas(OLD) == 3
    assert all(ROUTABLE in pod.metadata.labels for pod in labelled(shipped, OLD))


def add_what_is_marked(folder: Path) -> None:
    """As the page tells: what is new in the second Deployment, with the name and selector of the
    first."""
    second: Any = yaml.safe_load((folder / "dashboards-2.yaml").read_text())
    first, service = yaml.safe_load_all((folder / "dashboards.yaml").read_text())
    second["metadata"], second["spec"]["selector"] = first["metadata"], first["spec"]["selector"]
    second["spec"]["template"]["metadata"]["labels"]["app"] = OLD
    (folder / "dashboards.yaml").write_text(yaml.safe_dump_all([second, service]))
