"""How busy an event loop was: the time in which it did not wait for events."""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
import uvloop

from exporter.agent.loop import INTERVAL, LoopMonitor, thread_cpu_seconds
from exporter.agent.tally import Tally
from exporter.metrics import TABLE
from tests.benchmarks import seats

SECONDS = 1.5
SEED = 1


@contextmanager
def running(loop: Any) -> Iterator[LoopMonitor]:
    """Run a loop in a thread of its own, watched."""
    monitor = LoopMonitor(
        loop, Tally({spec.name: spec.buckets for spec in TABLE}), lambda: None, whole=True
    )
    thread = threading.Thread(target=loop.run_forever, name="watched")
    thread.start()
    try:
        yield monitor
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def block() -> float:
    """Wait in the loop's thread without using the CPU, as for the answer of a database."""
    began = time.monotonic()
    time.sleep(0.06)
    return time.monotonic() - began


async def compute() -> float:
    began = time.monotonic()
    while time.monotonic() < began + 0.06:
        pass
    return time.monotonic() - began


async def hang() -> float:
    """Block for longer than the time between two timers, so that each of them is late."""
    began = time.monotonic()
    time.sleep(INTERVAL + 0.1)
    return time.monotonic() - began


async def wait() -> float:
    await asyncio.sleep(0.06)
    return 0.0


async def again_and_again(work: Callable[[], Awaitable[float]]) -> float:
    spent, until = 0.0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        spent += await work()
        await asyncio.sleep(0.03)
    return spent


def busy_and_spent(monitor: LoopMonitor, loop: Any, work: Any) -> tuple[float, float, float]:
    """Return the busy time that was measured, the time that the work took, and the whole time."""
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
    began = time.monotonic()  # before the first sample looks at the clock
    monitor.sample()
    before = monitor.busy_seconds
    spent = asyncio.run_coroutine_threadsafe(again_and_again(work), loop).result()
    monitor.sample()
    return monitor.busy_seconds - before, spent, time.monotonic() - began


@pytest.mark.parametrize("work", [block, compute], ids=["it blocks", "it computes"])
def test_a_loop_is_busy_while_a_callback_runs_whether_it_uses_the_cpu_or_not(work: Any) -> None:
    loop = asyncio.SelectorEventLoop()
    with running(loop) as monitor:
        busy, spent, whole = busy_and_spent(monitor, loop, work)
        assert spent <= busy + 0.001
        assert busy <= whole - 0.03  # it has waited at least once
        assert monitor.utilization() > 0


def test_a_sample_that_is_interrupted_takes_no_work_for_a_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as by other processes, between its looks at the clock and at the waits."""

    def late(native_id: int) -> float | None:
        time.sleep(0.05)
        return thread_cpu_seconds(native_id)

    loop = asyncio.SelectorEventLoop()
    with running(loop) as monitor:
        monkeypatch.setattr("exporter.agent.loop.thread_cpu_seconds", late)
        busy, spent, _ = busy_and_spent(monitor, loop, block)
        assert spent <= busy + 0.001


def test_a_loop_that_waits_is_not_busy() -> None:
    loop = asyncio.SelectorEventLoop()
    with running(loop) as monitor:
        busy, _, whole = busy_and_spent(monitor, loop, wait)
        assert busy < whole / 2


def test_of_a_loop_without_a_selector_timers_that_are_late_tell_how_busy_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With timers that come while it hangs, and not in the moments between."""
    monkeypatch.setattr("exporter.agent.loop.random.Random", lambda: Random(SEED))
    loop = uvloop.new_event_loop()
    with running(loop) as monitor:
        busy, spent, whole = busy_and_spent(monitor, loop, hang)
        assert INTERVAL < busy <= whole
        assert spent > 0


