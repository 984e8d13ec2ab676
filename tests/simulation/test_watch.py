"""`simulate --watch` in a real browser: a saved policy is in the open page soon after."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.lab.browser import NEEDS_CHROMIUM, a_tab, browser
from tests.lab.processes import wait_until

pytestmark = [
    pytest.mark.slow,
    NEEDS_CHROMIUM,
]

WITHIN = 60.0
RULES = """\
name: {name}
target: {{namespace: bokeh, deployment: bokeh-app}}
replicas: {{min: 1, max: 20}}
metrics:
  - {{type: sessions, seats: 10, spare: {spare}}}
"""


class Watching:
    """A policy file, and `simulate --watch` of it."""

    def __init__(self, folder: Path) -> None:
        self.policy = folder / "rules.yaml"
        self.save(RULES.format(name="first", spare=5))
        words = ["simulate", "--policy", "rules.yaml", "--workload", "class-of-200", "--watch"]
        self.process = subprocess.Popen(
            [sys.executable, "-um", "autoscaler.cli", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", self.process.stdout.readline())
        assert found is not None
        self.url = found[0]

    def save(self, text: str) -> None:
        """As editors do: another file in the place of the first."""
        part = self.policy.with_suffix(".part")
        part.write_text(text)
        part.replace(self.policy)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    started = Watching(tmp_path)
    with started.process:
        yield started
        started.process.kill()


@pytest.fixture(scope="module")
def opened() -> Iterator[Chrome]:
    with browser() as started:
        yield started


@pytest.fixture
def page(opened: Chrome) -> Iterator[Chrome]:
    with a_tab(opened):
        yield opened


def shows(page: Chrome, words: str) -> None:
    """In one step: the page may be loaded anew at any moment."""
    text = "return document.body.innerText"
    wait_until(lambda: words in page.execute_script(text), WITHIN, words)


def test_a_saved_policy_is_in_the_open_page_and_a_wrong_one_leaves_it(
    watching: Watching, page: Chrome
) -> None:
    wait_until(lambda: _opens(page, watching.url), WITHIN, "the first report")
    shows(page, "Policy first, simulated")

    watching.save("not: a policy")
    watching.save(RULES.format(name="second", spare=20))
    shows(page, "Policy second, simulated")

    watching.process.send_signal(signal.SIGINT)
    said, _ = watching.process.communicate(timeout=WITHIN)
    assert watching.process.returncode == 0
    assert "policy second" in said


def _opens(page: Chrome, url: str) -> bool:
    page.get(url)
    return "simulated" in page.title


def test_the_report_fits_on_a_phone(watching: Watching, page: Chrome) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wait_until(lambda: _opens(page, watching.url), WITHIN, "the report")
    drawn = "return Bokeh.documents[0]?.is_idle"
    wait_until(lambda: page.execute_script(drawn), WITHIN, "all plots")
    assert page.execute_script("return document.documentElement.scrollWidth") == 390
