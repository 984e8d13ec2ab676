"""A real daemon asks, releases and announces: real API server, servers, sidecars and Chromium."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.exporter.notice_pages import BAR, CLICK, IS_READY, PLAIN, PRESS, RELEASED
from tests.lab.browser import NEEDS_CHROMIUM, browser
from tests.lab.processes import wait_until
from tests.lab.real_pods import RealPod, real_pods
from tests.lab.websocket_user import Users
from tests.lab.world import REAL_WORLD, WITHIN, World

pytestmark = [*REAL_WORLD, NEEDS_CHROMIUM]
QUESTION, ENDS = "Do you still use this page?", "This server ends soon"
TEXTS = {"idle": QUESTION, "deadline": QUESTION, "hardDeadline": ENDS}
QUICK = {"settle": "1s", "reconnect": "1s"}


class Tabs:
    """Pages of one browser, by what their users do."""

    def __init__(self, window: Chrome) -> None:
        self._window = window
        self._handles: dict[str, str] = {}

    def open(self, name: str, pod: RealPod) -> None:
        before = pod.server.connected()
        self._window.switch_to.new_window("tab")
        self._handles[name] = self._window.current_window_handle
        self._window.get(pod.server.url)
        wait_until(lambda: pod.server.connected() == before + 1, WITHIN, "the session")
        wait_until(lambda: self._window.execute_script(IS_READY), WITHIN, "the page")

    def run(self, name: str, script: str) -> Any:
        self._window.switch_to.window(self._handles[name])
        return self._window.execute_script(script)

    def reads(self, name: str) -> str:
        return str(self.run(name, BAR))

    def close(self, name: str) -> None:
        self._window.switch_to.window(self._handles.pop(name))
        self._window.close()


@pytest.fixture
def tabs() -> Iterator[Tabs]:
    with browser() as started:
        yield Tabs(started)


@pytest.fixture
def pods(world: World, token: Path) -> Iterator[Sequence[RealPod]]:
    """Two pods, of which the second one will be drained, because it has fewer users."""
    with real_pods(world, 2, token, PLAIN) as pods:
        yield pods


def until(done: Callable[[], object], within: float, *each_second: Callable[[], object]) -> None:
    """Do something again and again until something is so."""
    end = time.monotonic() + within
    while not done():
        assert time.monotonic() < end
        for act in each_second:
            act()
        time.sleep(1)


def drains(world: World) -> None:
    wait_until(lambda: world.cordoned() == 1, WITHIN, "a pod to be cordoned")


@pytest.mark.timeout(300)
def test_the_forgotten_tab_is_released_and_whoever_answers_or_works_stays(
    world: World, token: Path, pods: Sequence[RealPod], tabs: Tabs
) -> None:
    staying, leaving = pods
    world.write_policy(idle={"after": "1m", "notice": "10s"}, notices=TEXTS)
    for name, pod in (("works", staying), ("answers", staying), ("forgotten", leaving)):
        tabs.open(name, pod)
    world.start("--sidecar-token-file", str(token))
    drains(world)
    read: set[str] = set()
    answers: list[float] = []

    def works() -> None:
        tabs.run("works", CLICK)
        read.add(tabs.reads("works"))

    def answers_if_asked() -> None:
        if QUESTION in tabs.reads("answers"):
            tabs.run("answers", PRESS)
            answers.append(time.monotonic())

    until(lambda: leaving.server.connected() == 0 and answers, 150, works, answers_if_asked)
    assert read == {""}, "whoever works is never asked"
    assert "This page was closed because nobody used it." in tabs.reads("forgotten")
    assert leaving.server.value(RELEASED) == 1
    until(lambda: world.replicas() == 1, 60, works, answers_if_asked)
    assert read == {""}
    assert (staying.server.connected(), staying.server.value(RELEASED)) == (2, 0)
    until(lambda: "SessionsReleased" in world.events(), 30)
    told = world.events()
    assert f"pod {leaving.name}, cordoned" in told["SessionsReleased"]
    assert told["SessionsReleased"].endswith(
        "ago, was held by 1 session until it was released: nobody used the page, or its app lets"
        " it be closed"
    )
    assert told["SessionsReleased"] in world.log.read_text()
    assert "SessionsCut" not in told
    assert answers


@pytest.mark.timeout(240)
def test_before_the_hard_deadline_whoever_works_reads_how_much_time_is_left(
    world: World, token: Path, pods: Sequence[RealPod], tabs: Tabs
) -> None:
    staying, leaving = pods
    world.write_policy(drain={**QUICK, "hardDeadline": "75s", "notice": "30s"}, notices=TEXTS)
    with Users() as users:
        for _ in range(2):
            users.join(staying.server.url)
        tabs.open("works", leaving)
        world.start("--sidecar-token-file", str(token))
        drains(world)
        until(lambda: ENDS in tabs.reads("works"), 80, lambda: tabs.run("works", CLICK))
        minutes, _, seconds = tabs.reads("works").split("\n")[1].partition(":")
        assert 25 <= 60 * int(minutes) + int(seconds) <= 60, "the notice, and a round more"
        assert (world.replicas(), leaving.server.connected()) == (2, 1)
        until(lambda: world.replicas() == 1, 80, lambda: tabs.run("works", CLICK))
        assert leaving.server.value(RELEASED) == 0
    until(lambda: "DrainDeadlineExceeded" in world.log.read_text(), 30)
    assert "with 1 session" in world.log.read_text()
    assert "SessionsReleased" not in world.events()


@pytest.mark.timeout(480)
def test_before_the_deadline_the_unused_page_is_asked_and_released_and_the_used_one_is_kept(
    world: World, token: Path, pods: Sequence[RealPod], tabs: Tabs
) -> None:
    """Pages that nobody has used for four minutes are asked, so this takes five."""
    staying, leaving = pods
    world.write_policy(drain={**QUICK, "deadline": "4m", "notice": "10s"}, notices=TEXTS)
    with Users() as users:
        for _ in range(3):
            users.join(staying.server.url)
        for name in ("forgotten", "works"):
            tabs.open(name, leaving)
        world.start("--sidecar-token-file", str(token))
        drains(world)
        read: dict[str, set[str]] = {"forgotten": set(), "works": set()}

        def works() -> None:
            tabs.run("works", CLICK)
            for name, seen in read.items():
                seen.add(tabs.reads(name).partition("\n")[0])

        until(lambda: leaving.server.connected() == 1, 330, works)
        assert read["works"] == {""}
        assert QUESTION in read["forgotten"]
        assert "This page was closed" in tabs.reads("forgotten")
        assert (leaving.server.value(RELEASED), world.replicas()) == (1, 2)
        tabs.close("works")
        world.reaches(1)
    until(lambda: "SessionsReleased" in world.events(), 30)
    assert "was held by 1 session" in world.events()["SessionsReleased"]
    assert "DrainDeadlineExceeded" not in world.log.read_text()
