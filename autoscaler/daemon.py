"""The daemon: the controller's passes on a schedule, with its own metrics, probes and signals."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

from autoscaler.adapters.clock import steady
from autoscaler.adapters.scheduler import Scheduler
from autoscaler.adapters.web import WebServer
from autoscaler.controller import Controller, PassResult, Recorder
from autoscaler.leadership import LeaseLeadership, Leases, NoLeadership
from autoscaler.memory import Memory
from autoscaler.ports import Clock, Cluster, MetricsSource, PolicySource, Sidecars
from autoscaler.telemetry import Telemetry

LOG = logging.getLogger("autoscaler")

# A pass that is under way at SIGTERM may finish for so long; the whole daemon ends within 5 s.
STOP_WITHIN = 4.0
# Without a finished pass for this long (or four intervals), the liveness probe fails.
STALLED_AFTER = 60.0
IDLE_INTERVAL = 5.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything of the world that the daemon uses.

    leases: None where no other daemon can be.
    """

    policies: PolicySource
    metrics: MetricsSource
    cluster: Cluster
    sidecars: Sidecars
    clock: Clock
    leases: Leases | None = None


class Daemon:
    """Build it, `run` it; `stop` may be called from any thread or signal handler."""

    def __init__(
        self,
        ports: Ports,
        recorders: Sequence[Recorder] = (),
        *,
        listen: tuple[str, int] | None = None,
        dry_run: bool = False,
    ) -> None:
        self.telemetry = Telemetry()
        memory = Memory(ports.clock)
        self._leadership: LeaseLeadership | NoLeadership = NoLeadership()
        if ports.leases is not None:
            self._leadership = LeaseLeadership(ports.leases, memory, steady)
        self._controller = Controller(
            ports.policies,
            ports.metrics,
            ports.cluster,
            ports.sidecars,
            ports.clock,
            (*recorders, self.telemetry),
            leadership=self._leadership,
            memory=memory,
            dry_run=dry_run,
        )
        self._listen = listen
        self._scheduler = Scheduler(self.run_once)
        self._stopping = threading.Event()
        self._interval = IDLE_INTERVAL
        self._last_pass: float | None = None
        self._last_result: PassResult | None = None
        self._began = time.monotonic()

    def run_once(self) -> PassResult | None:
        """One pass. Whatever goes wrong in it is logged; None then, and the loop lives on."""
        if self._stopping.is_set():
            return None
        try:
            with self.telemetry.pass_seconds.time():
                result = self._controller.run_pass()
        except Exception:
            LOG.exception("a pass failed, nothing was changed")
            return None
        self._last_pass, self._last_result = time.monotonic(), result
        self._replan(result)
        return result

    def run(self) -> None:
        """Pass after pass until `stop`; returns within 5 s of it."""
        web = self._serve()
        self._scheduler.start()
        self._scheduler.plan(self._interval)
        self._stopping.wait()
        finisher = threading.Thread(target=self._finish, daemon=True)
        finisher.start()
        finisher.join(STOP_WITHIN)
        if web is not None:
            web.stop()

    def release(self) -> None:
        """Let other daemons act from now on, and this one no more."""
        self._leadership.release()

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT end the daemon cleanly."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)

    def _finish(self) -> None:
        """No other daemon may start before the last pass has ended."""
        self._scheduler.stop(wait=True)
        self.release()

    def _replan(self, result: PassResult) -> None:
        policies = result.policies.policies
        self._interval = min((policy.interval for policy in policies), default=IDLE_INTERVAL)
        self.telemetry.pass_interval.set(self._interval)
        if not self._stopping.is_set():
            self._scheduler.plan(self._interval, policies)

    def _serve(self) -> WebServer | None:
        if self._listen is None:
            return None
        checks = {"/healthz": self.unhealthy, "/readyz": self.unready}
        web = WebServer(self._listen, self.telemetry.registry, checks)
        web.start()
        LOG.info("metrics and probes on port %d", web.port)
        return web

    def unhealthy(self) -> str | None:
        """What the liveness probe says: passes no longer finish."""
        quiet = time.monotonic() - (self._last_pass or self._began)
        limit = max(STALLED_AFTER, 4 * self._interval)
        return f"no pass finished for {quiet:.0f} s" if quiet > limit else None

    def unready(self) -> str | None:
        """What the readiness probe says: no pass yet, or every policy has a problem."""
        result = self._last_result
        if result is None:
            return "no pass has finished yet"
        problems = [outcome.problem for outcome in result.outcomes if outcome.problem]
        if problems and len(problems) == len(result.outcomes):
            return problems[0]
        return None
