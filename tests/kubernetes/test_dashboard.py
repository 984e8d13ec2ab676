"""The dashboard of a real daemon, whose metrics a real Prometheus scrapes, in a real browser."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.conftest import StartPrometheus
from tests.dashboard.scene import TEXT
from tests.lab.browser import NEEDS_CHROMIUM, browser
from tests.lab.processes import free_ports, wait_until
from tests.lab.prometheus_server import PrometheusServer
from tests.lab.world import AUTOSCALER, REAL_WORLD, World

pytestmark = [*REAL_WORLD, NEEDS_CHROMIUM]
WITHIN = 60.0


@pytest.fixture
def port() -> int:
    """Where the daemon will tell its metrics."""
    (port,) = free_ports(1)
    return port


@pytest.fixture
def prometheus(start_prometheus: StartPrometheus, port: int) -> PrometheusServer:
    """One that scrapes the daemon every second."""
    return start_prometheus(targets=[(f"127.0.0.1:{port}", {})], scrape_interval=1.0)


@pytest.fixture
def page(world: World, port: int) -> Iterator[Chrome]:
    """The dashboard of a target on which three users are, and then 25."""
    words = ["dashboard", "--url", f"http://127.0.0.1:{port}", "--listen", "127.0.0.1:0"]
    words += ["--prometheus", world.prometheus.url, "--scrape-interval", "2s"]
    with subprocess.Popen([AUTOSCALER, *words], stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            url = served.stdout.readline().partition(" is at ")[2].partition(";")[0]
            with browser(1280, 900) as started:
                started.get(url)
                yield started
        finally:
            served.kill()


def shows(page: Chrome, *words: str) -> None:
    def text() -> str:
        return re.sub(r"\s+", " ", page.execute_script(TEXT))

    what = " and ".join(words)
    try:
        wait_until(lambda: all(each in text() for each in words), WITHIN, what)
    except AssertionError as error:
        raise AssertionError(f"{error}; the page shows: {text()}") from None


def test_it_follows_a_real_daemon(world: World, port: int, page: Chrome) -> None:
    shows(page, "cannot ask the daemon")
    world.users.per_pod = lambda _: 3
    world.deploy(1)
    world.start("--listen", f"127.0.0.1:{port}")
    shows(page, f"{world.namespace}/bokeh-app", "sessions 3", "replicas 1 (1 ready", "1 open")
    shows(page, "sticky bound: as sessions stay")  # a point has the number before the change

    world.users.per_pod = lambda index: 15 if index == 0 else 0
    world.reaches(2)
    shows(page, "1 → 2 MetricAboveTarget: ")

    world.users.per_pod = lambda _: 1
    shows(page, "1 draining", "1 user on draining pods")
    shows(page, "SessionsStillOpen: A scale-down waits until the sessions")
