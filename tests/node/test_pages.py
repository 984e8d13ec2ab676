"""What the pages print for a cluster works, line by line, as an operator types it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import BIG_DATA, FOLDER, pinned
from tests.deploy.pages import (
    BIG_DATA_PAGE,
    KUBERNETES_PAGE,
    RUNBOOK,
    TRY_PAGE,
    blocks,
    commands,
    mentioned,
    run_shell,
)
from tests.lab import live_cluster as live
from tests.lab.images import EXAMPLES, OURS, our_image
from tests.lab.live_cluster import NAMESPACE
from tests.lab.processes import wait_until
from tests.lab.stack import PUBLISHED, local_images
from tests.lab.wheels import project_version
from tests.node.shipped import APP, KUBELET_SYNC, SOON, Shipped, policy

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(900)]

FOREVER = ("--watch", "port-forward", " -f")
FEWER = 200_000  # points, in place of ten million: a second for each of four pods instead of ten
LITTLE = "{cpu: 10m"  # a pod asks for, in place of a whole one: this node may have two
POINTS_ASKED = 'sum(big_data_requests_total{page="/points"})'


def overlay(folder: Path) -> None:
    """The page's by parts, beside a checkout; its images are those that this node has.

    Not the recommended one: nobody here scrapes what the Prometheus Operator reads.
    """
    whole, parts, *_ = map(yaml.safe_load, blocks(KUBERNETES_PAGE, "yaml"))
    settings: Any = {**whole, **parts}
    settings["images"] = local_images()
    (folder / "my-overlay").mkdir()
    (folder / "my-overlay" / "kustomization.yaml").write_text(yaml.safe_dump(settings))
    (folder / "bokeh-autoscaler").symlink_to(FOLDER.parents[1])
    (folder / "deploy").symlink_to(FOLDER.parent)


def test_the_commands_of_the_kubernetes_page_work(shipped: Shipped, tmp_path: Path) -> None:
    overlay(tmp_path)
    shipped.kubectl("delete", "secret", APP, "sticky-haproxy")

    try:
        run(commands(KUBERNETES_PAGE), tmp_path)
        ours = "kubectl -n bokeh-autoscaler logs"
        run((each for each in commands(TRY_PAGE) if each.startswith(ours)), tmp_path)
    finally:  # the tests after this one have pods with one key
        live.make_secrets()
        shipped.restart(APP)

    shipped.rolled_out(APP)


def run(lines: Iterable[str], folder: Path) -> None:
    for command in lines:
        if any(each in command for each in FOREVER):
            wait_until(partial(goes_on, command, folder), SOON, command)
        else:
            run_shell(command, folder)


def goes_on(command: str, folder: Path) -> bool:
    """Until it is told to end. Whether it says something, and a forwarded port leads to the app.

    A port is forwarded to one pod, whose turn to end it may be: then one starts it again.
    """
    with subprocess.Popen(
        command.split(), cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            return bool(said) and ("port-forward" not in command or app_answers())
        finally:
            process.terminate()


def app_answers() -> bool:
    try:
        with urllib.request.urlopen("http://localhost:5006/app", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def published(shipped: Shipped) -> Iterator[None]:
    """One pod, and a node that has every image of the example under its published name."""
    if not shipped.ours:
        pytest.skip("NO WAY TO LOAD IMAGES into a cluster that is not ours")
    shipped.write_policy(APP, policy(replicas={"min": 1, "max": 10}))
    shipped.await_replicas(1, within=KUBELET_SYNC + SOON)  # each one more is rolled out twice
    shipped.await_ready(1)
    for name in EXAMPLES:
        shipped.import_image(our_image(name))
    names = {**PUBLISHED, **{name: f"localhost/{name}" for name in EXAMPLES}}
    for name in (*OURS, *EXAMPLES):
        shipped.tag_image(f"{names[name]}:test", f"docker.io/library/{name}:{project_version()}")
    _, digest = pinned("prometheus")  # what a node that pulled it knows it by
    shipped.tag_image(f"{names['prom/prometheus']}:test", f"docker.io/prom/prometheus@{digest}")
    yield
    shipped.kubectl("delete", "deployment,service,poddisruptionbudget", "points")
    live.apply()


@pytest.mark.usefixtures("published")
def test_the_galaxy_and_its_service_run_as_their_page_says(
    shipped: Shipped, tmp_path: Path
) -> None:
    shutil.copytree(FOLDER.parent, tmp_path / "deploy")
    example = tmp_path / "deploy" / BIG_DATA.relative_to(FOLDER.parent)
    for file in example.glob("*.yaml"):
        text = file.read_text().replace("--points=10000000", f"--points={FEWER}")
        file.write_text(re.sub("{cpu: [^,]+", LITTLE, text))

    shipped.kubectl("delete", "secret", APP)
    run((each for each in commands(BIG_DATA_PAGE) if each.startswith("kubectl")), tmp_path)
    for deployment in (APP, "points"):
        shipped.rolled_out(deployment)

    def decided(deployment: str) -> float | None:
        return shipped.prometheus(
            f'max(bokeh_autoscaler_policy_desired_replicas{{deployment="{deployment}"}})'
        )

    for deployment in (APP, "points"):
        wait_until(partial(decided, deployment), SOON, f"a decision about {deployment}")
    (question,) = (each for each in commands(BIG_DATA_PAGE) if "limit=3" in each)
    answer = run_shell(
        question.replace("localhost:8000", f"points.{NAMESPACE}.svc.cluster.local"), tmp_path
    )
    assert json.loads(answer)["rows"] == 3
    wait_until(lambda: shipped.prometheus(POINTS_ASKED), SOON, "the service to be scraped")
    (user,) = shipped.join()
    wait_until(lambda: shipped.scraped() == 1, SOON, "a user of the galaxy to be counted")
    shipped.users.leave(user)


# A metrics-server, and a container that has ended: neither is here.
NOT_HERE = (" top ", " --previous")


@pytest.fixture
def incident(shipped: Shipped) -> Iterator[None]:
    """Two pods in a pause, so that only the test cordons them.

    A command of the runbook opens every pod. One that the daemon has just cordoned would then look
    as if somebody else had opened it, and the daemon would not scale down for ten minutes.
    """
    shipped.write_policy(APP, policy())
    shipped.await_replicas(2, within=KUBELET_SYNC + SOON)
    with shipped.paused("the runbook is tried"):
        yield


@pytest.mark.usefixtures("incident")
def test_what_the_runbook_tells_to_look_at_is_there(shipped: Shipped, tmp_path: Path) -> None:
    shipped.restart(APP)  # there is a rollout to undo
    shipped.rolled_out(APP)
    (pod, *_) = shipped.await_ready(2)
    told = [each for each in mentioned(RUNBOOK) if each.startswith("kubectl")]

    for command in told:
        if not any(each in command for each in NOT_HERE):
            look, *_search = command.replace("POD", pod.metadata.name).split(" | ")
            if "rollout resume" in look:
                run_shell(look.replace("resume", "pause"), tmp_path)
            run_shell(look, tmp_path)

    shipped.rolled_out(APP)
    assert pod.metadata.name not in {each.metadata.name for each in shipped.pods()}
