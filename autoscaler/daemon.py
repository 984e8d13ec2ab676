"""The daemon: runs the controller's reconcile passes on a schedule, and serves metrics and probes.

A reconcile pass is one round of observing all targets, deciding, and acting.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import FrameType

from autoscaler.adapters.clock import steady
from autoscaler.adapters.metrics_server import WebServer
from autoscaler.adapters.scheduler import Scheduler
from autoscaler.control.changes import PATIENCE
from autoscaler.control.controller import WRITES_PER_SECOND, Controller
from autoscaler.control.leadership import LeaseLeadership, NoLeadership
from autoscaler.control.pass_result import PassResult, Recorder
from autoscaler.control.shard_lease import Leases
from autoscaler.control.state_store import StateStore
from autoscaler.ports import (
    ArrivalHistory,
    CacheAge,
    Clock,
    Cluster,
    LoadHistory,
    MetricsSource,
    PolicyResources,
    PolicySource,
    Sidecars,
)
from autoscaler.reporting.events import nobody_evaluates
from autoscaler.reporting.metrics import DaemonMetrics
from autoscaler.reporting.status_page import StatusPage
from exporter.texts import LONGEST_EVENT, visible

LOG = logging.getLogger("autoscaler")

# Seconds that a running pass may take after SIGTERM; the whole daemon ends within 5 s.
STOP_WITHIN = 4.0
# If no pass finishes for this long (or for four intervals), the liveness probe fails.
STALLED_AFTER = 60.0
IDLE_INTERVAL = 5.0


@dataclass(frozen=True, slots=True)
class Ports:
    """The adapters that the daemon uses. leases: None if no other daemon can run.

    ages: how old what `cluster` observes may be; None if it reads everything in each pass.
    history: what forecasts begin with; None: with nothing. resources: the policies that are
    Kubernetes objects, which `policies` has as well; None: there are none. loads: what seats are
    learned from; None: they are not.
    """

    policies: PolicySource
    metrics: MetricsSource
    cluster: Cluster
    sidecars: Sidecars
    clock: Clock
    leases: Leases | None = None
    ages: Callable[[], Iterable[CacheAge]] | None = None
    history: ArrivalHistory | None = None
    resources: PolicyResources | None = None
    loads: LoadHistory | None = None


class Daemon:
    """The daemon. `run` blocks until `stop`, which any thread or signal handler may call.

    is_brief: whether it makes one pass only, and so leaves namespaces to daemons that run.
    """

    def __init__(
        self,
        ports: Ports,
        recorders: Sequence[Recorder] = (),
        *,
        listen: tuple[str, int] | None = None,
        dry_run: bool = False,
        every_pass: bool = False,
        is_brief: bool = False,
        shards: int = 1,
        writes_per_second: float = WRITES_PER_SECOND,
        patience: float | None = PATIENCE,
    ) -> None:
        self.telemetry = DaemonMetrics()
        self._status = StatusPage(steady)
        if ports.ages is not None:
            self.telemetry.show_caches(ports.ages)
        store = StateStore(ports.clock)
        self._leadership: LeaseLeadership | NoLeadership = NoLeadership()
        if ports.leases is not None:
            self._leadership = LeaseLeadership(
                ports.leases, store, steady, shards, is_brief=is_brief
            )
        if not dry_run:
            self.telemetry.show_shards(shards, self._leadership.leads)
        self._controller = Controller(
            ports.policies,
            ports.metrics,
            ports.cluster,
            ports.sidecars,
            ports.clock,
            (*recorders, self.telemetry, self._status),
            leadership=self._leadership,
            store=store,
            dry_run=dry_run,
            every_pass=every_pass,
            writes_per_second=writes_per_second,
            patience=patience,
            history=ports.history,
            loads=ports.loads,
        )
        self._clock = ports.clock
        self._listen = listen
        self._scheduler = Scheduler(self.run_once)
        self._stopping = threading.Event()
        self._interval = IDLE_INTERVAL
        self._last_pass: float | None = None
        self._last_result: PassResult | None = None
        self._began = time.monotonic()

    def run_once(self) -> PassResult | None:
        """Run one pass and return its result.

        An exception is logged, so that the next pass can run; the result is None then.
        """
        if self._stopping.is_set():
            return None
        try:
            with self.telemetry.pass_seconds.time(), self._leadership.watched():
                result = self._controller.run_pass()
        except Exception:
            LOG.exception("reconcile pass failed; retrying at the next interval")
            return None
        self.telemetry.clock_offset.set(self._clock.ahead())
        self._last_pass, self._last_result = time.monotonic(), result
        self._replan(result)
        return result

    def run(self) -> bool:
        """Run one pass after another until `stop`, and return within 5 s after it.

        Returns whether the last pass has ended. If not, its threads still wait for an answer, and
        would hold up the end of the process.
        """
        web = self._serve()
        self._scheduler.start()
        self._scheduler.plan(self._interval)
        self._stopping.wait()
        finisher = threading.Thread(target=self._finish, daemon=True)
        finisher.start()
        finisher.join(STOP_WITHIN)
        if web is not None:
            web.stop()
        return not finisher.is_alive()

    def release(self) -> None:
        """Give up leadership once no write is under way, so that another daemon can take over."""
        self._controller.settle()
        self._leadership.release()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopping.set()

    def stop_on_signals(self) -> None:
        """Stop the daemon cleanly on SIGTERM and SIGINT."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)

    def _finish(self) -> None:
        """Wait for the last pass, and only then let another daemon take over."""
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
        web = self.web_server(self._listen)
        web.start()
        LOG.info("serving metrics, probes and status on port %d", web.port)
        return web

    def web_server(self, address: tuple[str, int]) -> WebServer:
        """Return the server of the daemon's pages, which does not serve yet."""
        checks = {"/healthz": self.unhealthy, "/readyz": self.unready}
        remarks, pages = {"/readyz": self.ready}, {"/status": self._status.content}
        return WebServer(address, self.telemetry.registry, checks, remarks, pages)

    def unhealthy(self) -> str | None:
        """Return why the liveness probe fails (passes no longer finish), or None."""
        quiet = time.monotonic() - (self._last_pass or self._began)
        limit = max(STALLED_AFTER, 4 * self._interval)
        return f"no reconcile pass has finished for {quiet:.0f} s" if quiet > limit else None

    def unready(self) -> str | None:
        """Return why the readiness probe fails, or None.

        It fails before the first pass, and while every policy has a problem. A Deployment that does
        not exist is none: it may come later, and a rollout of the daemon would wait for it.
        """
        result = self._last_result
        if result is None:
            return "no reconcile pass has finished yet"
        there = [outcome.problem for outcome in result.outcomes if not outcome.is_missing]
        problems = [problem for problem in there if problem]
        if problems and len(problems) == len(there):
            return visible(problems[0], LONGEST_EVENT)
        return None

    def ready(self) -> str:
        """Return the text of a readiness probe that passes.

        It names the policies that no daemon evaluates, or whose Deployment does not exist, if any.
        The probe passes nevertheless, because it would block the rollout of the daemon.
        """
        result = self._last_result
        if result is None:
            return "ok"
        missing = (each.problem for each in result.outcomes if each.is_missing)
        told = nobody_evaluates(result.unevaluated) or next(missing, None)
        return visible(f"ok, but {told}") if told else "ok"
