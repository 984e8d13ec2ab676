"""What it costs to ask a real Prometheus the queries of 1,000 policies, each by itself."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoscaler.adapters.prometheus.source import PrometheusSettings, PrometheusSource
from autoscaler.model import Sample
from tests.benchmarks.figure import Figure, median_seconds
from tests.lab.build import PROMETHEUS, installed
from tests.lab.prometheus_server import PrometheusServer, series

POLICIES, PASSES = 1_000, 7


def measure() -> Iterator[Figure]:
    prometheus = installed(PROMETHEUS)
    if prometheus is None:
        print("queries are not measured: no Prometheus here, run `make parts`")
        return
    with (
        tempfile.TemporaryDirectory() as name,
        PrometheusServer(prometheus / "prometheus", Path(name)) as server,
    ):
        now = time.time()
        server.push({series("load", app=f"app-{n}"): [(now, n)] for n in range(POLICIES)})
        own = [f'sum(load{{app="app-{n}"}})' for n in range(POLICIES)]
        shared = [own[n % 20] for n in range(POLICIES)]
        yield from _pass(server, own, f"{POLICIES} policies with a query each")
        yield from _pass(server, shared, f"{POLICIES} policies that share 20 queries")


def _pass(server: PrometheusServer, queries: Sequence[str], what: str) -> Iterator[Figure]:
    source = PrometheusSource(PrometheusSettings(server.url, patience=60.0, timeout=60.0))

    def read() -> None:
        found = source.read([], queries, time.time()).external
        assert all(isinstance(each, Sample) for each in found.values())

    read()
    began = time.process_time()
    seconds = median_seconds(read, rounds=PASSES)
    cpu = (time.process_time() - began) / PASSES
    yield Figure(f"{what}, one pass", 1e3 * seconds, "ms", 2_000)
    yield Figure(f"{what}, CPU of a pass", 1e3 * cpu, "ms")
