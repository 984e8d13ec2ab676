"""The dashboard in a real browser, of a wide screen and of a phone, with a real Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.conftest import PROGRAMS
from tests.dashboard.scene import SCRAPE, WRONG_FILE, Scene, history, stopped
from tests.dashboard.visits import PHONE, WIDE, WITHIN, shows, text, visit
from tests.lab.browser import NEEDS_CHROMIUM, a_tab, browser
from tests.lab.processes import wait_until
from tests.lab.prometheus_server import PrometheusServer

FIND, HOW_TO_BUILD = PROGRAMS["current"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.prometheus,
    NEEDS_CHROMIUM,
    pytest.mark.skipif(FIND() is None, reason=f"NO PROMETHEUS: {HOW_TO_BUILD}"),
]
# Each element that a key can reach, by its role on the page.
FOCUSED = """
let at = document.activeElement;
while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
return at;
"""
POLICY = """\
name: dashboards
target: {namespace: bokeh, deployment: bokeh-app}
replicas: {min: 1, max: 4}
metrics: [{type: sessions, seats: 10, spare: 5}]
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    program = FIND()
    assert program is not None
    folder = tmp_path_factory.mktemp("prometheus")
    with PrometheusServer(program, folder) as prometheus:
        prometheus.push(history(int(time.time()) // SCRAPE * SCRAPE))
        with Scene(prometheus) as made:
            yield made


@pytest.fixture(scope="module")
def opened() -> Iterator[Chrome]:
    with browser() as started:
        yield started


@pytest.fixture
def page(opened: Chrome) -> Iterator[Chrome]:
    with a_tab(opened):
        yield opened


def editor(page: Chrome) -> WebElement:
    """The editor, reached by the Tab key alone."""
    for _ in range(60):
        ActionChains(page).send_keys(Keys.TAB).perform()
        found: WebElement = page.execute_script(FOCUSED)
        if found.tag_name == "textarea":
            return found
    raise AssertionError("the Tab key does not reach the editor")


def write(page: Chrome, policy: str) -> None:
    keys = ActionChains(page).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL)
    keys.send_keys(policy).perform()


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_all_is_shown_without_errors_and_without_scrolling_sideways(
    scene: Scene, page: Chrome, width: int
) -> None:
    visit(page, scene.url, width)

    told = text(page)
    assert "sessions 18" in told
    assert "20, of which 2 are free" in told
    assert "2 → 3 MetricAboveTarget: The metric that asks for the most" in told
    assert "SessionsStillOpen: A scale-down waits until the sessions" in told
    assert "sticky bound: as sessions stay" in told
    assert "Regret: " in told
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert [each["message"] for each in page.get_log("browser")] == []


def test_the_bars_of_pods_have_their_names_and_what_they_did(scene: Scene, page: Chrome) -> None:
    visit(page, scene.url)

    bars = page.execute_script("""
        const bars = [];
        for (const source of Bokeh.documents[0]._all_models.values())
          if (source.type === "ColumnDataSource" && source.columns().includes("phase"))
            Array.from(source.get_column("name")).forEach((name, i) =>
              bars.push([name, source.get_column("phase")[i]]));
        return bars;
    """)
    names = {name for name, _ in bars}
    assert names == {f"bokeh-app-5c9d7-x{number}" for number in range(3)}
    assert {phase for name, phase in bars if name.endswith("x2")} == {"busy", "draining"}


def test_texts_from_elsewhere_are_shown_as_they_are(scene: Scene, page: Chrome) -> None:
    visit(page, scene.url)

    file, line, fault = WRONG_FILE.split(":", 2)
    assert f"{file} is rejected, and its last valid version, if any, stays active" in text(page)
    assert f"line {line}:{fault}" in text(page)


def test_the_address_may_name_the_target(scene: Scene, page: Chrome) -> None:
    page.get(f"{scene.url}?target=team-a/dash")

    shows(page, "sessions 4", "10, of which 6 are free")


def test_an_edit_is_simulated_as_one_types_and_its_errors_are_those_of_the_commands(
    scene: Scene, page: Chrome
) -> None:
    visit(page, scene.url)
    area = editor(page)
    assert "seats: 10" in str(area.get_property("value"))

    write(page, POLICY.replace("max: 4", "max: 0"))
    shows(page, "policy.yaml:3: replicas.max: got 0, expected")
    write(page, POLICY)
    shows(page, "replicas.max: 20 -> 4", "metrics[0].spare: 0 -> 5", "edited active")
    told = text(page)
    assert "expected" not in told[told.index("What another policy would do") :]
    assert "replica-hours" in told
    assert "refused: no free seat" in told
    assert "cut by scaling down" in told


def test_the_page_says_that_the_daemon_is_away_and_recovers(scene: Scene, page: Chrome) -> None:
    visit(page, scene.url)

    scene.stop_daemon()
    try:
        shows(page, "cannot ask the daemon")
        assert "sessions 18" in text(page), "what was known stays"
    finally:
        scene.start_daemon()
    wait_until(lambda: "cannot ask" not in text(page), WITHIN, "the page to recover")


def test_the_page_says_that_prometheus_is_away_and_recovers(scene: Scene, page: Chrome) -> None:
    visit(page, scene.url)

    with stopped(scene.prometheus):
        shows(page, "Prometheus at http://127.0.0.1", "cannot connect")
        assert "2 → 3" in text(page), "what was known stays"
    wait_until(lambda: "cannot connect" not in text(page), WITHIN, "the page to recover")


def test_ctrl_c_ends_it_and_a_proxy_may_serve_it_below_a_path(scene: Scene, page: Chrome) -> None:
    with Scene(scene.prometheus, "--prefix", "/autoscaler") as other:
        assert other.url.endswith("/autoscaler/")
        visit(page, other.url)
        assert other.end() == 0
