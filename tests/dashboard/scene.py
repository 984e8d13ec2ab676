"""A daemon's page, a Prometheus that has six hours of its target, and the dashboard of both."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from autoscaler.adapters.metrics_server import WebServer
from autoscaler.daemon import Daemon, Ports
from autoscaler.model import TargetRef
from tests.builders import policy
from tests.fakes import FakeCluster, FakePolicies
from tests.lab.processes import free_ports
from tests.lab.prometheus_server import PrometheusServer, Series, series

APP, OTHER = TargetRef("bokeh", "bokeh-app"), TargetRef("team-a", "dash")
SCRAPE, POINTS = 15, 1_440
LABELS = {"policy": "dashboards", "namespace": "bokeh", "deployment": "bokeh-app"}
# Scrapes at which a third pod came, was cordoned, and was deleted.
CAME, CORDONED, WENT = 500, 900, 1_200
WRONG_FILE = "broken.yaml:3: replicas.min: got '<b>2</b>', expected a whole number"
# The text that a reader sees, through the shadow roots of the widgets.
TEXT = """
const found = [];
const walk = (root) => {
  for (const node of root.childNodes) {
    if (node.nodeType === Node.TEXT_NODE) found.push(node.textContent);
    else if (node.tagName !== "STYLE" && node.tagName !== "SCRIPT") walk(node);
  }
  if (root.shadowRoot) walk(root.shadowRoot);
};
walk(document.body);
return found.join("\\n");
"""


def _value(after: int, before: int, there: range) -> Callable[[int], float | None]:
    return lambda number: after if number in there else before


def history(end: int) -> dict[Series, list[tuple[float, float]]]:
    """What exporters and the daemon told in the six hours before: three pods, of which one went."""
    lasted = range(CAME, WENT)

    def points(of: Callable[[int], float | None]) -> list[tuple[float, float]]:
        told = ((end - (POINTS - number) * SCRAPE, of(number)) for number in range(POINTS + 1))
        return [(at, value) for at, value in told if value is not None]

    def daemon(name: str, of: Callable[[int], float | None], **labels: str) -> None:
        found[series(f"bokeh_autoscaler_{name}", **LABELS, **labels)] = points(of)

    found: dict[Series, list[tuple[float, float]]] = {}
    exporter = {"app": "/app", "namespace": "bokeh"}
    for number, there in enumerate((range(POINTS + 1), range(POINTS + 1), lasted)):
        pod = f"bokeh-app-5c9d7-x{number}"
        connected = series(
            "bokeh_sessions", **exporter, pod=pod, state="connected", quality="exact"
        )
        found[connected] = points(lambda n, there=there: 6 if n in there and n < 1_000 else None)
        if there != lasted:
            found[connected] = points(lambda n: 5 + n // 400)
        created = series("bokeh_sessions_created_total", **exporter, pod=pod)
        found[created] = points(lambda n: n // 10)
    gone = {"pod": "bokeh-app-5c9d7-x2", "cause": "scale-down"}
    daemon("cordoned_pod", lambda n: 1 if CORDONED <= n < WENT else None, **gone)
    for kind in ("desired", "ready", "current"):
        daemon("replicas", _value(3, 2, lasted), kind=kind)
    daemon("cost_replicas", _value(3, 2, lasted), kind="billed")
    daemon("cost_replicas", lambda _: 2, kind="sticky_bound")
    daemon("cost_replicas", lambda _: 1, kind="fluid_bound")
    up = {"direction": "up", "reason": "MetricAboveTarget", "instance": "a"}
    daemon("decisions_total", lambda n: 1 if n >= CAME else None, **up)
    held = {"reason": "SessionsStillOpen", "instance": "a"}
    daemon(
        "scale_downs_held_total", lambda n: n - CORDONED if CORDONED < n < WENT else None, **held
    )
    found[series("bokeh_autoscaler_replica_hour_price")] = points(lambda _: 0.12)
    return found


class Scene:
    """Everything that a browser needs to see the page."""

    def __init__(
        self, prometheus: PrometheusServer, *options: str, rejected: Sequence[str] = (WRONG_FILE,)
    ) -> None:
        self.prometheus = prometheus
        self.cluster = FakeCluster()
        self.cluster.deploy(APP, 10, 8)
        self.cluster.deploy(OTHER, 4)
        policies = FakePolicies((policy(), policy(name="other", target=OTHER._asdict())))
        policies.problems = {"broken.yaml": tuple(rejected)} if rejected else {}
        cluster = self.cluster
        self.daemon = Daemon(Ports(policies, cluster, cluster, cluster, cluster.clock))
        self.daemon.run_once()
        self._page = self._serve(*free_ports(1))
        self.port = self._page.port
        asked = ["--url", f"http://127.0.0.1:{self.port}", "--prometheus", prometheus.url]
        words = ["dashboard", *asked, "--listen", "127.0.0.1:0", *options]
        self.process = subprocess.Popen(
            [sys.executable, "-um", "autoscaler.cli", *words],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        self.url = self.said.partition(" is at ")[2].partition(";")[0]

    def _serve(self, port: int) -> WebServer:
        page = self.daemon.web_server(("127.0.0.1", port))
        page.start()
        return page

    def stop_daemon(self) -> None:
        self._page.stop()

    def start_daemon(self) -> None:
        self._page = self._serve(self.port)

    def end(self) -> int:
        """As Ctrl-C does. Returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._page.stop()
        self.process.kill()
        self.process.communicate()


@contextmanager
def stopped(prometheus: PrometheusServer) -> Iterator[None]:
    """Nothing listens at its address for the length of the block."""
    prometheus.__exit__()
    try:
        yield
    finally:
        prometheus.__enter__()
