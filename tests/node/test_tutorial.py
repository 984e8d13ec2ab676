"""An app with users in it is adopted as the tutorial says, word by word, on a real node.

`make cluster CMD='PICTURES=docs/images .venv/bin/python -m pytest tests/node/test_tutorial.py'`
makes the pictures of the page anew.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.dashboard import visits
from tests.deploy import tutorial
from tests.deploy.pages import DEPLOY_PAGE, TUTORIAL, blocks, commands, mentioned, run_shell
from tests.lab import live_cluster as live
from tests.lab.browser import browser, picture
from tests.lab.images import ROOT, build_base, build_image, wheels
from tests.lab.processes import Processes, wait_until
from tests.lab.stack import names_of_the_tutorial
from tests.lab.websocket_user import User
from tests.node.shipped import SOON, Shipped

OLD, NEW, PROXY = "dashboards", "dashboards-2", "sticky-haproxy"
USERS = 20
DRAINED_WITHIN = 240.0  # seconds: the window of the policy, and a drain for each of the pods


def test_the_images_are_built_as_their_page_says() -> None:
    """So the images of the tests are those of the tutorial."""
    ours = [
        each for each in commands(TUTORIAL) if each.startswith(("pip wheel", "docker build -f"))
    ]

    short = [re.sub(r"registry\.example\.com/", "", each) for each in ours]

    assert len(short) == 3
    assert [each for each in short if each not in commands(DEPLOY_PAGE)] == []


def panel_image(folder: Path) -> Path:
    """The image of the page's Dockerfile, from the wheels that the example for big data has."""
    [dockerfile] = blocks(TUTORIAL, "dockerfile")
    [program] = blocks(TUTORIAL, "python")
    folder.mkdir()
    (folder / "app.py").write_text(program)
    shutil.copytree(wheels(ROOT / "requirements" / "big-data.txt"), folder / "wheels")
    offline = (
        f"FROM {build_base()}\n"
        "RUN python -m venv /opt/venv\n"
        "ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PATH=/opt/venv/bin:$PATH\n"
        "COPY wheels /wheels\n"
    )
    first, rest = dockerfile.split("\n", 1)
    assert first == "FROM python:3.12-slim"
    (folder / "Dockerfile").write_text(offline + rest)
    return build_image("localhost/dashboards:1", folder / "Dockerfile", folder)


@pytest.fixture
def folder(shipped: Shipped, tmp_path: Path) -> Iterator[Path]:
    """The files of the page beside a checkout, and a node that has the images of the page."""
    if not shipped.ours:
        pytest.skip("NO WAY TO LOAD IMAGES into a cluster that is not ours")
    shipped.import_image(panel_image(tmp_path / "image"))
    shipped.tag_image("localhost/dashboards:1", "registry.example.com/dashboards:1")
    for tag, image in names_of_the_tutorial().items():
        shipped.tag_image(image, tag)
    tutorial.write(tmp_path)
    shipped.kubectl("delete", "secret", OLD, PROXY, "--ignore-not-found")
    yield tmp_path
    run_shell("kubectl delete -k app --ignore-not-found --wait=false", tmp_path)
    shipped.kubectl("delete", "deployment,service", OLD, "--ignore-not-found", "--wait=false")
    shipped.kubectl("delete", "secret", OLD, PROXY, "--ignore-not-found")
    live.apply()


@pytest.fixture
def guests(shipped: Shipped, folder: Path) -> Iterator[list[User]]:
    """Users of the app that runs before anything of ours is there."""
    run(1, folder)
    shipped.await_listening(OLD)
    present = shipped.join(USERS, OLD)
    yield present
    for user in present:
        shipped.users.leave(user)


def run(number: int | str, folder: Path) -> str:
    """What the commands of a step say."""
    return "".join(run_shell(line, folder) for line in tutorial.step(number))


@pytest.mark.slow
@pytest.mark.node
@pytest.mark.timeout(900)
def test_the_tutorial_adopts_an_app_and_nobody_loses_a_session(
    shipped: Shipped, folder: Path, guests: list[User]
) -> None:
    [back] = [each for each in mentioned(TUTORIAL) if each.startswith("kubectl -n bokeh patch")]
    for number in (2, 4, 5, "back", 5):
        said = run_shell(back, folder) if number == "back" else run(number, folder)
        assert shipped.all_connected(guests), f"after step {number}"
        assert "ERROR" not in said
    shipped.await_replicas(2, NEW)

    watch_it_scale(shipped, folder)

    count, delete = tutorial.step(7)
    assert sum(map(int, run_shell(count, folder).split())) >= USERS
    assert shipped.all_connected(guests)
    for user in guests:
        shipped.users.leave(user)
    guests.clear()
    wait_until(lambda: not any(map(int, run_shell(count, folder).split())), SOON, "no users")
    run_shell(delete, folder)


def watch_it_scale(shipped: Shipped, folder: Path) -> None:
    """Step 6: users come, are seen in the terminal and in the browser, and leave."""
    forward, users, status, prometheus, dashboard, log = tutorial.step(6)
    with Processes(folder) as terminals, browser(visits.WIDE) as page:
        for name, line in (("app", forward), ("prometheus", prometheus)):
            terminals.start(name, words(line))
            wait_until(lambda name=name: "Forwarding" in terminals.tail(name), SOON, name)
        terminals.start("users", words(users))
        terminals.start("status", words(status))
        shipped.await_replicas(5, NEW)
        wait_until(lambda: shows(terminals.tail("status")), SOON, "the status on the page")
        page.get("http://127.0.0.1:8080/app")
        visits.shows(page, "Dashboards", "number")
        keep(page, "tutorial-app", folder, 640, 120)
        terminals.start("dashboard", words(dashboard))
        wait_until(lambda: " is at " in terminals.tail("dashboard"), SOON, "the dashboard")
        page.get("http://127.0.0.1:9552/")
        visits.shows(page, "What it cost", f"bokeh/{NEW}")

        terminals.stop("users")
        run_shell(log, folder)
        shipped.await_daemon(lambda: shipped.replicas(NEW) == 2, DRAINED_WITHIN, "two replicas")
        visits.shows(page, "→ 2", "→ 5")
        visits.look_at_minutes(page)
        keep(page, "tutorial-dashboard", folder, visits.WIDE, 1_300)


def keep(page: Chrome, name: str, folder: Path, width: int, height: int) -> None:
    """Write what the browser shows as a picture of the page, where one is asked for."""
    file = Path(os.environ.get("PICTURES", folder)) / f"{name}.png"
    file.write_bytes(picture(page, width, height))
    assert f"](images/{file.name})" in TUTORIAL.read_text()


def words(command: str) -> list[str]:
    """As a shell that finds our own programs."""
    own = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return ["env", f"PATH={own}", "COLUMNS=120", "sh", "-c", f"exec {command}"]


def shows(status: str) -> bool:
    """Whether a table says what the page shows.

    But for the age, and the seats: those of pods that are full do not count.
    """
    [table] = blocks(TUTORIAL, "text")
    return told(table.splitlines()[1]) in [told(line) for line in status.splitlines() if line]


def told(line: str) -> list[str]:
    target, users, _seats, *others = line.split()
    return [target, users, *others[:-1]]
