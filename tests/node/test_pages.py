"""What the page for Kubernetes prints works: an operator's way from the overlay to the proxy."""

from __future__ import annotations

import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.processes import wait_until
from tests.cluster.stack import local_images
from tests.deploy.manifests import FOLDER
from tests.deploy.pages import KUBERNETES_PAGE, blocks, commands, run_shell
from tests.node.shipped import APP, SOON, Shipped

pytestmark = [pytest.mark.slow, pytest.mark.node, pytest.mark.timeout(300)]

FOREVER = ("--watch", "port-forward")


def overlay(folder: Path) -> None:
    """The page's, beside a checkout; its images are those that this node has."""
    settings: Any = yaml.safe_load(blocks(KUBERNETES_PAGE, "yaml")[0])
    settings["images"] = local_images()
    (folder / "my-overlay").mkdir()
    (folder / "my-overlay" / "kustomization.yaml").write_text(yaml.safe_dump(settings))
    (folder / "bokeh-autoscaler").symlink_to(FOLDER.parents[1])
    (folder / "deploy").symlink_to(FOLDER.parent)


def test_the_commands_of_the_kubernetes_page_work(shipped: Shipped, tmp_path: Path) -> None:
    overlay(tmp_path)

    try:
        for command in commands(KUBERNETES_PAGE):
            if any(each in command for each in FOREVER):
                goes_on(command, tmp_path)
            else:
                run_shell(command, tmp_path)
    finally:  # or the tests after this one would have pods with a key and pods without
        shipped.kubectl("delete", "secret", APP, "--ignore-not-found")

    shipped.rolled_out(APP)


def goes_on(command: str, folder: Path) -> None:
    """Until it is told to end; a forwarded port leads to the app."""
    with subprocess.Popen(
        command.split(), cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), command
            if "port-forward" in command:
                wait_until(app_answers, SOON, "the page at the forwarded port")
        finally:
            process.terminate()


def app_answers() -> bool:
    try:
        with urllib.request.urlopen("http://localhost:5006/app", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