@pytest.mark.parametrize("computes", [False, True], ids=["it blocks", "it computes"])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.9])
@pytest.mark.parametrize("period", [0.1, 0.25, 0.5, 1.0, 2.0, 5.0])
def test_late_timers_tell_the_busy_share_with_callbacks_of_any_period(
    period: float, share: float, computes: bool
) -> None:
    loop = CallbacksOf(period, share, computes=computes)
    assert loop.busy_share(seconds=600.0) == pytest.approx(share, abs=0.05)


def test_a_callback_that_takes_seconds_is_counted_while_it_runs() -> None:
    loop = CallbacksOf(period=20.0, share=0.9)
    assert loop.busy_share(seconds=600.0) == pytest.approx(0.9, abs=0.07)


def test_a_child_that_inherits_the_loop_measures_the_waits_once() -> None:
    loop = asyncio.SelectorEventLoop()
    with running(loop):
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
        first = loop._selector.select  # type: ignore[attr-defined]
        with_second = LoopMonitor(
            loop, Tally({s.name: s.buckets for s in TABLE}), lambda: None, whole=True
        )
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
        assert loop._selector.select == first  # type: ignore[attr-defined]
        assert with_second.running
        assert isinstance(loop._selector, selectors.BaseSelector)  # type: ignore[attr-defined]


class CallbacksOf:
    """A loop without a selector, of which a periodic callback takes a share of the time.

    Its clock is its own, so that minutes of it take no time. computes: whether the callback uses
    the CPU; it only waits otherwise.
    """

    def __init__(self, period: float, share: float, *, computes: bool = False) -> None:
        self.now, self._period, self._busy = 1000 * period, period, share * period
        self._computes = computes
        self._due: list[tuple[float, Callable[[], None]]] = []

    def is_running(self) -> bool:
        return True

    def call_soon_threadsafe(self, work: Callable[[], None]) -> None:
        self.call_later(0.0, work)

    def call_later(self, seconds: float, work: Callable[[], None]) -> None:
        self._due.append((self.now + seconds, work))

    def busy_share(self, seconds: float) -> float:
        """Return the measured share. The agent takes its samples once a second."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("exporter.agent.loop.time.monotonic", lambda: self.now)
            patch.setattr("exporter.agent.loop.thread_cpu_seconds", self._cpu_seconds)
            patch.setattr("exporter.agent.loop.random.Random", lambda: Random(SEED))
            monitor = LoopMonitor(
                self, Tally({s.name: s.buckets for s in TABLE}), lambda: None, whole=True
            )
            began = self.now
            for second in range(1, round(seconds)):
                self._run_until(began + second)
                monitor.sample()
            return monitor.busy_seconds / seconds

    def _run_until(self, end: float) -> None:
        while (due := self._free_at(min(self._due)[0])) <= end:
            self.now = due
            self._due.pop(0)[1]()
        self.now = end

    def _cpu_seconds(self, native_id: int) -> float:
        """Return the CPU time of a thread. This one runs the loop, and all others use none."""
        if not self._computes or native_id != threading.get_native_id():
            return 0.0
        periods, into = divmod(self.now, self._period)
        return periods * self._busy + min(into, self._busy)

    def _free_at(self, at: float) -> float:
        """Return when a timer fires: the callback begins with each period."""
        into = at % self._period
        return max(self.now, at if into >= self._busy else at - into + self._busy)


@pytest.mark.slow
@pytest.mark.timing_sensitive
@pytest.mark.timeout(180)
def test_the_benchmark_of_seats_learns_those_of_a_real_app(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = seats.App("waiting: 100 ms a second", seconds=0.1, waits=True)
    monkeypatch.setattr(seats, "APPS", (app,))
    brief = {"STEP": 4, "STAGE": 30.0, "FULL_STAGE": 10.0, "STANDS_FOR": 900.0}
    for name, value in brief.items():
        monkeypatch.setattr(seats, name, value)

    assert seats.main([]) == 0

    _, line, why = capsys.readouterr().out.splitlines()
    stated, learned = line.removeprefix(app.name).split()[:2]
    assert stated == "7.0"
    assert 6 <= int(learned) <= 8  # within 20 %
    assert "the event loop is busy" in why
