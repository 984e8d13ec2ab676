"""A real VictoriaMetrics on loopback, which tests write to as to a Prometheus."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.lab.prometheus_server import READY_WITHIN, TIMEOUT, Points, PrometheusServer, Series

HOW = "`make parts` installs victoria-metrics"


def program() -> Path | None:
    """The one of the distribution."""
    found = shutil.which("victoria-metrics")
    return Path(found) if found else None


class VictoriaMetricsServer(PrometheusServer):
    """A single node with an empty database that ends with the `with` block."""

    def __enter__(self) -> Self:
        address = self.url.removeprefix("http://")
        options = (
            f"-storageDataPath={self.folder / 'data'}",
            f"-httpListenAddr={address}",
            "-retentionPeriod=1y",
            *self.options,
        )
        self._processes.start("victoria-metrics", [self.program, *options])
        try:
            self._processes.await_ready(self._is_ready, READY_WITHIN, "VictoriaMetrics")
        except BaseException:
            self._processes.stop_all()
            raise
        return self

    def push(self, samples: Mapping[Series, Points]) -> None:
        """Write samples, which it otherwise keeps to itself for up to ten seconds."""
        super().push(samples)
        urllib.request.urlopen(f"{self.url}/internal/force_flush", timeout=TIMEOUT).close()

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
