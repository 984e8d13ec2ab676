"""Real components that tests in several folders use."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import settings

from tests.cluster.build import PROMETHEUS, installed
from tests.prometheus_server import PrometheusServer

# A slow machine is no counter-example.
settings.register_profile("laws", deadline=None)
settings.load_profile("laws")

# Started in the background by a script we ignore it, and so would all that the tests start and end.
signal.signal(signal.SIGINT, signal.default_int_handler)

FIGURE = "figure"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest first, by their time limit: then none keeps a worker busy when others are done.

    On the node too, where they follow each other: its longest one takes the same time on a busy
    machine, the others gain when nothing else runs any more.
    """
    items.sort(key=lambda item: -_time_limit(item))


def _time_limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says something that is to be read although the test passes: it is printed at the end."""
    return lambda text: record_property(FIGURE, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    for report in passed:
        for name, text in report.user_properties:
            if name == FIGURE and report.when == "call":
                terminalreporter.write_line(str(text))


class StartPrometheus(Protocol):
    """Starts a Prometheus with the given settings of PrometheusServer; it ends with the test."""

    def __call__(self, **settings: Any) -> PrometheusServer: ...


def _packaged() -> Path | None:
    found = shutil.which("prometheus")
    return Path(found) if found else None


def _current() -> Path | None:
    folder = installed(PROMETHEUS)
    return folder / "prometheus" if folder else None


PROGRAMS = {
    "packaged": (_packaged, "`apt-get install prometheus`"),
    "current": (_current, "`python -m tests.cluster.build prometheus` (Go or PyPI, 2 min once)"),
}


@pytest.fixture(params=PROGRAMS)
def prometheus_program(request: pytest.FixtureRequest) -> Path:
    """Each Prometheus that we promise to work with: the distribution's 2.x and the current 3.x."""
    find, how = PROGRAMS[request.param]
    program = find()
    if program is None:
        pytest.skip(f"NO PROMETHEUS ({request.param}): {how} or `make parts` gets it")
    return program


@pytest.fixture
def start_prometheus(prometheus_program: Path, tmp_path: Path) -> Iterator[StartPrometheus]:
    """To start a Prometheus with targets to scrape or with options."""
    with ExitStack() as stack:

        def start(**settings: Any) -> PrometheusServer:
            folder = tmp_path / f"prometheus-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return stack.enter_context(PrometheusServer(prometheus_program, folder, **settings))

        yield start


@pytest.fixture
def prometheus(start_prometheus: StartPrometheus) -> PrometheusServer:
    """A Prometheus with an empty database that scrapes nothing."""
    return start_prometheus()
